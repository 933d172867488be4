/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a program has put into its submission ring: which call an entry stands for, with which arguments. */
#ifndef KUBEWARD_SQE_BPF_H
#define KUBEWARD_SQE_BPF_H

/* include/uapi/linux/io_uring.h */
#define KW_IORING_SETUP_SQE128 (1 << 10)
#define KW_IORING_SETUP_NO_SQARRAY (1 << 16)
#define KW_IORING_FSYNC_DATASYNC (1 << 0)

/* Written by user space, by opcode, before anything is attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_URING_OPS);
	__type(key, u32);
	__type(value, struct kw_uring_op);
} uring_ops SEC(".maps");

/* The kernel's own flag of a request that is done by credentials of its own. Written by user space before anything is attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} uring_creds_flag SEC(".maps");

/* A submission entry: an ABI, so the same everywhere. */
struct sqe {
	u8 opcode;
	u8 flags;
	u16 ioprio;
	u32 fd;
	u64 off;
	u64 addr;
	u32 len;
	u32 op_flags;
	u64 user_data;
	u16 buf_index;
	u16 personality;
	union {
		u32 file_index;
		u16 addr_len;
	};
	u64 addr3;
	u64 pad;
};

/* The entry that the kernel took last from its ring. It shares that memory with the program, which may have changed it since. */
static __always_inline bool read_last_sqe(const struct io_ring_ctx *ring, struct sqe *sqe)
{
	u32 flags = BPF_CORE_READ(ring, flags);
	u32 index = (BPF_CORE_READ(ring, cached_sq_head) - 1) & (BPF_CORE_READ(ring, sq_entries) - 1);
	u32 *array;

	if (!(flags & KW_IORING_SETUP_NO_SQARRAY)) {
		array = BPF_CORE_READ(ring, sq_array);
		if (bpf_probe_read_kernel(&index, sizeof(index), &array[index]))
			return false;
	}
	if (index >= BPF_CORE_READ(ring, sq_entries))
		return false;
	if (flags & KW_IORING_SETUP_SQE128)
		index <<= 1;
	return !bpf_probe_read_kernel(sqe, sizeof(*sqe), BPF_CORE_READ(ring, sq_sqes) + (u64)index * sizeof(*sqe));
}

static __always_inline u64 sqe_value(const struct sqe *sqe, u32 from)
{
	switch (from) {
	case KW_FROM_MINUS_ONE:
		return -1;
	case KW_FROM_FD:
		return sqe->fd;
	case KW_FROM_OFF:
		return sqe->off;
	case KW_FROM_ADDR:
		return sqe->addr;
	case KW_FROM_LEN:
		return sqe->len;
	case KW_FROM_OP_FLAGS:
		return sqe->op_flags;
	case KW_FROM_FILE_INDEX:
		return sqe->file_index;
	case KW_FROM_ADDR_LEN:
		return sqe->addr_len;
	case KW_FROM_ADDR3:
		return sqe->addr3;
	case KW_FROM_ADDR_OR_LEN:
		return sqe->addr ? sqe->addr : sqe->len;
	case KW_FROM_OFF_OR_LEN:
		return sqe->off ? sqe->off : sqe->len;
	}
	return 0;
}

/*
 * The credentials that the ring's owner registered and the request asks for; NULL: it is done by the submitter's. The kernel's word
 * alone: the entry may have changed since, and without the flag the pointer is left of an earlier request at that address.
 */
static __always_inline const struct cred *request_creds(struct io_kiocb *req)
{
	u32 zero = 0, *flag = bpf_map_lookup_elem(&uring_creds_flag, &zero);

	return flag && BPF_CORE_READ(req, flags) & *flag ? BPF_CORE_READ(req, creds) : NULL;
}

/* The call that the entry stands for: which, and its arguments. */
__noinline int read_request(struct sqe *sqe, struct call_args *args, u32 opcode)
{
	struct kw_uring_op *op = bpf_map_lookup_elem(&uring_ops, &opcode);

	if (!op || !sqe || !args)
		return -1;
	args->v[0] = sqe_value(sqe, op->from[0]);
	args->v[1] = sqe_value(sqe, op->from[1]);
	args->v[2] = sqe_value(sqe, op->from[2]);
	args->v[3] = sqe_value(sqe, op->from[3]);
	args->v[4] = sqe_value(sqe, op->from[4]);
	args->v[5] = sqe_value(sqe, op->from[5]);
	if ((op->when == KW_WHEN_NO_OFFSET && sqe->off == (u64)-1) ||
	    (op->when == KW_WHEN_DATASYNC && sqe->op_flags & KW_IORING_FSYNC_DATASYNC))
		return op->other_nr;
	return op->nr;
}

#endif
