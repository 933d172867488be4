// Threads that are all blocked in read(2) at once, then released, for returns that must not get
// lost.
//
//   blocked THREADS
//
// Each thread makes one read of one byte from a pipe; when the kernel reports every one of them
// asleep, the main thread writes a byte for each. The program makes no other read(2), so THREADS
// reads that returned 1 are what a watcher must see. Prints one JSON line with its own counts.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sleeps.h"

enum { MAX_THREADS = 4096, STACK_BYTES = 64 * 1024 };

static int pipe_fds[2];
static atomic_int entering;
static atomic_int returned;
static atomic_int thread_ids[MAX_THREADS];

static void *block(void *unused)
{
	char byte;

	(void)unused;
	thread_ids[atomic_fetch_add(&entering, 1)] = gettid();
	if (syscall(SYS_read, pipe_fds[0], &byte, 1) == 1)
		atomic_fetch_add(&returned, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	static pthread_t threads[MAX_THREADS];
	static const char bytes[MAX_THREADS];
	pthread_attr_t attr;
	int thread_count = argc == 2 ? atoi(argv[1]) : 0;

	if (thread_count < 1 || thread_count > MAX_THREADS) {
		fprintf(stderr, "usage: blocked THREADS (1 to %d)\n", MAX_THREADS);
		return 2;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
		perror("blocked: pipe2");
		return 1;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (int i = 0; i < thread_count; i++) {
		int error = pthread_create(&threads[i], &attr, block, NULL);

		if (error != 0) {
			fprintf(stderr, "blocked: thread %d: %s\n", i, strerror(error));
			return 1;
		}
	}
	while (atomic_load(&entering) < thread_count)
		sched_yield();
	for (int i = 0; i < thread_count; i++) {
		while (atomic_load(&thread_ids[i]) == 0 || !sleeps(thread_ids[i]))
			sched_yield();
	}
	if (write(pipe_fds[1], bytes, thread_count) != thread_count) {
		perror("blocked: write");
		return 1;
	}
	for (int i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	printf("{\"program\":\"blocked\",\"threads\":%d,\"made\":{\"read\":%d}}\n", thread_count,
	       atomic_load(&returned));
	return atomic_load(&returned) == thread_count ? 0 : 1;
}
