/* Eight threads that each work on a folder of their own, and one of them makes threads in turn. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 50

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void *leaf(void *number)
{
	char path[32];

	/* System calls alone: what the C library would add (locks, buffers) depends on timing. */
	snprintf(path, sizeof(path), "leaf%ld", (long)number);
	check(syscall(SYS_mkdir, path, 0700) == 0, "mkdir");
	check(syscall(SYS_rmdir, path) == 0, "rmdir");
	return NULL;
}

static void *work(void *number)
{
	char dir[32], old[64], new[64];

	snprintf(dir, sizeof(dir), "work%ld", (long)number);
	check(mkdir(dir, 0755) == 0, "mkdir");
	for (int round = 0; round < ROUNDS; round++) {
		snprintf(old, sizeof(old), "%s/%d.old", dir, round);
		snprintf(new, sizeof(new), "%s/%d.new", dir, round);
		/* A descriptor's number depends on what the other threads hold open: none is held. */
		check(syscall(SYS_mknod, old, S_IFREG | 0600, 0) == 0, "mknod");
		check(rename(old, new) == 0, "rename");
		check(access(old, F_OK) == -1, "access");
		check(truncate(new, round) == 0, "truncate");
		check(unlink(new) == 0, "unlink");
	}
	check(rmdir(dir) == 0, "rmdir");
	if (number == NULL) {
		pthread_t leaves[2];

		for (long i = 0; i < 2; i++)
			check(pthread_create(&leaves[i], NULL, leaf, (void *)i) == 0, "pthread_create");
		for (long i = 0; i < 2; i++)
			pthread_join(leaves[i], NULL);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (long i = 0; i < THREADS; i++)
		check(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create");
	for (long i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
