//! Opening, finding and changing files.

use super::{names, FlagTable, Name};
use crate::syscall::table::O_LARGEFILE;
use crate::syscall::ArgKind;

/// 32 bits without names, shown in hexadecimal: reserved flags, device numbers, cookies.
pub(in crate::syscall) static UNNAMED: FlagTable = FlagTable::bits(&[]);
/// The same of 64 bits.
pub(in crate::syscall) static UNNAMED_LONG: FlagTable = FlagTable::bits(&[]).long();

pub(in crate::syscall) static OPEN: FlagTable = FlagTable::mixed(
    0b11,
    names![O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE = 0b11],
    names![
        O_CREAT,
        O_EXCL,
        O_NOCTTY,
        O_TRUNC,
        O_APPEND,
        O_NONBLOCK,
        O_SYNC,
        O_DSYNC,
        O_ASYNC,
        O_DIRECT,
        O_LARGEFILE = O_LARGEFILE,
        O_NOFOLLOW,
        O_NOATIME,
        O_CLOEXEC,
        O_PATH,
        O_TMPFILE,
        O_DIRECTORY,
    ],
);

const AT_SYMLINK_NOFOLLOW: Name = (libc::AT_SYMLINK_NOFOLLOW as u64, "AT_SYMLINK_NOFOLLOW");
const AT_EMPTY_PATH: Name = (libc::AT_EMPTY_PATH as u64, "AT_EMPTY_PATH");

pub(in crate::syscall) static AT_PATH: FlagTable = FlagTable::bits(&[AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH]);
pub(in crate::syscall) static AT_UNLINK: FlagTable = FlagTable::bits(names![AT_REMOVEDIR]);
pub(in crate::syscall) static AT_LINK: FlagTable = FlagTable::bits(names![AT_SYMLINK_FOLLOW, AT_EMPTY_PATH]);
pub(in crate::syscall) static AT_EXEC: FlagTable =
    FlagTable::bits(names![AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EXECVE_CHECK = 0x10000]);
/// `AT_EACCESS` is the bit that unlinkat calls `AT_REMOVEDIR`.
pub(in crate::syscall) static AT_ACCESS: FlagTable =
    FlagTable::bits(names![AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_EMPTY_PATH]);
pub(in crate::syscall) static AT_HANDLE: FlagTable = FlagTable::bits(names![
    AT_HANDLE_MNT_ID_UNIQUE = 0x1,
    AT_HANDLE_CONNECTABLE = 0x2,
    AT_HANDLE_FID = 0x200,
    AT_SYMLINK_FOLLOW,
    AT_EMPTY_PATH,
]);
pub(in crate::syscall) static AT_STAT: FlagTable =
    FlagTable::bits(names![AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH]);
pub(in crate::syscall) static AT_STATX: FlagTable = FlagTable::mixed(
    0x6000,
    names![AT_STATX_SYNC_AS_STAT, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC],
    names![AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH],
);

pub(in crate::syscall) static STATX: FlagTable = FlagTable::bits(names![
    STATX_ALL,
    STATX_BASIC_STATS,
    STATX_TYPE,
    STATX_MODE,
    STATX_NLINK,
    STATX_UID,
    STATX_GID,
    STATX_ATIME,
    STATX_MTIME,
    STATX_CTIME,
    STATX_INO,
    STATX_SIZE,
    STATX_BLOCKS,
    STATX_BTIME,
    STATX_MNT_ID,
    STATX_DIOALIGN,
    STATX_MNT_ID_UNIQUE = 0x4000,
    STATX_SUBVOL = 0x8000,
    STATX_WRITE_ATOMIC = 0x10000,
    STATX_DIO_READ_ALIGN = 0x20000,
]);

pub(in crate::syscall) static ACCESS: FlagTable = FlagTable::bits(names![R_OK, W_OK, X_OK]).zero("F_OK");

pub(in crate::syscall) static WHENCE: FlagTable =
    FlagTable::one_of(names![SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE]);
pub(in crate::syscall) static RWF: FlagTable = FlagTable::bits(names![
    RWF_HIPRI,
    RWF_DSYNC,
    RWF_SYNC,
    RWF_NOWAIT,
    RWF_APPEND,
    RWF_NOAPPEND = 0x20,
    RWF_ATOMIC = 0x40,
    RWF_DONTCACHE = 0x80,
    RWF_NOSIGNAL = 0x100,
]);
pub(in crate::syscall) static FADVISE: FlagTable = FlagTable::one_of(names![
    POSIX_FADV_NORMAL,
    POSIX_FADV_RANDOM,
    POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_WILLNEED,
    POSIX_FADV_DONTNEED,
    POSIX_FADV_NOREUSE,
]);
pub(in crate::syscall) static SPLICE: FlagTable =
    FlagTable::bits(names![SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE, SPLICE_F_GIFT]);
