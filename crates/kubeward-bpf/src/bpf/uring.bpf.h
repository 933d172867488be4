/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Operations that a task submits to an io_uring in place of calls: each is a call that is entered when the request is submitted
 * and returns when it is answered, which may happen in another task.
 *
 * The kernel names a request by its address from submission to answer, and uses the address again after that. Answers come
 * without it where one request has several (accept and receive, multishot) and where the ring for them is full: those are found
 * by ring and user_data. A request that asks for no answer on success is told when it is submitted.
 */
#ifndef KUBEWARD_URING_BPF_H
#define KUBEWARD_URING_BPF_H

/* include/uapi/linux/io_uring.h */
#define KW_IOSQE_CQE_SKIP_SUCCESS (1 << 6)
#define KW_IORING_CQE_F_MORE (1 << 1)
#define KW_IORING_CQE_F_NOTIF (1 << 3)
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

/* A request to an io_uring between its submission and its answer. */
struct uring_request {
	struct kw_record record; /* as it was when the request was submitted */
	u64 ring;
	u64 user_data;
	u64 closes; /* submitted to the ring before */
	u32 items_bytes;
	u32 tgid;
};

struct uring_answer_key {
	u64 ring;
	u64 user_data;
};

#define KW_URING_REQUESTS 16384
#define KW_URING_ITEMS_BYTES 2112 /* two strings of 1,024 bytes with their headers */

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
 * The request that an answer without its address is of: one of several, or one that the completion ring had no room for. Of
 * requests of one ring with the same user_data the last. When full, such answers are not seen.
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

/* As record_buffers, which may hold the strings of the call that the task is in when a request is answered. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record_buffer);
} uring_buffers SEC(".maps");

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
 * Whether the descriptor that was opened can be looked up in the current task's table. An answer may be told after other
 * requests have closed the descriptor and opened another file under its number. So nothing is said of the file when a close was
 * submitted since the open was, or one of before is not answered yet.
 */
static __always_inline bool has_descriptor(const struct call *call, const struct uring_request *request)
{
	struct ring_closes *closes;
	u64 ring = request->ring;

	if (!(call->shape->flags & KW_SHAPE_OPENS) || call->ret < 0 || request->record.uring_flags & KW_URING_DIRECT)
		return false;
	closes = bpf_map_lookup_elem(&uring_closes, &ring);
	return closes && closes->submitted == request->closes && closes->answered == request->closes;
}

