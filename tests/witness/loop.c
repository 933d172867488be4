// Threads that make known calls in a tight loop on the first two CPUs, for accounts that must add
// up.
//
//   loop THREADS ROUNDS CALL...      CALL is one of getppid, getuid, dup, lseek
//
// Every thread makes every CALL once a round: THREADS x ROUNDS of each, and no other call of these
// names anywhere in the program. The last two fail with EBADF. Prints one JSON line with the number
// of calls made, by name, and with `unexpected`, how many returned something else than they must.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 256, MAX_CALLS = 4, STACK_BYTES = 64 * 1024 };

static const struct call {
	const char *name;
	long nr;
	long first_arg;
	int fails;
} known[] = {
	{"getppid", SYS_getppid, 0, 0},
	{"getuid", SYS_getuid, 0, 0},
	{"dup", SYS_dup, -1, 1},
	{"lseek", SYS_lseek, -1, 1},
};

static const struct call *calls[MAX_CALLS];
static int call_count;
static long rounds;
static atomic_long made[MAX_CALLS];
static atomic_long unexpected;
static pthread_barrier_t start;

static void *run(void *unused)
{
	long wrong = 0;

	(void)unused;
	pthread_barrier_wait(&start);
	for (long round = 0; round < rounds; round++) {
		for (int i = 0; i < call_count; i++) {
			long ret = syscall(calls[i]->nr, calls[i]->first_arg, 0, 0);

			wrong += calls[i]->fails ? !(ret == -1 && errno == EBADF) : ret < 0;
		}
	}
	for (int i = 0; i < call_count; i++)
		atomic_fetch_add(&made[i], rounds);
	atomic_fetch_add(&unexpected, wrong);
	return NULL;
}

static const struct call *find(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return &known[i];
	fprintf(stderr, "loop: unknown call \"%s\": known are getppid, getuid, dup, lseek\n", name);
	exit(2);
}

static void stay_on_two_cpus(void)
{
	cpu_set_t allowed, two;
	int left = 2;

	CPU_ZERO(&two);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && left > 0; cpu++) {
		if (CPU_ISSET(cpu, &allowed)) {
			CPU_SET(cpu, &two);
			left--;
		}
	}
	sched_setaffinity(0, sizeof(two), &two);
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	pthread_attr_t attr;
	int thread_count = argc > 1 ? atoi(argv[1]) : 0;

	if (argc < 4 || argc > 3 + MAX_CALLS || thread_count < 1 || thread_count > MAX_THREADS) {
		fprintf(stderr, "usage: loop THREADS ROUNDS CALL... (at most %d threads, %d calls)\n", MAX_THREADS,
			MAX_CALLS);
		return 2;
	}
	rounds = atol(argv[2]);
	for (int i = 3; i < argc; i++)
		calls[call_count++] = find(argv[i]);

	stay_on_two_cpus();
	pthread_barrier_init(&start, NULL, thread_count);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (int i = 0; i < thread_count; i++) {
		int error = pthread_create(&threads[i], &attr, run, NULL);

		if (error != 0) {
			fprintf(stderr, "loop: thread %d: %s\n", i, strerror(error));
			return 1;
		}
	}
	for (int i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);

	printf("{\"program\":\"loop\",\"threads\":%d,\"made\":{", thread_count);
	for (int i = 0; i < call_count; i++)
		printf("%s\"%s\":%ld", i > 0 ? "," : "", calls[i]->name, atomic_load(&made[i]));
	printf("},\"unexpected\":%ld}\n", atomic_load(&unexpected));
	return atomic_load(&unexpected) == 0 ? 0 : 1;
}
