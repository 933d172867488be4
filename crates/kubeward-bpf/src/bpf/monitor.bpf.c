// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The entry points. Who does what:
 *
 *   sys_enter, sys_exit	the raw tracepoints, through BTF and as classic ones: every call of the machine comes by
 *   kprobe_*, kretprobe_*	one call each, attached by user space; the *_multi forms many calls at once
 *   task_newtask, process_fork	a child inherits its parent's tag
 *   *_process_exec		a container's stage becomes "run"; the program gets a name
 *   *_process_exit		a call that is still kept never returns
 *   cgroup_mkdir, _rmdir	a cgroup may be a container's before anybody says so
 *   list_tasks			what runs now, for user space to find containers in
 *   list_inside		calls that may have begun before hooks were attached to their functions
 *
 * adopt.bpf.h has the programs that give tasks that run already to a container.
 *
 * What a call's entry and return mean is in calls.bpf.h, its record in record.bpf.h, and its caller's end in ended.bpf.h, whose task
 * it is in identity.bpf.h, what it points to in
 * args.bpf.h and path.bpf.h, what of the ring is whose in share.bpf.h, which call a number is in compat.bpf.h, how calls go from
 * one kind of hook to the other in moves.bpf.h, how they are counted by result in table.bpf.h, what the programs themselves take
 * in timing.bpf.h. fentry.bpf.c holds the programs of the fentry backend, uring.bpf.c those on io_uring.
 */
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "wire.h"
#include "maps.bpf.h"
#include "timing.bpf.h"
#include "births.bpf.h"
#include "identity.bpf.h"
#include "birth_events.bpf.h"
#include "share.bpf.h"
#include "path.bpf.h"
#include "args.bpf.h"
#include "moves.bpf.h"
#include "compat.bpf.h"
#include "call.bpf.h"
#include "table.bpf.h"
#include "limits.bpf.h"
#include "record.bpf.h"
#include "calls.bpf.h"
#include "ended.bpf.h"
#include "adopt.bpf.h"

/* The helpers used here are for programs under the GPL, and this is the form the kernel knows it by. */
char LICENSE[] SEC("license") = "GPL";

SEC("?tp_btf/sys_enter")
int raw_enter(u64 *ctx)
{
	return timed(on_enter((s32)ctx[1], KW_PROBE_TP_BTF));
}

SEC("?tp_btf/sys_exit")
int raw_exit(u64 *ctx)
{
	const struct pt_regs *regs = (const struct pt_regs *)ctx[0];

	return timed(on_exit(arch_nr(regs), (s64)ctx[1], KW_PROBE_TP_BTF));
}

SEC("?tracepoint/raw_syscalls/sys_enter")
int classic_enter(struct trace_event_raw_sys_enter *ctx)
{
	return timed(on_enter(ctx->id, KW_PROBE_TRACEPOINT));
}

SEC("?tracepoint/raw_syscalls/sys_exit")
int classic_exit(struct trace_event_raw_sys_exit *ctx)
{
	return timed(on_exit(ctx->id, ctx->ret, KW_PROBE_TRACEPOINT));
}

SEC("?kprobe")
int kprobe_enter(void *ctx)
{
	return timed(on_enter(current_nr(), KW_PROBE_KPROBE));
}

SEC("?kretprobe")
int kretprobe_exit(struct pt_regs *ctx)
{
	return timed(on_exit(current_nr(), arch_kernel_ret(ctx), KW_PROBE_KPROBE));
}

SEC("?kprobe.multi")
int kprobe_multi_enter(void *ctx)
{
	return timed(on_enter(current_nr(), KW_PROBE_KPROBE_MULTI));
}

SEC("?kretprobe.multi")
int kretprobe_multi_exit(struct pt_regs *ctx)
{
	return timed(on_exit(current_nr(), arch_kernel_ret(ctx), KW_PROBE_KPROBE_MULTI));
}

static __always_inline int on_newtask(struct task_struct *child)
{
	struct task_struct *parent = bpf_get_current_task_btf();
	struct kw_settings *now = awake();
	struct kw_tag *tag;
	struct owner owner;

	if (!now)
		return 0;
	tag = find_tag(parent);
	if (!tag && identify(parent, NULL, now, &owner))
		tag = bpf_task_storage_get(&task_tags, parent, 0, 0);
	if (tag)
		tag_task(child, tag->slot, tag->exec_id);
	return 0;
}

/* Fork events would miss io_uring's workers. */
SEC("tp_btf/task_newtask")
int task_newtask(u64 *ctx)
{
	return timed(on_newtask((struct task_struct *)ctx[0]));
}

