/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Requests to rings that are kept from submission to answer, and how one is found again. */
#ifndef KUBEWARD_REQUESTS_BPF_H
#define KUBEWARD_REQUESTS_BPF_H

/* A request to an io_uring between its submission and its answer. */
struct uring_request {
	struct kw_record record; /* as it was when the request was submitted */
	u64 ring;
	u64 user_data;
	u64 newer; /* requests of the ring with the same user_data, 0: none */
	u64 older;
	u64 closes; /* submitted to the ring before */
	u32 items_bytes;
	u32 tgid;
};

struct uring_answer_key {
	u64 ring;
	u64 user_data;
};

#define KW_URING_REQUESTS 16384
#define KW_URING_STRING_BYTES 1024
#define KW_URING_ITEMS_BYTES (2 * (KW_URING_STRING_BYTES + sizeof(struct kw_item)))

/* By the request's address in the kernel. When full, the request is told at its submission, without a result. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_URING_REQUESTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct uring_request);
} uring_requests SEC(".maps");

/* The items of those requests that have some, by the request's address. When full, they are told without. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_URING_REQUESTS / 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u8[KW_URING_ITEMS_BYTES]);
} uring_items SEC(".maps");

/*
 * The newest request of a ring with some user_data, from which the others can be reached: for an answer without its request's
 * address, which is one of several, or one that the completion ring had no room for. When full, such answers are not seen.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_URING_REQUESTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct uring_answer_key);
	__type(value, u64);
} uring_answers SEC(".maps");

/* Closes submitted to a ring, and those of them that were answered. */
struct ring_closes {
	u64 submitted;
	u64 answered;
};

/* By ring, since its first open or close. One that is pushed out begins anew at another number. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct ring_closes);
} uring_closes SEC(".maps");

/* What a request is kept as before it is filled in: nothing. Written by nobody. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct uring_request);
} uring_blank SEC(".maps");

/* NULL: they cannot be counted. */
static __always_inline struct ring_closes *closes_of(u64 ring)
{
	struct ring_closes *closes = bpf_map_lookup_elem(&uring_closes, &ring);
	struct ring_closes first;

	if (closes)
		return closes;
	first.submitted = first.answered = bpf_ktime_get_ns();
	bpf_map_update_elem(&uring_closes, &ring, &first, BPF_NOEXIST);
	return bpf_map_lookup_elem(&uring_closes, &ring);
}

/*
 * The request with this address, if it is of this ring and user_data still: an address outlives its request, and what is kept under
 * it may be another ring's by now.
 */
static __always_inline struct uring_request *find_request(u64 id, u64 ring, u64 user_data)
{
	struct uring_request *request = bpf_map_lookup_elem(&uring_requests, &id);

	return request && request->ring == ring && request->user_data == user_data ? request : NULL;
}

/* Makes the request the newest of its ring with its user_data. */
static __always_inline void link_request(struct uring_request *request, u64 id)
{
	struct uring_answer_key key = {.ring = request->ring, .user_data = request->user_data};
	u64 *newest = bpf_map_lookup_elem(&uring_answers, &key);
	u64 older_id = newest ? *newest : 0;
	struct uring_request *older = find_request(older_id, key.ring, key.user_data);

	if (older) {
		request->older = older_id;
		older->newer = id;
	}
	bpf_map_update_elem(&uring_answers, &key, &id, BPF_ANY);
}

static __always_inline void unlink_request(const struct uring_request *request)
{
	struct uring_answer_key key = {.ring = request->ring, .user_data = request->user_data};
	u64 newer_id = request->newer, older_id = request->older;
	struct uring_request *newer = find_request(newer_id, key.ring, key.user_data);
	struct uring_request *older = find_request(older_id, key.ring, key.user_data);

	if (older)
		older->newer = newer_id;
	if (newer)
		newer->older = older_id;
	else if (older)
		bpf_map_update_elem(&uring_answers, &key, &older_id, BPF_ANY);
	else
		bpf_map_delete_elem(&uring_answers, &key);
}

static __always_inline void forget(const struct uring_request *request, u64 id)
{
	unlink_request(request);
	if (request->items_bytes)
		bpf_map_delete_elem(&uring_items, &id);
	bpf_map_delete_elem(&uring_requests, &id);
}

#endif
