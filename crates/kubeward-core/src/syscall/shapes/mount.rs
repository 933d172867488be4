//! Mounts: what is visible where in the file tree.

use super::group;
use crate::syscall::flags::file::UNNAMED;
use crate::syscall::flags::mount::*;
use crate::syscall::ArgKind::*;

group! { File:
    mount(dev_name: Str, dir_name: Path, type: Str, flags: Flags(&MOUNT), data: Ptr);
    umount2(name: Path, flags: Flags(&UMOUNT));
    pivot_root(new_root: Path, put_old: Path);
    fsopen(fs_name: Str, flags: Flags(&FSOPEN));
    fsconfig(fd: Fd, cmd: Flags(&FSCONFIG), key: Str, value: Ptr, aux: Int);
    fsmount(fs_fd: Fd, flags: Flags(&FSMOUNT), attr_flags: Flags(&MOUNT_ATTR));
    fspick(dfd: DirFd, path: Path, flags: Flags(&FSPICK));
    open_tree(dfd: DirFd, filename: Path, flags: Flags(&OPEN_TREE));
    open_tree_attr(dfd: DirFd, filename: Path, flags: Flags(&OPEN_TREE), attr: Ptr, usize: Size);
    move_mount(from_dfd: DirFd, from_pathname: Path, to_dfd: DirFd, to_pathname: Path, flags: Flags(&MOVE_MOUNT));
    mount_setattr(dfd: DirFd, path: Path, flags: Flags(&MOUNT_SETATTR), attr: Ptr, usize: Size);
    statmount(req: Ptr, buf: Ptr, bufsize: Size, flags: Flags(&UNNAMED));
    listmount(req: Ptr, mnt_ids: Ptr, nr_mnt_ids: Size, flags: Flags(&LISTMOUNT));
}
