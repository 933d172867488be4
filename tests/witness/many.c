/*
 * Makes very many system calls of more than sixty kinds, from many threads, and says how many of each kind returned what.
 *
 *     many ROUNDS SLOW_ROUNDS PAIRS
 *
 * It begins when its standard input can be read, and ends by one line for each kind and result: NUMBER ERRNO COUNT. The errno is
 * the kernel's: an interrupted call returns ERESTARTSYS and the like, which no caller ever sees. Waiting for its input (ppoll)
 * and the report (writev) are not in it; every other call is.
 *
 * PAIRS of threads make all quick kinds ROUNDS times each, and then the slow ones SLOW_ROUNDS times: processes, execs, and calls
 * that one of a pair is blocked in until the other one interrupts it.
 */
#include "bare.h"

#include <asm/signal.h>
#include <linux/audit.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/time_types.h>
#include <linux/uio.h>

#include "many_kinds.h"

#define MOST_PAIRS 16
#define STACK_BYTES 65536

struct thread {
	struct counts counts;
	struct thread *partner;
	long rounds, slow_rounds;
	int tid;	     /* cleared and woken by the kernel when it has ended */
	int own_tid;	     /* for the partner */
	volatile int turn;   /* of the blocked calls: which one it is about to make */
	volatile int handled; /* signals of its own */
	int pipe[2];
	volatile int word; /* nobody changes it */
	char stack[STACK_BYTES] __attribute__((aligned(16)));
};

static struct thread threads[2 * MOST_PAIRS];
static struct counts common; /* of the first thread, and of what handlers and children make */
static const char *self;

void *memset(void *to, int byte, size_t size)
{
	for (volatile char *at = to; size > 0; size--)
		*at++ = (char)byte;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	volatile char *at = to;

	for (const char *byte = from; size > 0; size--)
		*at++ = *byte++;
	return to;
}

/* --- processes */

/* A child makes one more call, which its parent counts for it. */
static void reap(struct thread *thread, long child)
{
	must(child > 0, 20);
	must(CALL(&thread->counts, __NR_wait4, child, NULL, 0, NULL) == child, 21);
}

static void make_processes(struct thread *thread)
{
	static const char *const nowhere[] = {"/nowhere", NULL}, *const nothing[] = {NULL};
	const char *const again[] = {self, NULL};
	long child = CALL(&thread->counts, __NR_fork, 0, 0, 0, 0);

	if (child == 0)
		leave(0);
	made(&thread->counts, __NR_exit_group, 0);
	reap(thread, child);
	child = CALL(&thread->counts, __NR_clone, SIGCHLD, NULL, NULL, NULL);
	if (child == 0) {
		raw(__NR_execve, (long)"/nowhere", (long)nowhere, (long)nothing, 0, 0, 0);
		raw(__NR_execve, (long)self, (long)again, (long)nothing, 0, 0, 0);
		leave(1);
	}
	made(&thread->counts, __NR_execve, 2);
	made(&thread->counts, __NR_execve, 0);
	made(&thread->counts, __NR_exit_group, 0);
	reap(thread, child);
	/* It shares the memory, and so counts for itself; but not twice, where the parent goes on in the same place. */
	child = raw(__NR_vfork, 0, 0, 0, 0, 0, 0);
	if (child == 0)
		raw(__NR_exit, 0, 0, 0, 0, 0, 0);
	made(&thread->counts, __NR_vfork, child < 0 ? -child : 0);
	made(&thread->counts, __NR_exit, 0);
	reap(thread, child);
}

/* --- calls that are interrupted */

void restorer(void);
__asm__(".globl restorer\nrestorer:\n\tmov $15, %eax\n\tsyscall\n");

/* rt_sigreturn returns what the interrupted call would have: EINTR, or the number of the call that is to be made again. */
static void interrupted(int signal)
{
	int own = raw(__NR_gettid, 0, 0, 0, 0, 0, 0);

	made(&common, __NR_gettid, 0);
	made(&common, __NR_rt_sigreturn, signal == SIGUSR1 ? 4 : 0);
	for (int at = 0; at < 2 * MOST_PAIRS; at++)
		if (threads[at].own_tid == own)
			threads[at].handled++;
}

