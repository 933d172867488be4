// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * What the kernel itself charges, to hold KubeWard against.
 *
 *   empty_*	a hook that does nothing
 *   floor_exit	the floor of a record made at the call's exit: one look-up of a tag that says whether the task is watched, room in a
 *		ring, the struct filled with time, number, arguments, result, thread, user, name and zeroes, submitted without waking
 *		anybody
 *   floor_call_*	the floor of a record with a duration: time and arguments kept in the same tag from the entry to the exit
 *
 * A floor writes as many bytes per call as KubeWard's record of it has, strings included, but reads no strings for them: where they
 * would stand it writes zeroes. Sizes are known when it is loaded, so that the verifier leaves one store a word and no loop; what the
 * task's structs have is loaded, which is cheaper than any helper. Helpers are what no load can do: task, tag, clock, ring.
 * It keeps no account, no table, no shares and no limits, asks nobody which calls are wanted, and takes no 32-bit call for one.
 * Nothing that shows a call's arguments and result per container can do less.
 */
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* The calls of the loads, and how many bytes KubeWard's record of each has: multiples of 8. Set before loading. */
#define FLOOR_CALLS 4
#define FLOOR_MOST_BYTES 1024

const volatile struct {
	u32 nr[FLOOR_CALLS];
	u32 bytes[FLOOR_CALLS];
} sizes = {};

struct floor_record {
	u64 mono_ns;
	u64 duration_ns;
	s64 ret;
	u64 args[6];
	u64 start_boot_ns;
	u32 pid;
	u32 tid;
	u32 ppid;
	u32 uid;
	u32 gid;
	u32 nr;
	u64 slot;
	u64 comm[2];
};

/* A watched task's, put there by user space; with the call that it is in. */
struct floor_tag {
	u32 slot;
	u32 nr;
	u64 mono_ns;
	u64 args[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct floor_tag);
} floor_tags SEC(".maps");

/* Size set by user space: KubeWard's. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} floor_records SEC(".maps");

/* Calls for which the ring had no room. */
u64 floor_lost;

SEC("?tp_btf/sys_enter")
int empty_enter(u64 *ctx)
{
	return 0;
}

SEC("?tp_btf/sys_exit")
int empty_exit(u64 *ctx)
{
	return 0;
}

SEC("?fentry")
int empty_fentry(u64 *ctx)
{
	return 0;
}

SEC("?fexit")
int empty_fexit(u64 *ctx)
{
	return 0;
}

/* What a record is made of beside the task. */
struct told {
	s32 nr;
	s64 ret;
	u64 mono_ns;
	u64 duration_ns;
	const struct pt_regs *regs; /* with the arguments; NULL: the tag has them */
};

static __always_inline void write_args(struct floor_record *record, const struct floor_tag *tag,
				       const struct told *told)
{
	struct call_args args;

	if (told->regs)
		arch_args(told->regs, false, &args);
	else
		__builtin_memcpy(&args, tag->args, sizeof(args));
	__builtin_memcpy(record->args, &args, sizeof(args));
}

/*
 * Of the call at this place among the loads'. Its size is known when the program is loaded: each branch of the loop, which is none
 * any more once it is compiled, goes one way, and the kernel leaves it out.
 */
