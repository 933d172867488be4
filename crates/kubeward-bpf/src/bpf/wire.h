/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Every struct and number that crosses the border between the kernel side and user space. src/wire.rs mirrors it and
 * a test compares the two through BTF. All numbers are in host byte order; times are nanoseconds; pids are as the agent's pid
 * namespace has them and user ids as the initial user namespace does, unless a field says otherwise.
 */
#ifndef KUBEWARD_WIRE_H
#define KUBEWARD_WIRE_H

/* Call numbers 0..511; every architecture's table ends below the last, which stands for all numbers that no table has. */
#define KW_CALLS 512
#define KW_UNLISTED 511
/* Calls that share one number of the 32-bit table, and what tells all shapes: see struct kw_shape. */
#define KW_SUB_CALLS 32
#define KW_SHAPES (2 * KW_CALLS + 2 * KW_SUB_CALLS)
/* Container slots; slot 0 is nobody. How many there are is said at loading; keys of the table hold 16 bits of them. */
#define KW_MOST_SLOTS 16385
/* Profiles 1..1023; profile 0 wants nothing. */
#define KW_PROFILES 1024
#define KW_ERRNO_WORDS 9		     /* errno 0..575 */
#define KW_ERRNO_OTHER (KW_ERRNO_WORDS * 64) /* all beyond, which no kernel returns but a seccomp filter may make up */
#define KW_COMM_BYTES 16
#define KW_STRING_BYTES 4096 /* the longest single string that is kept, its NUL included */
#define KW_ITEMS_BYTES 3584  /* where the last item of a record may begin */
#define KW_ARGV_STRINGS 256  /* strings of one argv */
#define KW_PATH_STEPS 128    /* components of one resolved path */
#define KW_SOCKADDR_BYTES 128
#define KW_BIRTHS 4096	 /* cgroups at a time of which it is not known whether they are a container's */
#define KW_BIRTH_KIN 128 /* of these, with a slot and in one cgroup */
#define KW_BIRTH_PARENTS 1024
#define KW_BIRTH_NAME_BYTES 128

enum kw_kind {
	KW_KIND_CALL = 1, /* struct kw_record: one call of a container */
	KW_KIND_EXEC = 2, /* struct kw_record: a task of a container runs a new program; one KW_ITEM_PATH names it */
};

enum kw_phase {
	KW_PHASE_ENTER = 1,
	KW_PHASE_EXIT = 2,
	KW_PHASE_CALL = 3,
};

enum kw_stage {
	KW_STAGE_SETUP = 0,
	KW_STAGE_RUN = 1,
};

enum kw_probe {
	KW_PROBE_TP_BTF = 1,
	KW_PROBE_TRACEPOINT = 2,
	KW_PROBE_KPROBE = 3,
	KW_PROBE_KPROBE_MULTI = 4,
	KW_PROBE_FENTRY = 5,
};

enum kw_identity {
	KW_IDENTITY_TASK = 1,
	KW_IDENTITY_CGROUP = 2,
	KW_IDENTITY_NAMESPACE = 3,
};

/* kw_record.flags */
enum kw_record_flag {
	KW_RECORD_COMPAT = 1 << 0,   /* nr and args are of the 32-bit table */
	KW_RECORD_REFUSED = 1 << 1,  /* returned without having entered, from a thread under a seccomp filter */
	KW_RECORD_NO_ITEMS = 1 << 2, /* strings were wanted but there was no memory to hold them */
	KW_RECORD_IO_URING = 1 << 3, /* submitted to an io_uring in place of the call that nr and args name */
	KW_RECORD_NO_ARGS = 1 << 4,  /* args are the registers: the memory that holds the arguments could not be read */
};