pub(in crate::syscall) static SYNC_FILE_RANGE: FlagTable =
    FlagTable::bits(names![SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER,]);
pub(in crate::syscall) static FALLOCATE: FlagTable = FlagTable::bits(names![
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_NO_HIDE_STALE = 0x4,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_UNSHARE_RANGE,
    FALLOC_FL_WRITE_ZEROES = 0x80,
]);
pub(in crate::syscall) static FLOCK: FlagTable =
    FlagTable::mixed(!(libc::LOCK_NB as u64), names![LOCK_SH, LOCK_EX, LOCK_UN], names![LOCK_NB]);

pub(in crate::syscall) static FCNTL: FlagTable = FlagTable::one_of(names![
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN,
    F_GETOWN,
    F_SETSIG = 10,
    F_GETSIG = 11,
    F_SETOWN_EX = 15,
    F_GETOWN_EX = 16,
    F_GETOWNER_UIDS = 17,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLEASE,
    F_GETLEASE,
    F_NOTIFY,
    F_DUPFD_QUERY = 1027,
    F_CREATED_QUERY = 1028,
    F_CANCELLK = 1029,
    F_DUPFD_CLOEXEC,
    F_SETPIPE_SZ,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
    F_GET_RW_HINT = 1035,
    F_SET_RW_HINT = 1036,
    F_GET_FILE_RW_HINT = 1037,
    F_SET_FILE_RW_HINT = 1038,
    F_GETDELEG = 1039,
    F_SETDELEG = 1040,
]);

static FD_FLAGS: FlagTable = FlagTable::bits(names![FD_CLOEXEC]);
static LEASE: FlagTable = FlagTable::one_of(names![F_RDLCK, F_WRLCK, F_UNLCK]);
static SEALS: FlagTable = FlagTable::bits(names![
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_EXEC = 0x20,
]);

/// The third argument of fcntl, by its command.
pub(in crate::syscall) fn fcntl_arg(command: u64) -> ArgKind {
    const F_SETSIG: i32 = 10;
    const F_SETOWN_EX: i32 = 15;
    const F_GETOWNER_UIDS: i32 = 17;
    match command as u32 as i32 {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC | libc::F_SETOWN | libc::F_SETPIPE_SZ => ArgKind::Int,
        libc::F_SETFD => ArgKind::Flags(&FD_FLAGS),
        libc::F_SETFL => ArgKind::Flags(&OPEN),
        libc::F_SETLEASE => ArgKind::Flags(&LEASE),
        libc::F_ADD_SEALS => ArgKind::Flags(&SEALS),
        F_SETSIG => ArgKind::Signal,
        libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW | F_SETOWN_EX..=F_GETOWNER_UIDS => ArgKind::Ptr,
        libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => ArgKind::Ptr,
        _ => ArgKind::Hex,
    }
}

pub(in crate::syscall) static RENAME: FlagTable =
    FlagTable::bits(names![RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT]);
pub(in crate::syscall) static XATTR: FlagTable = FlagTable::bits(names![XATTR_CREATE, XATTR_REPLACE]);

pub(in crate::syscall) static INOTIFY_INIT: FlagTable = FlagTable::bits(names![IN_CLOEXEC, IN_NONBLOCK]);
pub(in crate::syscall) static INOTIFY: FlagTable = FlagTable::bits(names![
    IN_ALL_EVENTS,
    IN_ACCESS,
    IN_MODIFY,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CLOSE_NOWRITE,
    IN_OPEN,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_ONLYDIR,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_CREATE,
    IN_MASK_ADD,
    IN_ISDIR,
    IN_ONESHOT,
]);

