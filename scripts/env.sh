# Sourced by every script here: where things are, and how to speak. Messages go to stderr.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Tools that the scripts build once (cargo-deny, cargo-nextest, kernels for the virtual machines). Only a cache:
# what is missing is made again.
export KUBEWARD_CACHE=${KUBEWARD_CACHE:-${HOME:-/root}/.cache/kubeward}
export PATH="$PATH:$KUBEWARD_CACHE/bin"
export KUBEWARD_BIN=$ROOT/bin/kubeward
cd "$ROOT" || exit 1

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# retry N SECONDS CMD...: runs CMD until it succeeds, N times at most, waiting longer each time.
retry() {
    local tries=$1 pause=$2 try
    shift 2
    for ((try = 1; try <= tries; try++)); do
        "$@" && return 0
        [ "$try" -eq "$tries" ] || {
            say "'$1' failed (try $try of $tries), again in $((pause * try)) s"
            sleep $((pause * try))
        }
    done
    return 1
}

# cargo_tool NAME VERSION: makes sure that the cargo subcommand NAME exists, building VERSION into the cache if not.
cargo_tool() {
    have "$1" && return 0
    say "$1 is not installed: building $2 into $KUBEWARD_CACHE (once, about a minute)"
    retry 2 5 cargo install --quiet --locked --debug --root "$KUBEWARD_CACHE" --version "$2" "$1" ||
        die "cannot build $1 $2 with $(rustc --version): install it by hand, or update Rust, and run this again"
}
