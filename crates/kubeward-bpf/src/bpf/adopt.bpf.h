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
	u64 bytes;

	__builtin_memset(&buffer->record, 0, sizeof(buffer->record));
	append_path_in(buffer, (u64)BPF_CORE_READ(task, mm, exe_file), (u64)BPF_CORE_READ(task, fs));
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

/* The container of the task's cgroup, or of the nearest one above it that has one; 0: none. */
static __always_inline u32 slot_by_cgroup(struct task_struct *task)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);

	for (int up = 0; up < ADOPT_LEVELS && cgroup; up++) {
		u64 id = BPF_CORE_READ(cgroup, kn, id);
		struct kw_target *target = bpf_map_lookup_elem(&container_map, &id);

		if (target)
			return target->slot;
		/* None above the root, and none above that. */
		cgroup = BPF_CORE_READ(cgroup, self.parent, cgroup);
	}
	return 0;
}

/* The container whose init is the first task of the task's pid namespace, or of the nearest one above it; 0: none. */
static __always_inline u32 slot_by_pid_namespace(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	void *numbers = (void *)pid + bpf_core_field_offset(struct pid, numbers);
	u32 level = BPF_CORE_READ(pid, level);

	for (u32 up = 0; up < ADOPT_LEVELS && up < level; up++) {
		void *upid = numbers + (u64)(level - up) * bpf_core_type_size(struct upid);
		struct pid_namespace *ns = NULL;
		u32 inum, *slot;

		bpf_probe_read_kernel(&ns, sizeof(ns), upid + bpf_core_field_offset(struct upid, ns));
		inum = BPF_CORE_READ(ns, ns.inum);
		slot = bpf_map_lookup_elem(&own_pid_namespaces, &inum);
		if (slot)
			return *slot;
	}
	return 0;
}

/* The container of the process that started it; 0: none. */
static __always_inline u32 slot_by_parent(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;
	struct kw_tag *tag;

	if (!parent)
		return 0;
	tag = bpf_task_storage_get(&task_tags, parent, 0, 0);
	return tag ? tag->slot : 0;
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

/* The task carries the container's tag. Returns whether it does since now or has an exec that nobody saw. */
static __always_inline bool take_tag(struct task_struct *task, struct kw_tag *tag, u32 slot, u64 exec_id)
{
	if (!tag) {
		tag_task(task, slot, exec_id);
		return true;
	}
	if (tag->slot != slot && !is_unnamed(tag->slot))
		return false;
	tag->slot = slot;
	/* With one, it was tagged by its exec or by its parent; without, by a call of its own that was found by the cgroup. */
	if (tag->exec_id)
		return false;
	tag->exec_id = exec_id;
	return true;
}

/* Gives the task to the container, unless it is another's, and tells its program. Whether it was nobody's. */
static __always_inline bool adopt(struct task_struct *task, const struct kw_settings *now, u32 slot)
{
	struct owner owner = {.slot = slot, .exec_id = unseen_exec_of(task)};
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &slot);
	struct kw_tag *tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	struct record_buffer *buffer;
	u32 zero = 0;

	if (!slot || !account || !take_tag(task, tag, slot, owner.exec_id))
		return false;
	buffer = bpf_map_lookup_elem(&adopt_buffer, &zero);
	if (buffer && task->pid == task->tgid && BPF_CORE_READ(task, mm))
		tell_program(task, now, &owner, account, buffer);
	return !tag;
}

static __always_inline u32 slot_by_all(struct task_struct *task)
{
	u32 slot = slot_by_cgroup(task);

	if (!slot)
		slot = slot_by_pid_namespace(task);
	return slot ? slot : slot_by_parent(task);
}

/* Gives each task that is nobody's to the container it runs in. Writes a byte for each that it gave. */
SEC("iter/task")
int adopt_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	u8 one = 1;

	if (task && now && adopt(task, now, slot_by_all(task)))
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

/* User space tags a process by its pidfd, which says nothing of the threads it has. */
SEC("iter/task")
int tag_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader;
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	struct kw_tag *tag;

	if (!task || !now)
		return 0;
	tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	if (now->tag_mode == KW_TAG_REMOVE) {
		if (tag && tag->slot == now->tag_slot)
			bpf_task_storage_delete(&task_tags, task);
		return 0;
	}
	if (now->tag_mode == KW_TAG_CGROUP) {
		if (BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id) == now->tag_cgroup)
			adopt(task, now, now->tag_slot);
		return 0;
	}
	leader = task->group_leader;
	if (tag || !leader)
		return 0;
	tag = bpf_task_storage_get(&task_tags, leader, 0, 0);
	if (tag && tag->slot == now->tag_slot)
		tag_task(task, now->tag_slot, tag->exec_id);
	return 0;
}

#endif
