/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What our own programs take of the CPUs, by samples: user space opens a window now and then, and in it each run looks at the
 * clock. Outside of windows a run pays two loads and two branches. Neither needs CAP_SYS_ADMIN, which the kernel's own statistics
 * (kernel.bpf_stats_enabled) do. What the kernel does before and after a program is in no run.
 */
#ifndef KUBEWARD_TIMING_BPF_H
#define KUBEWARD_TIMING_BPF_H

/* Written by user space, which has it in its memory: see `timing.rs`. */
struct kw_window window SEC(".data.window");

/* What was counted in windows. Never falls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kw_run_times);
} run_times SEC(".maps");

/*
 * When the run began, 0 outside of windows: read from memory, since a 0 that the verifier knows would have it follow every path
 * of the program twice.
 */
static __always_inline u64 begin_run(void)
{
	if (*(volatile u32 *)&window.is_open)
		return bpf_ktime_get_ns();
	return *(volatile u32 *)&window.nothing;
}

static __always_inline void end_run(u64 begun_ns)
{
	u64 ended_ns, clock_ns;
	struct kw_run_times *times;
	u32 zero = 0;

	if (!begun_ns)
		return;
	ended_ns = bpf_ktime_get_ns();
	clock_ns = bpf_ktime_get_ns() - ended_ns;
	times = bpf_map_lookup_elem(&run_times, &zero);
	if (!times)
		return;
	/* Atomic, since a run that was preempted may go on while another one of its CPU counts. */
	__sync_fetch_and_add(&times->runs, 1);
	__sync_fetch_and_add(&times->ns, ended_ns - begun_ns);
	__sync_fetch_and_add(&times->clock_ns, clock_ns);
}

/* The result of `run`, an entry point's whole work. */
#define timed(run)                                                                                                     \
	({                                                                                                             \
		u64 begun_ns = begin_run();                                                                            \
		int result = (run);                                                                                    \
		end_run(begun_ns);                                                                                     \
		result;                                                                                                \
	})

#endif
