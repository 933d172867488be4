/*
 * Very many of one thing, one after the other or all at once. Needs root.
 *
 *     storm unshares COUNT          so many times unshare(), of each kind of namespace in turn
 *     storm cgroups COUNT ROOT      makes so many cgroups, is in each of them for one getppid(), and removes it; ROOT is where
 *                                   the machine's /sys/fs/cgroup is
 *     storm forks COUNT             so many children, four at a time, each of which makes one getppid()
 *     storm processes COUNT         the same, all of them alive at once
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cgroup.h"

static void unshare_all(long count)
{
	static const int kinds[] = {CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWCGROUP};

	for (long at = 0; at < count; at++)
		check(unshare(kinds[at % 4]) == 0, "unshare");
}

static void be_in_cgroups(long count, const char *root)
{
	char unified[CGROUP_PATH], cgroup[CGROUP_PATH];

	find_unified(root, unified);
	for (long at = 0; at < count; at++) {
		check(snprintf(cgroup, CGROUP_PATH, "%s/kubeward-storm-%d-%ld", unified, getpid(), at) < CGROUP_PATH, unified);
		check(mkdir(cgroup, 0755) == 0, cgroup);
		pid_t child = fork();

		if (child == 0) {
			move_to(cgroup);
			syscall(SYS_getppid);
			_exit(0);
		}
		reap(child, "cgroup");
		check(rmdir(cgroup) == 0, cgroup);
	}
}

static void fork_all(long count)
{
	long alive = 0;

	for (long at = 0; at < count; at++) {
		pid_t child = fork();

		if (child == 0) {
			syscall(SYS_getppid);
			_exit(0);
		}
		check(child > 0, "fork");
		if (++alive == 4) {
			check(wait(NULL) > 0, "wait");
			alive--;
		}
	}
	while (wait(NULL) > 0)
		;
}

static void live_all_at_once(long count)
{
	int until[2];
	char byte;

	check(pipe(until) == 0, "pipe");
	for (long at = 0; at < count; at++) {
		pid_t child = fork();

		if (child == 0) {
			close(until[1]);
			syscall(SYS_getppid);
			_exit(read(until[0], &byte, 1) != 0);
		}
		check(child > 0, "fork");
	}
	close(until[1]);
	for (long left = count; left > 0; left--) {
		int status = 1;

		check(wait(&status) > 0 && status == 0, "child");
	}
}

int main(int argc, char **argv)
{
	check(argc >= 3, "usage: storm unshares|forks|processes COUNT | storm cgroups COUNT ROOT");
	long count = atol(argv[2]);

	if (strcmp(argv[1], "unshares") == 0)
		unshare_all(count);
	else if (strcmp(argv[1], "cgroups") == 0 && argc == 4)
		be_in_cgroups(count, argv[3]);
	else if (strcmp(argv[1], "forks") == 0)
		fork_all(count);
	else
		live_all_at_once(count);
	return 0;
}
