// Calls of the 32-bit table by int 0x80 in a 64-bit program, and calls by numbers that no table has.
//
//   compat       prints one JSON line a call: {"name":"stat","nr":195,"via":"compat","ret":0,"args":["filename=\"/\"",..]}
//
// A line tells what a watcher must have seen: `ret` is the raw return value, `via` null for the 64-bit entry, an argument null
// where it says nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_ARGS "\"family=AF_INET\",\"type=SOCK_DGRAM\",null"

// What the 32-bit calls point to: their pointers have 32 bits.
struct low {
	char path[64];
	char program[64];
	uint32_t argv[3];
	uint32_t words[6];
	struct sockaddr_in address;
	uint32_t address_bytes;
	char buffer[256];
};

static struct low *low;

// Printed in one piece at the end, so that no line's own write comes between the calls.
static char report[16 * 1024];
static size_t report_length;

static void say(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	report_length += vsnprintf(report + report_length, sizeof(report) - report_length, format, values);
	va_end(values);
	if (report_length >= sizeof(report)) {
		fprintf(stderr, "compat: the report is longer than %zu bytes\n", sizeof(report));
		_exit(1);
	}
}

static uint32_t at(const void *pointer)
{
	return (uint32_t)(uintptr_t)pointer;
}

static int int80(int nr, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e)
{
	long ax = nr;

	__asm__ volatile("int $0x80"
			 : "+a"(ax)
			 : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory", "r8", "r9", "r10", "r11");
	return ax;
}

static long by_syscall(long nr, long a, long b, long c)
{
	__asm__ volatile("syscall" : "+a"(nr) : "D"(a), "S"(b), "d"(c) : "memory", "rcx", "r11");
	return nr;
}

// The result may be an address above 2 GiB: only the last 4,095 numbers are errors.
static void made(const char *name, int nr, int ret, const char *args, ...)
{
	long result = (uint32_t)ret > (uint32_t)-4096 ? ret : (long)(uint32_t)ret;
	va_list values;
	char text[1024];

	va_start(values, args);
	vsnprintf(text, sizeof(text), args, values);
	va_end(values);
	say("{\"name\":\"%s\",\"nr\":%d,\"via\":\"compat\",\"ret\":%ld,\"args\":[%s]}\n", name, nr, result, text);
}

static int socketcall(int call, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t words[4] = {a, b, c, d};

	memcpy(low->words, words, sizeof(words));
	return int80(102, call, at(low->words), 0, 0, 0);
}

static void files(void)
{
	int ret;

	strcpy(low->path, "/compat/path");
	made("open", 5, int80(5, at(low->path), 0, 0, 0, 0),
	     "\"filename=\\\"/compat/path\\\"\",\"flags=O_RDONLY\",null");
	strcpy(low->path, "/");
	made("stat", 195, int80(195, at(low->path), at(low->buffer), 0, 0, 0),
	     "\"filename=\\\"/\\\"\",\"statbuf=0x%x\"", at(low->buffer));
	made("fcntl", 221, int80(221, 1, 1, 0, 0, 0), "\"fd=1\",\"cmd=F_GETFD\",null");
	made("lseek", 140, int80(140, -1, 1, 2, at(low->buffer), 0),
	     "\"fd=-1\",\"offset_high=0x1\",\"offset_low=0x2\",\"result=0x%x\",\"whence=SEEK_SET\"", at(low->buffer));
	made("lseek", 19, int80(19, -1, -7, 1, 0, 0), "\"fd=-1\",\"offset=-7\",\"whence=SEEK_CUR\"");
	made("pread64", 180, int80(180, -1, at(low->buffer), 1, 5, 6),
	     "\"fd=-1\",\"buf=0x%x\",\"count=1\",\"pos_low=0x5\",\"pos_high=0x6\"", at(low->buffer));
	made("close", 6, int80(6, 4321, 0, 0, 0, 0), "\"fd=4321\"");
	ret = int80(192, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	made("mmap", 192, ret,
	     "\"addr=NULL\",\"len=4096\",\"prot=PROT_READ\",\"flags=MAP_PRIVATE|MAP_ANONYMOUS\",\"fd=-1\",null");
	memcpy(low->words, (uint32_t[6]){0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}, sizeof(low->words));
	ret = int80(90, at(low->words), 0, 0, 0, 0);
	made("mmap", 90, ret,
	     "\"addr=NULL\",\"len=8192\",\"prot=PROT_NONE\",\"flags=MAP_PRIVATE|MAP_ANONYMOUS\",\"fd=-1\",\"off=0\"");
}

static void sockets(void)
{
	const char *address =
		"\"uservaddr={sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr(\\\"127.0.0.1\\\")}\"";
	int fd = socketcall(1, AF_INET, SOCK_DGRAM, 0, 0);

	made("socket", 102, fd, SOCKET_ARGS);
	low->address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	made("connect", 102, socketcall(3, fd, at(&low->address), sizeof(low->address), 0),
	     "\"fd=%d\",%s,\"addrlen=16\"", fd, address);
	made("connect", 362, int80(362, fd, at(&low->address), sizeof(low->address), 0, 0),
	     "\"fd=%d\",%s,\"addrlen=16\"", fd, address);
	made("sendto", 102, socketcall(9, fd, at(low->buffer), 1, 0), "\"fd=%d\",\"buff=0x%x\",\"len=1\",\"flags=0\"",
	     fd, at(low->buffer));
	low->address_bytes = sizeof(low->address);
	made("getpeername", 102, socketcall(7, fd, at(low->buffer), at(&low->address_bytes), 0),
	     "\"fd=%d\",\"usockaddr=%s,null", fd, address + strlen("\"uservaddr="));
	// No call has this number: the kernel refuses it under the number that stands for them all.
	made("socketcall", 102, socketcall(77, 0, 0, 0, 0), "\"call=77\",\"args=0x%x\"", at(low->words));
	close(fd);
}

static void others(void)
{
	int id, child;

	made("getpid", 20, int80(20, 0, 0, 0, 0, 0), "");
	made("getuid", 199, int80(199, 0, 0, 0, 0, 0), "");
	made("getuid", 24, int80(24, 0, 0, 0, 0, 0), "");
	made("clock_gettime", 403, int80(403, CLOCK_MONOTONIC, at(low->buffer), 0, 0, 0),
	     "\"which_clock=CLOCK_MONOTONIC\",\"tp=0x%x\"", at(low->buffer));
	made("rt_sigprocmask", 126, int80(126, SIG_BLOCK, 0, 0, 0, 0), "\"how=SIG_BLOCK\",\"nset=NULL\",\"oset=NULL\"");
	id = int80(117, 2, IPC_PRIVATE, 1, 0600, 0);
	made("semget", 117, id, "null,\"nsems=1\",null");
	made("semctl", 117, int80(117, 3, id, 0, IPC_RMID, at(low->words)),
	     "\"semid=%d\",\"semnum=0\",\"cmd=IPC_RMID\",\"ptr=0x%x\"", id, at(low->words));
	child = int80(2, 0, 0, 0, 0, 0);
	if (child == 0)
		_exit(0);
	made("fork", 2, child, "");
	made("wait4", 7, int80(7, child, 0, 0, 0, 0), "\"pid=%d\",\"stat_addr=NULL\",\"options=0\"", child);
	strcpy(low->program, "/compat/program");
	low->argv[0] = at(low->program);
	low->argv[1] = at(strcpy(low->buffer, "word"));
	made("execve", 11, int80(11, at(low->program), at(low->argv), 0, 0, 0),
	     "\"filename=\\\"/compat/program\\\"\",\"argv=[\\\"/compat/program\\\", \\\"word\\\"]\",\"envp=NULL\"");
	made("vm86old", 113, int80(113, 1, 2, 3, 4, 5),
	     "\"arg0=0x1\",\"arg1=0x2\",\"arg2=0x3\",\"arg3=0x4\",\"arg4=0x5\",null");
	made("syscall_0x258", 600, int80(600, 1, 2, 3, 4, 5), "\"arg0=0x1\",\"arg1=0x2\",\"arg2=0x3\",null,null,null");
}

static void made_64(const char *name, unsigned nr, long ret, const char *args)
{
	say("{\"name\":\"%s\",\"nr\":%u,\"via\":null,\"ret\":%ld,\"args\":[%s]}\n", name, nr, ret, args);
}

// Numbers of the 64-bit entry. Of the first the kernel takes the lower half, which is getpid.
static void numbers(void)
{
	const char *args = "\"arg0=0x1\",\"arg1=0x2\",\"arg2=0x3\",null,null,null";

	made_64("getpid", 39, by_syscall(0x100000027, 1, 2, 3), "");
	made_64("syscall_0x3e8", 1000, by_syscall(1000, 1, 2, 3), args);
	made_64("syscall_0x40000bb8", 0x40000bb8, by_syscall(0x40000bb8, 1, 2, 3), args);
}

int main(void)
{
	low = mmap((void *)0x10000000, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0);
	if (low == MAP_FAILED)
		return 1;
	memset(low, 0, sizeof(*low));
	files();
	sockets();
	others();
	numbers();
	return write(1, report, report_length) == (ssize_t)report_length ? 0 : 2;
}
