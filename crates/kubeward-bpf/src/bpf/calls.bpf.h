/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A call's entry and return, whichever hook shows them: who, wanted or not, account, what it points to. */
#ifndef KUBEWARD_CALLS_BPF_H
#define KUBEWARD_CALLS_BPF_H

static __always_inline struct record_buffer *open_buffer(struct call *call)
{
	struct record_buffer *buffer;

	buffer = bpf_task_storage_get(&record_buffers, call->task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!buffer) {
		call->flags |= KW_RECORD_NO_ITEMS;
		count(call->account->no_buffer);
		return NULL;
	}
	buffer->record.items_bytes = 0;
	buffer->record.flags = call->flags;
	return buffer;
}

/* Reads the caller's strings into the task's buffer; NULL when the call has none. */
static __always_inline struct record_buffer *read_inputs(struct call *call, bool count_unreadable)
{
	struct record_buffer *buffer;

	if (!(call->shape->flags & KW_SHAPE_IN) || call->flags & KW_RECORD_NO_ARGS)
		return NULL;
	buffer = open_buffer(call);
	if (!buffer)
		return NULL;
	buffer->unreadable = append_inputs(buffer, &call->args, call->shape_nr, pack_limits(call->profile));
	if (buffer->unreadable && count_unreadable)
		count(call->account->unreadable);
	return buffer;
}

static __always_inline bool is_setup(const struct call *call)
{
	return *call->stage == KW_STAGE_SETUP && !call->settings->emit_setup;
}

static __always_inline void read_args(struct call *call)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(call->task);

	call->flags &= ~KW_RECORD_NO_ARGS;
	arch_args(regs, call->flags & KW_RECORD_COMPAT, &call->args);
	if (call->flags & KW_RECORD_COMPAT && arrange_args(&call->args, call->shape_nr))
		call->flags |= KW_RECORD_NO_ARGS;
}

/* What needs no record: the runtime's work, and calls that are only to be counted. */
static __always_inline bool is_told_by_count(const struct call *call)
{
	if (is_setup(call))
		count(call->account->filtered_setup);
	else if (call->want & KW_WANT_COUNT)
		count(call->account->filtered_count);
	else
		return false;
	return true;
}

static __always_inline void tell_entry(struct call *call)
{
	count(call->account->at_once);
	tabulate_unfinished(call->account, call->owner.slot, call->nr, call->flags);
	if (is_told_by_count(call))
		return;
	call->phase = KW_PHASE_ENTER;
	call->ret = 0;
	call->duration_ns = 0;
	if (is_over_limits(call))
		count(call->account->sampled);
	else
		emit(call, read_inputs(call, true));
}

/*
 * Whether the call is still its slot's. A task that was found by its namespaces carries no tag: it may sit in a call until the slot
 * is another container's, whose account must not have it.
 */
static __always_inline bool is_of_slot(const struct pending_call *pending)
{
	u32 slot = pending->owner.slot;
	struct kw_container *container = bpf_map_lookup_elem(&containers, &slot);

	return container && container->opened_ns <= pending->mono_ns;
}

/*
 * Ends a kept call whose return was not shown: nobody watched its returns any more, or a hook missed it.
 */
static __always_inline void give_up(struct pending_call *pending)
{
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &pending->owner.slot);
	u32 nr = pending->nr;
	struct kw_shape *shape = bpf_map_lookup_elem(&call_shapes, &nr);

	pending->active = 0;
	if (!account || !is_of_slot(pending))
		return;
	count(account->left);
	tabulate_unfinished(account, pending->owner.slot, pending->call_nr, pending->flags);
	if (shape && shape->exit_since_ns && shape->exit_since_ns <= pending->mono_ns)
		count(account->lost_return);
	else
		count(account->filtered_policy);
}

