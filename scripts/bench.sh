#!/usr/bin/env bash
# Measurements, on a machine that does nothing else: bench.sh [rows [ARG]...|document|once|apply]
#
# rows: everything that docs/performance.md tells of, beside nothing, the bare mechanism and other programs; the table is printed and
#   target/bench.json has it for programs. ARGs are kubeward-bench's: `--only 'kernel/*'`, `--rounds 9`.
# document: puts the table of target/bench.json into docs/performance.md, and what `make profile-kernel` found of calls.
# once: one round of small loads, as a test: that each row is there, not what its figure is.
# apply: how long after the creation of a policy in a Kubernetes API server its first record comes, of 50 policies.
set -euo pipefail
. "$(dirname "$0")/env.sh"

is_root || die "watching system calls needs root"

# Other programs look for tracepoints there.
mount_tracefs() {
    [ -e /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing 2>/dev/null ||
        say "tracefs cannot be mounted at /sys/kernel/tracing: bpftrace and perf may not run"
}

# built PROFILE: builds the measurements and says where they are.
built() {
    cargo build --quiet --locked --package kubeward-bench --profile "$1" --message-format json |
        jq -r 'select(.target.name == "kubeward-bench") | .executable // empty' | tail -1
}

rows() {
    local program
    program=$(built measure)
    mount_tracefs
    KUBEWARD_BENCH_COMMAND="${*:+scripts/bench.sh rows }${*:-make bench}" "$program" --json target/bench.json "$@"
}

# put_between NAME FILE: FILE takes the place of what stands on the page between the two comments that name it.
put_between() {
    sed -i -e "/^<!-- $1 -->\$/,/^<!-- end of $1 -->\$/{//!d}" -e "/^<!-- $1 -->\$/r $2" docs/performance.md
}

document() {
    local program page
    [ -s target/bench.json ] || die "target/bench.json is missing: run 'make bench' first"
    program=$(built measure)
    page=$(mktemp)
    "$program" table target/bench.json >"$page"
    put_between table "$page"
    local profile
    for profile in calls redis; do
        [ -s "target/profile-$profile.txt" ] || die "target/profile-$profile.txt is missing: run 'make profile-kernel' first"
        { echo '```text'; cat "target/profile-$profile.txt"; echo '```'; } >"$page"
        put_between "profile of $profile" "$page"
    done
    rm -f "$page"
}

once() {
    local program
    program=$(built dev)
    mount_tracefs
    "$program" --once --json target/bench-once.json >&2
    if have perf; then
        "$program" profile-calls --seconds 1 --only 'kernel/record-call/getppid' >&2
        "$program" profile-redis --seconds 1 >&2
    else
        echo "not run: profiles of calls and of redis (perf is not installed)"
    fi
    "$program" check target/bench-once.json
}

apply() {
    cargo test --quiet --locked -p kubeward --test containerd_agent -- --ignored --nocapture measure_from_creation |
        grep 'from creation to first record'
}

what=${1:-rows}
[ $# -eq 0 ] || shift
case $what in
rows | document | once | apply) "$what" "$@" ;;
*) die "bench.sh: no such measurement: $what (rows, document, once or apply)" ;;
esac
