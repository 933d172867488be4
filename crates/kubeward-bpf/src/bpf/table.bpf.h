/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The exact table: how often each call of each container ended how, and how long it took. Each call is counted once, when its
 * result is known, whether or not a record of it is made: in call_times when its entry was watched too, else in call_table. For each
 * container, the two and kw_account.untabled make up what was seen but for the calls that are kept between entry and return.
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
 * The same for results of calls that one hook alone tells, of each container those that came first and whose place was free: an array
 * is looked up in a third of the time of a hash, and what is counted here needs no counting as seen. A place once taken is kept until
 * the slot is cleaned, so that no count ever moves.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, struct kw_first_results);
} first_results SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, struct kw_first_counts);
} first_counts SEC(".maps");

/*
 * The same for calls that were timed. An entry holds one power of two: a call has some ten of them, where an array of all would
 * take several times the memory, on every CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct kw_times_key);
	__type(value, struct kw_times);
} call_times SEC(".maps");

/*
 * Each container's share of the two: a new key is admitted while its container has no more keys than are free. It is the rule by
 * which the ring is shared (share.bpf.h): a program that makes up results leaves room for those of all others.
 *
 * Keys that were put in for each slot, ever, at slot 0 for all: of call_table at 2 * slot + KW_RESULT_KEYS, of call_times at
 * 2 * slot + KW_DURATION_KEYS. Added to before the key is put in, and taken off again when it is not. Never reset: what user
 * space has deleted is in keys_deleted, and what is there the difference.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * KW_BY_SLOT);
	__type(key, u32);
	__type(value, u32);
} keys_made SEC(".maps");

/* Written by user space, after it has deleted them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * KW_BY_SLOT);
	__type(key, u32);
	__type(value, u32);
} keys_deleted SEC(".maps");

static __always_inline void return_key(u32 slot, u32 table)
{
	u32 own = 2 * slot + table;
	u32 *own_made = bpf_map_lookup_elem(&keys_made, &own);
	u32 *all_made = bpf_map_lookup_elem(&keys_made, &table);

	if (own_made)
		__sync_fetch_and_add(own_made, -1);
	if (all_made)
		__sync_fetch_and_add(all_made, -1);
}

/* Whether the container may put in one more key, which is then counted. */
static __always_inline bool take_key(u32 slot, u32 table)
{
	u32 own = 2 * slot + table, zero = 0, room, held, used;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	u32 *own_made = bpf_map_lookup_elem(&keys_made, &own);
	u32 *all_made = bpf_map_lookup_elem(&keys_made, &table);
	u32 *own_deleted = bpf_map_lookup_elem(&keys_deleted, &own);
	u32 *all_deleted = bpf_map_lookup_elem(&keys_deleted, &table);

	if (!now || !own_made || !all_made || !own_deleted || !all_deleted)
		return false;
	room = table == KW_RESULT_KEYS ? now->shared_results : now->shared_durations;
	/* A look first: who is refused comes by at every call, and two CPUs that add to one word slow each other down. */
	if (room && *own_made - *own_deleted + *all_made - *all_deleted >= room)
		return false;
	held = __sync_fetch_and_add(own_made, 1) - *own_deleted;
	used = __sync_fetch_and_add(all_made, 1) - *all_deleted;
	if (!room || held + used < room)
		return true;
	return_key(slot, table);
	return false;
}

/* Where a result of a container may stand among its first: neighbours in number go to different places. */
static __always_inline u32 place_of(u64 key)
{
	return key * 0x9e3779b97f4a7c15ULL >> 59;
}

static __always_inline bool add_to_first(u32 slot_nr, u32 rest)
{
	union {
		struct kw_table_key fields;
		u64 number;
	} of = {.fields = {
			.slot = slot_nr >> 16, .nr = slot_nr, .error = rest >> 16, .flags = rest >> 8, .stage = rest}};
	u64 key = of.number;
	u32 slot = slot_nr >> 16;
	struct kw_first_results *first = bpf_map_lookup_elem(&first_results, &slot);
	struct kw_first_counts *counts;
	u32 place = place_of(key) & (KW_FIRST_RESULTS - 1);

	if (!first)
		return false;
	if (first->key[place] != key && (first->key[place] || __sync_val_compare_and_swap(&first->key[place], 0, key)))
		return false;
	counts = bpf_map_lookup_elem(&first_counts, &slot);
	if (!counts)
		return false;
	count(counts->calls[place]);
	return true;
}

/* A function of its own, checked once: five places count. Another CPU may put the same key in first. */
__noinline int add_to_table(u32 slot_nr, u32 rest)
{
	struct kw_table_key key = {
		.slot = slot_nr >> 16, .nr = slot_nr, .error = rest >> 16, .flags = rest >> 8, .stage = rest};
	u64 *calls, none = 0;

	calls = bpf_map_lookup_elem(&call_table, &key);
	if (!calls) {
		if (!take_key(key.slot, KW_RESULT_KEYS))
			return -1;
		if (bpf_map_update_elem(&call_table, &key, &none, BPF_NOEXIST))
			return_key(key.slot, KW_RESULT_KEYS);
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
	struct kw_times_key key = {.slot = slot_nr >> 16,
				   .nr = slot_nr,
				   .error = rest >> 16,
				   .flags = rest >> 8,
				   .power = log2_of(duration_ns)};
	struct kw_times *times, none = {};

	times = bpf_map_lookup_elem(&call_times, &key);
	if (!times) {
		if (!take_key(key.slot, KW_DURATION_KEYS))
			return -1;
		if (bpf_map_update_elem(&call_times, &key, &none, BPF_NOEXIST))
			return_key(key.slot, KW_DURATION_KEYS);
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

/* A call whose result is call->ret. Here it is counted as seen too, unless it was when it was kept at its entry. */
static __always_inline void tabulate_result(const struct call *call)
{
	u32 error = call->ret < 0 && call->ret >= -4095 ? -call->ret : 0;
	u32 slot_nr = call->owner.slot << 16 | call->nr;
	u32 rest = table_flags(call->flags) << 8 | (u8)*call->stage;

	if (error > KW_ERRNO_OTHER)
		error = KW_ERRNO_OTHER;
	rest |= error << 16;
	if (call->phase == KW_PHASE_EXIT) {
		if (add_to_first(slot_nr, rest))
			return;
		count(call->account->at_once);
	}
	if (call->phase == KW_PHASE_CALL && *call->stage == KW_STAGE_RUN) {
		if (!add_to_times(slot_nr, rest, call->duration_ns))
			return;
		count(call->account->untimed);
	}
	if (add_to_table(slot_nr, rest))
		count(call->account->untabled);
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
