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

/* As record_buffers, which may hold the strings of the call that the task is in when a request is answered. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record_buffer);
} uring_buffers SEC(".maps");

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

/* Fills `call` with what is known of a kept request. */
static __always_inline void reopen(struct call *call, const struct uring_request *request)
{
	u32 zero = 0, nr = request->record.nr;

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
	call->mono_ns = request->record.mono_ns;
}

/* Ends the request's account for one result, KW_PHASE_ENTER: for none. False: nobody is interested in it any more. */
static __always_inline bool settle(struct call *call)
{
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &call->owner.slot);
	bool is_named;

	if (!account || !call->settings || !call->shape)
		return false;
	count(account->left);
	is_named = find_want(call);
	if (!find_account(call))
		return false;
	if (call->phase == KW_PHASE_ENTER)
		tabulate_unfinished(account, call->owner.slot, call->nr, call->flags);
	else
		tabulate_result(call);
	if (!is_named)
		count(account->filtered_policy);
	return is_named;
}

/* Whether the request is still its slot's: see is_of_slot. */
static __always_inline bool is_request_of_slot(const struct uring_request *request)
{
	u32 slot = request->record.slot;
	struct kw_container *container = bpf_map_lookup_elem(&containers, &slot);

	return container && container->opened_ns <= request->record.mono_ns;
}

/*
 * The address is another request's now, so the answer to this one was not seen: it is told without. `call` is room for it: the stack
 * holds no second one beside what the table needs.
 */
static __always_inline void tell_unanswered(struct call *call, const struct uring_request *request, u64 id)
{
	reopen(call, request);
	call->phase = KW_PHASE_ENTER;
	call->ret = 0;
	call->duration_ns = 0;
	if (awake() && is_request_of_slot(request) && settle(call) && !is_told_by_count(call))
		emit(call, answer_items(call, request, id));
	forget(request, id);
}

/*
 * Reads what the request points to and keeps it; the number of bytes. The submitter is in io_uring_enter or a thread of the ring:
 * record_buffers has nothing of another call.
 */
static __always_inline u32 keep_items(struct call *call, u64 id)
{
	u32 limit = call->profile->arg_bytes;
	struct record_buffer *buffer;
	u64 bytes;

	if (!(call->shape->flags & KW_SHAPE_IN))
		return 0;
	/* Nobody reads them, unless a policy does by the time of the answer. */
	if (call->want & KW_WANT_COUNT) {
		call->flags |= KW_RECORD_NO_ITEMS;
		return 0;
	}
	buffer = open_buffer(call);
	if (!buffer)
		return 0;
	if (limit > KW_URING_STRING_BYTES)
		limit = KW_URING_STRING_BYTES;
	if (append_inputs(buffer, &call->args, call->native_nr, limit))
		count(call->account->unreadable);
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
	struct ring_closes *closes = NULL;
	struct uring_request *request;
	u32 zero = 0;
	void *blank = bpf_map_lookup_elem(&uring_blank, &zero);

	if (!blank || bpf_map_update_elem(&uring_requests, &id, blank, BPF_ANY))
		return false;
	request = bpf_map_lookup_elem(&uring_requests, &id);
	if (!request)
		return false;
	count(call->account->entered);
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
	link_request(request, id);
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
	return identify(call->task, find_tag(call->task), call->settings, &call->owner) && find_want(call) &&
	       find_account(call) && call->want & (KW_WANT_ENTER | KW_WANT_EXIT | KW_WANT_CALL);
}

/* The call's number and arguments, -1: it is none. Its own function, so that the entry is off the stack again afterwards. */
static __always_inline s32 read_submitted(struct io_ring_ctx *ring, u32 opcode, struct call_args *args,
					  bool *has_file_index)
{
	struct sqe sqe;

	if (!read_last_sqe(ring, &sqe))
		return -1;
	*has_file_index = sqe.file_index != 0;
	return read_request(&sqe, args, opcode);
}

/* A request was taken from its ring, to be done or refused. */
static __always_inline int on_submit(struct io_kiocb *req, u32 probe)
{
	struct io_ring_ctx *ring = BPF_CORE_READ(req, ctx);
	u32 opcode = BPF_CORE_READ(req, opcode);
	u64 id = (u64)req;
	struct uring_request *old = bpf_map_lookup_elem(&uring_requests, &id);
	struct kw_uring_op *op = bpf_map_lookup_elem(&uring_ops, &opcode);
	struct ring_closes *closes;
	bool has_file_index = false;
	struct call call;
	s32 nr;

	if (old)
		tell_unanswered(&call, old, id);
	if (!op || op->nr >= KW_CALLS)
		return 0;
	if (op->flags & KW_URING_OP_CLOSES) {
		closes = closes_of((u64)ring);
		if (closes)
			count(closes->submitted);
	}
	nr = read_submitted(ring, opcode, &call.args, &has_file_index);
	if (nr < 0 || nr >= KW_CALLS || !open_request(&call, nr, probe))
		return 0;
	call.uring_opcode = opcode;
	call.uring_flags = BPF_CORE_READ(req, flags) & 0x7f;
	if (op->flags & KW_URING_OP_FILE_INDEX && has_file_index)
		call.uring_flags |= KW_URING_DIRECT;
	call.cred = request_creds(req);
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
	count(account->entered);
	request->record.mono_ns = bpf_ktime_get_ns();
}

