// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Hooks on io_uring, each through BTF and as a classic tracepoint:
 *
 *   submit	a request was taken from its ring: submit_req, before 6.4 submit_sqe
 *   failed	a request was refused at once; its answer follows
 *   complete	an answer; through BTF the tracepoint has other arguments before 6.16
 *   overflow	an answer that the ring had no room for
 *   end_all	no hook: user space runs it when the hooks are gone
 *
 * Loaded when the first policy names a call that an operation stands for, into an object that shares the main one's maps.
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
#include "sqe.bpf.h"
#include "requests.bpf.h"
#include "uring.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("?tp_btf/io_uring_submit_req")
int raw_submit_req(u64 *ctx)
{
	return timed(on_submit((struct io_kiocb *)ctx[0], KW_PROBE_TP_BTF));
}

SEC("?tp_btf/io_uring_submit_sqe")
int raw_submit_sqe(u64 *ctx)
{
	return timed(on_submit((struct io_kiocb *)ctx[0], KW_PROBE_TP_BTF));
}

SEC("?tp_btf/io_uring_req_failed")
int raw_failed(u64 *ctx)
{
	return timed(on_submit((struct io_kiocb *)ctx[1], KW_PROBE_TP_BTF));
}

SEC("?tp_btf/io_uring_complete")
int raw_complete(u64 *ctx)
{
	const struct io_uring_cqe *cqe = (const struct io_uring_cqe *)ctx[2];

	return timed(on_answer(ctx[0], ctx[1], BPF_CORE_READ(cqe, user_data), BPF_CORE_READ(cqe, res),
			       BPF_CORE_READ(cqe, flags)));
}

SEC("?tp_btf/io_uring_complete")
int raw_complete_numbers(u64 *ctx)
{
	return timed(on_answer(ctx[0], ctx[1], ctx[2], ctx[3], ctx[4]));
}

SEC("?tp_btf/io_uring_cqe_overflow")
int raw_overflow(u64 *ctx)
{
	return timed(on_nameless_answer(ctx[0], ctx[1], ctx[2], ctx[3]));
}

SEC("?tracepoint/io_uring/io_uring_submit_req")
int classic_submit_req(struct trace_event_raw_io_uring_submit_req *ctx)
{
	return timed(on_submit(ctx->req, KW_PROBE_TRACEPOINT));
}

SEC("?tracepoint/io_uring/io_uring_submit_sqe")
int classic_submit_sqe(struct trace_event_raw_io_uring_submit_sqe *ctx)
{
	return timed(on_submit(ctx->req, KW_PROBE_TRACEPOINT));
}

SEC("?tracepoint/io_uring/io_uring_req_failed")
int classic_failed(struct trace_event_raw_io_uring_req_failed *ctx)
{
	return timed(on_submit(ctx->req, KW_PROBE_TRACEPOINT));
}

SEC("?tracepoint/io_uring/io_uring_complete")
int classic_complete(struct trace_event_raw_io_uring_complete *ctx)
{
	return timed(on_answer((u64)ctx->ctx, (u64)ctx->req, ctx->user_data, ctx->res, ctx->cflags));
}

SEC("?tracepoint/io_uring/io_uring_cqe_overflow")
int classic_overflow(struct trace_event_raw_io_uring_cqe_overflow *ctx)
{
	return timed(on_nameless_answer((u64)ctx->ctx, ctx->user_data, ctx->res, ctx->cflags));
}

SEC("?syscall")
int end_all(void *ctx)
{
	return end_requests();
}
