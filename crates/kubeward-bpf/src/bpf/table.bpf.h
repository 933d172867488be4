/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The exact table: how often each call of each container ended how, and how long it took. Each call is counted once, when its
 * result is known, whether or not a record of it is made: for each container, the table and kw_account.untabled make up seen
 * but for the calls that are kept between entry and return.
 */
#ifndef KUBEWARD_TABLE_BPF_H
#define KUBEWARD_TABLE_BPF_H

/*
 * Size set by user space before loading. Preallocated, so that a new key is refused only when all entries are taken; a call
 * that finds no room is counted in untabled. The entries of a slot are deleted by user space, once no program counts for it any more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct kw_table_key);
	__type(value, u64);
} call_table SEC(".maps");

/*
 * The same for durations. An entry holds one power of two: a call has some ten of them, where an array of all would take
 * several times the memory, on every CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct kw_times_key);
	__type(value, struct kw_times);
} call_times SEC(".maps");

/* A function of its own, checked once: five places count. Another CPU may put the same key in first. */
__noinline int add_to_table(u32 slot_nr, u32 rest)
{
	struct kw_table_key key = {
		.slot = slot_nr >> 16, .nr = slot_nr, .error = rest >> 16, .flags = rest >> 8, .stage = rest};
	u64 *calls, none = 0;

	calls = bpf_map_lookup_elem(&call_table, &key);
	if (!calls) {
		bpf_map_update_elem(&call_table, &key, &none, BPF_NOEXIST);
		calls = bpf_map_lookup_elem(&call_table, &key);
	}
	if (!calls)
		return -1;
	count(*calls);
	return 0;
}

static __always_inline u32 log2_of(u64 value)
{
	u32 power = 0;

#pragma unroll
	for (u32 step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			power += step;
		}
	}
	return power;
}

__noinline int add_to_times(u32 slot_nr, u32 rest, u64 duration_ns)
{
	struct kw_times_key key = {
		.slot = slot_nr >> 16, .nr = slot_nr, .power = log2_of(duration_ns), .flags = rest >> 8, .stage = rest};
	struct kw_times *times, none = {};

	times = bpf_map_lookup_elem(&call_times, &key);
	if (!times) {
		bpf_map_update_elem(&call_times, &key, &none, BPF_NOEXIST);
		times = bpf_map_lookup_elem(&call_times, &key);
	}
	if (!times)
		return -1;
	count(times->calls);
	__sync_fetch_and_add(&times->total_ns, duration_ns);
	return 0;
}

static __always_inline u32 table_flags(u32 record_flags)
{
	return record_flags & (KW_RECORD_COMPAT | KW_RECORD_IO_URING);
}

/* A call that has been counted as seen and whose result is call->ret. */
static __always_inline void tabulate_result(const struct call *call)
{
	u32 error = call->ret < 0 && call->ret >= -4095 ? -call->ret : 0;
	u32 slot_nr = call->owner.slot << 16 | call->nr;
	u32 rest = table_flags(call->flags) << 8 | (u8)*call->stage;

	if (add_to_table(slot_nr, error << 16 | rest))
		count(call->account->untabled);
	if (call->phase == KW_PHASE_CALL && *call->stage == KW_STAGE_RUN &&
	    add_to_times(slot_nr, rest, call->duration_ns))
		count(call->account->untimed);
}

/* One whose result will never be known. `nr` is of the caller's table. */
static __always_inline void tabulate_unfinished(struct kw_account *account, u32 slot, u16 nr, u32 record_flags)
{
	u32 *stage = bpf_map_lookup_elem(&stages, &slot);
	u32 flags = table_flags(record_flags) | KW_TABLE_UNFINISHED;

	if (!stage || add_to_table(slot << 16 | nr, flags << 8 | (u8)*stage))
		count(account->untabled);
}

#endif
