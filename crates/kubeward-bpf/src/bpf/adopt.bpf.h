/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Tasks that run before their container is known. Most of them make a call from the container's cgroup and are found by it, but
 * one may have left it, and the program that it runs was started when nobody looked.
 *
 * Nothing here goes by a number that another pid namespace could read differently.
 */
#ifndef KUBEWARD_ADOPT_BPF_H
#define KUBEWARD_ADOPT_BPF_H

/* Cgroups, and pid namespaces (the kernel has at most 32), above a task's own that are searched. */
#define ADOPT_LEVELS 32

/* Tells which program `task` runs; events name it by owner->exec_id. */
static __always_inline void tell_program(struct task_struct *task, const struct kw_settings *now,
					 const struct owner *owner, struct kw_account *account,
					 struct record_buffer *buffer)
{
	struct file *program = BPF_CORE_READ(task, mm, exe_file);
	u64 bytes;

	__builtin_memset(&buffer->record, 0, sizeof(buffer->record));
	append_path_in(buffer, (u64)program, (u64)BPF_CORE_READ(task, fs));
	/* Another task than the current one may exec meanwhile, which is told too; what was read is then nobody's. */
	if (BPF_CORE_READ(task, mm, exe_file) != program)
		return;
	buffer->record.kind = KW_KIND_EXEC;
	buffer->record.slot = owner->slot;
	buffer->record.exec_id = owner->exec_id;
	bytes = buffer->record.items_bytes;
	if (bytes > sizeof(buffer->items) || !take_share(now, owner->slot, sizeof(buffer->record) + bytes)) {
		count(account->lost_exec);
		return;
	}
	if (bpf_ringbuf_output(&records, buffer, sizeof(buffer->record) + bytes, BPF_RB_NO_WAKEUP)) {
		return_share(now, owner->slot, sizeof(buffer->record) + bytes);
		count(account->lost_exec);
	}
}

/* The container that the cgroup is known to be; 0: none. */
static __always_inline u32 slot_of_cgroup(struct cgroup *cgroup)
{
	u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct kw_target *target = bpf_map_lookup_elem(&container_map, &id);

	return target ? target->slot : 0;
}

/* The container of the nearest cgroup above the task's own that has one; 0: none. */
static __always_inline u32 slot_by_cgroup_above(struct task_struct *task)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);

	for (int up = 0; up < ADOPT_LEVELS && cgroup; up++) {
		u32 slot;

		/* None above the root, and none above that. */
		cgroup = BPF_CORE_READ(cgroup, self.parent, cgroup);
		slot = cgroup ? slot_of_cgroup(cgroup) : 0;
		if (slot)
			return slot;
	}
	return 0;
}

/* Its cgroup waits for a name: a container's that is not known yet, though it may share a known one's pid namespace. */
static __always_inline bool is_at_birth(struct task_struct *task)
{
	u64 id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);

	return bpf_map_lookup_elem(&births, &id) != NULL;
}

/* Inode number of the task's pid namespace (`up` 0), or of one above it; 0: there is none. */
static __always_inline u32 pid_namespace_of(struct task_struct *task, u32 up)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	struct pid_namespace *ns = NULL;
	void *upid;

	if (up > level)
		return 0;
	upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
	       (u64)(level - up) * bpf_core_type_size(struct upid);
	bpf_probe_read_kernel(&ns, sizeof(ns), upid + bpf_core_field_offset(struct upid, ns));
	return BPF_CORE_READ(ns, ns.inum);
}

/* The container whose init is the first task of the task's pid namespace, or of the nearest one above it that has one. 0: none,
 * or several containers share that namespace. */
static __always_inline u32 slot_by_pid_namespace(struct task_struct *task)
{
	for (u32 up = 0; up < ADOPT_LEVELS; up++) {
		u32 inum = pid_namespace_of(task, up), *slot;

		if (!inum)
			return 0;
		slot = bpf_map_lookup_elem(&own_pid_namespaces, &inum);
		if (slot)
			return *slot;
	}
	return 0;
}

static __always_inline bool is_in_pid_namespace(struct task_struct *task, u32 wanted)
{
	for (u32 up = 0; up < ADOPT_LEVELS; up++) {
		u32 inum = pid_namespace_of(task, up);

		if (!inum || inum == wanted)
			return inum != 0;
	}
	return false;
}

/* The container of the process that started it; 0: none. A container's init that is first in its pid namespace is also the
 * parent of others' orphans there. */
static __always_inline u32 slot_by_parent(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;
	struct kw_tag *tag;
	u32 inum;
	int nr;

	if (!parent)
		return 0;
	tag = bpf_task_storage_get(&task_tags, parent, 0, 0);
	if (!tag)
		return 0;
	read_upid(BPF_CORE_READ(parent, group_leader, thread_pid), &nr, &inum);
	if (nr == 1 && bpf_map_lookup_elem(&own_pid_namespaces, &inum))
		return 0;
	return tag->slot;
}

/* Unlike execs that were seen, by their time, those that were not are numbered by the process. The highest bit tells them apart. */
static __always_inline u64 unseen_exec_of(struct task_struct *task)
{
	return 1ULL << 63 | BPF_CORE_READ(task, group_leader, start_time);
}

