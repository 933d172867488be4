/*
 * Makes the calls it is told to: one command a line on the FIFO argv[1], one byte of answer on the FIFO argv[2] when
 * the calls are made. Between commands it waits in poll().
 *
 *     open PATH, mkdir PATH, unlink PATH   that one call, whatever comes of it
 *     flood COUNT                          so many times openat("/flood"), one after the other
 *     pace COUNT                           so many times openat("/pace"), one a millisecond
 *     run PROGRAM ARG...                   that program, which must end well
 *     beat                                 from now on openat, mkdirat and unlinkat of /proc/beat, every 10 ms
 *     rest                                 no beats any more
 *
 * Ends when nobody holds the other end of argv[1].
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEAT_MS 10

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void try_open(const char *path)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close((int)fd);
}

static void try_mkdir(const char *path)
{
	syscall(SYS_mkdirat, AT_FDCWD, path, 0755);
}

static void try_unlink(const char *path)
{
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static void beat(void)
{
	try_open("/proc/beat");
	try_mkdir("/proc/beat");
	try_unlink("/proc/beat");
}

static void pace(long count)
{
	for (; count > 0; count--) {
		try_open("/pace");
		check(poll(NULL, 0, 1) == 0, "poll");
	}
}

static void run(char *words)
{
	char *argv[16] = {NULL};
	int status, count = 0;

	for (char *word = strtok(words, " "); word && count < 15; word = strtok(NULL, " "))
		argv[count++] = word;
	pid_t child = fork();

	if (child == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	check(child > 0 && waitpid(child, &status, 0) == child, "fork");
	if (status != 0) {
		fprintf(stderr, "%s ended with status %#x\n", argv[0], (unsigned int)status);
		exit(1);
	}
}

/* The next line without its end; 0 when nobody can write one any more. */
static int next_line(int commands, char *line, size_t size)
{
	size_t length = 0;

	while (length + 1 < size) {
		ssize_t got = read(commands, line + length, 1);

		if (got == 0)
			return 0;
		check(got == 1, "read");
		if (line[length] == '\n')
			break;
		length++;
	}
	line[length] = '\0';
	return 1;
}

/* Returns whether it beats from now on. */
static int obey(char *line, int beats)
{
	char *operand = strchr(line, ' ');

	if (operand)
		*operand++ = '\0';
	if (strcmp(line, "beat") == 0)
		return 1;
	if (strcmp(line, "rest") == 0)
		return 0;
	check(operand != NULL, line);
	if (strcmp(line, "open") == 0)
		try_open(operand);
	else if (strcmp(line, "mkdir") == 0)
		try_mkdir(operand);
	else if (strcmp(line, "unlink") == 0)
		try_unlink(operand);
	else if (strcmp(line, "run") == 0)
		run(operand);
	else if (strcmp(line, "pace") == 0)
		pace(atol(operand));
	else if (strcmp(line, "flood") == 0)
		for (long left = atol(operand); left > 0; left--)
			try_open("/flood");
	else
		check(0, line);
	return beats;
}

int main(int argc, char **argv)
{
	char line[4096];
	int beats = 0;

	check(argc == 3, "usage: told COMMANDS ANSWERS");
	int commands = open(argv[1], O_RDONLY | O_CLOEXEC);
	int answers = open(argv[2], O_WRONLY | O_CLOEXEC);

	check(commands >= 0 && answers >= 0, "open");
	for (;;) {
		struct pollfd waiting = {.fd = commands, .events = POLLIN};
		int ready = poll(&waiting, 1, beats ? BEAT_MS : -1);

		check(ready >= 0, "poll");
		if (ready == 0) {
			beat();
			continue;
		}
		if (!next_line(commands, line, sizeof(line)))
			return 0;
		beats = obey(line, beats);
		check(write(answers, "", 1) == 1, "write");
	}
}