/* Written by process_fork: runs of task_newtask that the kernel skipped and that are made up for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} tags_made_up SEC(".maps");

static __always_inline int on_fork(struct task_struct *child)
{
	struct kw_tag *tag = bpf_task_storage_get(&task_tags, bpf_get_current_task_btf(), 0, 0);
	u32 zero = 0;
	u64 *made_up;

	if (!tag || !awake() || bpf_task_storage_get(&task_tags, child, 0, 0))
		return 0;
	tag_task(child, tag->slot, tag->exec_id);
	made_up = bpf_map_lookup_elem(&tags_made_up, &zero);
	if (made_up && bpf_task_storage_get(&task_tags, child, 0, 0))
		count(*made_up);
	return 0;
}

/* A second chance: under live preemption the kernel may skip the first, and a child that got no tag could leave. */
SEC("tp_btf/sched_process_fork")
int process_fork(u64 *ctx)
{
	return timed(on_fork((struct task_struct *)ctx[1]));
}

/* What the new program was called with, as the kernel copied it: for strings that were not there to read at entry. */
static __noinline int append_exec_inputs(struct record_buffer *buffer, u64 filename, struct mm_struct *mm, u32 limits,
					 u32 first_arg)
{
	u64 start = BPF_CORE_READ(mm, arg_start);
	u64 bytes = BPF_CORE_READ(mm, arg_end) - start;
	u64 room = limits & 0xffff, argv_room = limits >> 16;
	struct kw_item *item;
	long n;

	buffer->record.items_bytes = 0;
	item = open_item(buffer, first_arg, KW_ITEM_STRING);
	if (!item)
		return -1;
	checked(room);
	if (room == 0 || room > KW_STRING_BYTES)
		return -1;
	n = bpf_probe_read_kernel_str(item + 1, room, (void *)filename);
	if (n <= 0)
		return -1;
	item->bytes = n - 1;
	if ((u64)n == room)
		item->flags |= KW_ITEM_CUT;
	close_item(buffer, item);
	item = open_item(buffer, first_arg + 1, KW_ITEM_ARGV);
	if (!item)
		return -1;
	if (bytes > argv_room) {
		bytes = argv_room;
		item->flags |= KW_ITEM_CUT;
	}
	checked(bytes);
	if (bytes == 0 || bytes > KW_STRING_BYTES || bpf_probe_read_user(item + 1, bytes, (void *)start))
		return -1;
	item->bytes = bytes;
	close_item(buffer, item);
	return 0;
}

static __always_inline void mend_exec_inputs(struct task_struct *task, u64 filename, u32 limits)
{
	struct pending_call *pending = bpf_task_storage_get(&pending_calls, task, 0, 0);
	struct record_buffer *buffer = bpf_task_storage_get(&record_buffers, task, 0, 0);
	struct kw_shape *shape;
	u32 nr;

	if (!pending || !pending->active || !pending->has_items || !buffer || !buffer->unreadable)
		return;
	nr = pending->nr;
	shape = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!shape || !(shape->flags & KW_SHAPE_EXEC))
		return;
	if (!append_exec_inputs(buffer, filename, task->mm, limits, shape->capture[0] == KW_CAPTURE_STRING ? 0 : 1))
		buffer->unreadable = 0;
}

/* The current task runs a new program, called by `filename`, a string of the kernel's. */
static __always_inline int on_exec(u64 filename)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct kw_settings *now = awake();
	struct kw_container *container;
	struct kw_profile *profile;
	struct kw_account *account;
	struct record_buffer *buffer;
	struct owner owner;
	struct kw_tag *tag;
	u32 *stage, zero = 0;

	if (!now || !identify(task, find_tag(task), now, &owner))
		return 0;
	container = bpf_map_lookup_elem(&containers, &owner.slot);
	account = bpf_map_lookup_elem(&accounts, &owner.slot);
	stage = bpf_map_lookup_elem(&stages, &owner.slot);
	if (!container || !account || !stage || !container->active)
		return 0;
	if (container->is_unnamed)
		exec_at_birth(task, owner.slot, stage, now->pid_level);
	else if (*stage == KW_STAGE_SETUP && BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) != container->creator_mnt_ns)
		*stage = KW_STAGE_RUN;
	owner.exec_id = bpf_ktime_get_ns();
	tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	if (tag)
		tag->exec_id = owner.exec_id;
	profile = bpf_map_lookup_elem(&profiles, &container->profile);
	if (profile)
		mend_exec_inputs(task, filename, pack_limits(profile));
	buffer = bpf_map_lookup_elem(&exec_buffer, &zero);
	if (buffer)
		tell_program(task, now, &owner, account, buffer);
	return 0;
}

