/*
 * A process that ends in a call: the first of a pid namespace calls reboot, which ends the namespace and never returns.
 *
 *   rebooted
 *
 * Begins when a byte comes on standard input. It makes two calls of reboot, in a user namespace of its own, that could not
 * reboot the machine: the first fails with EINVAL, the second ends its caller.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/reboot.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long restart(long magic)
{
	return syscall(SYS_reboot, magic, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, NULL);
}

int main(void)
{
	int status;
	char byte;
	pid_t child;

	if (read(STDIN_FILENO, &byte, 1) != 1 || unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
		return 2;
	child = fork();
	if (child == 0) {
		if (getpid() != 1 || restart(1) != -1 || errno != EINVAL)
			_exit(3);
		restart(LINUX_REBOOT_MAGIC1);
		_exit(4);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 5;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP ? 0 : 6;
}
