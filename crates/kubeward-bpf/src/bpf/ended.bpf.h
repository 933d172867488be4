/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What becomes of a kept call when its task ends. A task that a signal ends returns from its call first, to nobody, and hooks
 * show that: a call that is still kept has lost its return, or is one in which its caller ends. reboot in a pid namespace of its
 * own is: an event of its entry tells it.
 */
#ifndef KUBEWARD_ENDED_BPF_H
#define KUBEWARD_ENDED_BPF_H

/* Whether the ending task is in the call still: one that may end its caller, and its registers have no later one. A program that a
 * signal ended in a call whose return a hook missed has such registers too. */
static __always_inline bool is_inside(const struct pending_call *pending, struct task_struct *task)
{
	u32 nr = arch_nr((struct pt_regs *)bpf_task_pt_regs(task));

	return nr == pending->number && arch_is_compat(&task->thread_info) == !!(pending->flags & KW_RECORD_COMPAT) &&
	       has_shape(pending->nr, KW_SHAPE_EXEC | KW_SHAPE_ENTRY_KNOWS);
}

/* Fills `call` with what was kept; false: there is nobody to tell of it. */
static __always_inline bool recall(struct call *call, struct task_struct *task, const struct pending_call *pending)
{
	u32 zero = 0, nr = pending->nr;

	call->task = task;
	call->settings = bpf_map_lookup_elem(&settings, &zero);
	call->shape = bpf_map_lookup_elem(&call_shapes, &nr);
	call->owner = pending->owner;
	call->args = pending->args;
	call->native_nr = nr;
	call->nr = pending->call_nr;
	call->shape_nr = pending->shape_nr;
	call->number = pending->number;
	call->probe = pending->probe;
	call->flags = pending->flags;
	call->mono_ns = pending->mono_ns;
	call->phase = KW_PHASE_ENTER;
	return call->settings && call->shape && find_want(call) && find_account(call);
}

static __always_inline void tell_unreturned(struct task_struct *task, struct pending_call *pending)
{
	struct kw_account *account = bpf_map_lookup_elem(&accounts, &pending->owner.slot);
	struct record_buffer *buffer = NULL;
	struct call call = {};

	pending->active = 0;
	if (!account || !is_of_slot(pending))
		return;
	count(account->left);
	tabulate_unfinished(account, pending->owner.slot, pending->call_nr, pending->flags);
	if (!recall(&call, task, pending)) {
		count(account->filtered_policy);
		return;
	}
	if (is_told_by_count(&call))
		return;
	if (is_over_limits(&call)) {
		count(account->sampled);
		return;
	}
	if (pending->has_items)
		buffer = bpf_task_storage_get(&record_buffers, task, 0, 0);
	if (buffer && buffer->unreadable)
		count(account->unreadable);
	emit(&call, buffer);
}

/* The current task ends. */
static __always_inline int on_task_exit(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pending_call *pending = bpf_task_storage_get(&pending_calls, task, 0, 0);

	if (!pending || !pending->active || !awake())
		return 0;
	if (is_inside(pending, task))
		tell_unreturned(task, pending);
	else
		give_up(pending);
	return 0;
}

#endif
