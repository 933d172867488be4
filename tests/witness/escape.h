/*
 * What the programs share that try to get away from a watcher. Each way ends in a call that names it:
 * access("/escaped/WAY", F_OK). A way that cannot be gone ends the program with status 1: it never passes untried.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static inline void escaped(const char *way)
{
	char path[128];

	snprintf(path, sizeof(path), "/escaped/%s", way);
	access(path, F_OK);
}

/* The same of a way that is gone for each KIND of something. */
static inline void escaped_by(const char *way, const char *kind)
{
	char name[64];

	snprintf(name, sizeof(name), "%s-%s", way, kind);
	escaped(name);
}

static inline void reap(pid_t child, const char *way)
{
	int status = 1;

	check(child > 0 && waitpid(child, &status, 0) == child && status == 0, way);
}

/* Goes the way in a child, which its caller is not changed by. */
static inline void in_child(void (*go)(void *), void *with, const char *way)
{
	pid_t child = fork();

	if (child == 0) {
		go(with);
		_exit(0);
	}
	reap(child, way);
}

static inline int open_namespace(const char *process, const char *kind)
{
	char path[64];
	int namespace;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, kind);
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	check(namespace >= 0, path);
	return namespace;
}

#endif
