/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Cgroups that were made under our eyes and may be a container's: its calls are counted from the first on, and its records made from
 * the workload's first exec on, before anybody has told whose they are.
 *
 * A slot is taken from free_slots at the first call of a task in such a cgroup. Tasks get no tag before the workload's exec: what
 * runs until then is the runtime's, which comes from the host and may go back to it.
 */
#ifndef KUBEWARD_BIRTHS_BPF_H
#define KUBEWARD_BIRTHS_BPF_H

static __always_inline bool admit_kin(u64 parent)
{
	u32 *kin = bpf_map_lookup_elem(&birth_kin, &parent), one = 1;

	if (!kin)
		return !bpf_map_update_elem(&birth_kin, &parent, &one, BPF_ANY);
	if (*kin >= KW_BIRTH_KIN)
		return false;
	count(*kin);
	return true;
}

/* The slot of a cgroup's birth, given to it now if it has none; 0: it has no birth, or there is no slot for it. */
static __noinline u32 birth_slot(u64 cgroup)
{
	struct kw_birth *birth = bpf_map_lookup_elem(&births, &cgroup);
	u32 slot, other;

	if (!birth)
		return 0;
	slot = birth->slot;
	if (slot)
		return slot;
	if (bpf_map_pop_elem(&free_slots, &slot)) {
		count(birth->missed);
		return 0;
	}
	if (!admit_kin(birth->parent)) {
		bpf_map_push_elem(&free_slots, &slot, BPF_ANY);
		count(birth->missed);
		return 0;
	}
	other = __sync_val_compare_and_swap(&birth->slot, 0, slot);
	if (other) {
		bpf_map_push_elem(&free_slots, &slot, BPF_ANY);
		return other;
	}
	birth->covered_ns = birth->missed ? bpf_ktime_get_ns() : birth->made_ns;
	return slot;
}

#endif
