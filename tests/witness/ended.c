/*
 * Threads that are each blocked in a call when the process ends under them.
 *
 *   ended THREADS
 *
 * Begins when a byte comes on standard input: half of the threads wait in futex, half in read, of a pipe that nobody writes
 * to. Once all of them sleep, the main thread ends the process by exit_group. The main thread makes neither call after the byte.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sleeps.h"

enum { MAX_THREADS = 64, STACK_BYTES = 64 * 1024 };

static int pipe_fds[2];
static int word;
static atomic_int thread_ids[MAX_THREADS];

/* By clone and not by pthread_create, whose threads make a futex call of their own when they wait for each other. */
static int block(void *index)
{
	long own = (long)index;
	char byte;

	atomic_store(&thread_ids[own], (int)syscall(SYS_gettid));
	if (own % 2)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
	else
		syscall(SYS_read, pipe_fds[0], &byte, 1);
	return 0;
}

int main(int argc, char **argv)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	int count = 0;
	char *stack, byte;

	if (argc != 2 || sscanf(argv[1], "%d", &count) != 1 || count < 1 || count > MAX_THREADS)
		return 2;
	if (pipe2(pipe_fds, O_CLOEXEC) || read(STDIN_FILENO, &byte, 1) != 1)
		return 3;
	for (long i = 0; i < count; i++) {
		stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (stack == MAP_FAILED || clone(block, stack + STACK_BYTES, flags, (void *)i) < 0)
			return 4;
	}
	for (int i = 0; i < count; i++)
		while (!atomic_load(&thread_ids[i]) || !sleeps(thread_ids[i]))
			sched_yield();
	syscall(SYS_exit_group, 0);
	return 5;
}
