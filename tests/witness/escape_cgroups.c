/*
 * Tries to get away through cgroups: moves of its own, children born in another cgroup, cgroups named after somebody else.
 * Needs root and the machine's cgroups.
 *
 *     escape_cgroups ROOT OTHER NAME    ROOT: where the machine's /sys/fs/cgroup is; OTHER: another container's v2 cgroup, as
 *                                       a path below the v2 root; NAME: what a cgroup of the other container is called
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cgroup.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

static char unified[CGROUP_PATH];

struct place {
	const char *way;
	char cgroup[CGROUP_PATH];
};

static void move_and_say(void *with)
{
	const struct place *place = with;

	move_to(place->cgroup);
	escaped_by("move", place->way);
}

static void be_born_there(const struct place *place)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
	int cgroup = open(place->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);

	check(cgroup >= 0, place->cgroup);
	args.cgroup = cgroup;
	pid_t child = syscall(SYS_clone3, &args, sizeof(args));

	if (child == 0) {
		escaped_by("born", place->way);
		_exit(0);
	}
	close(cgroup);
	reap(child, place->way);
}

static void go_to(const struct place *place)
{
	in_child(move_and_say, (void *)place, place->way);
	be_born_there(place);
}

static void go_to_new(const struct place *place)
{
	check(mkdir(place->cgroup, 0755) == 0, place->cgroup);
	go_to(place);
	check(rmdir(place->cgroup) == 0, place->cgroup);
}

/* The root of each hierarchy of v1. */
static void go_to_old_roots(const char *root)
{
	DIR *hierarchies = opendir(root);
	struct dirent *entry;

	check(hierarchies != NULL, root);
	while ((entry = readdir(hierarchies)) != NULL) {
		struct place place = {.way = entry->d_name};

		check(snprintf(place.cgroup, CGROUP_PATH, "%s/%s", root, entry->d_name) < CGROUP_PATH, root);
		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR || strcmp(place.cgroup, unified) == 0)
			continue;
		in_child(move_and_say, &place, place.way);
	}
	closedir(hierarchies);
}

static void below_root(struct place *place, const char *path)
{
	check(snprintf(place->cgroup, CGROUP_PATH, "%s/%s", unified, path) < CGROUP_PATH, path);
}

int main(int argc, char **argv)
{
	struct place top = {.way = "root"}, new = {.way = "new"}, nested = {.way = "nested"}, other = {.way = "other"},
		     named = {.way = "named"};

	check(argc == 4, "usage: escape_cgroups ROOT OTHER NAME");
	find_unified(argv[1], unified);
	find_below_own(unified, "nested", nested.cgroup);
	strcpy(top.cgroup, unified);
	below_root(&new, "kubeward-escape");
	below_root(&other, argv[2]);
	below_root(&named, argv[3]);
	go_to(&top);
	go_to_new(&new);
	go_to_new(&nested);
	go_to(&other);
	go_to_new(&named);
	if (strcmp(unified, argv[1]) != 0)
		go_to_old_roots(argv[1]);
	return 0;
}
