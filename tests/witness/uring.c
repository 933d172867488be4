/*
 * Operations through io_uring in place of calls: files, sockets and pipes in the current folder, which is empty. Prints what each
 * operation stands for and what the ring answered, `OPCODE CALL = RESULT`, a line each; `PATH ` and the path that an open opened
 * behind it; `?` for a result that the ring does not tell.
 *
 *   uring plain | async | sqpoll | link | fixed | multishot | skip | overflow | doubles | reuse | unanswered | many N
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SLOTS 4096

static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned to_submit, sqe_flags;
	int is_sqpoll;
} ring;

/* What was asked under each user_data, and what was answered last. */
static struct {
	char text[256];
	int is_open, res;
} asked[SLOTS];
static unsigned asked_count;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_ring(unsigned entries, unsigned flags)
{
	struct io_uring_params params = {.flags = flags, .sq_thread_idle = 2000};
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, entries, &params);
	if (ring.fd < 0)
		die("io_uring_setup");
	ring.is_sqpoll = flags & IORING_SETUP_SQPOLL;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		die("mapping the ring");
	ring.sq_tail = (unsigned *)(sq + params.sq_off.tail);
	ring.sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	ring.sq_array = (unsigned *)(sq + params.sq_off.array);
	ring.sq_flags = (unsigned *)(sq + params.sq_off.flags);
	ring.cq_head = (unsigned *)(cq + params.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + params.cq_off.tail);
	ring.cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

/* The next free entry, and what it asks for: printed when it is answered. */
static struct io_uring_sqe *ask(int opcode, int fd, const void *addr, unsigned len, unsigned long off, const char *form,
				...)
{
	/* The entries are taken from the end, so that a reader which forgets the array is found out. */
	unsigned tail = *ring.sq_tail, at = *ring.sq_mask - (tail & *ring.sq_mask);
	struct io_uring_sqe *sqe = &ring.sqes[at];
	va_list args;

	if (asked_count == SLOTS)
		exit(9);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->flags = ring.sqe_flags;
	sqe->fd = fd;
	sqe->addr = (unsigned long)addr;
	sqe->len = len;
	sqe->off = off;
	sqe->user_data = asked_count;
	asked[asked_count].is_open = opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2;
	va_start(args, form);
	vsnprintf(asked[asked_count].text, sizeof(asked[0].text), form, args);
	va_end(args);
	asked_count++;
	ring.sq_array[tail & *ring.sq_mask] = at;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	ring.to_submit++;
	return sqe;
}

static void enter(unsigned wait)
{
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;

	if (ring.is_sqpoll) {
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (*ring.sq_flags & IORING_SQ_NEED_WAKEUP)
			flags |= IORING_ENTER_SQ_WAKEUP;
	}
	if (syscall(SYS_io_uring_enter, ring.fd, ring.to_submit, wait, flags, NULL, 0) < 0)
		die("io_uring_enter");
	ring.to_submit = 0;
}

static void tell(unsigned which, int res)
{
	char link[64], path[PATH_MAX];
	ssize_t bytes;

	printf("%s = %d", asked[which].text, res);
	if (res < 0)
		printf(" %s", strerrorname_np(-res));
	if (asked[which].is_open && res >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", res);
		bytes = readlink(link, path, sizeof(path));
		printf(" PATH %.*s", bytes < 0 ? 0 : (int)bytes, path);
	}
	putchar('\n');
	asked[which].res = res;
}

/* Tells the next answer; the flags that came with it. */
static unsigned answer(void)
{
	unsigned head = *ring.cq_head, flags;
	struct io_uring_cqe *cqe;

	while (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE))
		enter(1);
	cqe = &ring.cqes[head & *ring.cq_mask];
	flags = cqe->flags;
	tell(cqe->user_data, cqe->res);
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return flags;
}

/* Submits what was asked and waits for as many answers. */
static int run(unsigned answers)
{
	if (ring.to_submit)
		enter(0);
	while (answers--)
		answer();
	return asked[asked_count - 1].res;
}

static int open_file(const char *path, int flags, const char *names)
{
	ask(IORING_OP_OPENAT, AT_FDCWD, path, 0600, 0, "OPENAT openat(AT_FDCWD, \"%s\", %s, 0600)", path, names)
		->open_flags = flags;
	return run(1);
}