/* An answer comes: `id` is the request's address, and `more` says that it is not the last. */
static __always_inline int answer_request(u64 id, u64 ring, u64 user_data, s32 res, bool more)
{
	struct uring_request *request = find_request(id, ring, user_data);
	struct call call;

	if (!request || !awake())
		return 0;
	if (!is_request_of_slot(request)) {
		forget(request, id);
		return 0;
	}
	reopen(&call, request);
	call.phase = KW_PHASE_CALL;
	call.ret = res;
	call.duration_ns = bpf_ktime_get_ns() - call.mono_ns;
	if (settle(&call) && !is_told_by_count(&call) && is_wanted_return(&call))
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

/* Requests of one ring with the same user_data that are looked through for an answer's. */
#define KW_URING_NAMESAKES 64

struct answer_search {
	u64 ring;
	u64 user_data;
	u64 id; /* to be looked at next */
	u64 found;
	s32 res;
	u32 flags;
};

/* Looks at one request. Returns 0 while there is more to do. */
__noinline int search_step(struct answer_search *search)
{
	struct uring_request *request;
	struct io_kiocb *req;
	u64 id;

	if (!search)
		return 1;
	id = search->id;
	request = find_request(id, search->ring, search->user_data);
	if (!request)
		return 1;
	if (search->flags & KW_IORING_CQE_F_MORE) {
		/* The newest that can have several answers. */
		if (op_flags(request->record.uring_opcode) & (KW_URING_OP_REPEATS | KW_URING_OP_NOTIFIES)) {
			search->found = id;
			return 1;
		}
	} else {
		/* The oldest in which the kernel has put that answer. */
		req = (struct io_kiocb *)id;
		if (BPF_CORE_READ(req, cqe.res) == search->res && BPF_CORE_READ(req, cqe.flags) == search->flags)
			search->found = id;
	}
	search->id = request->older;
	return search->id == 0;
}

/* An answer that does not name its request: a further one, or one that the ring has no room for. */
static __always_inline int on_nameless_answer(u64 ring, u64 user_data, s32 res, u32 flags)
{
	struct uring_answer_key key = {.ring = ring, .user_data = user_data};
	struct answer_search search = {.ring = ring, .user_data = user_data, .res = res, .flags = flags};
	u64 *newest = bpf_map_lookup_elem(&uring_answers, &key);
	struct uring_request *request;
	bool more = flags & KW_IORING_CQE_F_MORE;

	if (!newest || flags & KW_IORING_CQE_F_NOTIF)
		return 0;
	search.id = *newest;
	for (int i = 0; i < KW_URING_NAMESAKES; i++) {
		if (search_step(&search))
			break;
	}
	request = bpf_map_lookup_elem(&uring_requests, &search.found);
	if (request && op_flags(request->record.uring_opcode) & KW_URING_OP_NOTIFIES)
		more = false;
	return answer_request(search.found, ring, user_data, res, more);
}

/* The last answer of a request, or, with no request, one of several. */
static __always_inline int on_answer(u64 ring, u64 id, u64 user_data, s32 res, u32 flags)
{
	struct io_kiocb *req = (struct io_kiocb *)id;
	struct ring_closes *closes;

	if (flags & KW_IORING_CQE_F_NOTIF)
		return 0;
	if (!id)
		return flags & KW_IORING_CQE_F_MORE ? on_nameless_answer(ring, user_data, res, flags) : 0;
	if (op_flags(BPF_CORE_READ(req, opcode)) & KW_URING_OP_CLOSES) {
		closes = bpf_map_lookup_elem(&uring_closes, &ring);
		if (closes)
			count(closes->answered);
	}
	/* The kernel's own user_data: the answer's may be read from the ring, where the program can write. */
	return answer_request(id, ring, BPF_CORE_READ(req, cqe.user_data), res, false);
}

struct bpf_map;

static long end_request(struct bpf_map *requests, u64 *key, struct uring_request *request, void *unused)
{
	struct call call;

	tell_unanswered(&call, request, *key);
	return 0;
}

static long drop_answer(struct bpf_map *answers, struct uring_answer_key *key, u64 *newest, void *unused)
{
	struct uring_answer_key answer = *key;

	bpf_map_delete_elem(&uring_answers, &answer);
	return 0;
}

static long drop_closes(struct bpf_map *closes_by_ring, u64 *key, struct ring_closes *closes, void *unused)
{
	u64 ring = *key;

	bpf_map_delete_elem(&uring_closes, &ring);
	return 0;
}

/*
 * Tells every request that is kept without its answer, and forgets all else. While no hook is there, answers are not seen and
 * addresses become other requests': what was kept would answer for these.
 */
static __always_inline int end_requests(void)
{
	bpf_for_each_map_elem(&uring_requests, end_request, NULL, 0);
	bpf_for_each_map_elem(&uring_answers, drop_answer, NULL, 0);
	bpf_for_each_map_elem(&uring_closes, drop_closes, NULL, 0);
	return 0;
}

#endif
