/*
 * A process of the host that visits a container, and says where it is: access("/escaped/WAY", F_OK).
 *
 *     guest cgroup DIR ROOT     is born in the container's v2 cgroup DIR, or goes there, and leaves for the v2 root
 *     guest namespaces PID      joins the mount and pid namespace of PID, and leaves
 *     guest cgroup-named DIR    makes the v2 cgroup DIR, is in it, and removes it
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cgroup.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

static void visit_cgroup(const char *cgroup, const char *root)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
	int there = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);

	check(there >= 0, cgroup);
	args.cgroup = there;
	escaped("guest-before");
	pid_t child = syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		escaped("guest-born");
		move_to(root);
		escaped("guest-born-left");
		_exit(0);
	}
	reap(child, "clone3");
	escaped("guest-beside");
	move_to(cgroup);
	escaped("guest-moved");
	move_to(root);
	escaped("guest-moved-left");
}

static int open_namespace(const char *process, const char *kind)
{
	char path[64];
	int namespace;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, kind);
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	check(namespace >= 0, path);
	return namespace;
}

static void say(void *way)
{
	escaped(way);
}

static void visit_namespaces(const char *process)
{
	int mnt = open_namespace(process, "mnt"), pid = open_namespace(process, "pid");
	int own_mnt = open_namespace("self", "mnt"), own_pid = open_namespace("self", "pid");

	escaped("guest-outside");
	/* The pid namespace is the children's: the visitor itself stays the host's. */
	check(setns(pid, 0) == 0 && setns(mnt, 0) == 0, "setns");
	escaped("guest-half");
	in_child(say, "guest-inside", "inside");
	check(setns(own_mnt, 0) == 0, "setns back");
	in_child(say, "guest-in-pid-namespace-alone", "inside");
	check(setns(own_pid, 0) == 0, "setns back");
	escaped("guest-back");
	in_child(say, "guest-child-back", "back");
}

static void be_in_named(const char *cgroup)
{
	check(mkdir(cgroup, 0755) == 0, cgroup);
	pid_t child = fork();

	if (child == 0) {
		move_to(cgroup);
		escaped("guest-in-named");
		_exit(0);
	}
	reap(child, "named");
	check(rmdir(cgroup) == 0, cgroup);
}

int main(int argc, char **argv)
{
	check(argc >= 3, "usage: guest cgroup DIR ROOT | guest namespaces PID | guest cgroup-named DIR");
	if (strcmp(argv[1], "namespaces") == 0)
		visit_namespaces(argv[2]);
	else if (strcmp(argv[1], "cgroup-named") == 0)
		be_in_named(argv[2]);
	else
		visit_cgroup(argv[2], argv[3]);
	return 0;
}
