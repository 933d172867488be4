// Makes each system call that KubeWard's first version could probe, once, with arguments that
// nothing else here uses.
//
//   calls64      prints one JSON line a call: {"name":"dup2","ret":7,"args":[4,7]}
//
// That list has 64 names; signal(2) is one of them and x86-64 has no such call, so 63 remain,
// execveat twice: refused and successful. A line tells what a watcher must have seen: `ret` is the
// raw return value (a negative errno on failure), null for the calls that do not return. An
// argument is an integer, a string, {"ptr":"0x.."}, {"has":".."} (a text that its rendering
// contains), or null where it says nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ARGS = 6, PAGE_BYTES = 4096, EXIT_STATUS = 41, EXIT_GROUP_STATUS = 43, NEW_IMAGE_STATUS = 47 };

// Printed in one piece at the end, so that no line's own write comes between the calls.
static char report[32 * 1024];
static size_t report_length;

static void say(const char *format, ...)
{
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(report + report_length, sizeof(report) - report_length, format, values);
	va_end(values);
	report_length += length;
	if (report_length >= sizeof(report)) {
		fprintf(stderr, "calls64: the report is longer than %zu bytes\n", sizeof(report));
		_exit(1);
	}
}

// One letter of `shape` an argument: d integer, s string, p pointer, a text that an address must
// contain, - nothing.
static void expect(const char *name, const char *ret, const char *shape, const long *args)
{
	say("{\"name\":\"%s\",\"ret\":%s,\"args\":[", name, ret);
	for (int i = 0; shape[i] != '\0'; i++) {
		if (i > 0)
			say(",");
		switch (shape[i]) {
		case 'd':
			say("%ld", args[i]);
			break;
		case 's':
			say("\"%s\"", (const char *)args[i]);
			break;
		case 'p':
			say("{\"ptr\":\"0x%lx\"}", args[i]);
			break;
		case 'a':
			say("{\"has\":\"127.0.0.1\"}");
			break;
		default:
			say("null");
		}
	}
	say("]}\n");
}

static long call(const char *name, long nr, const char *shape, ...)
{
	long args[MAX_ARGS] = {0}, ret;
	char ret_text[24];
	va_list values;

	va_start(values, shape);
	for (int i = 0; shape[i] != '\0'; i++)
		args[i] = va_arg(values, long);
	va_end(values);
	ret = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (ret == -1)
		ret = -errno;
	snprintf(ret_text, sizeof(ret_text), "%ld", ret);
	expect(name, ret_text, shape, args);
	return ret;
}

// va_arg takes a long for every argument; a plain int would leave half of it undefined.
#define L(value) ((long)(value))
#define CALL(name, ...) call(#name, SYS_##name, __VA_ARGS__)

static void file_calls(const char *path)
{
	static char buffer[64];
	static struct stat stat;
	long fd, again;

	fd = CALL(open, "sdd", L(path), L(O_CREAT | O_RDWR), L(0640));
	CALL(write, "dpd", fd, L("hello world"), L(11));
	CALL(pwrite64, "dpdd", fd, L("HELLO"), L(5), L(3));
	CALL(lseek, "ddd", fd, L(2), L(SEEK_SET));
	CALL(read, "dpd", fd, L(buffer), L(7));
	CALL(pread64, "dpdd", fd, L(buffer), L(4), L(1));
	CALL(stat, "sp", L(path), L(&stat));
	CALL(lstat, "sp", L(path), L(&stat));
	CALL(fstat, "dp", fd, L(&stat));
	CALL(fcntl, "dd-", fd, L(F_GETFL), 0L);
	CALL(fsync, "d", fd);
	CALL(fdatasync, "d", fd);
	CALL(sync, "");
	CALL(chown, "sdd", L(path), 0L, 0L);
	CALL(fchownat, "dsddd", L(AT_FDCWD), L(path), 0L, 0L, L(AT_SYMLINK_NOFOLLOW));
	again = CALL(openat, "dsdd", L(AT_FDCWD), L(path), L(O_RDONLY | O_CLOEXEC), 0L);
	CALL(dup, "d", again);
	CALL(dup2, "dd", again, L(50));
	CALL(dup3, "ddd", again, L(51), L(O_CLOEXEC));
	CALL(close, "d", L(51));
	CALL(unlinkat, "dsd", L(AT_FDCWD), L(path), 0L);
	CALL(unlink, "s", L(path));
	CALL(mount, "sssd-", L("calls64-source"), L("/calls64-missing"), L("tmpfs"), L(MS_NOSUID), 0L);
	call("umount2", SYS_umount2, "sd", L("/calls64-missing"), L(MNT_DETACH));
}

static void network_calls(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	long server, client;

	server = CALL(socket, "ddd", L(AF_INET), L(SOCK_STREAM | SOCK_CLOEXEC), 0L);
	CALL(bind, "dad", server, L(&address), L(sizeof(address)));
	CALL(listen, "dd", server, L(5));
	if (getsockname(server, (struct sockaddr *)&address, &length) != 0)
		perror("calls64: getsockname");
	client = CALL(socket, "ddd", L(AF_INET), L(SOCK_STREAM), 0L);
	CALL(connect, "dad", client, L(&address), L(sizeof(address)));
	CALL(accept, "d--", server, 0L, 0L);
}