static __always_inline int write_record(const u32 at, struct task_struct *task, const struct floor_tag *tag,
					const struct told *told)
{
	const u64 *comm = (const u64 *)task->comm;
	u32 bytes = sizes.bytes[at];
	struct floor_record *record;
	volatile u64 *words; /* one by one: a memset of such a size is no instruction of BPF */

	record = bpf_ringbuf_reserve(&floor_records, bytes, 0);
	if (!record) {
		__sync_fetch_and_add(&floor_lost, 1);
		return 0;
	}
	record->mono_ns = told->mono_ns;
	record->duration_ns = told->duration_ns;
	record->ret = told->ret;
	write_args(record, tag, told);
	record->start_boot_ns = task->start_boottime;
	record->pid = task->tgid;
	record->tid = task->pid;
	record->ppid = task->real_parent->tgid;
	record->uid = task->cred->uid.val;
	record->gid = task->cred->gid.val;
	record->nr = told->nr;
	record->slot = tag->slot;
	record->comm[0] = comm[0];
	record->comm[1] = comm[1];
	words = (volatile u64 *)record;
#pragma unroll
	for (u32 i = sizeof(*record) / sizeof(u64); i < FLOOR_MOST_BYTES / sizeof(u64); i++)
		if (i < bytes / sizeof(u64))
			words[i] = 0;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	/* No instruction, and another for each place: the compiler is not to make one of them all, whose size nobody knows. */
	asm volatile("" ::"i"(at));
	return 0;
}

/* The program's end, by the call: written out, so that `at` is a constant wherever `tell` is inlined. */
#define TELL_BY_CALL(nr, tell, ...)                                                                                    \
	do {                                                                                                           \
		_Static_assert(FLOOR_CALLS == 4, "one line for each");                                                 \
		if ((nr) == (s32)sizes.nr[0])                                                                          \
			return tell(0, nr, __VA_ARGS__);                                                               \
		if ((nr) == (s32)sizes.nr[1])                                                                          \
			return tell(1, nr, __VA_ARGS__);                                                               \
		if ((nr) == (s32)sizes.nr[2])                                                                          \
			return tell(2, nr, __VA_ARGS__);                                                               \
		if ((nr) == (s32)sizes.nr[3])                                                                          \
			return tell(3, nr, __VA_ARGS__);                                                               \
		return 0;                                                                                              \
	} while (0)

static __always_inline bool is_of_a_load(s32 nr)
{
#pragma unroll
	for (int i = 0; i < FLOOR_CALLS; i++)
		if (nr == (s32)sizes.nr[i])
			return true;
	return false;
}

static __always_inline int tell_exit(const u32 at, s32 nr, const u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct floor_tag *tag = bpf_task_storage_get(&floor_tags, task, 0, 0);
	struct told told = {
		.nr = nr,
		.ret = (s64)ctx[1],
		.mono_ns = bpf_ktime_get_ns(),
		.regs = (const struct pt_regs *)ctx[0],
	};

	return tag ? write_record(at, task, tag, &told) : 0;
}

SEC("?tp_btf/sys_exit")
int floor_exit(u64 *ctx)
{
	s32 nr = arch_nr((const struct pt_regs *)ctx[0]);

	TELL_BY_CALL(nr, tell_exit, ctx);
}

SEC("?tp_btf/sys_enter")
int floor_call_enter(u64 *ctx)
{
	const struct pt_regs *regs = (const struct pt_regs *)ctx[0];
	s32 nr = (s32)ctx[1];
	struct floor_tag *tag;
	struct call_args args;

	if (!is_of_a_load(nr))
		return 0;
	tag = bpf_task_storage_get(&floor_tags, bpf_get_current_task_btf(), 0, 0);
	if (!tag)
		return 0;
	arch_args(regs, false, &args);
#pragma unroll
	for (int i = 0; i < 6; i++)
		tag->args[i] = args.v[i];
	tag->nr = nr;
	tag->mono_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int tell_call(const u32 at, s32 nr, const u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct floor_tag *tag = bpf_task_storage_get(&floor_tags, task, 0, 0);
	struct told told = {.nr = nr, .ret = (s64)ctx[1]};

	if (!tag || tag->nr != nr || !tag->mono_ns)
		return 0;
	told.mono_ns = tag->mono_ns;
	told.duration_ns = bpf_ktime_get_ns() - tag->mono_ns;
	return write_record(at, task, tag, &told);
}

SEC("?tp_btf/sys_exit")
int floor_call_exit(u64 *ctx)
{
	s32 nr = arch_nr((const struct pt_regs *)ctx[0]);

	TELL_BY_CALL(nr, tell_call, ctx);
}
