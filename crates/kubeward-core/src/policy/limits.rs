//! What a policy may hold at most, and the words it may choose from: the one truth for the reader and for the schema that an
//! API server checks.

/// Entries of any list or map of a policy: more than there are calls in two architectures' tables would be a mistake.
pub const MAX_ENTRIES: usize = 512;
/// Letters of a call's name, a prefix like `__x64_sys_` included.
pub const MAX_CALL_NAME: usize = 64;
/// Letters of a namespace or of a pattern for namespaces; a namespace is a DNS label.
pub const MAX_NAMESPACE: usize = 63;
/// Letters of a container's name.
pub const MAX_CONTAINER_NAME: usize = 253;
/// Letters of a label's value, and of its key without the prefix.
pub const MAX_LABEL: usize = 63;
/// Letters of a DNS name: a policy's, and the prefix of a label's key.
pub const MAX_DNS_NAME: usize = 253;
/// Bytes of a path, without its NUL.
pub const MAX_PATH: usize = 4095;
/// Letters of a duration, far above what any needs.
pub const MAX_DURATION_TEXT: usize = 64;
/// Letters of a pattern for environment variables.
pub const MAX_ENV_PATTERN: usize = 255;
/// The greatest `eventsPerSecond` and `burst`.
pub const MAX_EVENTS: u32 = 1_000_000;
/// The greatest `capture.argBytes` and `capture.dataBytes`: no path is longer.
pub const MAX_ARG_BYTES: u32 = 4096;
/// The greatest `capture.argvBytes`: what the kernel side has room for in one record.
pub const MAX_ARGV_BYTES: u32 = 4096;

/// Words of `spec.mode`; the first is meant where none is given.
pub const MODES: &[&str] = &["Events", "Count"];
/// Words of `spec.categories`.
pub const CATEGORIES: &[&str] =
    &["file", "network", "process", "fd", "memory", "signal", "timer", "user", "system", "other"];
/// Words of an expression's `operator`.
pub const OPERATORS: &[&str] = &["In", "NotIn", "Exists", "DoesNotExist"];
