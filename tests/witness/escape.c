/*
 * Tries to get away from a watcher in every way that needs no other program. Each way ends in a call that names
 * it: access("/escaped/WAY", F_OK). The program ends when the last way has made its call.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void escaped(const char *way)
{
	char path[64];

	snprintf(path, sizeof(path), "/escaped/%s", way);
	access(path, F_OK);
}

static void reap(pid_t child, const char *way)
{
	int status = 1;

	check(child > 0 && waitpid(child, &status, 0) == child && status == 0, way);
}

static void by_fork(void)
{
	pid_t child = fork();

	if (child == 0) {
		escaped("fork");
		_exit(0);
	}
	reap(child, "fork");
}

static void by_vfork(char *self)
{
	pid_t child = vfork();

	if (child == 0) {
		execl(self, self, "vfork", NULL);
		_exit(1);
	}
	reap(child, "vfork");
}

static void by_spawn(char *self)
{
	pid_t child;
	char *argv[] = {self, "posix_spawn", NULL};

	check(posix_spawn(&child, self, NULL, NULL, argv, NULL) == 0, "posix_spawn");
	reap(child, "posix_spawn");
}

static void *in_thread(void *way)
{
	escaped(way);
	return NULL;
}

static void by_thread(void)
{
	pthread_t thread;

	check(pthread_create(&thread, NULL, in_thread, "thread") == 0, "pthread_create");
	pthread_join(thread, NULL);
}

/* The middle process ends first: the grandchild's parent is then process 1 of the namespace. */
static void by_double_fork(void)
{
	int done[2];
	char end;

	check(pipe(done) == 0, "pipe");
	pid_t middle = fork();

	if (middle == 0) {
		if (fork() != 0)
			_exit(0);
		setsid();
		pid_t parent = getppid();

		while (parent != 1 && getppid() == parent)
			sched_yield();
		escaped("double-fork");
		_exit(0);
	}
	reap(middle, "double-fork");
	close(done[1]);
	/* Ends when the grandchild, which holds the other end, has ended. */
	check(read(done[0], &end, 1) == 0, "read");
	close(done[0]);
}

static void by_namespaces(void)
{
	pid_t child = fork();

	if (child == 0) {
		check(unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) == 0, "unshare");
		escaped("unshare");
		pid_t inner = fork();

		if (inner == 0) {
			escaped("nested-pid-namespace");
			_exit(0);
		}
		reap(inner, "nested-pid-namespace");
		_exit(0);
	}
	reap(child, "unshare");
}

/* Into another process's namespaces, which exist as long as it waits. */
static void by_setns(void)
{
	int ready[2], done[2], status;
	char path[64], byte = 0;

	check(pipe(ready) == 0 && pipe(done) == 0, "pipe");
	pid_t owner = fork();

	if (owner == 0) {
		close(ready[0]);
		close(done[1]);
		check(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, "unshare");
		check(write(ready[1], &byte, 1) == 1, "write");
		_exit(read(done[0], &byte, 1) != 0);
	}
	check(read(ready[0], &byte, 1) == 1, "read");
	pid_t joiner = fork();

	if (joiner == 0) {
		for (const char *const *kind = (const char *[]){"net", "mnt", NULL}; *kind != NULL; kind++) {
			snprintf(path, sizeof(path), "/proc/%d/ns/%s", owner, *kind);
			int namespace = open(path, O_RDONLY);

			check(namespace >= 0 && setns(namespace, 0) == 0, path);
		}
		escaped("setns");
		_exit(0);
	}
	reap(joiner, "setns");
	close(done[1]);
	check(waitpid(owner, &status, 0) == owner, "owner");
}

static void by_chroot(void)
{
	pid_t child = fork();

	if (child == 0) {
		check(mkdir("root", 0755) == 0 && chroot("root") == 0 && chdir("/") == 0, "chroot");
		escaped("chroot");
		_exit(0);
	}
	reap(child, "chroot");
}

int main(int argc, char **argv)
{
	setbuf(stdout, NULL);
	if (argc > 1) {
		escaped(argv[1]);
		return 0;
	}
	by_fork();
	by_vfork(argv[0]);
	by_spawn(argv[0]);
	by_thread();
	by_double_fork();
	by_namespaces();
	by_setns();
	by_chroot();
	return 0;
}
