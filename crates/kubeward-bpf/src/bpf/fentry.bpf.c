// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The fentry backend: a pair of small programs per function, each attached to one kernel function that user space names before it
 * loads the pair. All of them are the same program; the copies exist since one program has one target.
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

char LICENSE[] SEC("license") = "GPL";

static __noinline int enter(void)
{
	return timed(on_enter(current_nr(), KW_PROBE_FENTRY));
}

/* The function's result: its registers still hold -ENOSYS. */
static __noinline int leave(s64 ret)
{
	return timed(on_exit(current_nr(), ret, KW_PROBE_FENTRY));
}

/* ia32_sys_call(regs, nr), in place of the functions of all 32-bit calls. */
SEC("?fentry")
int enter_dispatcher(u64 *ctx)
{
	return timed(on_enter(current_nr(), KW_PROBE_FENTRY | KW_DISPATCHER));
}

SEC("?fexit")
int exit_dispatcher(u64 *ctx)
{
	return timed(on_exit(current_nr(), (s64)ctx[2], KW_PROBE_FENTRY | KW_DISPATCHER));
}

#define PAIR(n)                                                                                                        \
	SEC("?fentry") int enter_##n(u64 *ctx)                                                                         \
	{                                                                                                              \
		return enter();                                                                                        \
	}                                                                                                              \
	SEC("?fexit") int exit_##n(u64 *ctx)                                                                           \
	{                                                                                                              \
		return leave((s64)ctx[1]);                                                                             \
	}

#define PAIRS_8(n) PAIR(n##0) PAIR(n##1) PAIR(n##2) PAIR(n##3) PAIR(n##4) PAIR(n##5) PAIR(n##6) PAIR(n##7)
#define PAIRS_64(n)                                                                                                    \
	PAIRS_8(n##0) PAIRS_8(n##1) PAIRS_8(n##2) PAIRS_8(n##3) PAIRS_8(n##4) PAIRS_8(n##5) PAIRS_8(n##6) PAIRS_8(n##7)

/*
 * Named by the call's number in octal, enter_0000 to enter_0777: in one object by its native number, in another one by that of the
 * 32-bit table.
 */
PAIRS_64(00)
PAIRS_64(01)
PAIRS_64(02)
PAIRS_64(03)
PAIRS_64(04)
PAIRS_64(05)
PAIRS_64(06)
PAIRS_64(07)