static void close_file(int fd)
{
	ask(IORING_OP_CLOSE, fd, NULL, 0, 0, "CLOSE close(%d)", fd);
	run(1);
}

static void files(void)
{
	static char data[64] = "twelve bytes";
	struct iovec parts[2] = {{data, 6}, {data + 6, 6}};
	struct open_how how = {.flags = O_RDONLY};
	struct statx found;
	int fd;

	ask(IORING_OP_MKDIRAT, AT_FDCWD, "d", 0700, 0, "MKDIRAT mkdirat(AT_FDCWD, \"d\", 0700)");
	run(1);
	fd = open_file("d/file", O_RDWR | O_CREAT, "O_RDWR|O_CREAT");
	ask(IORING_OP_WRITE, fd, data, 12, 0, "WRITE pwrite64(%d, %p, 12, 0)", fd, data);
	run(1);
	ask(IORING_OP_WRITE, fd, data, 12, -1, "WRITE write(%d, %p, 12)", fd, data);
	run(1);
	ask(IORING_OP_READ, fd, data, 12, 0, "READ pread64(%d, %p, 12, 0)", fd, data);
	run(1);
	ask(IORING_OP_READ, fd, data, 12, -1, "READ read(%d, %p, 12)", fd, data);
	run(1);
	ask(IORING_OP_WRITEV, fd, parts, 2, 100, "WRITEV pwritev2(%d, %p, 2, 100, 0, 0)", fd, parts);
	run(1);
	ask(IORING_OP_READV, fd, parts, 2, 100, "READV preadv2(%d, %p, 2, 100, 0, 0)", fd, parts);
	run(1);
	ask(IORING_OP_FSYNC, fd, NULL, 0, 0, "FSYNC fsync(%d)", fd);
	run(1);
	ask(IORING_OP_FSYNC, fd, NULL, 0, 0, "FSYNC fdatasync(%d)", fd)->fsync_flags = IORING_FSYNC_DATASYNC;
	run(1);
	ask(IORING_OP_FALLOCATE, fd, (void *)4096L, 0, 0, "FALLOCATE fallocate(%d, 0, 0, 4096)", fd);
	run(1);
	ask(IORING_OP_FADVISE, fd, NULL, 4096, 0, "FADVISE fadvise64(%d, 0, 4096, POSIX_FADV_WILLNEED)", fd)
		->fadvise_advice = POSIX_FADV_WILLNEED;
	run(1);
	ask(IORING_OP_STATX, AT_FDCWD, "d/file", STATX_SIZE, (unsigned long)&found,
	    "STATX statx(AT_FDCWD, \"d/file\", AT_STATX_SYNC_AS_STAT, STATX_SIZE, %p)", &found);
	run(1);
	close_file(fd);
	ask(IORING_OP_OPENAT2, AT_FDCWD, "d/../d/file", sizeof(how), (unsigned long)&how,
	    "OPENAT2 openat2(AT_FDCWD, \"d/../d/file\", %p, 24)", &how);
	fd = run(1);
	ask(IORING_OP_RENAMEAT, AT_FDCWD, "d/file", AT_FDCWD, (unsigned long)"d/other",
	    "RENAMEAT renameat2(AT_FDCWD, \"d/file\", AT_FDCWD, \"d/other\", 0)");
	run(1);
	ask(IORING_OP_LINKAT, AT_FDCWD, "d/other", AT_FDCWD, (unsigned long)"d/hard",
	    "LINKAT linkat(AT_FDCWD, \"d/other\", AT_FDCWD, \"d/hard\", 0)");
	run(1);
	ask(IORING_OP_SYMLINKAT, AT_FDCWD, "other", 0, (unsigned long)"d/soft",
	    "SYMLINKAT symlinkat(\"other\", AT_FDCWD, \"d/soft\")");
	run(1);
	close_file(fd);
	close_file(open_file("d/soft", O_RDONLY | O_CREAT, "O_RDONLY|O_CREAT"));
	ask(IORING_OP_UNLINKAT, AT_FDCWD, "d/hard", 0, 0, "UNLINKAT unlinkat(AT_FDCWD, \"d/hard\", 0)");
	run(1);
	open_file("d/none", O_WRONLY | O_CREAT | O_EXCL | O_DIRECTORY, "O_WRONLY|O_CREAT|O_EXCL|O_DIRECTORY");
	open_file("d/none/none", O_WRONLY | O_CREAT | O_EXCL, "O_WRONLY|O_CREAT|O_EXCL");
	/* Refused before it is queued. */
	ask(IORING_OP_OPENAT, AT_FDCWD, (void *)1, 0600, 0, "OPENAT openat(AT_FDCWD, 0x1, O_RDONLY|O_CREAT, 0600)")
		->open_flags = O_CREAT;
	run(1);
}