static void handle(int signal, unsigned long flags)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} action = {interrupted, flags | SA_RESTORER, restorer, 0};

	must(CALL(&common, __NR_rt_sigaction, signal, &action, NULL, 8) == 0, 30);
}

enum { BLOCKED_READ = 1, BLOCKED_NANOSLEEP, BLOCKED_PAUSE, BLOCKED_FUTEX, BLOCKED_FUTEX_LIMIT, RESTARTED_READ, BLOCKED_KINDS };

/* Blocks until the partner interrupts. What the kernel returned is other than what is seen here. */
static void be_blocked(struct thread *thread, int kind)
{
	static const struct __kernel_timespec long_time = {.tv_sec = 1000};
	char byte;

	__atomic_store_n(&thread->turn, kind, __ATOMIC_SEQ_CST);
	switch (kind) {
	case BLOCKED_READ:
		must(raw(__NR_read, thread->pipe[0], (long)&byte, 1, 0, 0, 0) == -4, 31);
		made(&thread->counts, __NR_read, 512);
		break;
	case BLOCKED_NANOSLEEP:
		must(raw(__NR_nanosleep, (long)&long_time, 0, 0, 0, 0, 0) == -4, 32);
		made(&thread->counts, __NR_nanosleep, 516);
		break;
	case BLOCKED_PAUSE:
		must(raw(__NR_pause, 0, 0, 0, 0, 0, 0) == -4, 33);
		made(&thread->counts, __NR_pause, 514);
		break;
	case BLOCKED_FUTEX:
		must(raw(__NR_futex, (long)&thread->word, FUTEX_WAIT, 0, 0, 0, 0) == -4, 34);
		made(&thread->counts, __NR_futex, 512);
		break;
	case BLOCKED_FUTEX_LIMIT:
		must(raw(__NR_futex, (long)&thread->word, FUTEX_WAIT, 0, (long)&long_time, 0, 0) == -4, 35);
		made(&thread->counts, __NR_futex, 516);
		break;
	default:
		/* Once interrupted, made again, and then answered. */
		must(raw(__NR_read, thread->pipe[0], (long)&byte, 1, 0, 0, 0) == 1, 36);
		made(&thread->counts, __NR_read, 512);
		made(&thread->counts, __NR_read, 0);
	}
}

/* Whether the partner sleeps: it has nothing to sleep in but the call that it said it would make. */
static int is_asleep(struct thread *thread)
{
	char path[64] = "/proc/self/task/", text[256];
	char *end = put_number(path + 16, thread->partner->own_tid);
	long file, got;

	memcpy(end, "/stat", 6);
	file = CALL(&thread->counts, __NR_open, path, O_RDONLY, 0, 0);
	must(file >= 0, 37);
	got = CALL(&thread->counts, __NR_read, file, text, sizeof(text), 0);
	CALL(&thread->counts, __NR_close, file, 0, 0, 0);
	for (long at = 0; at + 2 < got; at++)
		if (text[at] == ')')
			return text[at + 2] == 'S';
	return 0;
}

static void wait_for_turn(struct thread *thread, int kind)
{
	while (__atomic_load_n(&thread->partner->turn, __ATOMIC_SEQ_CST) != kind)
		CALL(&thread->counts, __NR_sched_yield, 0, 0, 0, 0);
}

static void interrupt(struct thread *thread, int signal)
{
	int before = thread->partner->handled;

	while (!is_asleep(thread))
		CALL(&thread->counts, __NR_sched_yield, 0, 0, 0, 0);
	must(CALL(&thread->counts, __NR_tkill, thread->partner->own_tid, signal, 0, 0) == 0, 38);
	while (__atomic_load_n(&thread->partner->handled, __ATOMIC_SEQ_CST) == before)
		CALL(&thread->counts, __NR_sched_yield, 0, 0, 0, 0);
}

