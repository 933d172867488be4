/*
 * A process of the host that visits a container, and says where it is: access("/escaped/WAY", F_OK).
 *
 *     guest cgroup DIR ROOT     is born in the container's v2 cgroup DIR, or goes there, and leaves for the v2 root
 *     guest namespaces PID      joins the mount and pid namespace of PID, and leaves
 *     guest cgroup-named DIR    makes the v2 cgroup DIR, is in it, and removes it
 *     guest reuse MNT PID       gets a mount and a pid namespace with the numbers of two that have gone
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

static void say(void *way)
{
	escaped(way);
}

/* A child is in both namespaces, and so all that a guest can be, until it leaves the one that can be left. */
static void visit_and_leave(void *own_mnt)
{
	escaped("guest-inside");
	check(setns(*(int *)own_mnt, 0) == 0, "setns back");
	escaped("guest-inside-left");
}

static void visit_namespaces(const char *process)
{
	int mnt = open_namespace(process, "mnt"), pid = open_namespace(process, "pid");
	int own_mnt = open_namespace("self", "mnt"), own_pid = open_namespace("self", "pid");

	escaped("guest-outside");
	/* The pid namespace is the children's: the visitor itself stays the host's. */
	check(setns(pid, 0) == 0 && setns(mnt, 0) == 0, "setns");
	escaped("guest-half");
	in_child(visit_and_leave, &own_mnt, "inside");
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

static unsigned long number_of(const char *kind)
{
	char path[64];
	struct stat facts;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	check(stat(path, &facts) == 0, path);
	return facts.st_ino;
}

#define MOST_HELD 4096

struct holder {
	pid_t pid;
	unsigned long number;
};

/* A process that holds a namespace, and so its number, until it is killed. */
static struct holder hold_one(void)
{
	struct holder holder;
	int told[2];

	check(pipe(told) == 0, "pipe");
	holder.pid = fork();
	if (holder.pid == 0) {
		check(unshare(CLONE_NEWUTS) == 0, "unshare");
		holder.number = number_of("uts");
		check(write(told[1], &holder.number, sizeof(holder.number)) == sizeof(holder.number), "write");
		for (;;)
			pause();
	}
	check(read(told[0], &holder.number, sizeof(holder.number)) == sizeof(holder.number), "read");
	close(told[0]);
	close(told[1]);
	return holder;
}

static void end(struct holder *holder)
{
	if (holder->pid == 0)
		return;
	check(kill(holder->pid, SIGKILL) == 0 && waitpid(holder->pid, NULL, 0) == holder->pid, "kill");
	holder->pid = 0;
}

static void end_the_one_with(struct holder *holders, int count, unsigned long number)
{
	for (int at = 0; at < count; at++)
		if (holders[at].number == number)
			end(&holders[at]);
}

/* In the pid namespace that was made for it. */
static void say_if_same(void *wanted)
{
	const unsigned long *numbers = wanted;

	if (number_of("mnt") != numbers[0] || number_of("pid") != numbers[1])
		_exit(1);
	escaped("guest-reuse");
}

/* The kernel gives out the lowest number that is free: all up to the wanted ones are taken, then those two are let go. */
static int try_to_reuse(unsigned long *wanted)
{
	static struct holder holders[MOST_HELD];
	int count = 0, status;

	do {
		check(count < MOST_HELD, "too many numbers are free");
		holders[count++] = hold_one();
	} while (holders[count - 1].number < wanted[0] || holders[count - 1].number < wanted[1]);
	end_the_one_with(holders, count, wanted[0]);
	check(unshare(CLONE_NEWNS) == 0, "unshare");
	end_the_one_with(holders, count, wanted[1]);
	check(unshare(CLONE_NEWPID) == 0, "unshare");
	pid_t child = fork();

	if (child == 0) {
		say_if_same(wanted);
		_exit(0);
	}
	check(child > 0 && waitpid(child, &status, 0) == child, "fork");
	for (int at = 0; at < count; at++)
		end(&holders[at]);
	return status == 0;
}

/* Others make namespaces too, and may come first. */
static void reuse(unsigned long *wanted)
{
	for (int tries = 0; tries < 100; tries++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(!try_to_reuse(wanted));
		check(child > 0 && waitpid(child, &status, 0) == child, "fork");
		if (status == 0)
			return;
	}
	check(0, "the numbers did not come back");
}

int main(int argc, char **argv)
{
	check(argc >= 3,
	      "usage: guest cgroup DIR ROOT | guest namespaces PID | guest cgroup-named DIR | guest reuse MNT PID");
	if (strcmp(argv[1], "reuse") == 0)
		reuse((unsigned long[]){strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)});
	else if (strcmp(argv[1], "namespaces") == 0)
		visit_namespaces(argv[2]);
	else if (strcmp(argv[1], "cgroup-named") == 0)
		be_in_named(argv[2]);
	else
		visit_cgroup(argv[2], argv[3]);
	return 0;
}
