//! How much of what was allocated and freed this process keeps: glibc's allocator by itself gives little of it back.
//!
//! Loading needs some 8 MiB for a moment, the kernel's type information above all, and lists of thousands of containers as much.

/// From this size on a block is a mapping of its own and goes back when it is freed. Set, since else the first large block that
/// is freed raises it to its own size. Batches of events are smaller: they are reused from the heap.
const MAPPED_FROM_BYTES: libc::c_int = 1 << 20;

/// So much at the heap's end is kept.
const KEPT_BYTES: libc::c_int = 2 << 20;

/// Heaps that threads share; by default each of the first eight threads for each CPU has its own, with its own left-overs.
const HEAPS: libc::c_int = 2;

/// To be called before other threads are started. What is refused stays as it was, which is more memory and no error.
pub fn keep_little() {
    let settings =
        [(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES), (libc::M_ARENA_MAX, HEAPS)];
    for (setting, value) in settings {
        // SAFETY: two numbers; it changes where later blocks come from, not what was given out.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Gives pages of which nothing is in use back to the kernel: after much was freed that will not be needed again soon. A
/// millisecond for some MiB.
pub fn give_back() {
    // SAFETY: it touches only what nobody has been given.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_freed_blocks_go_back_though_one_behind_them_is_in_use() {
        // Blocks far smaller than what is mapped by itself, and one that keeps the heap from shrinking at its end.
        let blocks: Vec<Vec<u8>> = (0..4_000).map(|_| vec![1; 8 << 10]).collect();
        let last = vec![1_u8; 8 << 10];
        let with_blocks = resident_bytes();
        drop(blocks);
        give_back();
        let given_back = with_blocks.saturating_sub(resident_bytes());
        assert!(given_back > 24 << 20, "{given_back} of 32 MiB");
        assert_eq!(last.len(), 8 << 10);
    }

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages");
        pages * 4096
    }
}
