/*
 * A program that makes up results: its seccomp filter answers getpgid(N) with errno N, for N from 1 on.
 *
 *   made_up RESULTS
 *
 * Begins when a byte comes on standard input, and makes one call for each result.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HEAD = 4, MAX_RESULTS = 2000 };

static const struct sock_filter head[HEAD] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
};

static int refuse(int results)
{
	static struct sock_filter rules[HEAD + 2 * MAX_RESULTS + 1];
	struct sock_fprog filter = {.len = HEAD + 2 * results + 1, .filter = rules};

	for (int i = 0; i < HEAD; i++)
		rules[i] = head[i];
	for (int i = 0; i < results; i++) {
		rules[HEAD + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i + 1, 0, 1);
		rules[HEAD + 2 * i + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (i + 1));
	}
	rules[HEAD + 2 * results] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

int main(int argc, char **argv)
{
	int results = argc == 2 ? atoi(argv[1]) : 0;
	char byte;

	if (results < 1 || results > MAX_RESULTS || read(STDIN_FILENO, &byte, 1) != 1 || refuse(results))
		return 2;
	for (int i = 1; i <= results; i++)
		if (syscall(SYS_getpgid, i) != -1 || errno != i)
			return 3;
	return 0;
}
