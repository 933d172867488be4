//! The catalogue: every system call of an architecture, with its number, category and argument shapes.

/// What a call is about: the nine categories, in the order of the specification, and `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    File,
    Network,
    Process,
    Fd,
    Memory,
    Signal,
    Timer,
    User,
    System,
    Other,
}

/// One system call of an architecture.
#[derive(Debug)]
pub struct Syscall {
    /// Number in the architecture's native table.
    pub nr: u16,
    /// Name as in the table and in strace: `openat`, `newfstatat`, `umount2`.
    pub name: &'static str,
    pub category: Category,
    /// Kernel function without the architecture's prefix, when it is not `name` (`newstat` for `stat`).
    pub kernel_name: Option<&'static str>,
    /// At most six. Empty for a call without arguments; `None` for a call whose shape is not known.
    pub args: Option<&'static [ArgShape]>,
}

/// Name and kind of one argument.
#[derive(Debug)]
pub struct ArgShape {
    pub name: &'static str,
    pub kind: ArgKind,
}

/// What the 64 bits of an argument mean, and what the kernel side reads for it.
#[derive(Debug, Clone, Copy)]
pub enum ArgKind {
    /// Signed number of 32 bits (the upper half of the register is not part of it).
    Int,
    /// Unsigned number of 32 bits.
    UInt,
    /// Signed number of 64 bits.
    Long,
    /// Number of bytes.
    Size,
    /// Signed file offset.
    Offset,
    /// File descriptor.
    Fd,
    /// Directory descriptor of an `*at` call; -100 is AT_FDCWD.
    DirFd,
    /// User pointer to a NUL-terminated path.
    Path,
    /// User pointer to a NUL-terminated string that is not a path.
    Str,
    /// User pointer to a NULL-terminated array of strings.
    Argv,
    /// User pointer to a socket address given by the caller, its length in argument `len`.
    SockaddrIn {
        len: u8,
    },
    /// User pointer to a socket address filled by the kernel, `len` the argument that points to its length.
    SockaddrOut {
        len: u8,
    },
    /// User pointer to anything else.
    Ptr,
    /// Bit flags and enumerations, shown as text.
    Flags(&'static FlagTable),
    /// File permission bits, shown in octal.
    Mode,
    Signal,
    Uid,
    Gid,
    Pid,
}

/// How a number is written as flag text.
#[derive(Debug)]
pub struct FlagTable {}
