/*
 * Lives for milliseconds and leaves a known trail: opens /brief/ID/NUMBER for each number up to COUNT, all of which fail, and
 * exits. Started as: brief ID COUNT
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	char path[256];
	int count = argc > 2 ? atoi(argv[2]) : 0;

	for (int number = 0; number < count; number++) {
		snprintf(path, sizeof(path), "/brief/%s/%d", argv[1], number);
		if (open(path, O_RDONLY) >= 0)
			return 1;
	}
	return 0;
}