/* The slot waits for a name, or has proved to be no container's. */
static __always_inline bool is_unnamed(u32 slot)
{
	struct kw_container *container = bpf_map_lookup_elem(&containers, &slot);

	return container && container->is_unnamed;
}

/* Whose task a container may get. */
enum adopt_right {
	ADOPT_NOBODYS,
	ADOPT_UNNAMED, /* and those of a slot that waits for a name */
	ADOPT_ANY,
};

/* The task carries the container's tag. Returns whether it does since now or has an exec that nobody saw. */
static __always_inline bool take_tag(struct task_struct *task, struct kw_tag *tag, u32 slot, u64 exec_id,
				     enum adopt_right right)
{
	if (!tag) {
		tag_task(task, slot, exec_id);
		return true;
	}
	if (tag->slot != slot) {
		if (right == ADOPT_NOBODYS || (right == ADOPT_UNNAMED && !is_unnamed(tag->slot)))
			return false;
		/* What the other slot was told of its program is not told of this one. */
		tag->slot = slot;
		tag->exec_id = exec_id;
		return true;
	}
	/* With one, it was tagged by its exec or by its parent; without, by a call of its own that was found by the cgroup. */
	if (tag->exec_id)
		return false;
	tag->exec_id = exec_id;
	return true;
}

/* Gives the task to the container, if that has the right, and tells its program. Whether it was nobody's. */
static __always_inline bool adopt(struct task_struct *task, const struct kw_settings *now, u32 slot,
				  enum adopt_right right)
{
	struct owner owner = {.slot = slot, .exec_id = unseen_exec_of(task)};
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &slot);
	struct kw_tag *tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	struct record_buffer *buffer;
	u32 zero = 0;

	if (!slot || !account || !take_tag(task, tag, slot, owner.exec_id, right))
		return false;
	buffer = bpf_map_lookup_elem(&adopt_buffer, &zero);
	if (buffer && task->pid == task->tgid && BPF_CORE_READ(task, mm))
		tell_program(task, now, &owner, account, buffer);
	return !tag;
}

/* By what a task keeps whatever it does: its pid namespace is what it was born in, its parent is who made it or reaps for it. A
 * container that nobody has named yet may have its tasks in another's namespace. */
static __always_inline u32 slot_by_kin(struct task_struct *task, bool at_birth)
{
	u32 slot = at_birth ? 0 : slot_by_pid_namespace(task);

	return slot ? slot : slot_by_parent(task);
}

/*
 * Gives each task that is nobody's to the container it runs in. Writes a byte for each that it gave. By its cgroup last: a
 * process may have gone into another container's, where that one's own tasks are tagged already.
 */
SEC("iter/task")
int adopt_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	enum adopt_right right = ADOPT_NOBODYS;
	u8 one = 1;
	bool at_birth;
	u32 slot;

	if (!task || !now)
		return 0;
	at_birth = is_at_birth(task);
	slot = slot_by_kin(task, at_birth);
	if (!slot && now->tag_mode == KW_TAG_STRAYS) {
		slot = slot_of_cgroup(BPF_CORE_READ(task, cgroups, dfl_cgrp));
		if (slot)
			right = ADOPT_UNNAMED;
		else if (!at_birth)
			slot = slot_by_cgroup_above(task);
	}
	if (adopt(task, now, slot, right))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

static __always_inline bool is_of_tag_process(struct task_struct *task, const struct kw_settings *now)
{
	struct task_struct *leader = task->group_leader;

	return leader && BPF_CORE_READ(leader, start_boottime) == now->tag_start_ns &&
	       pid_at_level(BPF_CORE_READ(leader, thread_pid), now->pid_level) == now->tag_pid;
}

/* The container's tasks, as tag_mode says which, are its own from now on. */
static __always_inline void tag_container(struct task_struct *task, const struct kw_settings *now)
{
	enum adopt_right right = ADOPT_UNNAMED;

	if (now->tag_mode == KW_TAG_PROCESS) {
		if (!is_of_tag_process(task, now))
			return;
		right = ADOPT_ANY;
	} else {
		if (BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id) != now->tag_cgroup)
			return;
		if (now->tag_pid_ns && !is_in_pid_namespace(task, now->tag_pid_ns))
			return;
	}
	adopt(task, now, now->tag_slot, right);
}

/* A process that user space tagged by its pidfd, which says nothing of the threads it has. */
static __always_inline void tag_thread(struct task_struct *task, const struct kw_settings *now)
{
	struct task_struct *leader = task->group_leader;
	struct kw_tag *tag;

	if (!leader || bpf_task_storage_get(&task_tags, task, 0, 0))
		return;
	tag = bpf_task_storage_get(&task_tags, leader, 0, 0);
	if (tag && tag->slot == now->tag_slot)
		tag_task(task, now->tag_slot, tag->exec_id);
}

/* Writes a byte for each tag that it took. */
SEC("iter/task")
int tag_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	struct kw_tag *tag;
	u8 one = 1;

	if (!task || !now)
		return 0;
	if (now->tag_mode == KW_TAG_THREADS) {
		tag_thread(task, now);
	} else if (now->tag_mode == KW_TAG_REMOVE) {
		tag = bpf_task_storage_get(&task_tags, task, 0, 0);
		if (tag && tag->slot == now->tag_slot && !bpf_task_storage_delete(&task_tags, task))
			bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	} else {
		tag_container(task, now);
	}
	return 0;
}

#endif
