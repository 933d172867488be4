/*
 * Requests to an io_uring that wait until they are told not to. Each byte of standard input is an order, which is answered by a
 * line when it is done:
 *
 *   r	asks for a byte of a pipe, at offset 0, and does not wait: "asked N", N so far
 *   w	writes a byte into the pipe and waits for a request to be answered: "answered RESULT"
 *   f	forks: "child PID", and the child takes the orders that follow, with the same ring and pipe; the parent waits for it
 *
 * All opcodes are READ, which at an offset is pread64; the orders come by calls of read.
 */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRIES 64

static int ring;
static unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_ring(void)
{
	struct io_uring_params params = {0};
	char *sq, *cq;

	ring = syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring < 0)
		die("io_uring_setup");
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED,
		  ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(*cqes), PROT_READ | PROT_WRITE, MAP_SHARED,
		  ring, IORING_OFF_CQ_RING);
	sqes = mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mapping the ring");
	sq_tail = (unsigned *)(sq + params.sq_off.tail);
	sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	sq_array = (unsigned *)(sq + params.sq_off.array);
	cq_head = (unsigned *)(cq + params.cq_off.head);
	cq_tail = (unsigned *)(cq + params.cq_off.tail);
	cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

static void ask(int fd)
{
	static char data[8];
	static unsigned long asked;
	unsigned tail = *sq_tail, at = tail & *sq_mask;
	struct io_uring_sqe *sqe = &sqes[at];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (unsigned long)data;
	sqe->len = 1;
	sqe->user_data = ++asked;
	sq_array[at] = at;
	__atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) != 1)
		die("submitting");
	printf("asked %lu\n", asked);
}

static void answer(int fd)
{
	unsigned head = *cq_head;

	if (write(fd, "x", 1) != 1)
		die("writing");
	while (head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) {
		if (syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			die("waiting");
	}
	printf("answered %d\n", cqes[head & *cq_mask].res);
	__atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);
}

int main(void)
{
	int pipes[2];
	char order;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 4096);
	open_ring();
	if (pipe(pipes))
		die("pipe");
	while (read(0, &order, 1) == 1) {
		switch (order) {
		case 'r':
			ask(pipes[0]);
			break;
		case 'w':
			answer(pipes[1]);
			break;
		case 'f':
			child = fork();
			if (child < 0)
				die("fork");
			if (child)
				return waitpid(child, NULL, 0) != child;
			printf("child %d\n", getpid());
			break;
		default:
			return 2;
		}
	}
	return 0;
}