static void memory_calls(void)
{
	long end = CALL(brk, "p", 0L);
	long area;

	CALL(brk, "p", end + 7 * PAGE_BYTES);
	area = CALL(mmap, "pddddd", 0L, L(5 * PAGE_BYTES), L(PROT_READ | PROT_WRITE), L(MAP_PRIVATE | MAP_ANONYMOUS),
		    -1L, 0L);
	CALL(mprotect, "pdd", area, L(5 * PAGE_BYTES), L(PROT_READ));
	CALL(madvise, "pdd", area, L(5 * PAGE_BYTES), L(MADV_DONTNEED));
	CALL(munmap, "pd", area, L(5 * PAGE_BYTES));
}

// The child leaves before it touches the stack that it shares with its parent.
static long vfork_child_exits(void)
{
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %[exit_group], %%eax\n\t"
			 "mov %[status], %%edi\n\t"
			 "syscall\n\t"
			 "1:"
			 : "=a"(ret)
			 : "a"(SYS_vfork), [exit_group] "i"(SYS_exit_group), [status] "i"(EXIT_GROUP_STATUS)
			 : "rcx", "r11", "rdi", "memory");
	return ret;
}

// `nr` is execve or execveat; the new image leaves by itself, so the shape of a refused call is all
// that can come back.
static void become_new_image(long nr)
{
	char *const argv[] = {"calls64", "leave", NULL};
	char *const envp[] = {NULL};

	if (nr == SYS_execve)
		syscall(nr, "/proc/self/exe", argv, envp);
	else
		syscall(nr, AT_FDCWD, "/proc/self/exe", argv, envp, 0);
	syscall(SYS_exit_group, 1);
}

static void expect_child(const char *name, long pid)
{
	char ret[24];

	snprintf(ret, sizeof(ret), "%ld", pid);
	expect(name, ret, "", NULL);
}

static void process_calls(void)
{
	const long clone_args[] = {SIGCHLD}, exec_args[] = {L("/proc/self/exe"), 0, 0};
	const long execat_args[] = {AT_FDCWD, L("/proc/self/exe"), 0, 0, 0};
	const long exit_args[] = {EXIT_STATUS}, exit_group_args[] = {EXIT_GROUP_STATUS};
	static siginfo_t info;
	static int status;
	char ret[24];
	long pid;

	pid = syscall(SYS_fork);
	if (pid == 0)
		syscall(SYS_exit, EXIT_STATUS);
	expect_child("fork", pid);
	expect("exit", "null", "d", exit_args);
	CALL(wait4, "dpd-", pid, L(&status), 0L, 0L);

	pid = vfork_child_exits();
	expect_child("vfork", pid);
	expect("exit_group", "null", "d", exit_group_args);
	CALL(waitid, "ddpd-", L(P_PID), pid, L(&info), L(WEXITED), 0L);

	pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		become_new_image(SYS_execve);
	snprintf(ret, sizeof(ret), "%ld", pid);
	expect("clone", ret, "d", clone_args);
	expect("execve", "0", "s--", exec_args);
	waitpid(pid, &status, 0);

	pid = fork();
	if (pid == 0)
		become_new_image(SYS_execveat);
	expect("execveat", "0", "ds--d", execat_args);
	waitpid(pid, &status, 0);
	CALL(execveat, "ds--d", L(AT_FDCWD), L("/calls64-missing"), 0L, 0L, 0L);
}

static void signal_and_timer_calls(void)
{
	static struct itimerspec value = {.it_value.tv_sec = 1000};
	static int id;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	long self = CALL(getpid, "");

	CALL(kill, "dd", self, 0L);
	CALL(tkill, "dd", self, L(SIGCONT));
	CALL(tgkill, "ddd", self, self, L(SIGCONT));

	CALL(timer_create, "dpp", L(CLOCK_MONOTONIC), L(&event), L(&id));
	CALL(timer_settime, "ddpp", L(id), 0L, L(&value), 0L);
	CALL(timer_gettime, "dp", L(id), L(&value));
	CALL(timer_getoverrun, "d", L(id));
	CALL(timer_delete, "d", L(id));
}

static void user_and_system_calls(void)
{
	static struct rlimit limit;
	static struct rusage usage;
	static struct utsname name;

	CALL(setuid, "d", CALL(getuid, ""));
	CALL(setgid, "d", CALL(getgid, ""));
	CALL(geteuid, "");
	CALL(getegid, "");
	CALL(getppid, "");
	CALL(uname, "p", L(&name));
	CALL(getrlimit, "dp", L(RLIMIT_CORE), L(&limit));
	CALL(setrlimit, "dp", L(RLIMIT_CORE), L(&limit));
	CALL(getrusage, "dp", L(RUSAGE_SELF), L(&usage));
}

int main(int argc, char **argv)
{
	char path[] = "/tmp/calls64.XXXXXX";

	if (argc == 2 && strcmp(argv[1], "leave") == 0)
		syscall(SYS_exit_group, NEW_IMAGE_STATUS);
	if (mkdtemp(path) == NULL || chdir(path) != 0) {
		perror("calls64: folder in /tmp");
		return 1;
	}
	file_calls("calls64-file");
	network_calls();
	memory_calls();
	process_calls();
	signal_and_timer_calls();
	user_and_system_calls();
	if (chdir("/") != 0 || rmdir(path) != 0)
		perror("calls64: removing the folder");
	return write(STDOUT_FILENO, report, report_length) == (ssize_t)report_length ? 0 : 1;
}
