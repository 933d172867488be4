#!/usr/bin/env bash
# Where KubeWard's own time goes, while two containers make calls: profile.sh kernel|user
#
# kernel: runs and time of each of our programs, from kernel.bpf_stats_enabled, which is put back as it was; then, of one call at a
#   time, which part of the kernel its time goes to, with us and with what we are held against, from samples of the clock
#   (target/profile-calls.txt); and who takes the CPUs beside a busy redis (target/profile-redis.txt). `scripts/bench.sh document`
#   takes the last two.
# user: a flame graph of the agent, target/profile-user.svg; perf samples the clock, since virtual machines lack hardware counters.
set -euo pipefail
. "$(dirname "$0")/env.sh"

INFERNO_VERSION=0.12.8
SECONDS_LONG=${SECONDS_LONG:-10}

is_root || die "watching system calls needs root"

# built PACKAGE: builds it with symbols, which bin/kubeward has not, and says where it is.
built() {
    cargo build --quiet --locked --package "$1" --profile measure --message-format json |
        jq -r --arg name "$1" 'select(.target.name == $name) | .executable // empty' | tail -1
}

# need_inferno: makes sure that the programs are there which draw a flame graph of samples.
need_inferno() {
    ! have inferno-flamegraph || return 0
    say "inferno is not installed: building $INFERNO_VERSION into $KUBEWARD_CACHE (once, about a minute)"
    retry 2 5 cargo install --quiet --locked --root "$KUBEWARD_CACHE" --version "$INFERNO_VERSION" inferno ||
        die "cannot build inferno $INFERNO_VERSION: install it by hand, or look at the samples with 'perf report'"
}

kernel() {
    local bench
    bench=$(built kubeward-bench)
    have perf || die "perf is not installed (Debian: apt-get install linux-perf)"
    "$bench" profile-kernel --seconds "$SECONDS_LONG"
    echo
    "$bench" profile-calls | tee target/profile-calls.txt
    echo
    "$bench" profile-redis | tee target/profile-redis.txt
}

user() {
    local bench samples
    bench=$(built kubeward-bench)
    KUBEWARD_BIN=$(built kubeward)
    export KUBEWARD_BIN
    have perf || die "perf is not installed (Debian: apt-get install linux-perf)"
    need_inferno
    samples=$(mktemp)
    # shellcheck disable=SC2064 # The name as it is now.
    trap "rm -f '$samples' '$samples.folded'" EXIT
    "$bench" profile-user --seconds "$SECONDS_LONG" --samples "$samples"
    # Without the lines of inlined functions, which take perf minutes to find.
    perf script --no-inline -i "$samples" 2>/dev/null | inferno-collapse-perf >"$samples.folded"
    [ -s "$samples.folded" ] || die "perf has no samples of the agent: did it run?"
    inferno-flamegraph --title "kubeward agent" <"$samples.folded" >target/profile-user.svg
    say "target/profile-user.svg: $(awk '{ sum += $NF } END { print sum }' "$samples.folded") samples"
}

case ${1:-} in
kernel | user) "$1" ;;
*) die "profile.sh: no such profile: ${1:-none} (kernel or user)" ;;
esac
