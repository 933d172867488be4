//! The ways that `tests/witness/escape*.c` go, as those programs name them.

const KINDS: [&str; 8] = ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup", "time"];

/// Of `escape`, each once.
pub(crate) fn by_processes() -> Vec<String> {
    let ways = ["chroot", "double-fork", "fork", "memfd", "pivot_root", "posix_spawn", "thread", "vfork"];
    let names = (0..6).map(|name| format!("name-{name}"));
    sorted(ways.map(str::to_owned).into_iter().chain(names))
}

/// Of `escape_namespaces`, each once.
pub(crate) fn by_namespaces() -> Vec<String> {
    let of_kind = |kind: &'static str| {
        let ways = ["unshare", "clone", "clone3", "setns", "back", "thread", "beside"];
        let is_possible = move |way: &&str| match kind {
            "user" => !["back", "thread", "beside"].contains(way),
            "time" => *way != "clone",
            _ => true,
        };
        ways.into_iter().filter(is_possible).map(move |way| format!("{way}-{kind}"))
    };
    sorted(KINDS.into_iter().flat_map(of_kind).chain((1..=5).map(|depth| format!("depth-{depth}"))))
}

pub(crate) fn sorted(ways: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut ways: Vec<String> = ways.into_iter().collect();
    ways.sort_unstable();
    ways
}

/// The way that a path of these programs stands for.
pub(crate) fn of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/escaped/")
}
