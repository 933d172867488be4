/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which container does the current task belong to? The first answer in the order of `identify` wins. */
#ifndef KUBEWARD_IDENTITY_BPF_H
#define KUBEWARD_IDENTITY_BPF_H

/* Cgroups above a task's own that are searched for a container. */
#define ANCESTORS 8

/* The innermost pid namespace of a task and the task's number in it. A variable index needs the copying read. */
static __always_inline void read_upid(struct pid *pid, int *nr, u32 *ns_inum)
{
	void *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		     (u64)BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid);
	struct pid_namespace *ns = NULL;

	*nr = 0;
	bpf_probe_read_kernel(nr, sizeof(*nr), upid + bpf_core_field_offset(struct upid, nr));
	bpf_probe_read_kernel(&ns, sizeof(ns), upid + bpf_core_field_offset(struct upid, ns));
	*ns_inum = BPF_CORE_READ(ns, ns.inum);
}

/* Tells a mount namespace from every other one that there was: each kernel counts them, none in the same place. */
static __always_inline u64 mnt_seq_of(struct task_struct *task)
{
	struct mnt_namespace *ns = BPF_CORE_READ(task, nsproxy, mnt_ns);

	if (bpf_core_field_exists(struct mnt_namespace___seq, seq))
		return BPF_CORE_READ((struct mnt_namespace___seq *)ns, seq);
	if (bpf_core_field_exists(struct ns_common___id, ns_id))
		return BPF_CORE_READ(
			(struct ns_common___id *)((void *)ns + bpf_core_field_offset(struct mnt_namespace, ns)), ns_id);
	return 0;
}

/*
 * The same task, for loads alone. At each pointer that is loaded from a trusted one, the verifier of 6.3 to 6.19 looks for four names
 * among all types of the kernel, one by one: three quarters of the time that it took for our programs. It becomes a move.
 *
 * The objects that are compiled without serve where a kernel refuses the others: without its JIT it takes no call of a kfunc, not
 * even one that is never reached, and libbpf takes no type id where the kernel's BTF has the task twice.
 */
#ifdef KW_READS_BY_TYPE
#define to_read(task) (task)
#else
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

static __always_inline struct task_struct *to_read(struct task_struct *task)
{
	if (bpf_ksym_exists(bpf_rdonly_cast))
		return bpf_rdonly_cast(task, bpf_core_type_id_kernel(struct task_struct));
	return task;
}
#endif

/* The verifier of 6.1 takes no variable offset on a pointer whose type it knows: the copy has none. */
static __always_inline void *untyped(const void *pointer)
{
	void *copy = NULL;

	bpf_probe_read_kernel(&copy, sizeof(copy), &pointer);
	return copy;
}

/* The number of `pid` in the pid namespace of the agent, which is at `level`; 0 when it is not visible there. */
static __always_inline u32 pid_at_level(struct pid *pid, u32 level)
{
	void *upid;
	int nr = 0;

	if (BPF_CORE_READ(pid, level) < level)
		return 0;
	upid = untyped(pid) + bpf_core_field_offset(struct pid, numbers) + (u64)level * bpf_core_type_size(struct upid);
	bpf_probe_read_kernel(&nr, sizeof(nr), upid + bpf_core_field_offset(struct upid, nr));
	return nr;
}

/* The task's process in its own pid namespace. Reads through typed pointers are loads; only the last one, at an index, is a copy. */
static __always_inline u32 own_pid(struct task_struct *task)
{
	struct pid *pid = to_read(task)->group_leader->thread_pid;
	u32 level = pid->level;
	int nr = task->tgid;

	if (level == 0)
		return nr;
	bpf_probe_read_kernel(&nr, sizeof(nr),
			      untyped(pid) + bpf_core_field_offset(struct pid, numbers) +
				      (u64)level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return nr;
}

static __always_inline struct kw_target *find_ancestor(struct task_struct *task)
{
	int level = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);

#pragma unroll
	for (int up = 1; up <= ANCESTORS; up++) {
		struct kw_target *target;
		u64 id;

		if (level - up < 1)
			return NULL;
		id = bpf_get_current_ancestor_cgroup_id(level - up);
		target = bpf_map_lookup_elem(&container_map, &id);
		if (target)
			return target;
	}
	return NULL;
}

static __always_inline void tag_task(struct task_struct *task, u32 slot, u64 exec_id)
{
	struct kw_tag fresh = {.slot = slot, .exec_id = exec_id};
	struct kw_account *account;

	if (bpf_task_storage_get(&task_tags, task, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE))
		return;
	account = bpf_map_lookup_elem(&accounts, &slot);
	if (account)
		count(account->untagged);
}

/* Nothing is stored for most tasks of the host, which saves them the look-ups. */
static __always_inline bool carries_nothing(struct task_struct *task)
{
	return bpf_core_field_exists(task->bpf_storage) && !to_read(task)->bpf_storage;
}

static __always_inline struct kw_tag *find_tag(struct task_struct *task)
{
	return carries_nothing(task) ? NULL : bpf_task_storage_get(&task_tags, task, 0, 0);
}

/*
 * Fills `owner` and says whether the current task, whose tag is `tag`, is a container's.
 *
 * A tag stays whatever the task does to its namespaces and cgroup. Host tasks never get one: every container's init
 * descends from a host task and is moved later.
 */
static __always_inline bool identify(struct task_struct *task, struct kw_tag *tag, const struct kw_settings *settings,
				     struct owner *owner)
{
	struct kw_target *target;
	struct kw_ns_key key;
	u64 cgroup;
	int nr;

	if (tag) {
		owner->slot = tag->slot;
		owner->exec_id = tag->exec_id;
		owner->identity = KW_IDENTITY_TASK;
		if (!tag->container_pid)
			tag->container_pid = own_pid(task);
		owner->container_pid = tag->container_pid;
		return tag->slot != 0;
	}
	owner->exec_id = 0;
	owner->container_pid = 0;
	owner->identity = KW_IDENTITY_CGROUP;
	cgroup = bpf_get_current_cgroup_id();
	target = bpf_map_lookup_elem(&container_map, &cgroup);
	if (!target && cgroup > settings->births_after) {
		owner->slot = birth_slot(cgroup);
		if (owner->slot)
			return true;
	}
	if (!target) {
		/* Every call of every host task comes by here: loads, no copies. */
		key.mnt_ns = to_read(task)->nsproxy->mnt_ns->ns.inum;
		if (key.mnt_ns == settings->host_mnt_ns)
			return false;
		target = find_ancestor(task);
	}
	if (!target) {
		if (!settings->ns_entries)
			return false;
		read_upid(BPF_CORE_READ(task, thread_pid), &nr, &key.pid_ns);
		key.mnt_seq = mnt_seq_of(task);
		target = bpf_map_lookup_elem(&namespace_map, &key);
		owner->identity = KW_IDENTITY_NAMESPACE;
	}
	if (!target)
		return false;
	owner->slot = target->slot;
	if (target->flags & KW_TARGET_STICKY)
		tag_task(task, target->slot, 0);
	return true;
}

#endif
