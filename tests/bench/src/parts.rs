//! The parts of the kernel that a sample of the clock may have fallen into.

use std::collections::BTreeMap;

/// What a sample was in, by how the kernel's symbol begins; the first that fits. What fits none is
/// the call itself, and what serves all.
pub const PARTS: [(&str, &[&str]); 7] = [
    ("programs", &["bpf_prog_"]),
    ("ring", &["__bpf_ringbuf", "bpf_ringbuf", "_raw_spin_lock_irqsave", "_raw_spin_unlock_irqrestore"]),
    ("storage", &["bpf_task_storage", "__bpf_task_storage", "bpf_local_storage", "__bpf_local_storage"]),
    ("hashes", &["htab_", "__htab", "lookup_nulls", "jhash", "bpf_percpu_hash", "bpf_map_lookup"]),
    (
        "copies",
        &[
            "bpf_probe_read",
            "copy_from_kernel",
            "copy_from_user_nofault",
            "strncpy_from",
            "__copy",
            "copy_user",
            "rep_movs",
            "__check_heap_object",
            "__check_object_size",
            "__virt_addr_valid",
        ],
    ),
    ("clock", &["bpf_ktime", "ktime_get", "read_tsc", "timekeeping", "kvm_clock", "pvclock"]),
    (
        "hook",
        &[
            "bpf_trace_run",
            "__bpf_trace",
            "__traceiter",
            "trace_sys",
            "syscall_trace",
            "syscall_exit",
            "perf_trace",
            "perf_syscall",
            "trace_call_bpf",
            "rcu_read",
            "__rcu_read",
            "migrate_",
            "__migrate",
        ],
    ),
];

/// The share of all samples of each part, and of what is left.
pub fn booked(symbols: &BTreeMap<String, u64>) -> [f64; PARTS.len() + 1] {
    let mut shares = [0.0; PARTS.len() + 1];
    let all = symbols.values().sum::<u64>() as f64;
    for (symbol, samples) in symbols {
        let is_of = |(_, begins): &(&str, &[&str])| begins.iter().any(|begin| symbol.starts_with(begin));
        let part = PARTS.iter().position(is_of).unwrap_or(PARTS.len());
        shares[part] += *samples as f64 / all;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_booked_to_parts_by_symbol() {
        let symbols = [("bpf_prog_1_raw_exit", 5), ("bpf_ringbuf_submit", 3), ("do_syscall_64", 2)];
        let shares = booked(&symbols.map(|(name, samples)| (name.to_owned(), samples)).into());
        assert_eq!((shares[0], shares[1], shares[PARTS.len()]), (0.5, 0.3, 0.2));
    }
}