/* The items of an answered request: those read when it was submitted, and what the kernel filled since. */
static __always_inline struct record_buffer *answer_items(struct call *call, const struct uring_request *request,
							  u64 id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	bool is_inside = call->phase != KW_PHASE_ENTER && request->tgid == (u32)task->tgid;
	bool has_path = is_inside && has_descriptor(call, request);
	bool has_outputs = is_inside && call->shape->flags & KW_SHAPE_OUT && call->ret >= 0;
	u64 bytes = request->items_bytes;
	struct record_buffer *buffer;
	u8 *items;

	if (!bytes && !has_path && !has_outputs)
		return NULL;
	buffer = bpf_task_storage_get(&uring_buffers, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	items = bpf_map_lookup_elem(&uring_items, &id);
	if (!buffer || (bytes && !items)) {
		call->flags |= KW_RECORD_NO_ITEMS;
		count(call->account->no_buffer);
		return NULL;
	}
	buffer->record.items_bytes = 0;
	buffer->record.flags = call->flags;
	checked(bytes);
	if (items && bytes && bytes <= KW_URING_ITEMS_BYTES && !bpf_probe_read_kernel(buffer->items, bytes, items))
		buffer->record.items_bytes = bytes;
	if (has_outputs && append_outputs(buffer, &call->args, call->native_nr))
		count(call->account->unreadable);
	if (has_path)
		append_fd_path(buffer, task, call->ret);
	return buffer;
}

/* Fills `call` with what is known of a kept request. False: nobody is interested in it any more. */
static __always_inline bool reopen(struct call *call, const struct uring_request *request, bool is_answered)
{
	u32 zero = 0, nr = request->record.nr;
	struct kw_account *account;
	bool is_named;

	call->settings = bpf_map_lookup_elem(&settings, &zero);
	call->shape = bpf_map_lookup_elem(&call_shapes, &nr);
	call->task = bpf_get_current_task_btf();
	call->submitted = &request->record;
	call->owner.slot = request->record.slot;
	call->owner.identity = request->record.identity;
	call->owner.exec_id = request->record.exec_id;
	call->args.v[0] = request->record.args[0];
	call->args.v[1] = request->record.args[1];
	call->args.v[2] = request->record.args[2];
	call->args.v[3] = request->record.args[3];
	call->args.v[4] = request->record.args[4];
	call->args.v[5] = request->record.args[5];
	call->native_nr = nr;
	call->shape_nr = nr;
	call->number = nr;
	call->nr = nr;
	call->probe = request->record.probe;
	call->flags = request->record.flags;
	call->uring_opcode = request->record.uring_opcode;
	call->uring_flags = request->record.uring_flags;
	call->mono_ns = request->record.mono_ns;
	account = bpf_map_lookup_elem(&accounts, &call->owner.slot);
	if (!call->settings || !call->shape || !account)
		return false;
	count(account->left);
	is_named = find_account(call) && find_want(call) && call->want;
	if (!call->account || !call->stage)
		return false;
	if (is_answered)
		tabulate_result(call);
	else
		tabulate_unfinished(account, call->owner.slot, call->nr, call->flags);
	if (!is_named)
		count(account->filtered_policy);
	return is_named;
}

static __always_inline void forget(const struct uring_request *request, u64 id)
{
	struct uring_answer_key key = {.ring = request->ring, .user_data = request->user_data};
	u64 *named = bpf_map_lookup_elem(&uring_answers, &key);

	if (named && *named == id)
		bpf_map_delete_elem(&uring_answers, &key);
	if (request->items_bytes)
		bpf_map_delete_elem(&uring_items, &id);
	bpf_map_delete_elem(&uring_requests, &id);
}

/* The address is another request's now, so the answer to this one was not seen: it is told without. */
static __always_inline void tell_unanswered(const struct uring_request *request, u64 id)
{
	struct call call;

	call.phase = KW_PHASE_ENTER;
	call.ret = 0;
	call.duration_ns = 0;
	if (reopen(&call, request, false) && !is_told_by_count(&call))
		emit(&call, answer_items(&call, request, id));
	forget(request, id);
}

/* Reads what the request points to and keeps it. The submitter is in io_uring_enter or a thread of the ring: record_buffers has
 * nothing of another call. */
static __always_inline u32 keep_items(struct call *call, u64 id)
{
	struct record_buffer *buffer = read_inputs(call, true);
	u64 bytes;

	if (!buffer)
		return 0;
	bytes = buffer->record.items_bytes;
	if (bytes == 0)
		return 0;
	if (bytes > KW_URING_ITEMS_BYTES || bpf_map_update_elem(&uring_items, &id, buffer->items, BPF_ANY)) {
		call->flags |= KW_RECORD_NO_ITEMS;
		count(call->account->no_buffer);
		return 0;
	}
	return bytes;
}

/* Keeps the request until it is answered. False: there is no room or memory for it. */
static __always_inline bool keep_request(struct call *call, u64 id, u64 ring, u64 user_data)
{
	struct uring_answer_key key = {.ring = ring, .user_data = user_data};
	struct ring_closes *closes = NULL;
	struct uring_request *request;
	u32 zero = 0;
	void *blank = bpf_map_lookup_elem(&uring_blank, &zero);

	if (!blank || bpf_map_update_elem(&uring_requests, &id, blank, BPF_ANY))
		return false;
	request = bpf_map_lookup_elem(&uring_requests, &id);
	if (!request)
		return false;
	count(call->account->seen);
	count(call->account->entered);
	if (!(call->want & KW_WANT_COUNT))
		request->items_bytes = keep_items(call, id);
	call->phase = KW_PHASE_CALL;
	call->ret = 0;
	call->duration_ns = 0;
	fill_record(&request->record, call, 0);
	request->ring = ring;
	request->user_data = user_data;
	request->tgid = call->task->tgid;
	if (call->shape->flags & KW_SHAPE_OPENS)
		closes = closes_of(ring);
	if (closes)
		request->closes = closes->submitted;
	bpf_map_update_elem(&uring_answers, &key, &id, BPF_ANY);
	return true;
}

/* Whose the request is and what is wanted of it; false: nothing. */
static __always_inline bool open_request(struct call *call, u32 nr, u32 probe)
{
	u32 zero = 0;

	call->task = bpf_get_current_task_btf();
	call->probe = probe;
	call->flags = KW_RECORD_IO_URING;
	call->cred = NULL;
	call->submitted = NULL;
	call->native_nr = nr;
	call->shape_nr = nr;
	call->number = nr;
	call->nr = nr;
	call->settings = bpf_map_lookup_elem(&settings, &zero);
	call->shape = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!call->settings || call->settings->silenced || !call->shape)
		return false;
	if (!(call->settings->raw_hooks[bounded(nr)] | call->settings->function_hooks[bounded(nr)]))
		return false;
	return identify(call->task, call->settings, &call->owner) && find_account(call) && find_want(call) &&
	       call->want & (KW_WANT_ENTER | KW_WANT_EXIT | KW_WANT_CALL);
}