/* One call, or one exec. `items_bytes` of struct kw_item follow. */
struct kw_record {
	__u8 kind;
	__u8 phase;
	__u8 stage;
	__u8 probe;
	__u8 identity;
	__u8 flags;
	__u16 nr; /* kw_shape.nr */
	__u32 slot;
	__u32 items_bytes;
	__u64 mono_ns;	   /* CLOCK_MONOTONIC at entry (enter, call) or return (exit) */
	__u64 duration_ns; /* call only, else 0 */
	__s64 ret;	   /* exit and call only, else 0 */
	__u64 args[6];
	__u64 exec_id;	     /* names the exec that started the program the process runs; 0: not seen */
	__u64 start_boot_ns; /* CLOCK_BOOTTIME at which the thread started */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 container_pid; /* in the process's own pid namespace */
	__u32 uid;
	__u32 gid;
	__u8 comm[KW_COMM_BYTES];
	__u8 uring_opcode; /* KW_RECORD_IO_URING only, else 0 */
	__u8 uring_flags;  /* the SQE's flags, and KW_URING_DIRECT */
	__u16 spare;
	__u32 number; /* the call's, as the caller gave it */
};

/* kw_record.uring_flags, beside IOSQE_* */
#define KW_URING_FIXED_FILE (1 << 0) /* IOSQE_FIXED_FILE: the descriptor is an index of the ring's registered files */
#define KW_URING_DIRECT (1 << 7)     /* makes or closes a registered file and no descriptor */

enum kw_item_kind {
	KW_ITEM_STRING = 1,   /* bytes without the NUL */
	KW_ITEM_ARGV = 2,     /* strings, each with its NUL */
	KW_ITEM_SOCKADDR = 3, /* struct sockaddr as the call gave or got it */
	KW_ITEM_PATH = 4,     /* components from leaf to root, each with its NUL; `arg` is 6 */
};

enum kw_item_flag {
	KW_ITEM_CUT = 1 << 0,	     /* the original was longer */
	KW_ITEM_UNREADABLE = 1 << 1, /* the memory could not be read; `bytes` is 0 */
};

/* `bytes` of content follow, and then at once the next item: nothing is aligned. */
struct kw_item {
	__u8 arg; /* 0..5: which argument; 6: none of them */
	__u8 kind;
	__u8 flags;
	__u8 pad;
	__u32 bytes;
};

/* What one call's arguments point to. capture[i] tells how argument i is read. */
enum kw_capture {
	KW_CAPTURE_NONE = 0,
	KW_CAPTURE_STRING = 1,
	KW_CAPTURE_ARGV = 2,
	KW_CAPTURE_SOCKADDR_IN = 3,  /* length in argument len_arg[i] */
	KW_CAPTURE_SOCKADDR_OUT = 4, /* length behind the pointer in argument len_arg[i], read at return */
};

enum kw_shape_flag {
	KW_SHAPE_IN = 1 << 0,	     /* some argument is read that the caller filled */
	KW_SHAPE_OUT = 1 << 1,	     /* some argument is read that the kernel filled */
	KW_SHAPE_OPENS = 1 << 2,     /* a return >= 0 is a descriptor of a file with a path */
	KW_SHAPE_NO_RETURN = 1 << 3, /* exit, exit_group */
	KW_SHAPE_EXEC = 1 << 4,	     /* execve, execveat: replaces its own memory */
	KW_SHAPE_FORKS = 1 << 5,     /* the child's return of 0 is not a call */
	KW_SHAPE_ENTRY_KNOWS =
		1 << 6, /* only the entry shows the right number (rt_sigreturn), or all that there is (reboot) */
	KW_SHAPE_SHARED = 1 << 7, /* of the 32-bit table: its function is the native call's, and hooked as such */
};

/*
 * What is known of a call. By native number; from KW_CALLS on by number of the 32-bit table; from 2 * KW_CALLS on the sub-calls of
 * numbers of that table. flags and times are those of the shape at native_nr.
 */
struct kw_shape {
	__u8 capture[6];
	__u8 len_arg[6];
	__u8 from[6]; /* where argument i is: register or word 0..5 */
	__u8 words_in; /* the register that points to 32-bit words with the arguments, KW_NO_WORDS: registers hold them */
	__u8 words;    /* how many */
	__u16 flags;
	__u16 nr;	 /* what records call it: its number, KW_UNLISTED, of a sub-call its index here less KW_CALLS */
	__u16 native_nr; /* the native call that it is or does the same as, else KW_UNLISTED */
	__u16 sub_calls; /* index of its sub-call 0 */
	__u32 sub_call_mask;  /* of the first argument: which sub-call it is; 0: it has none */
	__u64 enter_since_ns; /* CLOCK_MONOTONIC since when some hook shows its entries, 0: none does */
	__u64 exit_since_ns;  /* and its returns */
};