static const char *text_of(const struct sockaddr_in *in)
{
	static char text[2][96];
	static int last;

	last = !last;
	snprintf(text[last], sizeof(text[last]),
		 "{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr(\"127.0.0.1\")}", ntohs(in->sin_port));
	return text[last];
}

static void others(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, own, peer;
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "no-socket"};
	struct epoll_event event = {.events = EPOLLIN};
	socklen_t bytes = sizeof(in), peer_bytes = sizeof(peer);
	struct msghdr message = {0};
	int listener = socket(AF_INET, SOCK_STREAM, 0), client, server, pipes[2], poll;
	char data[16] = "some data";

	if (bind(listener, (void *)&in, sizeof(in)) || listen(listener, 8) ||
	    getsockname(listener, (void *)&in, &bytes))
		die("listening");
	ask(IORING_OP_SOCKET, AF_INET, NULL, 0, SOCK_STREAM, "SOCKET socket(AF_INET, SOCK_STREAM, IPPROTO_IP)");
	client = run(1);
	ask(IORING_OP_CONNECT, client, &in, 0, sizeof(in), "CONNECT connect(%d, %s, 16)", client, text_of(&in));
	run(1);
	bytes = sizeof(own);
	if (getsockname(client, (void *)&own, &bytes))
		die("getsockname");
	ask(IORING_OP_ACCEPT, listener, &peer, 0, (unsigned long)&peer_bytes,
	    "ACCEPT accept4(%d, %s, %p, SOCK_CLOEXEC)", listener, text_of(&own), &peer_bytes)
		->accept_flags = SOCK_CLOEXEC;
	server = run(1);
	ask(IORING_OP_SEND, client, data, 9, 0, "SEND sendto(%d, %p, 9, MSG_NOSIGNAL, NULL, 0)", client, data)
		->msg_flags = MSG_NOSIGNAL;
	run(1);
	ask(IORING_OP_RECV, server, data, 9, 0, "RECV recvfrom(%d, %p, 9, 0, NULL, NULL)", server, data);
	run(1);
	message.msg_iov = &(struct iovec){data, 9};
	message.msg_iovlen = 1;
	ask(IORING_OP_SENDMSG, server, &message, 1, 0, "SENDMSG sendmsg(%d, %p, 0)", server, &message);
	run(1);
	ask(IORING_OP_RECVMSG, client, &message, 1, 0, "RECVMSG recvmsg(%d, %p, 0)", client, &message);
	run(1);
	ask(IORING_OP_SHUTDOWN, client, NULL, SHUT_RDWR, 0, "SHUTDOWN shutdown(%d, SHUT_RDWR)", client);
	run(1);
	close_file(server);
	close_file(client);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	ask(IORING_OP_CONNECT, client, &un, 0, sizeof(un),
	    "CONNECT connect(%d, {sa_family=AF_UNIX, sun_path=\"no-socket\"}, 110)", client);
	run(1);
	poll = epoll_create1(0);
	ask(IORING_OP_EPOLL_CTL, poll, &event, EPOLL_CTL_ADD, client, "EPOLL_CTL epoll_ctl(%d, EPOLL_CTL_ADD, %d, %p)",
	    poll, client, &event);
	run(1);
	ask(IORING_OP_MADVISE, 0, ring.sqes, 4096, 0, "MADVISE madvise(%p, 4096, MADV_NORMAL)", (void *)ring.sqes);
	run(1);
	if (pipe(pipes))
		die("pipe");
	ask(IORING_OP_WRITE, pipes[1], data, 9, -1, "WRITE write(%d, %p, 9)", pipes[1], data);
	run(1);
	ask(IORING_OP_READ, pipes[0], data, 9, -1, "READ read(%d, %p, 9)", pipes[0], data);
	run(1);
}

