/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Every map: who writes it, its size, and what happens when it is full. Both objects share one set. */
#ifndef KUBEWARD_MAPS_BPF_H
#define KUBEWARD_MAPS_BPF_H

#define count(field) __sync_fetch_and_add(&(field), 1)

/* One entry for each slot: user space says before loading how many there are. */
#define KW_BY_SLOT 1

/* Written by user space; read by every program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kw_settings);
} settings SEC(".maps");

/* NULL once the programs are silenced: what is under way then stays so in the accounts. */
static __always_inline struct kw_settings *awake(void)
{
	u32 zero = 0;
	struct kw_settings *now = bpf_map_lookup_elem(&settings, &zero);

	return now && !now->silenced ? now : NULL;
}

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_SHAPES);
	__type(key, u32);
	__type(value, struct kw_shape);
} call_shapes SEC(".maps");

/* Written by user space, each profile complete before a container points to it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_PROFILES);
	__type(key, u32);
	__type(value, struct kw_profile);
} profiles SEC(".maps");

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, struct kw_container);
} containers SEC(".maps");

/* enum kw_stage of each container. Becomes KW_STAGE_RUN here at the workload's first exec, or in user space: it is a map of
 * its own so that neither side writes over the other. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, u32);
} stages SEC(".maps");

/* v2 cgroup id -> container. Written by user space, one entry for each slot at most. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_BY_SLOT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct kw_target);
} container_map SEC(".maps");

/* Written by cgroup_mkdir, filled by its tasks' calls, taken away by user space. When full the cgroup is found as those from before are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_BIRTHS);
	__type(key, u64);
	__type(value, struct kw_birth);
} births SEC(".maps");

/* Open slots for births, put in by user space. When empty, calls are counted in kw_birth.missed. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, KW_BY_SLOT);
	__type(value, u32);
} free_slots SEC(".maps");

/* Births with a slot by their parent cgroup, so that one cannot take all slots. Counted here, and anew by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_BIRTH_PARENTS);
	__type(key, u64);
	__type(value, u32);
} birth_kin SEC(".maps");

/* Pid and mount namespace -> container. Written by user space, one entry for each slot at most. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_BY_SLOT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kw_ns_key);
	__type(value, struct kw_target);
} namespace_map SEC(".maps");

/* Goes with its task. Without memory for it the task is identified anew at each call. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kw_tag);
} task_tags SEC(".maps");

/* Whose a task is, and how that is known. */
struct owner {
	u32 slot;
	u16 identity;
	u32 container_pid; /* 0: not looked up */
	u64 exec_id;
};

/* A call between its entry and its return, and what the hooks tell each other of the task's calls. */
struct pending_call {
	u32 active;
	u16 nr;	      /* native */
	u16 call_nr;  /* as records call it */
	u16 shape_nr; /* index of its shape */
	u32 number;   /* as the caller gave it */
	u8 probe;
	u8 flags;
	u8 has_items;  /* the task's record_buffer holds what was read at entry */
	u16 told;      /* a mark of moves.bpf.h, 0: none */
	u32 told_move; /* and the move that it was left in */
	u64 left_ns;   /* CLOCK_MONOTONIC at the last return that sys_exit showed during a move */
	u64 mono_ns;
	struct owner owner;
	struct call_args args;
};

/* Goes with its task. Without memory for it the call is told at its return alone, without a duration. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pending_call);
} pending_calls SEC(".maps");

/*
 * A record under construction. Per task, not per CPU: a tracing program can be preempted, and then another task's would
 * write into the same buffer. The tail is room for the string that begins last. All of it stays below 8 KiB: from 7.x on
 * task storage comes from kmalloc_nolock(), which gives no more.
 */
struct record_buffer {
	struct kw_record record;
	union {
		struct kw_item first;
		u8 items[KW_ITEMS_BYTES + sizeof(struct kw_item) + KW_STRING_BYTES];
	};
	u32 unreadable; /* arguments that could not be read */
};

/* Goes with its task; made at the task's first call with strings. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record_buffer);
} record_buffers SEC(".maps");

/* For the exec program alone, of which one is attached: it never runs twice at once on one CPU, so one buffer per CPU serves it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct record_buffer);
} exec_buffer SEC(".maps");

/* For the iterators that adopt tasks: user space runs one at a time, on one CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct record_buffer);
} adopt_buffer SEC(".maps");

/* Inode number of a pid namespace whose first task is a container's init -> that container's slot, or 0 when other containers
 * share it. Written by user space, which fills it only while adopt_tasks runs: the kernel reuses the numbers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KW_BY_SLOT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u32);
} own_pid_namespaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KW_BY_SLOT);
	__type(key, u32);
	__type(value, struct kw_account);
} accounts SEC(".maps");

/* Size set by user space before loading. When full, the record is counted in lost_ring. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} records SEC(".maps");

#endif
