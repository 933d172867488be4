/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Each container's share of the ring. A record is admitted while its container has no more in the ring than the ring has free:
 * n containers that write faster than the ring is read come to rest at 1/(n + 1) of it each, and as much stays free for whoever
 * is quiet. Nobody's share is set aside, so that one container alone may use half of the ring.
 */
#ifndef KUBEWARD_SHARE_BPF_H
#define KUBEWARD_SHARE_BPF_H

/* Bytes of the ring that each container's records took, ever. Added to before the record is written, so that what is written
 * at once on several CPUs counts; taken off again when it is not. Never reset: a slot's next container begins with both equal. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, u64);
} ring_written SEC(".maps");

/* And that were read. Written by the thread that reads the ring, record by record: it has the map in its memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, u64);
} ring_read SEC(".maps");

/* What a record takes in the ring: the kernel puts its own header before it and aligns both. */
static __always_inline u64 bytes_in_ring(u64 bytes)
{
	return (bytes + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
}

/* The container's record of `bytes` was not written after all. */
static __always_inline void return_share(const struct kw_settings *settings, u32 slot, u64 bytes)
{
	u64 *written;

	if (!settings->shared_bytes)
		return;
	written = bpf_map_lookup_elem(&ring_written, &slot);
	if (written)
		__sync_fetch_and_add(written, -bytes_in_ring(bytes));
}

/* Whether a record of `bytes` fits into the container's share, from which it is then taken. */
static __always_inline bool take_share(const struct kw_settings *settings, u32 slot, u64 bytes)
{
	u64 *written, *read, waiting;

	if (!settings->shared_bytes)
		return true;
	written = bpf_map_lookup_elem(&ring_written, &slot);
	read = bpf_map_lookup_elem(&ring_read, &slot);
	if (!written || !read)
		return false;
	bytes = bytes_in_ring(bytes);
	waiting = __sync_fetch_and_add(written, bytes) + bytes - *read;
	if (waiting + bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) <= settings->shared_bytes)
		return true;
	__sync_fetch_and_add(written, -bytes);
	return false;
}

#endif