#define KW_NO_WORDS 0xff
/* Operations of io_uring, by opcode. */
#define KW_URING_OPS 128

/* Where a call's argument stands in the submission entry that does what the call does. */
enum kw_uring_from {
	KW_FROM_NOWHERE = 0, /* the argument is 0 */
	KW_FROM_MINUS_ONE = 1,
	KW_FROM_FD = 2,
	KW_FROM_OFF = 3, /* also addr2 */
	KW_FROM_ADDR = 4,
	KW_FROM_LEN = 5,
	KW_FROM_OP_FLAGS = 6,
	KW_FROM_FILE_INDEX = 7, /* also splice_fd_in */
	KW_FROM_ADDR_LEN = 8,
	KW_FROM_ADDR3 = 9,
	KW_FROM_ADDR_OR_LEN = 10, /* addr, where that is 0 len */
	KW_FROM_OFF_OR_LEN = 11,
};

/* When the operation does what kw_uring_op.other_nr does. */
enum kw_uring_when {
	KW_WHEN_NEVER = 0,
	KW_WHEN_NO_OFFSET = 1, /* off is -1: at the file's own position */
	KW_WHEN_DATASYNC = 2,
};

enum kw_uring_op_flag {
	KW_URING_OP_FILE_INDEX = 1 << 0, /* file_index other than 0 makes the operation KW_URING_DIRECT */
	KW_URING_OP_NOTIFIES = 1 << 1,	 /* a result that says that more will come is the only one */
	KW_URING_OP_CLOSES = 1 << 2,	 /* frees a descriptor's number */
	KW_URING_OP_REPEATS = 1 << 3,	 /* may have several results */
};

/* What call an operation stands for. */
struct kw_uring_op {
	__u16 nr; /* native; KW_CALLS: of no call */
	__u16 other_nr;
	__u8 when;
	__u8 flags;
	__u8 from[6];
};

/* What a profile wants of a call. */
enum kw_want {
	KW_WANT_ENTER = 1 << 0,
	KW_WANT_EXIT = 1 << 1,
	KW_WANT_CALL = 1 << 2,
	KW_WANT_ERRORS = 1 << 3,  /* only when the result is one of kw_profile.errors */
	KW_WANT_SLOW = 1 << 4,	  /* only when it took kw_profile.min_duration_ns, where that is known */
	KW_WANT_COUNT = 1 << 5,	  /* no record: every policy that names it counts only */
	KW_WANT_LIMITED = 1 << 6, /* kw_limits of the same profile has limits on it */
};

/* The weakest union of all policies that select a container. */
struct kw_profile {
	__u8 want[KW_CALLS];
	__u64 errors[KW_ERRNO_WORDS];
	__u64 min_duration_ns;
	__u32 arg_bytes;  /* of one string, at most KW_STRING_BYTES */
	__u32 argv_bytes; /* of all strings of an argv, at most KW_STRING_BYTES */
};

/* Limits of one profile that the kernel side keeps. */
#define KW_LIMITS 7

/* kw_limits.calls: bit n is of[n]. */
enum kw_limit_flag {
	KW_LIMIT_OTHERS = 1 << KW_LIMITS, /* others want the call, too: it is never dropped here */
};

/* A bucket of tokens, one for a record. */
struct kw_limit {
	__u64 token_ns; /* in which one comes */
	__u64 burst_ns; /* in which all come */
};

struct kw_limits {
	struct kw_limit of[KW_LIMITS];
	__u8 calls[KW_CALLS]; /* which of them are of policies that want the call */
};

/* What one container has left of its profile's limits. */
struct kw_buckets {
	__u64 profile;
	__u64 full_at_ns[KW_LIMITS]; /* CLOCK_MONOTONIC when all tokens are there again */
};

/* One container the kernel side knows. */
struct kw_container {
	__u32 active;
	__u32 profile;
	__u32 creator_mnt_ns; /* an exec in this mount namespace is the runtime's */
	__u32 is_unnamed;     /* 1: nobody has told yet which container it is; see struct kw_birth */
	__u64 since_ns;	      /* CLOCK_MONOTONIC since when this profile is looked at */
	__u64 opened_ns;      /* CLOCK_MONOTONIC since when the slot is this container's; 0: it is nobody's */
};

