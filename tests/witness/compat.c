/* Calls of the 32-bit table by int 0x80 in a 64-bit program: access("/compat/path", F_OK) and getpid(). */
#include <string.h>
#include <sys/mman.h>

int main(void)
{
	/* The 32-bit table takes pointers of 32 bits. */
	char *path =
		mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	long access = 33, getpid = 20;

	if (path == MAP_FAILED)
		return 1;
	strcpy(path, "/compat/path");
	__asm__ volatile("int $0x80" : "+a"(access) : "b"(path), "c"(0) : "memory");
	__asm__ volatile("int $0x80" : "+a"(getpid) : : "memory");
	return getpid > 0 ? 0 : 2;
}
