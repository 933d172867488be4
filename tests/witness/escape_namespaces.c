/*
 * Tries to get away through namespaces of every kind: unshare, clone and clone3, setns and back, each also from a thread.
 * Needs root; the way is named after the kind (unshare-mnt, setns-net, back-net, ...).
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "escape.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

struct kind {
	const char *name;
	unsigned long flag;
	int is_for_children; /* entering it moves the children alone */
};

static const struct kind kinds[] = {
	{"mnt", CLONE_NEWNS, 0},	{"pid", CLONE_NEWPID, 1},   {"net", CLONE_NEWNET, 0},
	{"uts", CLONE_NEWUTS, 0},	{"ipc", CLONE_NEWIPC, 0},   {"user", CLONE_NEWUSER, 0},
	{"cgroup", CLONE_NEWCGROUP, 0}, {"time", CLONE_NEWTIME, 1},
};

#define for_each_kind(kind) for (const struct kind *kind = kinds; kind < kinds + sizeof(kinds) / sizeof(*kinds); kind++)

struct named_way {
	const char *way, *kind;
};

static void say_so(void *named)
{
	escaped_by(((struct named_way *)named)->way, ((struct named_way *)named)->kind);
}

/* Says so from the inside: the caller itself, or its child where only that is inside. */
static void say_inside(const char *way, const struct kind *kind)
{
	struct named_way named = {way, kind->name};

	if (kind->is_for_children)
		in_child(say_so, &named, way);
	else
		say_so(&named);
}

static void by_unshare(void *with)
{
	const struct kind *kind = with;

	check(unshare(kind->flag) == 0, kind->name);
	say_inside("unshare", kind);
}

static void by_clone(const struct kind *kind)
{
	pid_t child = syscall(SYS_clone, kind->flag | SIGCHLD, NULL, NULL, NULL, NULL);

	if (child == 0) {
		escaped_by("clone", kind->name);
		_exit(0);
	}
	reap(child, kind->name);
}

static void by_clone3(const struct kind *kind)
{
	struct clone_args args = {.flags = kind->flag, .exit_signal = SIGCHLD};
	pid_t child = syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		escaped_by("clone3", kind->name);
		_exit(0);
	}
	reap(child, kind->name);
}

/* Waits inside a namespace of its own until nobody holds the other end of `until`. */
static void live_inside(const struct kind *kind, int ready, int until)
{
	char byte = 0;

	check(unshare(kind->flag) == 0, kind->name);
	if (kind->is_for_children) {
		pid_t child = fork();

		if (child == 0) {
			check(write(ready, &byte, 1) == 1, "write");
			_exit(read(until, &byte, 1) != 0);
		}
		reap(child, kind->name);
		return;
	}
	check(write(ready, &byte, 1) == 1, "write");
	check(read(until, &byte, 1) == 0, "read");
}

struct visit {
	const struct kind *kind;
	int there;
};

static void visit(void *with)
{
	const struct visit *visit = with;
	int home = open_namespace("self", visit->kind->name);

	check(setns(visit->there, 0) == 0, "setns");
	say_inside("setns", visit->kind);
	/* Nobody may go from a user namespace to the one above. */
	if (visit->kind->flag == CLONE_NEWUSER)
		return;
	check(setns(home, 0) == 0, "setns back");
	say_inside("back", visit->kind);
}

static void by_setns(const struct kind *kind)
{
	char process[16], byte;
	struct visit there = {.kind = kind};
	int ready[2], until[2];

	check(pipe(ready) == 0 && pipe(until) == 0, "pipe");
	pid_t owner = fork();

	if (owner == 0) {
		close(until[1]);
		live_inside(kind, ready[1], until[0]);
		_exit(0);
	}
	close(until[0]);
	check(read(ready[0], &byte, 1) == 1, "read");
	snprintf(process, sizeof(process), "%d", owner);
	there.there = open_namespace(process, kind->flag == CLONE_NEWPID    ? "pid_for_children"
					      : kind->flag == CLONE_NEWTIME ? "time_for_children"
									    : kind->name);
	in_child(visit, &there, kind->name);
	close(until[1]);
	close(ready[0]);
	close(ready[1]);
	reap(owner, kind->name);
}

static void *in_thread(void *with)
{
	const struct kind *kind = with;

	check(unshare(kind->flag) == 0, kind->name);
	say_inside("thread", kind);
	return NULL;
}

static void by_thread(void *with)
{
	pthread_t thread;

	check(pthread_create(&thread, NULL, in_thread, with) == 0, "pthread_create");
	pthread_join(thread, NULL);
	escaped_by("beside", ((const struct kind *)with)->name);
}

/* One in the other, all kinds at once. */
static void by_depth(void *left)
{
	int levels = *(int *)left;
	char level[8];

	check(unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) == 0,
	      "unshare");
	snprintf(level, sizeof(level), "%d", levels--);
	escaped_by("depth", level);
	if (levels > 0)
		in_child(by_depth, &levels, "depth");
}

int main(void)
{
	int levels = 5;

	for_each_kind(kind)
	{
		in_child(by_unshare, (void *)kind, kind->name);
		/* clone takes the bit for part of a signal's number. */
		if (kind->flag != CLONE_NEWTIME)
			by_clone(kind);
		by_clone3(kind);
		by_setns(kind);
		/* A process of several threads may not leave its user namespace. */
		if (kind->flag != CLONE_NEWUSER)
			in_child(by_thread, (void *)kind, kind->name);
	}
	in_child(by_depth, &levels, "depth");
	return 0;
}
