/*
 * A container's init whose processes have gone in every direction before anybody watches. Each waits where it went, and says
 * so when it may. Needs root and the machine's cgroups.
 *
 *     escape_early ROOT READY GO [orphan]     ROOT: where the machine's /sys/fs/cgroup is; READY: a FIFO that gets a byte when all have
 *                                    arrived; GO: a FIFO that somebody opens for writing when all may speak;
 *                                    orphan: the first task of its pid namespace is another, which reaps
 *
 * The init speaks when all others have.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cgroup.h"

static const char *go;
static char unified[CGROUP_PATH], nested[CGROUP_PATH];
static int arrived[2], spoken[2];

static void wait_and_say(const char *way)
{
	char byte = 0;

	check(write(arrived[1], &byte, 1) == 1, "write");
	check(open(go, O_RDONLY | O_CLOEXEC) >= 0, go);
	escaped(way);
	check(write(spoken[1], &byte, 1) == 1, "write");
}

static void await_all(int count, int from)
{
	char byte;

	while (count-- > 0)
		check(read(from, &byte, 1) == 1, "read");
}

static void in_root(void)
{
	move_to(unified);
	wait_and_say("early-root");
}

static void in_nested(void)
{
	move_to(nested);
	wait_and_say("early-nested");
}

/* Its parent is then the init of its pid namespace, or whoever reaps for it. */
static void orphaned(void)
{
	if (fork() != 0)
		_exit(0);
	move_to(unified);
	while (getppid() != 1)
		sched_yield();
	wait_and_say("early-orphan");
}

static void in_namespaces(void)
{
	move_to(unified);
	check(unshare(CLONE_NEWNS | CLONE_NEWPID) == 0, "unshare");
	if (fork() == 0)
		wait_and_say("early-namespaces");
	else
		wait(NULL);
}

static void *waiting_thread(void *way)
{
	wait_and_say(way);
	return NULL;
}

static void in_thread(void)
{
	pthread_t thread;

	move_to(unified);
	check(pthread_create(&thread, NULL, waiting_thread, "early-thread") == 0, "pthread_create");
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	void (*ways[])(void) = {in_root, in_nested, in_thread, in_namespaces, orphaned};
	/* In the host's pid namespace, a process of the runtime reaps, whose number is not known. */
	int count = getpid() == 1 || argc == 5 ? 5 : 4;

	check(argc == 4 || argc == 5, "usage: escape_early ROOT READY GO [orphan]");
	/* What a workload may be called, to pass for a runtime that has not started it yet. */
	check(prctl(PR_SET_NAME, "runc:[2:INIT]") == 0, "prctl");
	go = argv[3];
	find_unified(argv[1], unified);
	find_below_own(unified, "nested", nested);
	check(pipe(arrived) == 0 && pipe(spoken) == 0, "pipe");
	check(mkdir(nested, 0755) == 0, nested);
	for (int way = 0; way < count; way++) {
		if (fork() == 0) {
			ways[way]();
			_exit(0);
		}
	}
	await_all(count, arrived[0]);
	int ready = open(argv[2], O_WRONLY | O_CLOEXEC);

	check(write(ready, "", 1) == 1, argv[2]);
	check(open(go, O_RDONLY | O_CLOEXEC) >= 0, go);
	await_all(count, spoken[0]);
	escaped("early-init");
	while (wait(NULL) > 0)
		;
	return 0;
}
