/* A name, a path and an argument list that try to break out of a line and into a terminal. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A line's end, quotes, a backslash, an escape sequence that clears the screen, bytes that are not UTF-8. */
#define HOSTILE "a\n\"'\\\x1b[2J\x9b\xff\xc3("

int main(void)
{
	char *argv[] = {HOSTILE, "{\"kind\":\"syscall\"}\n", "", NULL};

	if (prctl(PR_SET_NAME, HOSTILE) != 0)
		return 1;
	syscall(SYS_openat, AT_FDCWD, HOSTILE, O_RDONLY | O_CREAT, 0600);
	syscall(SYS_openat, AT_FDCWD, HOSTILE "/\r\n{\"kind\":\"ledger\"}", O_RDONLY, 0);
	syscall(SYS_execve, HOSTILE, argv, NULL);
	return 0;
}