pub(in crate::syscall) static FANOTIFY_INIT: FlagTable = FlagTable::mixed(
    0xc,
    names![FAN_CLASS_NOTIF, FAN_CLASS_CONTENT, FAN_CLASS_PRE_CONTENT],
    names![
        FAN_CLOEXEC,
        FAN_NONBLOCK,
        FAN_UNLIMITED_QUEUE,
        FAN_UNLIMITED_MARKS,
        FAN_ENABLE_AUDIT,
        FAN_REPORT_PIDFD,
        FAN_REPORT_TID,
        FAN_REPORT_FID,
        FAN_REPORT_DIR_FID,
        FAN_REPORT_NAME,
        FAN_REPORT_TARGET_FID,
        FAN_REPORT_FD_ERROR = 0x2000,
        FAN_REPORT_MNT = 0x4000,
    ],
);
pub(in crate::syscall) static FANOTIFY_MARK: FlagTable = FlagTable::bits(names![
    FAN_MARK_ADD,
    FAN_MARK_REMOVE,
    FAN_MARK_DONT_FOLLOW,
    FAN_MARK_ONLYDIR,
    FAN_MARK_MOUNT,
    FAN_MARK_IGNORED_MASK,
    FAN_MARK_IGNORED_SURV_MODIFY,
    FAN_MARK_FLUSH,
    FAN_MARK_FILESYSTEM,
    FAN_MARK_EVICTABLE,
    FAN_MARK_IGNORE,
]);
pub(in crate::syscall) static FANOTIFY: FlagTable = FlagTable::bits(names![
    FAN_ACCESS,
    FAN_MODIFY,
    FAN_ATTRIB,
    FAN_CLOSE_WRITE,
    FAN_CLOSE_NOWRITE,
    FAN_OPEN,
    FAN_MOVED_FROM,
    FAN_MOVED_TO,
    FAN_CREATE,
    FAN_DELETE,
    FAN_DELETE_SELF,
    FAN_MOVE_SELF,
    FAN_OPEN_EXEC,
    FAN_FS_ERROR,
    FAN_OPEN_PERM,
    FAN_ACCESS_PERM,
    FAN_OPEN_EXEC_PERM,
    FAN_PRE_ACCESS = 0x10_0000,
    FAN_MNT_ATTACH = 0x100_0000,
    FAN_MNT_DETACH = 0x200_0000,
    FAN_EVENT_ON_CHILD,
    FAN_RENAME,
    FAN_ONDIR,
])
.long();

pub(in crate::syscall) static IO_URING_ENTER: FlagTable = FlagTable::bits(names![
    IORING_ENTER_GETEVENTS = 1,
    IORING_ENTER_SQ_WAKEUP = 2,
    IORING_ENTER_SQ_WAIT = 4,
    IORING_ENTER_EXT_ARG = 8,
    IORING_ENTER_REGISTERED_RING = 16,
    IORING_ENTER_ABS_TIMER = 32,
    IORING_ENTER_EXT_ARG_REG = 64,
    IORING_ENTER_NO_IOWAIT = 128,
]);
pub(in crate::syscall) static IO_URING_REGISTER: FlagTable = FlagTable::mixed(
    0x7fff_ffff,
    names![
        IORING_REGISTER_BUFFERS = 0,
        IORING_UNREGISTER_BUFFERS = 1,
        IORING_REGISTER_FILES = 2,
        IORING_UNREGISTER_FILES = 3,
        IORING_REGISTER_EVENTFD = 4,
        IORING_UNREGISTER_EVENTFD = 5,
        IORING_REGISTER_FILES_UPDATE = 6,
        IORING_REGISTER_EVENTFD_ASYNC = 7,
        IORING_REGISTER_PROBE = 8,
        IORING_REGISTER_PERSONALITY = 9,
        IORING_UNREGISTER_PERSONALITY = 10,
        IORING_REGISTER_RESTRICTIONS = 11,
        IORING_REGISTER_ENABLE_RINGS = 12,
        IORING_REGISTER_FILES2 = 13,
        IORING_REGISTER_FILES_UPDATE2 = 14,
        IORING_REGISTER_BUFFERS2 = 15,
        IORING_REGISTER_BUFFERS_UPDATE = 16,
        IORING_REGISTER_IOWQ_AFF = 17,
        IORING_UNREGISTER_IOWQ_AFF = 18,
        IORING_REGISTER_IOWQ_MAX_WORKERS = 19,
        IORING_REGISTER_RING_FDS = 20,
        IORING_UNREGISTER_RING_FDS = 21,
        IORING_REGISTER_PBUF_RING = 22,
        IORING_UNREGISTER_PBUF_RING = 23,
        IORING_REGISTER_SYNC_CANCEL = 24,
        IORING_REGISTER_FILE_ALLOC_RANGE = 25,
        IORING_REGISTER_PBUF_STATUS = 26,
        IORING_REGISTER_NAPI = 27,
        IORING_UNREGISTER_NAPI = 28,
        IORING_REGISTER_CLOCK = 29,
        IORING_REGISTER_CLONE_BUFFERS = 30,
        IORING_REGISTER_SEND_MSG_RING = 31,
        IORING_REGISTER_ZCRX_IFQ = 32,
        IORING_REGISTER_RESIZE_RINGS = 33,
        IORING_REGISTER_MEM_REGION = 34,
    ],
    names![IORING_REGISTER_USE_REGISTERED_RING = 0x8000_0000],
);