/* A v2 cgroup that no task of a container made, until user space knows what it is. Key of the map: its id. */
struct kw_birth {
	__u64 parent;		  /* cgroup id */
	__u64 made_ns;		  /* CLOCK_MONOTONIC */
	__u64 covered_ns;	  /* CLOCK_MONOTONIC since when its calls are looked at, 0: there was none yet */
	__u64 run_ns;		  /* CLOCK_MONOTONIC at the workload's first exec, 0: not yet */
	__u64 root;		  /* the root directory of the task that made it, as a mere number */
	__u64 init_start_boot_ns; /* of the process that made that exec */
	__u32 init_pid;
	__u32 creator_mnt_ns;
	__u32 slot;			/* 0: none was needed yet, or there was none */
	__u32 missed;			/* looks for its slot while there was none */
	__u8 name[KW_BIRTH_NAME_BYTES]; /* of its directory */
};

enum kw_target_flag {
	KW_TARGET_STICKY = 1 << 0, /* a match tags the task */
};

/* Value of container_map (key: v2 cgroup id) and namespace_map (key: struct kw_ns_key). */
struct kw_target {
	__u32 slot;
	__u32 flags;
};

/* The inode numbers are reused as soon as a namespace has gone, mnt_seq never is. */
struct kw_ns_key {
	__u32 pid_ns;
	__u32 mnt_ns;
	__u64 mnt_seq; /* 0 on a kernel that keeps none we know */
};

/* What a task carries, and hands to its children. Slot 0: this task is not to be watched. */
struct kw_tag {
	__u32 slot;
	__u32 container_pid; /* of its process in its own pid namespace; 0: not looked up yet */
	__u64 exec_id;
	__u64 is_idle; /* 1: no call of its is kept between entry and return; 0: there may be one */
};

/* Which tasks tag_tasks and adopt_tasks change. */
enum kw_tag_mode {
	KW_TAG_THREADS = 1, /* give tag_slot to the threads of each process whose first thread has it */
	KW_TAG_CGROUP = 2,  /* give tag_slot to each task in tag_cgroup and tag_pid_ns that is no named container's */
	KW_TAG_REMOVE = 3,  /* take the tag of each task that has tag_slot */
	KW_TAG_PROCESS = 4, /* give tag_slot to the process tag_pid, whoever has it */
	KW_TAG_KIN = 5,	    /* adopt_tasks: by pid namespaces and parents alone */
	KW_TAG_STRAYS = 6,  /* adopt_tasks: then by cgroups too */
};

enum kw_hook {
	KW_HOOK_ENTER = 1 << 0,
	KW_HOOK_EXIT = 1 << 1,
};

/* One for the whole node. */
struct kw_settings {
	__u32 silenced;		  /* 1: no program looks at anything */
	__u32 host_mnt_ns;	  /* tasks in it are no container's unless their cgroup says so */
	__u32 emit_setup;	  /* 1: calls of stage setup are emitted too */
	__u32 ns_entries;	  /* entries in namespace_map; 0 saves the look-up */
	__u32 pid_level;	  /* of the agent's pid namespace; 0: the initial one */
	__u32 move_nr;		  /* of the move in which calls go from one kind of hook to the other; 0: none do */
	__u32 tag_slot;		  /* what tag_tasks is to work on */
	__u32 tag_mode;		  /* enum kw_tag_mode */
	__u64 tag_cgroup;	  /* v2 cgroup id */
	__u64 tag_start_ns;	  /* CLOCK_BOOTTIME at the start of process tag_pid */
	__u32 tag_pid;		  /* at pid_level */
	__u32 tag_pid_ns;	  /* inode number; 0: any. Its tasks, and those in namespaces below */
	__u64 births_after;	  /* no cgroup with an id up to this one has a birth */
	__u64 shared_bytes;	  /* size of the ring that containers share; 0: one has it all */
	__u32 shared_results;	  /* entries of call_table that containers share; 0: one has them all */
	__u32 shared_durations;	  /* and of call_times */
	__u8 raw_hooks[KW_CALLS]; /* enum kw_hook: what the raw tracepoints serve of each call */
	__u8 function_hooks[KW_CALLS]; /* and what the hooks on its function do; both in a move alone */
};

