/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The call at hand: which it is, whether this hook is to tell of it, whose it is and what is wanted of it. */
#ifndef KUBEWARD_CALL_BPF_H
#define KUBEWARD_CALL_BPF_H

/* All that both moments need to know of the call at hand. */
struct call {
	struct task_struct *task;
	struct kw_tag *tag; /* of the task, NULL: it has none, or none yet */
	struct kw_settings *settings;
	struct kw_shape *shape;
	struct kw_container *container;
	struct kw_profile *profile;
	struct kw_account *account;
	u32 *stage;
	struct owner owner;
	struct call_args args;
	u64 mono_ns;
	u64 duration_ns;
	s64 ret;
	u32 native_nr; /* index of profiles and hooks */
	u32 shape_nr;  /* index of call_shapes, for its arguments; `shape` is the native call's */
	u32 number;    /* as the caller gave it */
	u16 nr;	       /* as records call it */
	u8 want;
	u8 probe;
	u8 phase;
	u8 flags;
	u8 uring_opcode; /* of a call through io_uring */
	u8 uring_flags;
	const struct cred *cred;	   /* by which it is done, where not by the task's own; else NULL */
	const struct kw_record *submitted; /* what was known at entry, where another task made the call; else NULL */
};

/* Beside a KW_PROBE: the hook is on the function that every call of the 32-bit table goes through. */
#define KW_DISPATCHER (1 << 8)

static __always_inline bool is_raw(u32 probe)
{
	return probe == KW_PROBE_TP_BTF || probe == KW_PROBE_TRACEPOINT;
}

/* A call number that has been through the stack: the compiler knows its bound, the verifier does not. */
static __always_inline u64 bounded(u64 nr)
{
	asm volatile("" : "+r"(nr));
	return nr & (KW_CALLS - 1);
}

/* Of the two hooks that show a call's entry, or its return, the one that comes first. */
static __always_inline bool is_first(u32 probe, u32 moment)
{
	return is_raw(probe) == (moment == KW_HOOK_ENTER);
}

/* Whether the hook before this one has told the moment. */
static __always_inline bool is_told(const struct call *call, u32 moment)
{
	bool is_marked = take_mark(call->task, call->settings, mark_of(call->shape, call->native_nr, moment));

	if (is_raw(call->probe) && moment == KW_HOOK_EXIT)
		note_return(call->task, 0);
	return is_marked && !is_first(call->probe, moment);
}

/*
 * The moment is told here, so not again by the hook that follows. False: that cannot be said to it, for want of memory, and it
 * will tell.
 */
static __always_inline bool claim(const struct call *call, u32 moment)
{
	const u8 *others = is_raw(call->probe) ? call->settings->function_hooks : call->settings->raw_hooks;

	if (!call->settings->move_nr)
		return true;
	if (!is_first(call->probe, moment)) {
		if (moment == KW_HOOK_EXIT)
			note_return(call->task, BPF_LOCAL_STORAGE_GET_F_CREATE);
		return true;
	}
	return leave_mark(call->task, call->settings, mark_of(call->shape, call->native_nr, moment)) ||
	       !(others[bounded(call->native_nr)] & moment);
}

/* The current call's number, in its registers. */
static __always_inline s32 current_nr(void)
{
	return arch_nr((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()));
}

/*
 * Settings, number and shape; false when this hook has nothing to say about the call. `id` is of the caller's table, unless
 * `is_native` says that it has been translated.
 */
static __always_inline bool open_call(struct call *call, s32 id, bool is_native, u32 probe, u32 moment)
{
	struct kw_shape *shape;
	u32 zero = 0, nr;

	call->task = bpf_get_current_task_btf();
	call->probe = probe;
	call->flags = 0;
	call->uring_opcode = 0;
	call->uring_flags = 0;
	call->cred = NULL;
	call->submitted = NULL;
	call->settings = bpf_map_lookup_elem(&settings, &zero);
	if (!call->settings || call->settings->silenced)
		return false;
	call->number = id;
	if (!is_native && arch_is_compat(&call->task->thread_info))
		call->flags |= KW_RECORD_COMPAT;
	shape = find_shape(call->task, id, call->flags & KW_RECORD_COMPAT, &call->shape_nr);
	if (!shape)
		return false;
	if (probe & KW_DISPATCHER && shape->flags & KW_SHAPE_SHARED)
		return false;
	call->nr = shape->nr;
	nr = shape->native_nr;
	if (nr != call->shape_nr) {
		shape = bpf_map_lookup_elem(&call_shapes, &nr);
		if (!shape)
			return false;
	}
	call->native_nr = nr;
	call->shape = shape;
	if (call->settings->move_nr && is_told(call, moment))
		return false;
	if (is_raw(probe))
		return call->settings->raw_hooks[bounded(nr)] & moment;
	return call->settings->function_hooks[bounded(nr)] & moment;
}

/* What is wanted of the call; false: nothing, and most often that is known from the container alone. */
static __always_inline bool find_want(struct call *call)
{
	call->container = bpf_map_lookup_elem(&containers, &call->owner.slot);
	if (!call->container || !call->container->active || !call->container->profile)
		return false;
	call->profile = bpf_map_lookup_elem(&profiles, &call->container->profile);
	if (!call->profile)
		return false;
	call->want = call->profile->want[bounded(call->native_nr)];
	return call->want != 0;
}

static __always_inline bool find_account(struct call *call)
{
	call->account = bpf_map_lookup_elem(&accounts, &call->owner.slot);
	call->stage = bpf_map_lookup_elem(&stages, &call->owner.slot);
	return call->account && call->stage;
}

#endif
