/*
 * Threads that make calls of several kinds with several results each, and count for themselves what came of them.
 *
 *   results THREADS ROUNDS
 *
 * Begins when a byte comes on standard input. Prints a line for each call and result, "NAME ERRNO COUNT", with errno 0 for
 * success, and "NAME unfinished COUNT" for the calls that end a thread or the process. The program makes no other call of
 * these names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 64, MAX_ERRNO = 134, STACK_BYTES = 64 * 1024 };

static char byte;

static const struct call {
	const char *name;
	long nr;
	long args[3];
} calls[] = {
	{"getppid", SYS_getppid, {0}},
	{"dup", SYS_dup, {-1}},
	{"lseek", SYS_lseek, {-1, 0, SEEK_SET}},
	{"lseek", SYS_lseek, {STDIN_FILENO, 0, SEEK_SET}},
	{"openat", SYS_openat, {AT_FDCWD, (long)"/there/is/no/such/path", O_RDONLY}},
	{"openat", SYS_openat, {AT_FDCWD, (long)"/proc/self/exe/no", O_RDONLY}},
	{"openat", SYS_openat, {AT_FDCWD, (long)"/", O_WRONLY}},
	{"mkdir", SYS_mkdir, {(long)"/", 0700}},
	{"mkdir", SYS_mkdir, {(long)"/there/is/no/such/path", 0700}},
	{"kill", SYS_kill, {0, 0}},
	{"kill", SYS_kill, {0, 999}},
	{"kill", SYS_kill, {1 << 30, 0}},
	{"pread64", SYS_pread64, {-1, (long)&byte, 1}},
	{"pread64", SYS_pread64, {STDIN_FILENO, (long)&byte, 1}},
	{"getcwd", SYS_getcwd, {(long)&byte, 1}},
	{"getcwd", SYS_getcwd, {1, 4096}},
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

struct counts {
	long results[CALLS][MAX_ERRNO];
};

static long rounds;
static pthread_barrier_t start;

static void *run(void *own)
{
	struct counts *counts = own;

	pthread_barrier_wait(&start);
	for (long round = 0; round < rounds; round++) {
		for (int i = 0; i < CALLS; i++) {
			const long *args = calls[i].args;
			long ret = syscall(calls[i].nr, args[0], args[1], args[2], 0L);

			counts->results[i][ret < 0 ? errno : 0]++;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long thread_count = argc == 3 ? atol(argv[1]) : 0;
	pthread_t threads[MAX_THREADS];
	struct counts *counts;
	pthread_attr_t attr;

	if (thread_count < 1 || thread_count > MAX_THREADS || read(STDIN_FILENO, &byte, 1) != 1)
		return 2;
	rounds = atol(argv[2]);
	counts = calloc(thread_count, sizeof(*counts));
	if (!counts || pthread_attr_init(&attr) || pthread_attr_setstacksize(&attr, STACK_BYTES) ||
	    pthread_barrier_init(&start, NULL, thread_count))
		return 3;
	for (long i = 0; i < thread_count; i++)
		if (pthread_create(&threads[i], &attr, run, &counts[i]))
			return 4;
	for (long i = 0; i < thread_count; i++)
		if (pthread_join(threads[i], NULL))
			return 5;
	for (int i = 0; i < CALLS; i++) {
		for (int error = 0; error < MAX_ERRNO; error++) {
			long sum = 0;

			for (long thread = 0; thread < thread_count; thread++)
				sum += counts[thread].results[i][error];
			if (sum)
				printf("%s %d %ld\n", calls[i].name, error, sum);
		}
	}
	printf("exit unfinished %ld\nexit_group unfinished 1\n", thread_count);
	return 0;
}