SEC("?tp_btf/sched_process_exec")
int raw_process_exec(u64 *ctx)
{
	struct linux_binprm *bprm = (struct linux_binprm *)ctx[2];

	return timed(on_exec((u64)BPF_CORE_READ(bprm, filename)));
}

SEC("?tracepoint/sched/sched_process_exec")
int classic_process_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	return timed(on_exec((u64)ctx + (ctx->__data_loc_filename & 0xffff)));
}

SEC("?tp_btf/sched_process_exit")
int raw_process_exit(u64 *ctx)
{
	return timed(on_task_exit());
}

SEC("?tracepoint/sched/sched_process_exit")
int classic_process_exit(void *ctx)
{
	return timed(on_task_exit());
}

/* Of the v2 hierarchy: ids collide between hierarchies. A container's own task makes parts of that container. */
static __always_inline int on_mkdir(struct cgroup *cgroup)
{
	struct kw_settings *now = awake();
	struct task_struct *task = bpf_get_current_task_btf();
	struct owner owner;

	if (!now || BPF_CORE_READ(cgroup, root, hierarchy_id) != 0)
		return 0;
	if (identify(task, find_tag(task), now, &owner) && owner.identity != KW_IDENTITY_NAMESPACE)
		return 0;
	return on_birth(cgroup);
}

SEC("?tp_btf/cgroup_mkdir")
int cgroup_mkdir(u64 *ctx)
{
	return timed(on_mkdir((struct cgroup *)ctx[0]));
}

/* One that had calls waits for its name: what it did is told after its end too. */
static __always_inline int on_rmdir(struct cgroup *cgroup)
{
	u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct kw_birth *birth = bpf_map_lookup_elem(&births, &id);

	if (birth && !birth->slot && BPF_CORE_READ(cgroup, root, hierarchy_id) == 0)
		bpf_map_delete_elem(&births, &id);
	return 0;
}

SEC("?tp_btf/cgroup_rmdir")
int cgroup_rmdir(u64 *ctx)
{
	return timed(on_rmdir((struct cgroup *)ctx[0]));
}

static __noinline int describe(struct task_struct *task, struct kw_task *found, u32 level)
{
	int inner_pid;

	found->pid = pid_at_level(BPF_CORE_READ(task, group_leader, thread_pid), level);
	found->tid = pid_at_level(BPF_CORE_READ(task, thread_pid), level);
	found->ppid = pid_at_level(BPF_CORE_READ(task, real_parent, group_leader, thread_pid), level);
	found->pid_level = BPF_CORE_READ(task, thread_pid, level);
	found->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	found->mnt_seq = mnt_seq_of(task);
	read_upid(BPF_CORE_READ(task, thread_pid), &inner_pid, &found->pid_ns);
	found->inner_pid = inner_pid;
	found->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	found->start_boot_ns = BPF_CORE_READ(task, start_boottime);
	bpf_probe_read_kernel(found->comm, sizeof(found->comm), task->comm);
	return 0;
}

SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct kw_task found = {};
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);
	struct kw_tag *tag;

	if (!task || !now)
		return 0;
	describe(task, &found, now->pid_level);
	tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	if (tag)
		found.slot = tag->slot;
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

static __noinline int date_call(struct kw_inside *inside, struct pending_call *pending)
{
	if (!pending)
		return 0;
	inside->since_ns = pending->left_ns;
	if (pending->active && pending->mono_ns > pending->left_ns)
		inside->since_ns = pending->mono_ns;
	return 0;
}

/* A sleeping or preempted task's registers, and those of a running one that came by a call, say which call that was. */
SEC("iter/task")
int list_inside(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct kw_inside inside = {};
	struct pending_call *pending;
	struct kw_container *container;
	struct kw_profile *profile;
	struct kw_shape *shape;
	struct kw_tag *tag;
	u32 slot, shape_nr;

	if (!task)
		return 0;
	tag = bpf_task_storage_get(&task_tags, task, 0, 0);
	if (!tag)
		return 0;
	slot = tag->slot;
	shape = find_shape(task, arch_nr((struct pt_regs *)bpf_task_pt_regs(task)), arch_is_compat(&task->thread_info),
			   &shape_nr);
	container = bpf_map_lookup_elem(&containers, &slot);
	if (!shape || !container || !container->active)
		return 0;
	profile = bpf_map_lookup_elem(&profiles, &container->profile);
	if (!profile || !(profile->want[bounded(shape->native_nr)] & (KW_WANT_EXIT | KW_WANT_CALL)))
		return 0;
	pending = bpf_task_storage_get(&pending_calls, task, 0, 0);
	date_call(&inside, pending);
	inside.nr = shape->native_nr;
	bpf_seq_write(ctx->meta->seq, &inside, sizeof(inside));
	return 0;
}
