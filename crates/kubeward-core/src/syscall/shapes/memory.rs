//! The address space, and memory shared through it.

use super::group;
use crate::syscall::flags::file::{UNNAMED, UNNAMED_LONG};
use crate::syscall::flags::memory::*;
use crate::syscall::ArgKind::*;

group! { Memory:
    brk(brk: Ptr);
    mmap(addr: Ptr, len: Size, prot: Flags(&PROT), flags: Flags(&MAP), fd: Fd, off: Hex);
    munmap(addr: Ptr, len: Size);
    mprotect(start: Ptr, len: Size, prot: Flags(&PROT));
    pkey_mprotect(start: Ptr, len: Size, prot: Flags(&PROT), pkey: Int);
    pkey_alloc(flags: Flags(&UNNAMED_LONG), init_val: Flags(&PKEY));
    pkey_free(pkey: Int);
    mremap(addr: Ptr, old_len: Size, new_len: Size, flags: Flags(&MREMAP), new_addr: Ptr);
    remap_file_pages(start: Ptr, size: Size, prot: Flags(&PROT), pgoff: ULong, flags: Flags(&MAP));
    madvise(start: Ptr, len_in: Size, behavior: Flags(&MADVISE));
    process_madvise(pidfd: Fd, vec: Ptr, vlen: Size, behavior: Flags(&MADVISE), flags: Flags(&UNNAMED));
    process_mrelease(pidfd: Fd, flags: Flags(&UNNAMED));
    msync(start: Ptr, len: Size, flags: Flags(&MSYNC));
    mincore(start: Ptr, len: Size, vec: Ptr);
    mlock(start: Ptr, len: Size);
    mlock2(start: Ptr, len: Size, flags: Flags(&MLOCK2));
    munlock(start: Ptr, len: Size);
    mlockall(flags: Flags(&MLOCKALL));
    munlockall();
    mseal(start: Ptr, len: Size, flags: Flags(&UNNAMED_LONG));
    map_shadow_stack(addr: Ptr, size: Size, flags: Flags(&SHADOW_STACK));
    membarrier(cmd: Flags(&MEMBARRIER), flags: Flags(&MEMBARRIER_FLAGS), cpu_id: Int);
    memfd_create(name: Str, flags: Flags(&MEMFD));
    memfd_secret(flags: Flags(&MEMFD_SECRET));
    userfaultfd(flags: Flags(&USERFAULTFD));

    shmget(key: Flags(&IPC_KEY), size: Size, shmflg: Flags(&IPC_GET));
    shmat(shmid: Int, shmaddr: Ptr, shmflg: Flags(&SHMAT));
    shmdt(shmaddr: Ptr);
    shmctl(shmid: Int, cmd: Flags(&IPC_CTL), buf: Ptr);

    mbind(start: Ptr, len: Size, mode: Flags(&MPOL), nmask: Ptr, maxnode: ULong, flags: Flags(&MPOL_MOVE));
    set_mempolicy(mode: Flags(&MPOL), nmask: Ptr, maxnode: ULong);
    get_mempolicy(policy: Ptr, nmask: Ptr, maxnode: ULong, addr: Ptr, flags: Flags(&MPOL_GET));
    set_mempolicy_home_node(start: Ptr, len: Size, home_node: ULong, flags: Flags(&UNNAMED_LONG));
    migrate_pages(pid: Pid, maxnode: ULong, old_nodes: Ptr, new_nodes: Ptr);
    move_pages(pid: Pid, nr_pages: ULong, pages: Ptr, nodes: Ptr, status: Ptr, flags: Flags(&MPOL_MOVE));
}
