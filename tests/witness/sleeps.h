/* Whether a thread of this process sleeps. Reads by pread64, so that it is none of the calls that are counted. */
#ifndef SLEEPS_H
#define SLEEPS_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int sleeps(int tid)
{
	char path[64], stat[512];
	const char *name_end;
	long length;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = syscall(SYS_pread64, fd, stat, sizeof(stat) - 1, 0);
	close(fd);
	if (length <= 0)
		return 0;
	stat[length] = '\0';
	name_end = strrchr(stat, ')');
	return name_end && name_end[1] == ' ' && name_end[2] == 'S';
}

#endif
