/*
 * A program without a C library: it makes no system call but its own, so that it can say how many it made. x86-64 alone.
 * Compiled with -nostdlib -ffreestanding -fno-stack-protector.
 */
#ifndef BARE_H
#define BARE_H

#include <asm/unistd.h>
#include <stddef.h>

#define ERRNO_CLASSES 138 /* errno 0..132, then the restarts 512..516 */
#define BARE_CALLS 512

/* How often each call returned each result: 0 for all that are no failure. */
struct counts {
	unsigned int by_errno[BARE_CALLS][ERRNO_CLASSES];
};

static inline __attribute__((always_inline)) long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline __attribute__((noreturn)) void leave(int status)
{
	for (;;)
		raw(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

static inline int class_of(int error)
{
	if (error >= 512 && error <= 516)
		return 133 + error - 512;
	if (error < 0 || error > 132)
		leave(90);
	return error;
}

static inline int errno_of(int class)
{
	return class < 133 ? class : 512 + class - 133;
}

/* `error`: as the kernel returned it, which for an interrupted call is not what the caller sees. */
static inline void made(struct counts *counts, int nr, int error)
{
	__atomic_fetch_add(&counts->by_errno[nr][class_of(error)], 1, __ATOMIC_RELAXED);
}

/* Makes the call and counts it. */
static inline __attribute__((always_inline)) long call6(struct counts *counts, long nr, long a, long b, long c, long d, long e,
							long f)
{
	long ret = raw(nr, a, b, c, d, e, f);

	made(counts, nr, ret < 0 && ret >= -4095 ? -ret : 0);
	return ret;
}

#define CALL(counts, nr, a, b, c, d) call6(counts, nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* A status for each place, so that whoever waits can tell where it failed. */
static inline void must(int ok, int status)
{
	if (!ok)
		leave(status);
}

static inline long number(const char *digits)
{
	long value = 0;

	while (*digits >= '0' && *digits <= '9')
		value = value * 10 + (*digits++ - '0');
	return value;
}

static inline char *put_number(char *at, unsigned long value)
{
	char digits[24];
	int count = 0;

	do
		digits[count++] = '0' + value % 10;
	while ((value /= 10) != 0);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* The compiler makes calls of these. */
void *memset(void *to, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);

#endif