/* One that fails has those behind it cancelled. */
static void linked(void)
{
	static char data[8];

	ask(IORING_OP_MKDIRAT, AT_FDCWD, "linked", 0700, 0, "MKDIRAT mkdirat(AT_FDCWD, \"linked\", 0700)")->flags |=
		IOSQE_IO_LINK;
	ask(IORING_OP_OPENAT, AT_FDCWD, "none", 0, 0, "OPENAT openat(AT_FDCWD, \"none\", O_RDONLY, 0)")->flags |=
		IOSQE_IO_LINK;
	ask(IORING_OP_UNLINKAT, AT_FDCWD, "linked", 0, 0, "UNLINKAT unlinkat(AT_FDCWD, \"linked\", 0)")->flags |=
		IOSQE_IO_LINK;
	ask(IORING_OP_READ, 0, data, 1, -1, "READ read(0, %p, 1)", data);
	run(4);
	ask(IORING_OP_NOP, 0, NULL, 0, 0, "NOP")->flags |= IOSQE_IO_LINK;
	ask(IORING_OP_UNLINKAT, AT_FDCWD, "linked", 0, 0, "UNLINKAT unlinkat(AT_FDCWD, \"linked\", AT_REMOVEDIR)")
		->unlink_flags = AT_REMOVEDIR;
	run(2);
}

/* Registered files and buffers. */
static void fixed(void)
{
	static char data[4096] __attribute__((aligned(4096)));
	int files[4] = {open("/dev/zero", O_RDWR), -1, -1, -1};
	struct iovec buffer = {data, sizeof(data)};

	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, files, 4) ||
	    syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &buffer, 1))
		die("io_uring_register");
	ask(IORING_OP_READ_FIXED, 0, data, 16, 0, "READ_FIXED fixed pread64(0, %p, 16, 0)", data)->flags |=
		IOSQE_FIXED_FILE;
	run(1);
	ask(IORING_OP_WRITE_FIXED, 0, data, 16, 0, "WRITE_FIXED fixed pwrite64(0, %p, 16, 0)", data)->flags |=
		IOSQE_FIXED_FILE;
	run(1);
	ask(IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0, "OPENAT direct openat(AT_FDCWD, \"/dev/null\", O_RDONLY, 0)")
		->file_index = 2;
	asked[asked_count - 1].is_open = 0;
	run(1);
	ask(IORING_OP_READ, 1, data, 16, 0, "READ fixed pread64(1, %p, 16, 0)", data)->flags |= IOSQE_FIXED_FILE;
	run(1);
	ask(IORING_OP_CLOSE, 0, NULL, 0, 0, "CLOSE direct close(0)")->file_index = 2;
	run(1);
}

static void multishot(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM, 0), client;
	socklen_t bytes = sizeof(in);

	if (bind(listener, (void *)&in, sizeof(in)) || listen(listener, 8) ||
	    getsockname(listener, (void *)&in, &bytes))
		die("listening");
	ask(IORING_OP_ACCEPT, listener, NULL, 0, 0, "ACCEPT accept4(%d, NULL, NULL, 0)", listener)->ioprio =
		IORING_ACCEPT_MULTISHOT;
	enter(0);
	for (int n = 0; n < 3; n++) {
		client = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(client, (void *)&in, sizeof(in)))
			die("connect");
		if (!(answer() & IORING_CQE_F_MORE))
			exit(3);
	}
	ask(IORING_OP_ASYNC_CANCEL, -1, NULL, 0, 0, "ASYNC_CANCEL");
	run(2);
}

/* Success is not answered, failure is. */
static void skip(void)
{
	ask(IORING_OP_MKDIRAT, AT_FDCWD, "quiet", 0700, 0, "MKDIRAT mkdirat(AT_FDCWD, \"quiet\", 0700)")->flags |=
		IOSQE_CQE_SKIP_SUCCESS;
	printf("%s = ?\n", asked[asked_count - 1].text);
	ask(IORING_OP_UNLINKAT, AT_FDCWD, "quiet", 0, 0, "UNLINKAT unlinkat(AT_FDCWD, \"quiet\", AT_REMOVEDIR)")
		->unlink_flags = AT_REMOVEDIR;
	run(1);
}

