/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which call it is: native or of the 32-bit table, and with arguments where that table has them.
 *
 * call_shapes has the native calls first, then those of the 32-bit table from KW_CALLS on, then the calls of which several share
 * a number there (socketcall, ipc) and the first argument says which.
 */
#ifndef KUBEWARD_COMPAT_BPF_H
#define KUBEWARD_COMPAT_BPF_H

/* The shape of the call with this number in the caller's table; its index goes to `shape_nr`. NULL: it is no call. */
static __always_inline struct kw_shape *find_shape(struct task_struct *task, s32 id, bool is_compat, u32 *shape_nr)
{
	struct kw_shape *shape, *sub_call;
	struct call_args args;
	u32 nr = id, sub;

	/* What the kernel puts there itself: no call, or rt_sigreturn, which has put other registers back. */
	if (id == -1)
		return NULL;
	if (nr >= KW_CALLS)
		nr = KW_UNLISTED;
	else if (is_compat)
		nr += KW_CALLS;
	*shape_nr = nr;
	shape = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!shape || !shape->sub_call_mask)
		return shape;
	arch_args((struct pt_regs *)bpf_task_pt_regs(task), is_compat, &args);
	sub = args.v[0] & shape->sub_call_mask;
	if (sub >= KW_SUB_CALLS)
		return shape;
	nr = shape->sub_calls + sub;
	sub_call = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!sub_call || sub_call->nr == KW_UNLISTED)
		return shape;
	*shape_nr = nr;
	return sub_call;
}

static __always_inline u64 place(const u64 *values, u8 from)
{
	switch (from) {
	case 0:
		return values[0];
	case 1:
		return values[1];
	case 2:
		return values[2];
	case 3:
		return values[3];
	case 4:
		return values[4];
	case 5:
		return values[5];
	}
	return 0;
}

/*
 * Puts the registers of a 32-bit call, or the words in memory that they point to, into the order of its arguments. Returns -1
 * when that memory cannot be read: `args` are then the registers still.
 */
__noinline int arrange_args(struct call_args *args, u32 shape_nr)
{
	struct kw_shape *shape = bpf_map_lookup_elem(&call_shapes, &shape_nr);
	u32 words[6] = {};
	u64 given[6];
	u64 bytes;

	if (!shape || !args)
		return 0;
	for (u32 i = 0; i < 6; i++)
		given[i] = args->v[i];
	if (shape->words_in < 6) {
		bytes = shape->words * 4;
		checked(bytes);
		if (bytes > sizeof(words) || bpf_probe_read_user(words, bytes, (void *)place(given, shape->words_in)))
			return -1;
		for (u32 i = 0; i < 6; i++)
			given[i] = words[i];
	}
	for (u32 i = 0; i < 6; i++)
		args->v[i] = place(given, shape->from[i]);
	return 0;
}

#endif
