// SPDX-License-Identifier: Apache-2.0
// Makes calls for a time and prints how many it made:
//
//   producer one SECONDS           getppid, as fast as it goes
//   producer paced SECONDS RATE    getppid, RATE calls a second in turns of a millisecond, fewer where it cannot make so many
//   producer mixed SECONDS RATE    getppid, a read of one byte, openat and close, RATE calls a second in turns of a millisecond
//
// Numbers of calls are exact: no other call of these names is made between the first and the last.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BETWEEN_LOOKS = 1000, NS = 1000000000 };

// Through the vDSO: no call.
static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * NS + now.tv_nsec;
}

static long long one(long long end)
{
	long long made = 0;

	while (now_ns() < end) {
		for (int i = 0; i < BETWEEN_LOOKS; i++)
			syscall(SYS_getppid);
		made += BETWEEN_LOOKS;
	}
	return made;
}

static void sleep_until(long long ns)
{
	struct timespec until = {.tv_sec = ns / NS, .tv_nsec = ns % NS};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static long long paced(long long end, long rate)
{
	long long made = 0;

	for (long long turn = now_ns(); turn < end && now_ns() < end; turn += NS / 1000) {
		sleep_until(turn);
		for (long i = 0; i < rate / 1000; i++)
			syscall(SYS_getppid);
		made += rate / 1000;
	}
	return made;
}

static long long mixed(long long end, long rate)
{
	int zero = open("/dev/zero", O_RDONLY);
	long rounds = rate / 1000 / 4;
	long long made = 0, turn = now_ns();
	char byte;

	for (; turn < end; turn += NS / 1000) {
		sleep_until(turn);
		for (long i = 0; i < rounds; i++) {
			syscall(SYS_getppid);
			if (syscall(SYS_read, zero, &byte, 1) != 1)
				exit(1);
			syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, "/etc/hostname", O_RDONLY));
		}
		made += 4 * rounds;
	}
	return made;
}

int main(int argc, char **argv)
{
	long long begin = now_ns();

	if (argc == 3 && strcmp(argv[1], "one") == 0)
		printf("%lld\n", one(begin + atoll(argv[2]) * NS));
	else if (argc == 4 && strcmp(argv[1], "paced") == 0)
		printf("%lld\n", paced(begin + atoll(argv[2]) * NS, atol(argv[3])));
	else if (argc == 4 && strcmp(argv[1], "mixed") == 0)
		printf("%lld\n", mixed(begin + atoll(argv[2]) * NS, atol(argv[3])));
	else
		return 2;
	return 0;
}
