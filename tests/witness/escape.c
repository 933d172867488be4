/*
 * Tries to get away by other processes, other names and another root. Needs root and a folder that it may write to.
 *
 *     escape          goes all ways, one after the other
 *     escape WAY      says at once that it went that way
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "escape.h"

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

static void by_chroot(void *nothing)
{
	(void)nothing;
	check(mkdir("root", 0755) == 0 && chroot("root") == 0 && chdir("/") == 0, "chroot");
	escaped("chroot");
}

static void by_pivot_root(void *nothing)
{
	(void)nothing;
	check(mkdir("pivot", 0755) == 0 && unshare(CLONE_NEWNS) == 0, "unshare");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
	check(mount("new-root", "pivot", "tmpfs", 0, NULL) == 0 && chdir("pivot") == 0, "tmpfs");
	check(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0, "pivot_root");
	escaped("pivot_root");
}

/* A program that no file system has. */
static void by_memfd(void *self)
{
	char *argv[] = {"nobody", "memfd", NULL}, *envp[] = {NULL}, part[4096];
	int program = open(self, O_RDONLY | O_CLOEXEC), memory = memfd_create("nothing", MFD_CLOEXEC);
	ssize_t got;

	check(program >= 0 && memory >= 0, "memfd_create");
	while ((got = read(program, part, sizeof(part))) > 0)
		check(write(memory, part, got) == got, "write");
	syscall(SYS_execveat, memory, "", argv, envp, AT_EMPTY_PATH);
	check(0, "execveat");
}

/* Names that stand for something to whoever reads them. */
static void by_names(void *nothing)
{
	static const char *const names[] = {"runc:[2:INIT]", "kubeward", "containerd-shim", "\n{\"a\":1}", "\xff\xfe\x1b[2J", ""};
	char way[16];

	(void)nothing;
	for (unsigned int at = 0; at < sizeof(names) / sizeof(*names); at++) {
		check(prctl(PR_SET_NAME, names[at]) == 0, "prctl");
		snprintf(way, sizeof(way), "name-%u", at);
		escaped(way);
	}
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
	in_child(by_chroot, NULL, "chroot");
	in_child(by_pivot_root, NULL, "pivot_root");
	in_child(by_memfd, argv[0], "memfd");
	in_child(by_names, NULL, "names");
	return 0;
}
