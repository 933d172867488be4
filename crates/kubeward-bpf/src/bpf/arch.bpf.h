/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* All that differs between architectures on the kernel side: registers, numbers, the 32-bit table. */
#ifndef KUBEWARD_ARCH_BPF_H
#define KUBEWARD_ARCH_BPF_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)

struct pt_regs {
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long bx;
	unsigned long cx;
	unsigned long bp;
	unsigned long ax;
	unsigned long orig_ax;
};

struct thread_info {
	u32 status;
};

#elif defined(__TARGET_ARCH_arm64)

struct user_pt_regs {
	u64 regs[31];
};

struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
};

struct thread_info {
	unsigned long flags;
};

#else
#error "this architecture needs its registers described here"
#endif

#pragma clang attribute pop

struct call_args {
	u64 v[6];
};

#if defined(__TARGET_ARCH_x86)

#define KW_TS_COMPAT 0x2 /* arch/x86/include/asm/thread_info.h */

static __always_inline bool arch_is_compat(const struct thread_info *thread)
{
	return thread->status & KW_TS_COMPAT;
}

/* The kernel, too, takes the lower half of what the caller put there. */
static __always_inline s32 arch_nr(const struct pt_regs *regs)
{
	return (s32)regs->orig_ax;
}

/* The result a kretprobe sees, in the registers of the kernel function. */
static __always_inline s64 arch_kernel_ret(const struct pt_regs *regs)
{
	return (s64)regs->ax;
}

static __always_inline void arch_args(const struct pt_regs *regs, bool compat, struct call_args *args)
{
	if (compat) {
		args->v[0] = (u32)regs->bx;
		args->v[1] = (u32)regs->cx;
		args->v[2] = (u32)regs->dx;
		args->v[3] = (u32)regs->si;
		args->v[4] = (u32)regs->di;
		args->v[5] = (u32)regs->bp;
		return;
	}
	args->v[0] = regs->di;
	args->v[1] = regs->si;
	args->v[2] = regs->dx;
	args->v[3] = regs->r10;
	args->v[4] = regs->r8;
	args->v[5] = regs->r9;
}

#elif defined(__TARGET_ARCH_arm64)

#define KW_TIF_32BIT (1 << 22) /* arch/arm64/include/asm/thread_info.h */

static __always_inline bool arch_is_compat(const struct thread_info *thread)
{
	return thread->flags & KW_TIF_32BIT;
}

static __always_inline s32 arch_nr(const struct pt_regs *regs)
{
	return regs->syscallno;
}

static __always_inline s64 arch_kernel_ret(const struct pt_regs *regs)
{
	return (s64)regs->regs[0];
}

/* x0 holds the result at return; orig_x0 keeps the first argument. */
static __always_inline void arch_args(const struct pt_regs *regs, bool compat, struct call_args *args)
{
	args->v[0] = regs->orig_x0;
	args->v[1] = regs->regs[1];
	args->v[2] = regs->regs[2];
	args->v[3] = regs->regs[3];
	args->v[4] = regs->regs[4];
	args->v[5] = regs->regs[5];
}

#endif

#endif
