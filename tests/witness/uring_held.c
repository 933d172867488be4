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
#include <string.h>
#include <sys/wait.h>
#include "ring.h"

static void ask(int fd)
{
	static char data[8];
	static unsigned long asked;
	unsigned tail = *ring.sq_tail, at = tail & *ring.sq_mask;
	struct io_uring_sqe *sqe = &ring.sqes[at];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (unsigned long)data;
	sqe->len = 1;
	sqe->user_data = ++asked;
	ring.sq_array[at] = at;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	ring.to_submit = 1;
	enter(0);
	printf("asked %lu\n", asked);
}

static void answer(int fd)
{
	unsigned head = *ring.cq_head;

	if (write(fd, "x", 1) != 1)
		die("writing");
	while (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE))
		enter(1);
	printf("answered %d\n", ring.cqes[head & *ring.cq_mask].res);
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
}

int main(void)
{
	int pipes[2];
	char order;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 4096);
	open_ring(64, 0);
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
