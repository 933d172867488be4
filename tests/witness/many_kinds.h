/* The kinds that cost little: of all nine categories, some of them failing, some refused by a seccomp filter. */
#ifndef MANY_KINDS_H
#define MANY_KINDS_H

#define REFUSED_WITH(error) (SECCOMP_RET_ERRNO | (error))
#define REFUSE(nr, error)                                                                                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, REFUSED_WITH(error))

/* None of these does harm where the filter should fail: their arguments are nonsense. */
static void refuse_some(struct counts *counts)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), REFUSE(__NR_mount, 1),  REFUSE(__NR_swapon, 38), REFUSE(__NR_acct, 99),
		REFUSE(__NR_quotactl, 13),	       REFUSE(__NR_ptrace, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	must(call6(counts, __NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) == 0, 10);
	must(call6(counts, __NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program, 0, 0, 0) == 0, 11);
}

static void make_refused_calls(struct counts *counts)
{
	must(CALL(counts, __NR_mount, NULL, NULL, NULL, 0) == -1, 12);
	must(CALL(counts, __NR_swapon, NULL, 0, 0, 0) == -38, 13);
	must(CALL(counts, __NR_acct, "/nowhere/at/all", 0, 0, 0) == -99, 14);
	must(CALL(counts, __NR_quotactl, -1, NULL, 0, NULL) == -13, 15);
	must(CALL(counts, __NR_ptrace, -1, -1, 0, 0) == -1, 16);
}

static void make_file_calls(struct counts *counts)
{
	char room[512];
	long file = CALL(counts, __NR_openat, AT_FDCWD, "/", O_RDONLY | O_CLOEXEC, 0);

	CALL(counts, __NR_close, file, 0, 0, 0);
	CALL(counts, __NR_open, "/nowhere", O_RDONLY, 0, 0);
	CALL(counts, __NR_access, "/nowhere", 0, 0, 0);
	CALL(counts, __NR_stat, "/", room, 0, 0);
	CALL(counts, __NR_lstat, "/nowhere", room, 0, 0);
	CALL(counts, __NR_newfstatat, AT_FDCWD, "/", room, 0);
	CALL(counts, __NR_readlink, "/", room, sizeof(room), 0);
	CALL(counts, __NR_mkdir, "/", 0755, 0, 0);
	CALL(counts, __NR_rmdir, "/nowhere", 0, 0, 0);
	CALL(counts, __NR_unlinkat, AT_FDCWD, "/nowhere", 0, 0);
	CALL(counts, __NR_rename, "/nowhere", "/nowhere/else", 0, 0);
	CALL(counts, __NR_chmod, "/nowhere", 0644, 0, 0);
	CALL(counts, __NR_getcwd, room, sizeof(room), 0, 0);
	/* Its string cannot be read. */
	CALL(counts, __NR_chdir, 8, 0, 0, 0);
}

static void make_fd_calls(struct counts *counts, const int *pipe)
{
	char room[16];

	CALL(counts, __NR_write, pipe[1], "x", 1, 0);
	CALL(counts, __NR_read, pipe[0], room, 1, 0);
	CALL(counts, __NR_read, -1, room, 1, 0);
	CALL(counts, __NR_pread64, pipe[0], room, 1, 0);
	CALL(counts, __NR_lseek, pipe[0], 0, 0, 0);
	CALL(counts, __NR_fsync, pipe[0], 0, 0, 0);
	CALL(counts, __NR_ioctl, pipe[0], 0, 0, 0);
	CALL(counts, __NR_fcntl, pipe[0], F_GETFL, 0, 0);
	CALL(counts, __NR_dup, -1, 0, 0, 0);
	CALL(counts, __NR_dup2, pipe[0], pipe[0], 0, 0);
	CALL(counts, __NR_poll, NULL, 0, 0, 0);
}

static void make_network_calls(struct counts *counts, const int *pipe)
{
	char address[16] = {1};
	long socket = CALL(counts, __NR_socket, 1, 1, 0, 0);

	CALL(counts, __NR_connect, socket, address, sizeof(address), 0);
	CALL(counts, __NR_getsockname, pipe[0], address, NULL, 0);
	CALL(counts, __NR_bind, -1, address, sizeof(address), 0);
	CALL(counts, __NR_listen, pipe[0], 1, 0, 0);
	call6(counts, __NR_sendto, pipe[0], 0, 0, 0, 0, 0);
	CALL(counts, __NR_shutdown, socket, 5, 0, 0);
	CALL(counts, __NR_close, socket, 0, 0, 0);
}

static void make_process_and_user_calls(struct counts *counts)
{
	unsigned int ids[3];

	CALL(counts, __NR_getpid, 0, 0, 0, 0);
	CALL(counts, __NR_getppid, 0, 0, 0, 0);
	CALL(counts, __NR_gettid, 0, 0, 0, 0);
	CALL(counts, __NR_getpgid, 0, 0, 0, 0);
	CALL(counts, __NR_kill, 0x7fffffff, 0, 0, 0);
	CALL(counts, __NR_sched_yield, 0, 0, 0, 0);
	CALL(counts, __NR_getuid, 0, 0, 0, 0);
	CALL(counts, __NR_getegid, 0, 0, 0, 0);
	CALL(counts, __NR_getresuid, &ids[0], &ids[1], &ids[2], 0);
	CALL(counts, __NR_setgroups, 1, 8, 0, 0);
}

static void make_memory_signal_timer_and_system_calls(struct counts *counts)
{
	struct __kernel_timespec none = {0};
	char room[512];
	long page = call6(counts, __NR_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CALL(counts, __NR_mprotect, page, 4096, PROT_READ, 0);
	CALL(counts, __NR_madvise, page, 4096, 4711, 0);
	CALL(counts, __NR_munmap, page, 4096, 0, 0);
	CALL(counts, __NR_brk, 0, 0, 0, 0);
	CALL(counts, __NR_rt_sigprocmask, 0, NULL, room, 8);
	CALL(counts, __NR_rt_sigpending, room, 4711, 0, 0);
	CALL(counts, __NR_sigaltstack, NULL, room, 0, 0);
	CALL(counts, __NR_nanosleep, &none, NULL, 0, 0);
	CALL(counts, __NR_clock_gettime, 1, room, 0, 0);
	CALL(counts, __NR_clock_getres, 4711, room, 0, 0);
	CALL(counts, __NR_getitimer, 0, room, 0, 0);
	CALL(counts, __NR_uname, room, 0, 0, 0);
	CALL(counts, __NR_getrlimit, 3, room, 0, 0);
	CALL(counts, __NR_umask, 022, 0, 0, 0);
	CALL(counts, __NR_personality, 0xffffffff, 0, 0, 0);
	CALL(counts, __NR_futex, room, FUTEX_WAKE, 1, NULL);
	CALL(counts, __NR_futex, &none, FUTEX_WAIT, 1, NULL);
}

/* The pipe is the caller's own. */
static void make_quick_calls(struct counts *counts, const int *pipe)
{
	make_refused_calls(counts);
	make_file_calls(counts);
	make_fd_calls(counts, pipe);
	make_network_calls(counts, pipe);
	make_process_and_user_calls(counts);
	make_memory_signal_timer_and_system_calls(counts);
}

#endif
