/*
 * Lives for milliseconds and leaves a known trail: opens /brief/ID/NUMBER for each number up to COUNT, all of which fail, and
 * exits; with a third word, not before its standard input ends. Started as: brief ID COUNT [wait]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[256];
	int count = argc > 2 ? atoi(argv[2]) : 0;

	for (int number = 0; number < count; number++) {
		snprintf(path, sizeof(path), "/brief/%s/%d", argv[1], number);
		if (open(path, O_RDONLY) >= 0)
			return 1;
	}
	if (argc > 3)
		return read(STDIN_FILENO, path, 1) != 0;
	return 0;
}