/* Per CPU and slot. Counts since the slot was opened; they never fall. */
struct kw_account {
	__u64 at_once; /* calls told by one hook alone and not in first_counts; with these and entered they are all that were seen */
	__u64 filtered_setup;
	__u64 filtered_policy; /* no longer named when the call returned */
	__u64 filtered_errors;
	__u64 filtered_duration;
	__u64 filtered_count; /* every policy that names the call counts only */
	__u64 sampled;	      /* above every limit of the policies that name the call */
	__u64 lost_ring;
	__u64 lost_share;   /* the container's share of the ring was used up */
	__u64 lost_storage; /* no memory to keep a call whose return alone says nothing */
	__u64 lost_return;  /* entered, and its return was never shown to us */
	__u64 entered;	    /* calls kept from entry to return */
	__u64 left;	    /* of those, the ones that are over */
	__u64 unreadable;   /* arguments that could not be read; no call is lost by it */
	__u64 no_buffer;    /* records without strings, for want of memory; no call is lost by it */
	__u64 lost_exec;    /* programs whose name is unknown, for want of room in the ring */
	__u64 untabled; /* calls that call_table, or the container's share of it, had no room for; they are counted above */
	__u64 untimed;	/* the same of call_times; their calls are in call_table, as far as that has room */
	__u64 untagged; /* tasks that got no tag for want of memory: identified anew at each call */
};

/* In the memory of both sides: whether runs of our programs are timed now. */
struct kw_window {
	__u32 is_open;
	__u32 nothing; /* always 0 */
};

/* Per CPU: runs that were timed, of all programs, since the object was loaded. */
struct kw_run_times {
	__u64 runs;
	__u64 ns;	/* begin to end, with one reading of the clock in it */
	__u64 clock_ns; /* what that reading took, measured at each run's end */
};

/* Which of a slot's two counts in keys_made and keys_deleted: keys of call_table, keys of call_times. */
#define KW_RESULT_KEYS 0
#define KW_DURATION_KEYS 1

/* kw_table_key.flags: KW_RECORD_COMPAT and KW_RECORD_IO_URING as in a record, and */
enum kw_table_flag {
	KW_TABLE_UNFINISHED = 1 << 7, /* told at its entry alone, or its return was never shown */
};

/* Key of call_table; the value is how many calls of the container ended so and were neither timed nor among its first results, per CPU. */
struct kw_table_key {
	__u16 slot;
	__u16 nr;    /* as in the caller's table */
	__u16 error; /* errno, KW_ERRNO_OTHER: one beyond 575, 0: it succeeded or is unfinished */
	__u8 flags;
	__u8 stage; /* enum kw_stage, when the result was known */
};

#define KW_FIRST_RESULTS 32

/*
 * The results of a container that came first, each in the place that place_of gives it; 0: there is none yet. How often they came
 * stands in first_counts in the same places, and nowhere else.
 */
struct kw_first_results {
	__u64 key[KW_FIRST_RESULTS]; /* struct kw_table_key as a number */
};

/* Per CPU. */
struct kw_first_counts {
	__u64 calls[KW_FIRST_RESULTS];
};

/*
 * Key of call_times: calls of stage run that took from 2^power up to, not including, 2^(power + 1) ns; power 0 has those of 0 ns too.
 * They are in call_times alone.
 */
struct kw_times_key {
	__u16 slot;
	__u16 nr;
	__u16 error; /* as in struct kw_table_key */
	__u8 flags;
	__u8 power;
};

/* Per CPU. */
struct kw_times {
	__u64 calls;
	__u64 total_ns;
};

/* One task of the iterator. */
struct kw_task {
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 pid_ns;
	__u32 mnt_ns;
	__u32 slot;	 /* its tag, 0 without one */
	__u32 pid_level; /* of its own pid namespace */
	__u32 inner_pid; /* its number there */
	__u64 mnt_seq;
	__u64 cgroup_id;
	__u64 start_boot_ns;
	__u8 comm[KW_COMM_BYTES];
};

/* A task of a container that may be in a call which its container's profile wants the return of. */
struct kw_inside {
	__u64 since_ns; /* CLOCK_MONOTONIC: it has entered the call after this; 0: not known */
	__u32 nr;	/* native */
	__u32 pad;
};

#endif