/* A request was taken from its ring: `refused` already, or to be done. */
static __always_inline int on_submit(struct io_kiocb *req, u32 probe, bool refused)
{
	struct io_ring_ctx *ring = BPF_CORE_READ(req, ctx);
	u32 opcode = BPF_CORE_READ(req, opcode);
	u64 id = (u64)req;
	struct uring_request *old = bpf_map_lookup_elem(&uring_requests, &id);
	struct kw_uring_op *op = bpf_map_lookup_elem(&uring_ops, &opcode);
	struct ring_closes *closes;
	struct sqe sqe;
	struct call call;
	s32 nr;

	if (old)
		tell_unanswered(old, id);
	if (!op || op->nr >= KW_CALLS)
		return 0;
	if (op->flags & KW_URING_OP_CLOSES) {
		closes = closes_of((u64)ring);
		if (closes)
			count(closes->submitted);
	}
	if (!read_last_sqe(ring, &sqe))
		return 0;
	nr = read_request(&sqe, &call.args, opcode);
	if (nr < 0 || nr >= KW_CALLS || !open_request(&call, nr, probe))
		return 0;
	call.uring_opcode = opcode;
	call.uring_flags = BPF_CORE_READ(req, flags) & 0x7f;
	if (op->flags & KW_URING_OP_FILE_INDEX && sqe.file_index)
		call.uring_flags |= KW_URING_DIRECT;
	/* Registered credentials, which a refused request may not have. */
	if (sqe.personality && !refused)
		call.cred = BPF_CORE_READ(req, creds);
	call.mono_ns = bpf_ktime_get_ns();
	if ((call.want & (KW_WANT_ENTER | KW_WANT_EXIT | KW_WANT_CALL)) == KW_WANT_ENTER ||
	    call.uring_flags & KW_IOSQE_CQE_SKIP_SUCCESS ||
	    !keep_request(&call, id, (u64)ring, BPF_CORE_READ(req, cqe.user_data)))
		tell_entry(&call);
	return 0;
}

/* The request goes on, to its next answer. */
static __always_inline void go_on(struct uring_request *request)
{
	u32 slot = request->record.slot;
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &slot);

	if (!account)
		return;
	count(account->seen);
	count(account->entered);
	request->record.mono_ns = bpf_ktime_get_ns();
}

/* An answer comes: `id` is the request's address, and `more` says that it is not the last. */
static __always_inline int answer_request(u64 id, s32 res, bool more)
{
	struct uring_request *request = bpf_map_lookup_elem(&uring_requests, &id);
	struct call call;

	if (!request)
		return 0;
	call.phase = KW_PHASE_CALL;
	call.ret = res;
	call.duration_ns = bpf_ktime_get_ns() - request->record.mono_ns;
	if (reopen(&call, request, true) && is_wanted_return(&call))
		emit(&call, answer_items(&call, request, id));
	if (more)
		go_on(request);
	else
		forget(request, id);
	return 0;
}

static __always_inline u32 op_flags(u32 opcode)
{
	struct kw_uring_op *op = bpf_map_lookup_elem(&uring_ops, &opcode);

	return op ? op->flags : 0;
}

/* An answer that does not name its request: a further one, or one that the ring has no room for. */
static __always_inline int on_nameless_answer(u64 ring, u64 user_data, s32 res, u32 flags)
{
	struct uring_answer_key key = {.ring = ring, .user_data = user_data};
	u64 *named = bpf_map_lookup_elem(&uring_answers, &key);
	struct uring_request *request;
	bool more = flags & KW_IORING_CQE_F_MORE;
	u64 id;

	if (!named || flags & KW_IORING_CQE_F_NOTIF)
		return 0;
	id = *named;
	request = bpf_map_lookup_elem(&uring_requests, &id);
	if (request && op_flags(request->record.uring_opcode) & KW_URING_OP_NOTIFIES)
		more = false;
	return answer_request(id, res, more);
}

/* The last answer of a request, or, with no request, one of several. */
static __always_inline int on_answer(u64 ring, u64 id, u64 user_data, s32 res, u32 flags)
{
	struct ring_closes *closes;

	if (flags & KW_IORING_CQE_F_NOTIF)
		return 0;
	if (!id)
		return flags & KW_IORING_CQE_F_MORE ? on_nameless_answer(ring, user_data, res, flags) : 0;
	if (op_flags(BPF_CORE_READ((struct io_kiocb *)id, opcode)) & KW_URING_OP_CLOSES) {
		closes = bpf_map_lookup_elem(&uring_closes, &ring);
		if (closes)
			count(closes->answered);
	}
	return answer_request(id, res, false);
}

#endif
