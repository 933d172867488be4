#!/usr/bin/env bash
# Measurements: bench.sh [calls|apply]. Indicative: run them on a machine that does nothing else.
#
# calls: what watching costs, in nanoseconds added to each of 400,000 one-byte reads and writes (dd), the median of five runs.
# apply: how long after the creation of a policy in a Kubernetes API server its first record comes, of 50 policies.
set -euo pipefail
. "$(dirname "$0")/env.sh"

is_root || die "watching system calls needs root"
BLOCKS=200000
RUNS=5

# took_ns CMD...: how long CMD took.
took_ns() {
    local begin
    begin=$(date +%s%N)
    "$@" >/dev/null 2>&1
    echo $(($(date +%s%N) - begin))
}

median_ns() {
    local run
    for ((run = 0; run < RUNS; run++)); do took_ns "$@"; done | sort -n | sed -n "$((RUNS / 2 + 1))p"
}

apply() {
    export KUBEWARD_BIN
    cargo test --quiet --locked -p kubeward --test containerd_agent -- --ignored --nocapture measure_from_creation |
        grep 'from creation to first record'
}

case ${1:-calls} in
calls) ;;
apply)
    apply
    exit
    ;;
*) die "bench.sh: no such measurement: $1 (calls or apply)" ;;
esac

workload=(dd if=/dev/zero of=/dev/null bs=1 "count=$BLOCKS" status=none)
bare=$(median_ns "${workload[@]}")

row() {
    local name=$1 total
    shift
    total=$(median_ns "$@")
    printf '%-44s %8d\n' "$name" $(((total - bare) / (2 * BLOCKS)))
}

printf '%-44s %8s\n' "what watches" "ns a call"
printf '%-44s %8d\n' "nothing (the call itself)" $((bare / (2 * BLOCKS)))
row "kubeward trace, of calls that dd never makes" "$KUBEWARD_BIN" trace -e connect -o /dev/null -- "${workload[@]}"
row "kubeward trace --summary" "$KUBEWARD_BIN" trace --summary -e read,write -- "${workload[@]}"
row "kubeward trace, every call as JSON" "$KUBEWARD_BIN" trace -e read,write --format json -o /dev/null -- "${workload[@]}"
! have strace || row "strace -c" strace -f -c -e trace=read,write -o /dev/null "${workload[@]}"
