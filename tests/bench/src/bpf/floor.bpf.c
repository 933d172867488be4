// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * What the kernel itself charges, to hold KubeWard against.
 *
 *   empty_*	a hook that does nothing
 *   floor_exit	the floor of a record made at the call's exit: one look-up of a tag that says whether the task is watched, room in a
 *		ring, the struct filled with time, number, arguments, result, thread, name and zeroes, submitted without waking anybody
 *   floor_call_*	the floor of a record with a duration: time and arguments kept in the same tag from the entry to the exit
 *
 * A floor writes as many bytes per call as KubeWard's record of it has, strings included, but reads no strings for them: where they
 * would stand it writes zeroes. It keeps no account, no table, no shares and no limits, asks nobody which calls are wanted, and
 * takes no 32-bit call for one. Nothing that shows a call's arguments and result per container can do less.
 */
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
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
	u64 pid_tgid;
	u64 start_boot_ns;
	u64 uid_gid;
	u32 nr;
	u32 slot;
	u8 comm[16];
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

/* `bytes` is known when the program is loaded: the verifier takes it for a constant, and the loop's end, too. */
static __always_inline int write_record(u32 bytes, struct task_struct *task, const struct floor_tag *tag, u64 mono_ns,
					u64 duration_ns, s64 ret, const u64 *args)
{
	struct floor_record *record;
	volatile u64 *words; /* one by one: a memset of such a size is no instruction of BPF */

	record = bpf_ringbuf_reserve(&floor_records, bytes, 0);
	if (!record)
		return 0;
	record->mono_ns = mono_ns;
	record->duration_ns = duration_ns;
	record->ret = ret;
	for (int i = 0; i < 6; i++)
		record->args[i] = args[i];
	record->pid_tgid = bpf_get_current_pid_tgid();
	record->start_boot_ns = task->start_boottime;
	record->uid_gid = bpf_get_current_uid_gid();
	record->nr = tag->nr;
	record->slot = tag->slot;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), task->comm);
	words = (volatile u64 *)record;
	for (u32 i = sizeof(*record) / sizeof(u64); i < FLOOR_MOST_BYTES / sizeof(u64); i++) {
		if (i >= bytes / sizeof(u64))
			break;
		words[i] = 0;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Once for each size, each a constant of its own. */
static __always_inline int tell(s32 nr, struct task_struct *task, const struct floor_tag *tag, u64 mono_ns,
				u64 duration_ns, s64 ret, const u64 *args)
{
#pragma unroll
	for (int i = 0; i < FLOOR_CALLS; i++)
		if (nr == sizes.nr[i])
			return write_record(sizes.bytes[i], task, tag, mono_ns, duration_ns, ret, args);
	return 0;
}

static __always_inline bool is_of_a_load(s32 nr)
{
#pragma unroll
	for (int i = 0; i < FLOOR_CALLS; i++)
		if (nr == sizes.nr[i])
			return true;
	return false;
}

SEC("?tp_btf/sys_exit")
int floor_exit(u64 *ctx)
{
	const struct pt_regs *regs = (const struct pt_regs *)ctx[0];
	s32 nr = arch_nr(regs);
	struct task_struct *task;
	struct call_args args;
	struct floor_tag *tag;

	if (!is_of_a_load(nr))
		return 0;
	task = bpf_get_current_task_btf();
	tag = bpf_task_storage_get(&floor_tags, task, 0, 0);
	if (!tag)
		return 0;
	tag->nr = nr;
	arch_args(regs, false, &args);
	return tell(nr, task, tag, bpf_ktime_get_ns(), 0, (s64)ctx[1], args.v);
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
	for (int i = 0; i < 6; i++)
		tag->args[i] = args.v[i];
	tag->nr = nr;
	tag->mono_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("?tp_btf/sys_exit")
int floor_call_exit(u64 *ctx)
{
	s32 nr = arch_nr((const struct pt_regs *)ctx[0]);
	struct task_struct *task;
	struct floor_tag *tag;

	if (!is_of_a_load(nr))
		return 0;
	task = bpf_get_current_task_btf();
	tag = bpf_task_storage_get(&floor_tags, task, 0, 0);
	if (!tag || tag->nr != nr || !tag->mono_ns)
		return 0;
	return tell(nr, task, tag, tag->mono_ns, bpf_ktime_get_ns() - tag->mono_ns, (s64)ctx[1], tag->args);
}
