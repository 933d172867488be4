/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What makes a birth and what tells that a workload runs in it. */
#ifndef KUBEWARD_BIRTH_EVENTS_BPF_H
#define KUBEWARD_BIRTH_EVENTS_BPF_H

static __always_inline u64 root_of(struct task_struct *task)
{
	return (u64)BPF_CORE_READ(task, fs, root.dentry);
}

static __always_inline u32 mnt_ns_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

/* The current task made a cgroup. */
static __always_inline int on_birth(struct cgroup *cgroup)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct kw_birth birth = {};

	birth.parent = BPF_CORE_READ(cgroup, self.parent, cgroup, kn, id);
	birth.made_ns = bpf_ktime_get_ns();
	birth.root = root_of(task);
	birth.creator_mnt_ns = mnt_ns_of(task);
	bpf_probe_read_kernel_str(birth.name, sizeof(birth.name), BPF_CORE_READ(cgroup, kn, name));
	bpf_map_update_elem(&births, &id, &birth, BPF_ANY);
	return 0;
}

/*
 * An exec in a cgroup whose name is still to be told. The workload's own is the first outside of the maker's mount namespace
 * and root: a systemd unit with a mount namespace of its own keeps the root.
 */
static __always_inline void exec_at_birth(struct task_struct *task, u32 slot, u32 *stage, u32 pid_level)
{
	u64 cgroup = bpf_get_current_cgroup_id();
	struct kw_birth *birth = bpf_map_lookup_elem(&births, &cgroup);

	if (!birth || birth->slot != slot || *stage != KW_STAGE_SETUP)
		return;
	if (mnt_ns_of(task) == birth->creator_mnt_ns || root_of(task) == birth->root)
		return;
	birth->init_pid = pid_at_level(BPF_CORE_READ(task, group_leader, thread_pid), pid_level);
	birth->init_start_boot_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	birth->run_ns = bpf_ktime_get_ns();
	*stage = KW_STAGE_RUN;
	tag_task(task, slot, 0);
}

#endif
