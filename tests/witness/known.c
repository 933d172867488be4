/*
 * Makes known calls of one category, named by the first argument, between two marks: access("/mark", F_OK).
 * Everything between the marks goes straight to the kernel, so the calls are these and no others.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

static char buffer[4096];

static void file(void)
{
	CALL(openat, AT_FDCWD, "f", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	CALL(openat, AT_FDCWD, "f", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	CALL(mkdir, "d", 0755);
	CALL(openat, AT_FDCWD, "d", O_RDONLY | O_DIRECTORY, 0);
	CALL(openat, 4, "g", O_WRONLY | O_CREAT | O_APPEND, 0600);
	CALL(openat, AT_FDCWD, NULL, O_RDONLY, 0);
	CALL(openat, AT_FDCWD, (char *)1, O_RDONLY, 0);
	CALL(openat, 77, "g", O_RDONLY, 0);
	CALL(pwrite64, 3, "hello", 5L, 4096L);
	CALL(lseek, 3, -5L, SEEK_END);
	CALL(read, 3, buffer, 100L);
	CALL(pread64, 3, buffer, 100L, -1L);
	CALL(fchownat, AT_FDCWD, "f", 1000, 1001, AT_SYMLINK_NOFOLLOW);
	CALL(chown, "f", -1, 0);
	CALL(chmod, "f", 04711);
	CALL(mknodat, AT_FDCWD, "p", S_IFIFO | 0622, 0);
	CALL(symlinkat, "target", AT_FDCWD, "l");
	CALL(readlink, "l", buffer, 100);
	CALL(renameat2, AT_FDCWD, "f", 4, "h", RENAME_NOREPLACE);
	CALL(unlinkat, 4, "h", 0);
	CALL(unlinkat, AT_FDCWD, "h", AT_REMOVEDIR);
	CALL(newfstatat, AT_FDCWD, "missing", buffer, AT_SYMLINK_NOFOLLOW);
	CALL(close, 99);
}

static void network(void)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(51966), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "s.sock"};
	struct sockaddr_un hidden = {.sun_family = AF_UNIX, .sun_path = "\0kubeward-test"};
	socklen_t un_length = offsetof(struct sockaddr_un, sun_path) + 7, length = sizeof(buffer);
	int one = 1;

	CALL(socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CALL(socket, AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP);
	CALL(socket, AF_UNIX, SOCK_STREAM, 0);
	CALL(socket, 200, SOCK_STREAM, 0);
	CALL(setsockopt, 3, SOL_SOCKET, SO_REUSEADDR, &one, (int)sizeof(one));
	CALL(connect, 3, &v4, (int)sizeof(v4));
	CALL(sendto, 4, "hello", 5L, MSG_NOSIGNAL, &v6, (int)sizeof(v6));
	CALL(recvfrom, 4, buffer, 100L, MSG_PEEK, NULL, NULL);
	CALL(bind, 5, &un, un_length);
	CALL(listen, 5, 7);
	CALL(getsockname, 5, buffer, &length);
	CALL(connect, 5, &hidden, (int)(offsetof(struct sockaddr_un, sun_path) + 14));
	CALL(accept4, 3, NULL, NULL, SOCK_CLOEXEC);
	CALL(shutdown, 4, SHUT_WR);
	CALL(bind, 77, (void *)1, 16);
}

static void process(void)
{
	char *argv[] = {"a", "b c", "", NULL};
	int status;

	CALL(wait4, -1, NULL, WNOHANG, NULL);
	CALL(execve, "/missing/program", argv, NULL);
	CALL(prctl, PR_SET_NAME, "renamed", 0L, 0L, 0L);
	pid_t child = CALL(fork);

	if (child == 0) {
		CALL(setpgid, 0, 0);
		CALL(execve, "/proc/self/exe", (char *[]){"known", "nothing", "x y", NULL}, NULL);
		CALL(exit_group, 99);
	}
	CALL(wait4, child, &status, 0, NULL);
	CALL(unshare, CLONE_NEWUTS);
	CALL(setns, 99, CLONE_NEWNET);
	CALL(sched_yield);
}

static void fd(void)
{
	int ends[2];
	struct pollfd asked = {.events = POLLIN};
	struct epoll_event event = {.events = EPOLLIN};

	CALL(pipe2, ends, O_CLOEXEC);
	asked.fd = 3;
	CALL(dup3, 3, 9, O_CLOEXEC);
	CALL(dup2, 4, 8);
	CALL(dup, 55);
	CALL(poll, &asked, 1, 0);
	CALL(epoll_create1, EPOLL_CLOEXEC);
	CALL(epoll_ctl, 5, EPOLL_CTL_ADD, 3, &event);
	CALL(epoll_wait, 5, buffer, 4, 0);
	CALL(eventfd2, 3, EFD_NONBLOCK);
	CALL(close_range, 8, 9, 0);
}

static void memory(void)
{
	long page = CALL(mmap, NULL, 8192L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

	CALL(mprotect, page, 4096L, PROT_READ);
	CALL(madvise, page, 8192L, MADV_DONTNEED);
	CALL(munmap, page, 8192L);
	CALL(munmap, 1L, 4096L);
	CALL(mmap, NULL, 4096L, PROT_NONE, MAP_SHARED, 99, 0x1000L);
	CALL(memfd_create, "secret name", MFD_CLOEXEC);
}

static void ignore(int number)
{
	(void)number;
}

static void signals(void)
{
	int self = getpid();

	CALL(kill, self, SIGUSR1);
	CALL(tgkill, self, self, SIGTERM);
	CALL(kill, self, 0);
	CALL(kill, 4194303, SIGKILL);
	CALL(kill, self, 65);
	CALL(rt_sigprocmask, SIG_BLOCK, NULL, buffer, 8L);
	CALL(rt_sigaction, SIGKILL, NULL, buffer, 9L);
}

static void timer(void)
{
	struct __kernel_timespec moment = {.tv_nsec = 1000};

	CALL(clock_nanosleep, CLOCK_MONOTONIC, 0, &moment, NULL);
	CALL(nanosleep, NULL, NULL);
	CALL(timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	CALL(clock_gettime, CLOCK_BOOTTIME, buffer);
	CALL(clock_gettime, 999, buffer);
	CALL(alarm, 0);
}

static void user(void)
{
	CALL(getuid);
	CALL(setresgid, -1, 1001, -1);
	CALL(setresuid, 1000, 1000, 1000);
	CALL(setuid, 0);
	CALL(getegid);
	CALL(setgid, 4);
	CALL(setgroups, 1, buffer);
}

static void facts(void)
{
	CALL(uname, buffer);
	CALL(uname, NULL);
	CALL(getrandom, buffer, 8L, GRND_NONBLOCK);
	CALL(prlimit64, 0, RLIMIT_NOFILE, NULL, buffer);
	CALL(prlimit64, 4194303, RLIMIT_CORE, NULL, buffer);
	CALL(sysinfo, buffer);
	CALL(sethostname, NULL, -1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} categories[] = {
		{"file", file},	     {"network", network}, {"process", process}, {"fd", fd},	    {"memory", memory},
		{"signal", signals}, {"timer", timer},	   {"user", user},	 {"system", facts},
	};

	signal(SIGUSR1, SIG_IGN);
	signal(SIGTERM, ignore);
	umask(0);
	for (unsigned int i = 0; argc > 1 && i < sizeof(categories) / sizeof(*categories); i++) {
		if (strcmp(categories[i].name, argv[1]) == 0) {
			CALL(access, "/mark", F_OK);
			categories[i].run();
			CALL(access, "/mark", F_OK);
			return 0;
		}
	}
	return argc > 1 && strcmp(argv[1], "nothing") == 0 ? 0 : 2;
}
