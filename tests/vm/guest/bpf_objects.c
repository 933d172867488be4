// Prints how many BPF programs and links the kernel holds, as "programs N links M".
//
// Ids are walked through bpf(2) itself: a bare machine has no bpftool, and what a tool of ours left
// behind is best counted without it.
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count(enum bpf_cmd next_id)
{
	union bpf_attr attr;
	unsigned int id = 0;
	int found = 0;

	for (;;) {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (syscall(SYS_bpf, next_id, &attr, sizeof(attr)) != 0)
			return errno == ENOENT ? found : -1;
		id = attr.next_id;
		found++;
	}
}

int main(void)
{
	int programs = count(BPF_PROG_GET_NEXT_ID);
	int links = count(BPF_LINK_GET_NEXT_ID);

	if (programs < 0 || links < 0) {
		perror("bpf_objects: bpf");
		return 1;
	}
	printf("programs %d links %d\n", programs, links);
	return 0;
}
