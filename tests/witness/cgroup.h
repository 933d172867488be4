/* Where the machine's v2 hierarchy is, and how a process goes to one of its cgroups. */
#ifndef CGROUP_H
#define CGROUP_H

#include "escape.h"

#define CGROUP_PATH 4096

/* `root` is where the machine's /sys/fs/cgroup is: the v2 hierarchy, or the folder of all of them. */
static inline void find_unified(const char *root, char *unified)
{
	snprintf(unified, CGROUP_PATH, "%s/cgroup.controllers", root);
	snprintf(unified, CGROUP_PATH, access(unified, R_OK) == 0 ? "%s" : "%s/unified", root);
}

/* A cgroup below the v2 one of this process. From inside a cgroup namespace that would be found wrong. */
static inline void find_below_own(const char *unified, const char *name, char *path)
{
	char line[CGROUP_PATH / 2];
	FILE *cgroups = fopen("/proc/self/cgroup", "r");

	check(cgroups != NULL, "/proc/self/cgroup");
	while (fgets(line, sizeof(line), cgroups)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) == 0)
			check(snprintf(path, CGROUP_PATH, "%s%s/%s", unified, line + 3, name) < CGROUP_PATH, line);
	}
	fclose(cgroups);
}

static inline void move_to(const char *cgroup)
{
	char path[CGROUP_PATH + 16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	int procs = open(path, O_WRONLY | O_CLOEXEC);

	check(procs >= 0, path);
	check(write(procs, "0", 1) == 1, path);
	close(procs);
}

#endif
