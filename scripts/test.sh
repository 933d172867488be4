#!/usr/bin/env bash
# Runs every tier that this machine can run, and says which it cannot: test.sh [unit|root|containerd|kubernetes|vm|bench]...
#
# A tier that runs no test has failed. A root, containerd, kubernetes or vm test that fails is tried once more. The last line is
# `N passed, M failed`; the exit status is 0 only when M is 0.
set -euo pipefail
. "$(dirname "$0")/env.sh"

NEXTEST_VERSION=0.9.143
JUNIT=target/nextest/${NEXTEST_PROFILE:-default}/junit.xml

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
not_run=$scratch/not-run
failures=$scratch/failures
: >"$not_run"
: >"$failures"
total_passed=0
total_failed=0

# finish TIER PASSED FAILED: one line for the tier, and the sum.
finish() {
    local tier=$1 passed=$2 failed=$3
    if [ $((passed + failed)) -eq 0 ]; then
        echo "--- failed: tier $tier ran no test at all" >>"$failures"
        failed=1
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    if [ "$failed" -eq 0 ]; then
        echo "pass $tier $passed"
    else
        echo "FAIL $tier $passed passed, $failed failed"
    fi
}

# nextest FILTER: runs the tests of FILTER and adds their numbers to $passed and $failed.
nextest() {
    local status=0 well=0 ill=0
    rm -f "$JUNIT"
    cargo nextest run --workspace --locked --no-tests=warn -E "$1" >&2 || status=$?
    if [ -e "$JUNIT" ]; then
        python3 scripts/tier_report.py "$JUNIT" "$not_run" "$failures" >"$scratch/report"
        sed '$d' "$scratch/report"
        read -r well ill < <(tail -1 "$scratch/report")
    fi
    # 100 is "tests failed"; anything else is nextest itself, which no count shows.
    if [ "$status" -ne 0 ] && [ "$ill" -eq 0 ]; then
        echo "--- failed: cargo nextest ended with status $status before it could report" >>"$failures"
        ill=1
    fi
    passed=$((passed + well))
    failed=$((failed + ill))
}

# script NAME CMD...: runs a test that is a script; its last line `N passed, M failed` (or its status) is added to
# $passed and $failed. Its `not run:` lines are kept.
script() {
    local name=$1 log=$scratch/$1.log status=0 counts
    shift
    timeout --kill-after=30 2700 "$@" </dev/null 2>&1 | tee "$log" || status=$?
    grep '^not run: ' "$log" >>"$not_run" || true
    counts=$(sed -n 's/^\([0-9]\+\) passed, \([0-9]\+\) failed$/\1 \2/p' "$log" | tail -1)
    if [ -n "$counts" ]; then
        passed=$((passed + ${counts% *}))
        failed=$((failed + ${counts#* }))
    fi
    [ "$status" -ne 0 ] || [ -z "$counts" ] || [ "${counts##* }" -gt 0 ] || return 0
    # A script that died before it counted, or that failed without counting a failure.
    if [ "${counts##* }" = 0 ] || [ -z "$counts" ]; then failed=$((failed + 1)); fi
    {
        echo "--- failed: $name, status $status$([ "$status" -ne 124 ] || echo ' (stopped after 45 minutes)')"
        tail -60 "$log"
    } >>"$failures"
}

# cannot TIER: why this machine cannot run the tier, or nothing.
cannot() {
    case $1 in
    unit) ;;
    *) is_root || echo "$1 tier (needs root)" ;;
    esac
}

# The Helm chart, where Helm can be had: on a machine without network the rest of the tier still counts.
helm_chart() {
    if tests/helm/fetch.sh >"$scratch/fetch" 2>&1; then
        nextest 'test(/(^|::)helm_/)'
    else
        cat "$scratch/fetch" >&2
        echo "not run: Helm chart (Helm cannot be fetched: $(tail -1 "$scratch/fetch"))" >>"$not_run"
    fi
}

tier_unit() {
    nextest 'not test(/(^|::)(root|containerd|kubernetes|helm)_/)'
    helm_chart
    script fuzz scripts/fuzz.sh 10
}

tier_root() {
    nextest 'test(/(^|::)root_/)'
    script readme tests/readme.sh
}

# The machine's own containerd, then the newer ones that Debian has, unpacked and not installed.
tier_containerd() {
    local version programs
    say "containerd: the machine's own, $(containerd --version | cut -d' ' -f3)"
    nextest 'test(/(^|::)containerd_/)'
    for version in 1.7 2; do
        if programs=$(tests/containerd/fetch.sh "$version" 2>"$scratch/fetch"); then
            say "containerd: $("$programs/containerd" --version | cut -d' ' -f3)"
            KUBEWARD_CONTAINERD_DIR=$programs nextest 'test(/(^|::)containerd_/)'
        else
            cat "$scratch/fetch" >&2
            echo "not run: containerd $version (its package cannot be fetched: $(tail -1 "$scratch/fetch"))" >>"$not_run"
        fi
    done
    script docker tests/docker/test.sh
}

# Kubernetes' own CRD server, built once from Debian's packages; what it lacks comes from tests/support's fake cluster.
tier_kubernetes() {
    local reason
    if tests/kubernetes/fetch.sh >"$scratch/fetch" 2>&1; then
        say "kubernetes: $(tr '\n' ' ' <"$(tail -1 "$scratch/fetch")/release")"
        nextest 'test(/(^|::)kubernetes_/)'
        script guide tests/guide.sh
        return
    fi
    cat "$scratch/fetch" >&2
    reason="kubernetes tier (its server cannot be built: $(tail -1 "$scratch/fetch"))"
    if [ "${CI:-}" = true ]; then
        echo "--- failed: $reason" >>"$failures"
        failed=$((failed + 1))
    else
        echo "not run: $reason" >>"$not_run"
        skipped=yes
    fi
}

tier_vm() {
    script vm tests/vm/test.sh
}

# Every measurement once, with small loads: that it runs, not what it says.
tier_bench() {
    script bench scripts/bench.sh once
}

# Facts of this machine that leave a backend untried here; the vm tier tries it on other kernels.
name_what_this_kernel_lacks() {
    [ -e /sys/bus/event_source/devices/kprobe ] ||
        echo "not run: kprobe backend natively (CONFIG_KPROBES is off)" >>"$not_run"
}

[ $# -gt 0 ] || set -- unit root containerd kubernetes vm bench
cargo_tool cargo-nextest "$NEXTEST_VERSION"
[ -x "$KUBEWARD_BIN" ] || die "bin/kubeward is missing: run 'make build' first"

say "building the tests"
cargo nextest run --workspace --locked --no-run >&2 || die "the tests do not build: see the compiler's messages above"

name_what_this_kernel_lacks
for tier in "$@"; do
    [ "$(type -t "tier_$tier")" = function ] || die "no such tier: $tier (unit, root, containerd, kubernetes, vm or bench)"
    reason=$(cannot "$tier")
    if [ -n "$reason" ]; then
        echo "not run: $reason" >>"$not_run"
        continue
    fi
    say "--- tier $tier"
    started=$SECONDS passed=0 failed=0 skipped=no
    "tier_$tier"
    [ "$skipped" = no ] || continue
    finish "$tier" "$passed" "$failed"
    say "--- tier $tier took $((SECONDS - started)) s"
done

cat "$failures"
sort -u "$not_run"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
