/* An io_uring and what every program does with one. */
#ifndef RING_H
#define RING_H

#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned to_submit, sqe_flags;
	int is_sqpoll;
} ring;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_ring(unsigned entries, unsigned flags)
{
	struct io_uring_params params = {.flags = flags, .sq_thread_idle = 2000};
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, entries, &params);
	if (ring.fd < 0)
		die("io_uring_setup");
	ring.is_sqpoll = flags & IORING_SETUP_SQPOLL;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		die("mapping the ring");
	ring.sq_tail = (unsigned *)(sq + params.sq_off.tail);
	ring.sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	ring.sq_array = (unsigned *)(sq + params.sq_off.array);
	ring.sq_flags = (unsigned *)(sq + params.sq_off.flags);
	ring.cq_head = (unsigned *)(cq + params.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + params.cq_off.tail);
	ring.cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

/* Submits what was asked, and waits until there are so many answers. */
static void enter(unsigned wait)
{
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;

	if (ring.is_sqpoll) {
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (*ring.sq_flags & IORING_SQ_NEED_WAKEUP)
			flags |= IORING_ENTER_SQ_WAKEUP;
	}
	if (syscall(SYS_io_uring_enter, ring.fd, ring.to_submit, wait, flags, NULL, 0) < 0)
		die("io_uring_enter");
	ring.to_submit = 0;
}

#endif
