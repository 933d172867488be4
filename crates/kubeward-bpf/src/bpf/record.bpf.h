/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The record of a call: filled, and put into the ring. */
#ifndef KUBEWARD_RECORD_BPF_H
#define KUBEWARD_RECORD_BPF_H

/* Pids as the agent reads them. */
static __always_inline void fill_pids(struct kw_record *record, struct task_struct *task, u32 level)
{
	if (level == 0) {
		record->pid = task->tgid;
		record->tid = task->pid;
		record->ppid = task->real_parent->tgid;
		return;
	}
	record->pid = pid_at_level(task->group_leader->thread_pid, level);
	record->tid = pid_at_level(task->thread_pid, level);
	record->ppid = pid_at_level(task->real_parent->group_leader->thread_pid, level);
}

static __always_inline void fill_user(struct kw_record *record, const struct call *call)
{
	const struct cred *cred = call->cred;

	if (cred) {
		record->uid = BPF_CORE_READ(cred, uid.val);
		record->gid = BPF_CORE_READ(cred, gid.val);
		return;
	}
	cred = to_read(call->task)->cred;
	record->uid = cred->uid.val;
	record->gid = cred->gid.val;
}

/* Who calls what. The task's pointers have types: what they lead to is loaded, which costs a tenth of a helper's copy. */
static __always_inline void fill_caller(struct kw_record *record, const struct call *call)
{
	struct task_struct *task = to_read(call->task);
	const u64 *comm = (const u64 *)task->comm;
	u64 *record_comm = (u64 *)record->comm;

	record->kind = KW_KIND_CALL;
	record->probe = call->probe;
	record->identity = call->owner.identity;
	record->nr = call->nr;
	record->slot = call->owner.slot;
	record->mono_ns = call->mono_ns;
	record->args[0] = call->args.v[0];
	record->args[1] = call->args.v[1];
	record->args[2] = call->args.v[2];
	record->args[3] = call->args.v[3];
	record->args[4] = call->args.v[4];
	record->args[5] = call->args.v[5];
	record->exec_id = call->owner.exec_id;
	record->start_boot_ns = task->start_boottime;
	fill_pids(record, task, call->settings->pid_level);
	record->container_pid = call->owner.container_pid ? call->owner.container_pid : own_pid(call->task);
	fill_user(record, call);
	record_comm[0] = comm[0];
	record_comm[1] = comm[1];
	record->uring_opcode = call->uring_opcode;
	record->uring_flags = call->uring_flags;
	record->spare = 0;
	record->number = call->number;
}

static __always_inline void fill_record(struct kw_record *record, const struct call *call, u32 items_bytes)
{
	if (call->submitted)
		*record = *call->submitted;
	else
		fill_caller(record, call);
	record->phase = call->phase;
	record->stage = *call->stage;
	record->flags = call->flags;
	record->items_bytes = items_bytes;
	record->duration_ns = call->duration_ns;
	record->ret = call->ret;
}

/* Takes the record's room from its container's share. */
static __always_inline bool enter_ring(struct call *call, u64 bytes)
{
	if (take_share(call->settings, call->owner.slot, bytes))
		return true;
	count(call->account->lost_share);
	return false;
}

/* The ring had no room for the record. */
static __always_inline void leave_ring(struct call *call, u64 bytes)
{
	return_share(call->settings, call->owner.slot, bytes);
	count(call->account->lost_ring);
}

/* `buffer` holds the record's items, NULL: it has none, and goes straight into the ring. */
static __always_inline void emit(struct call *call, struct record_buffer *buffer)
{
	struct kw_record *record;
	u64 bytes;

	if (call->flags & KW_RECORD_NO_ARGS)
		count(call->account->unreadable);
	if (buffer) {
		bytes = buffer->record.items_bytes;
		if (bytes > sizeof(buffer->items)) {
			count(call->account->lost_ring);
			return;
		}
		if (!enter_ring(call, sizeof(*record) + bytes))
			return;
		fill_record(&buffer->record, call, bytes);
		bytes += sizeof(*record);
		/* Once more: the verifier of 6.1 forgets the bounds of what lay on the stack meanwhile. */
		checked(bytes);
		if (bytes > sizeof(*record) + sizeof(buffer->items) ||
		    bpf_ringbuf_output(&records, buffer, bytes, BPF_RB_NO_WAKEUP))
			leave_ring(call, bytes);
		return;
	}
	if (!enter_ring(call, sizeof(*record)))
		return;
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		leave_ring(call, sizeof(*record));
		return;
	}
	fill_record(record, call, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

#endif