/* Keeps the call until its return. An earlier one that is still kept has lost its return. */
static __always_inline void keep_entry(struct call *call)
{
	struct pending_call *pending;

	pending = bpf_task_storage_get(&pending_calls, call->task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (pending && call->tag)
		call->tag->is_idle = 0;
	if (!pending) {
		/* Told at its return alone, unless the return does not know what it is of. */
		if (call->shape->flags & KW_SHAPE_ENTRY_KNOWS) {
			count(call->account->at_once);
			count(call->account->lost_storage);
			tabulate_unfinished(call->account, call->owner.slot, call->nr, call->flags);
		}
		return;
	}
	if (pending->active)
		give_up(pending);
	count(call->account->entered);
	pending->nr = call->native_nr;
	pending->call_nr = call->nr;
	pending->shape_nr = call->shape_nr;
	pending->number = call->number;
	pending->probe = call->probe;
	pending->owner = call->owner;
	pending->args = call->args;
	pending->has_items = 0;
	if (!(call->want & KW_WANT_COUNT) && read_inputs(call, false))
		pending->has_items = 1;
	pending->flags = call->flags;
	/* Last: what was read here is no part of the call. */
	pending->mono_ns = bpf_ktime_get_ns();
	pending->active = 1;
}

static __always_inline int on_enter(s32 id, u32 probe)
{
	struct call call;
	u32 wants;

	if (!open_call(&call, id, false, probe, KW_HOOK_ENTER))
		return 0;
	call.tag = find_tag(call.task);
	if (!identify(call.task, call.tag, call.settings, &call.owner) || !find_want(&call) || !find_account(&call))
		return 0;
	wants = call.want & (KW_WANT_ENTER | KW_WANT_EXIT | KW_WANT_CALL);
	if (!wants || !claim(&call, KW_HOOK_ENTER))
		return 0;
	if (call.shape->flags & KW_SHAPE_NO_RETURN ||
	    (wants == KW_WANT_ENTER && !(call.shape->flags & KW_SHAPE_EXEC))) {
		call.mono_ns = bpf_ktime_get_ns();
		read_args(&call);
		tell_entry(&call);
	} else if (wants & KW_WANT_CALL || call.shape->flags & (KW_SHAPE_EXEC | KW_SHAPE_ENTRY_KNOWS)) {
		read_args(&call);
		keep_entry(&call);
	}
	return 0;
}

/* Whether the result is one that some policy waits for. */
static __always_inline bool is_wanted_result(const struct call *call)
{
	u32 error = -call->ret;

	if (!(call->want & KW_WANT_ERRORS))
		return true;
	if (call->ret >= 0 || error >= KW_ERRNO_WORDS * 64)
		return false;
	return call->profile->errors[error / 64] >> (error % 64) & 1;
}

/*
 * Refused by a seccomp filter: the call returned without having entered. That is certain only where its entry would have been
 * kept: since the hook and the profile are there, the thread has entered another call or was born. A filter's "trap" leaves the
 * call's number as its result.
 */
static __always_inline bool is_refused(const struct call *call)
{
	const struct pending_call *pending;
	u64 since = call->container->since_ns;

	if (!(call->want & KW_WANT_CALL) || !is_raw(call->probe) || !call->shape->enter_since_ns)
		return false;
	if ((call->ret >= 0 || call->ret < -4095) && call->ret != call->number)
		return false;
	if (call->task->seccomp.mode != KW_SECCOMP_MODE_FILTER)
		return false;
	if (call->shape->enter_since_ns > since)
		since = call->shape->enter_since_ns;
	pending = bpf_task_storage_get(&pending_calls, call->task, 0, 0);
	return (pending && pending->mono_ns > since) || call->task->start_time > since;
}

/* The items of a record told at return: those kept from entry, or read now, and what the kernel filled. */
static __always_inline struct record_buffer *finish_items(struct call *call, const struct pending_call *pending)
{
	struct record_buffer *buffer = NULL;
	bool is_replaced = call->shape->flags & KW_SHAPE_EXEC && call->ret == 0;
	bool reread = !pending;

	/* A call that was only to be counted when it was entered kept none. */
	if (pending && !pending->has_items && !is_replaced && !(call->flags & KW_RECORD_NO_ITEMS))
		reread = true;
	if (pending && pending->has_items) {
		buffer = bpf_task_storage_get(&record_buffers, call->task, 0, 0);
		/* A page that was not there at entry was fetched by the kernel since, unless exec replaced it all. */
		if (buffer && buffer->unreadable && !is_replaced)
			reread = true;
		else if (buffer && buffer->unreadable)
			count(call->account->unreadable);
	}
	if (reread)
		buffer = read_inputs(call, true);
	if (call->shape->flags & KW_SHAPE_OUT && call->ret >= 0 && !(call->flags & KW_RECORD_NO_ARGS)) {
		if (!buffer)
			buffer = open_buffer(call);
		if (buffer && append_outputs(buffer, &call->args, call->shape_nr))
			count(call->account->unreadable);
	}
	if (call->shape->flags & KW_SHAPE_OPENS && call->ret >= 0) {
		if (!buffer)
			buffer = open_buffer(call);
		if (buffer)
			append_fd_path(buffer, call->task, call->ret);
	}
	return buffer;
}

/* Whether a return that is not told by its count is to be told; counts why not. */
static __always_inline bool is_wanted_return(struct call *call)
{
	if (!is_wanted_result(call)) {
		count(call->account->filtered_errors);
		return false;
	}
	if (call->want & KW_WANT_SLOW && call->phase == KW_PHASE_CALL &&
	    call->duration_ns < call->profile->min_duration_ns) {
		count(call->account->filtered_duration);
		return false;
	}
	if (is_over_limits(call)) {
		count(call->account->sampled);
		return false;
	}
	return true;
}

/* The return of a call whose entry was kept: its account and arguments are the entry's. */
static __always_inline void return_kept(struct call *call, struct pending_call *pending)
{
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &pending->owner.slot);
	bool is_named;

	pending->active = 0;
	call->owner = pending->owner;
	if (!account || !is_of_slot(pending))
		return;
	count(account->left);
	call->nr = pending->call_nr;
	call->shape_nr = pending->shape_nr;
	call->number = pending->number;
	call->flags = pending->flags;
	call->mono_ns = pending->mono_ns;
	call->duration_ns = bpf_ktime_get_ns() - pending->mono_ns;
	call->phase = KW_PHASE_CALL;
	is_named = find_want(call);
	if (!find_account(call))
		return;
	tabulate_result(call);
	if (!is_named) {
		count(account->filtered_policy);
		return;
	}
	if (is_told_by_count(call) || !is_wanted_return(call))
		return;
	call->args = pending->args;
	/* The page was not there at entry; the kernel has fetched it since. */
	if (call->flags & KW_RECORD_NO_ARGS) {
		read_args(call);
		pending = NULL;
	}
	emit(call, finish_items(call, pending));
}