static void interrupt_partner(struct thread *thread, int kind)
{
	wait_for_turn(thread, kind);
	interrupt(thread, kind == RESTARTED_READ ? SIGUSR2 : SIGUSR1);
	if (kind == RESTARTED_READ) {
		while (!is_asleep(thread))
			CALL(&thread->counts, __NR_sched_yield, 0, 0, 0, 0);
		must(CALL(&thread->counts, __NR_write, thread->partner->pipe[1], "", 1, 0) == 1, 39);
	}
}

/* --- threads */

static void work(struct thread *thread)
{
	int is_first = (thread - threads) % 2 == 0;

	for (long round = 0; round < thread->rounds; round++)
		make_quick_calls(&thread->counts, thread->pipe);
	for (long round = 0; round < thread->slow_rounds; round++) {
		make_processes(thread);
		for (int kind = 1; kind < BLOCKED_KINDS; kind++) {
			if (is_first)
				be_blocked(thread, kind);
			else
				interrupt_partner(thread, kind);
		}
	}
	made(&thread->counts, __NR_exit, 0);
	raw(__NR_exit, 0, 0, 0, 0, 0, 0);
}

/* Both return from the call, the new thread on a stack that holds nothing. */
static long start(struct thread *thread)
{
	long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
		     CLONE_CHILD_CLEARTID;
	register long tid_at __asm__("r10") = (long)&thread->tid;
	register struct thread *own __asm__("r12") = thread;
	register void (*begin)(struct thread *) __asm__("r13") = work;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call *%%r13\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(__NR_clone), "D"(flags), "S"(thread->stack + STACK_BYTES), "d"(&thread->own_tid), "r"(tid_at),
			   "r"(own), "r"(begin)
			 : "rcx", "r11", "memory");
	made(&common, __NR_clone, ret < 0 ? -ret : 0);
	return ret;
}

static void join(struct thread *thread)
{
	int tid;

	while ((tid = __atomic_load_n(&thread->tid, __ATOMIC_SEQ_CST)) != 0)
		CALL(&common, __NR_futex, &thread->tid, FUTEX_WAIT, tid, NULL);
}

static void report(int count)
{
	static char text[64 * BARE_CALLS];
	char *end = text;

	for (int nr = 0; nr < BARE_CALLS; nr++) {
		for (int class = 0; class < ERRNO_CLASSES; class++) {
			unsigned long made = common.by_errno[nr][class];

			for (int at = 0; at < count; at++)
				made += threads[at].counts.by_errno[nr][class];
			if (made == 0)
				continue;
			must(end + 64 < text + sizeof(text), 40);
			end = put_number(end, nr);
			*end++ = ' ';
			end = put_number(end, errno_of(class));
			*end++ = ' ';
			end = put_number(end, made);
			*end++ = '\n';
		}
	}
	struct iovec all = {text, end - text};

	must(raw(__NR_writev, 1, (long)&all, 1, 0, 0, 0) == end - text, 41);
}

static void run(long rounds, long slow_rounds, int count)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	must(raw(__NR_ppoll, (long)&input, 1, 0, 0, 8, 0) == 1, 42);
	handle(SIGUSR1, 0);
	handle(SIGUSR2, SA_RESTART);
	refuse_some(&common);
	for (int at = 0; at < count; at++) {
		struct thread *thread = &threads[at];

		thread->partner = &threads[at ^ 1];
		thread->rounds = rounds;
		thread->slow_rounds = slow_rounds;
		thread->tid = 1;
		must(CALL(&common, __NR_pipe2, thread->pipe, O_CLOEXEC, 0, 0) == 0, 43);
	}
	for (int at = 0; at < count; at++)
		must(start(&threads[at]) > 0, 44);
	for (int at = 0; at < count; at++)
		join(&threads[at]);
	made(&common, __NR_exit_group, 0);
	report(count);
}

/* Without arguments it is a child that is to leave at once. */
__attribute__((used)) static void begin(long *stack)
{
	long argc = stack[0];
	char **argv = (char **)(stack + 1);

	if (argc == 4) {
		self = argv[0];
		must(number(argv[3]) <= MOST_PAIRS, 45);
		run(number(argv[1]), number(argv[2]), 2 * number(argv[3]));
	}
	leave(0);
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