/* More answers than the ring has room for, since nobody takes them. */
static void overflow(void)
{
	for (int n = 0; n < 6; n++) {
		ask(IORING_OP_UNLINKAT, AT_FDCWD, "none", 0, 0, "UNLINKAT unlinkat(AT_FDCWD, \"none\", 0)");
		enter(0);
	}
	run(6);
}

/* One batch that opens a file, closes it and opens another, under one number. */
static void reuse(void)
{
	int fd = open("/dev/null", O_RDONLY);

	close(fd);
	ask(IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0, "OPENAT openat(AT_FDCWD, \"/dev/null\", O_RDONLY, 0)");
	asked[asked_count - 1].is_open = 0;
	ask(IORING_OP_CLOSE, fd, NULL, 0, 0, "CLOSE close(%d)", fd);
	ask(IORING_OP_OPENAT, AT_FDCWD, "/dev/zero", 0, 0, "OPENAT openat(AT_FDCWD, \"/dev/zero\", O_RDONLY, 0)");
	run(3);
	if (asked[0].res != fd || asked[2].res != fd)
		exit(4);
}

/* The program ends while the kernel still waits for a byte. */
static void unanswered(void)
{
	static char data[8];
	int pipes[2];

	if (pipe(pipes))
		die("pipe");
	ask(IORING_OP_READ, pipes[0], data, 8, -1, "READ read(%d, %p, 8) = -125 ECANCELED", pipes[0], data);
	enter(0);
	puts(asked[0].text);
}

/* More answers than there is room for, of requests with one user_data that are under way at once. */
static void doubles(void)
{
	static char data[8];
	int pipes[2][2], left;

	if (pipe(pipes[0]) || pipe(pipes[1]))
		die("pipe");
	for (int n = 0; n < 24; n++) {
		int fd = pipes[n / 12][0];

		if (n == 12 && write(pipes[0][1], "twelve bytes", 12) != 12)
			die("write");
		while (n == 12 && (ioctl(pipes[0][0], FIONREAD, &left) || left))
			sched_yield();
		ask(IORING_OP_READ, fd, data, 1, -1, "READ read(%d, %p, 1)", fd, data)->user_data = 7;
		enter(0);
		printf("%s = %s\n", asked[n].text, n < 12 ? "1" : "-125 ECANCELED");
	}
}

static void many(int count)
{
	static char data[8];
	int zero = open("/dev/zero", O_RDONLY);

	for (int n = 0; n < count; n += 8) {
		asked_count = 0;
		for (int k = 0; k < 8; k++)
			ask(IORING_OP_READ, zero, data, 8, -1, "READ read(%d, %p, 8)", zero, data);
		run(8);
	}
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	int is_plain = !strcmp(how, "plain") || !strcmp(how, "async") || !strcmp(how, "sqpoll");

	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	open_ring(!strcmp(how, "overflow")  ? 1
		  : !strcmp(how, "doubles") ? 4
					    : 16,
		  strcmp(how, "sqpoll") ? 0 : IORING_SETUP_SQPOLL);
	if (!strcmp(how, "async"))
		ring.sqe_flags = IOSQE_ASYNC;
	if (is_plain) {
		files();
		others();
	} else if (!strcmp(how, "link")) {
		linked();
	} else if (!strcmp(how, "fixed")) {
		fixed();
	} else if (!strcmp(how, "multishot")) {
		multishot();
	} else if (!strcmp(how, "skip")) {
		skip();
	} else if (!strcmp(how, "overflow")) {
		overflow();
	} else if (!strcmp(how, "doubles")) {
		doubles();
	} else if (!strcmp(how, "reuse")) {
		reuse();
	} else if (!strcmp(how, "unanswered")) {
		unanswered();
	} else if (!strcmp(how, "many") && argc > 2) {
		many(atoi(argv[2]));
	} else {
		return 2;
	}
	return fflush(stdout);
}