static __always_inline bool has_shape(u32 nr, u32 flag)
{
	struct kw_shape *shape = bpf_map_lookup_elem(&call_shapes, &nr);

	return shape && shape->flags & flag;
}

/*
 * The call that is kept, when only its entry knows what this return is of: rt_sigreturn has put the interrupted call's registers
 * back, and an exec may have changed the number and even the table it is of.
 */
static __always_inline bool entry_decides(const struct pending_call *pending)
{
	return pending && pending->active && has_shape(pending->nr, KW_SHAPE_EXEC | KW_SHAPE_ENTRY_KNOWS);
}

/* What the task has kept of a call, if any: a tag says when there is nothing. */
static __always_inline struct pending_call *find_kept(struct task_struct *task, struct kw_tag *tag)
{
	struct pending_call *pending;

	if (tag ? tag->is_idle : carries_nothing(task))
		return NULL;
	pending = bpf_task_storage_get(&pending_calls, task, 0, 0);
	if (tag && (!pending || !pending->active))
		tag->is_idle = 1;
	return pending;
}

static __always_inline int on_exit(s32 id, s64 ret, u32 probe)
{
	/* The raw tracepoint sees every call of the machine: there the look-ups wait until the call is known to matter. */
	bool looks_first = !is_raw(probe) || id < 0;
	struct task_struct *task = bpf_get_current_task_btf();
	struct pending_call *pending = NULL;
	struct kw_tag *tag = NULL;
	bool is_native = false;
	struct call call;

	if (looks_first) {
		tag = find_tag(task);
		pending = find_kept(task, tag);
		if (entry_decides(pending)) {
			id = pending->nr;
			is_native = true;
		}
	}
	if (!open_call(&call, id, is_native, probe, KW_HOOK_EXIT))
		return 0;
	call.ret = ret;
	if (!looks_first) {
		tag = find_tag(task);
		pending = find_kept(task, tag);
	}
	call.tag = tag;
	if (pending && pending->active) {
		if (call.shape->flags & KW_SHAPE_EXEC && entry_decides(pending))
			call.native_nr = pending->nr;
		if (pending->nr == call.native_nr && pending->mono_ns >= call.shape->exit_since_ns) {
			if (claim(&call, KW_HOOK_EXIT))
				return_kept(&call, pending);
			return 0;
		}
		if (pending->nr == call.native_nr)
			give_up(pending);
	}
	if (call.shape->flags & KW_SHAPE_FORKS && ret == 0)
		return 0;
	if (!identify(call.task, tag, call.settings, &call.owner) || !find_want(&call) || !find_account(&call))
		return 0;
	if (!(call.want & (KW_WANT_EXIT | KW_WANT_CALL)) || !claim(&call, KW_HOOK_EXIT))
		return 0;
	if (is_refused(&call))
		call.flags |= KW_RECORD_REFUSED;
	call.phase = KW_PHASE_EXIT;
	tabulate_result(&call);
	if (is_told_by_count(&call))
		return 0;
	call.mono_ns = bpf_ktime_get_ns();
	call.duration_ns = 0;
	if (!is_wanted_return(&call))
		return 0;
	/* Its entry was not kept, and the registers are the new program's. */
	if (call.shape->flags & KW_SHAPE_EXEC && ret == 0) {
		call.flags |= KW_RECORD_NO_ITEMS;
		count(call.account->no_buffer);
	}
	read_args(&call);
	emit(&call, finish_items(&call, NULL));
	return 0;
}

#endif
