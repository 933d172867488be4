/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Calls on the move from one kind of hook to the other, while both kinds show them.
 *
 * A call comes by sys_enter and then its function's entry, by its function's return and then sys_exit, and its task makes no
 * other call between the two of a pair. The one that tells the call leaves a mark in the task's storage for the one that
 * follows, which takes it off and says nothing. Every hook that comes by takes off what it finds, whether or not it is the
 * one that the mark is for: so none outlives its call, though a hook be missing (refusals by seccomp) or skipped.
 */
#ifndef KUBEWARD_MOVES_BPF_H
#define KUBEWARD_MOVES_BPF_H

/* A mark names call and moment. An exec may return under another number than it entered with. */
static __always_inline u16 mark_of(const struct kw_shape *shape, u32 nr, u32 moment)
{
	return (shape->flags & KW_SHAPE_EXEC ? KW_CALLS : nr) << 2 | moment;
}

/* Leaves a mark; false: there is no memory for it. */
static __always_inline bool leave_mark(struct task_struct *task, const struct kw_settings *settings, u16 mark)
{
	struct pending_call *pending;

	pending = bpf_task_storage_get(&pending_calls, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!pending)
		return false;
	pending->told = mark;
	pending->told_move = settings->move_nr;
	return true;
}

/* Takes the task's mark off, and says whether it was `mark`, left in this move. */
static __always_inline bool take_mark(struct task_struct *task, const struct kw_settings *settings, u16 mark)
{
	struct pending_call *pending = bpf_task_storage_get(&pending_calls, task, 0, 0);
	u16 told;

	if (!pending)
		return false;
	told = pending->told;
	pending->told = 0;
	return told == mark && pending->told_move == settings->move_nr;
}

/* The task leaves a call that raw tracepoints show: it is in none that began before. */
static __always_inline void note_return(struct task_struct *task, u64 flags)
{
	struct pending_call *pending = bpf_task_storage_get(&pending_calls, task, 0, flags);

	if (pending)
		pending->left_ns = bpf_ktime_get_ns();
}

#endif
