/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Rate limits of policies, kept before a record is made. Each container has a bucket for each policy of its profile that has a
 * limit and wants every record of the calls that it names. User space has the same buckets, and pays and refuses by the same
 * arithmetic at the same moments: what is dropped here it would have dropped. What only user space can judge it judges.
 */
#ifndef KUBEWARD_LIMITS_BPF_H
#define KUBEWARD_LIMITS_BPF_H

/* Written by user space beside the profile of the same number, and before it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_PROFILES);
	__type(key, u32);
	__type(value, struct kw_limits);
} profile_limits SEC(".maps");

/* Written by user space when a container gets another profile, and here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_SLOTS);
	__type(key, u32);
	__type(value, struct kw_buckets);
} limit_buckets SEC(".maps");

/* Tries to take a token while other CPUs do. */
#define TOKEN_TRIES 4

/* False: there is none. True without a token when others took one at each try: then user space decides. */
static __always_inline bool take_token(u64 *full_at_ns, const struct kw_limit *limit, u64 now_ns)
{
#pragma unroll
	for (u32 try = 0; try < TOKEN_TRIES; try++) {
		u64 before = *full_at_ns;
		u64 full = (before > now_ns ? before : now_ns) + limit->token_ns;

		if (full - now_ns > limit->burst_ns)
			return false;
		if (__sync_val_compare_and_swap(full_at_ns, before, full) == before)
			return true;
	}
	return true;
}

/* Takes a token for each policy that wants the record and has one. A function of its own, checked once. */
__noinline int has_token(u32 slot, u32 profile, u32 limited, u64 now_ns)
{
	struct kw_limits *limits = bpf_map_lookup_elem(&profile_limits, &profile);
	struct kw_buckets *buckets = bpf_map_lookup_elem(&limit_buckets, &slot);
	bool has = limited & KW_LIMIT_OTHERS;

	/* Buckets of the profile before: those of this one are full, and are about to be there. */
	if (!limits || !buckets || buckets->profile != profile)
		return 1;
#pragma unroll
	for (u32 at = 0; at < KW_LIMITS; at++) {
		if (limited >> at & 1)
			has |= take_token(&buckets->full_at_ns[at], &limits->of[at], now_ns);
	}
	return has;
}

/* Whether user space will want the record: what was not measured, or has not returned, passes no filter by duration or error. */
static __always_inline bool passes_filters(const struct call *call)
{
	if (call->phase == KW_PHASE_CALL)
		return true;
	if (call->phase == KW_PHASE_EXIT)
		return !(call->want & KW_WANT_SLOW);
	return !(call->want & (KW_WANT_SLOW | KW_WANT_ERRORS));
}

/* Whether each policy that wants the call at hand is over its limit. Those that are not pay. */
static __always_inline bool is_over_limits(const struct call *call)
{
	u32 profile = call->container->profile;
	struct kw_limits *limits;
	u32 limited;

	if (!(call->want & KW_WANT_LIMITED))
		return false;
	limits = bpf_map_lookup_elem(&profile_limits, &profile);
	if (!limits)
		return false;
	limited = limits->calls[bounded(call->native_nr)];
	if (!limited || !passes_filters(call))
		return false;
	return !has_token(call->owner.slot, profile, limited, call->mono_ns + call->duration_ns);
}

#endif
