/*
 * A container's init whose processes have gone in every direction before anybody watches. Each waits where it went, and says
 * so when it may. Needs root and the machine's cgroups.
 *
 *     escape_early ROOT READY GO     ROOT: where the machine's /sys/fs/cgroup is; READY: a FIFO that gets a byte when all have
 *                                    arrived; GO: a FIFO that somebody opens for writing when all may speak
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cgroup.h"

static const char *go;
static char unified[CGROUP_PATH], nested[CGROUP_PATH];
static int arrived[2];

static void wait_and_say(const char *way)
{
	char byte = 0;

	check(write(arrived[1], &byte, 1) == 1, "write");
	check(open(go, O_RDONLY | O_CLOEXEC) >= 0, go);
	escaped(way);
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
	char byte;
	/* In a shared pid namespace, nobody can tell an orphan's origin. */
	int count = getpid() == 1 ? 5 : 4;

	check(argc == 4, "usage: escape_early ROOT READY GO");
	/* What a workload may be called, to pass for a runtime that has not started it yet. */
	check(prctl(PR_SET_NAME, "runc:[2:INIT]") == 0, "prctl");
	go = argv[3];
	find_unified(argv[1], unified);
	find_below_own(unified, "nested", nested);
	check(pipe(arrived) == 0, "pipe");
	check(mkdir(nested, 0755) == 0, nested);
	for (int way = 0; way < count; way++) {
		if (fork() == 0) {
			ways[way]();
			_exit(0);
		}
	}
	for (int way = 0; way < count; way++)
		check(read(arrived[0], &byte, 1) == 1, "read");
	int ready = open(argv[2], O_WRONLY | O_CLOEXEC);

	check(write(ready, "", 1) == 1, argv[2]);
	check(open(go, O_RDONLY | O_CLOEXEC) >= 0, go);
	escaped("early-init");
	while (wait(NULL) > 0)
		;
	return 0;
}
