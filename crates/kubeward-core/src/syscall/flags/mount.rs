//! Mounting.

use super::{names, FlagTable};

pub(in crate::syscall) static MOUNT: FlagTable = FlagTable::bits(names![
    MS_MGC_VAL = 0xc0ed_0000,
    MS_RDONLY,
    MS_NOSUID,
    MS_NODEV,
    MS_NOEXEC,
    MS_SYNCHRONOUS,
    MS_REMOUNT,
    MS_MANDLOCK,
    MS_DIRSYNC,
    MS_NOSYMFOLLOW = 256,
    MS_NOATIME,
    MS_NODIRATIME,
    MS_BIND,
    MS_MOVE,
    MS_REC,
    MS_SILENT,
    MS_POSIXACL,
    MS_UNBINDABLE,
    MS_PRIVATE,
    MS_SLAVE,
    MS_SHARED,
    MS_RELATIME,
    MS_KERNMOUNT,
    MS_I_VERSION,
    MS_STRICTATIME,
    MS_LAZYTIME,
    MS_NOUSER,
])
.long();
pub(in crate::syscall) static UMOUNT: FlagTable =
    FlagTable::bits(names![MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW]);

pub(in crate::syscall) static FSOPEN: FlagTable = FlagTable::bits(names![FSOPEN_CLOEXEC = 1]);
pub(in crate::syscall) static FSMOUNT: FlagTable = FlagTable::bits(names![FSMOUNT_CLOEXEC = 1, FSMOUNT_NAMESPACE = 2]);
pub(in crate::syscall) static FSPICK: FlagTable = FlagTable::bits(names![
    FSPICK_CLOEXEC = 1,
    FSPICK_SYMLINK_NOFOLLOW = 2,
    FSPICK_NO_AUTOMOUNT = 4,
    FSPICK_EMPTY_PATH = 8,
]);
pub(in crate::syscall) static FSCONFIG: FlagTable = FlagTable::one_of(names![
    FSCONFIG_SET_FLAG = 0,
    FSCONFIG_SET_STRING = 1,
    FSCONFIG_SET_BINARY = 2,
    FSCONFIG_SET_PATH = 3,
    FSCONFIG_SET_PATH_EMPTY = 4,
    FSCONFIG_SET_FD = 5,
    FSCONFIG_CMD_CREATE = 6,
    FSCONFIG_CMD_RECONFIGURE = 7,
    FSCONFIG_CMD_CREATE_EXCL = 8,
]);
pub(in crate::syscall) static MOUNT_ATTR: FlagTable = FlagTable::mixed(
    0x70,
    names![MOUNT_ATTR_NOATIME = 0x10, MOUNT_ATTR_STRICTATIME = 0x20],
    names![
        MOUNT_ATTR_RDONLY = 0x1,
        MOUNT_ATTR_NOSUID = 0x2,
        MOUNT_ATTR_NODEV = 0x4,
        MOUNT_ATTR_NOEXEC = 0x8,
        MOUNT_ATTR_NODIRATIME = 0x80,
        MOUNT_ATTR_IDMAP = 0x10_0000,
        MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000,
    ],
);
pub(in crate::syscall) static OPEN_TREE: FlagTable = FlagTable::bits(names![
    OPEN_TREE_CLONE,
    OPEN_TREE_NAMESPACE = 2,
    OPEN_TREE_CLOEXEC,
    AT_SYMLINK_NOFOLLOW,
    AT_NO_AUTOMOUNT,
    AT_EMPTY_PATH,
    AT_RECURSIVE,
]);
pub(in crate::syscall) static MOUNT_SETATTR: FlagTable =
    FlagTable::bits(names![AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, AT_RECURSIVE]);
pub(in crate::syscall) static MOVE_MOUNT: FlagTable = FlagTable::bits(names![
    MOVE_MOUNT_F_SYMLINKS = 0x1,
    MOVE_MOUNT_F_AUTOMOUNTS = 0x2,
    MOVE_MOUNT_F_EMPTY_PATH = 0x4,
    MOVE_MOUNT_T_SYMLINKS = 0x10,
    MOVE_MOUNT_T_AUTOMOUNTS = 0x20,
    MOVE_MOUNT_T_EMPTY_PATH = 0x40,
    MOVE_MOUNT_SET_GROUP = 0x100,
    MOVE_MOUNT_BENEATH = 0x200,
]);
pub(in crate::syscall) static LISTMOUNT: FlagTable = FlagTable::bits(names![LISTMOUNT_REVERSE = 1]);
