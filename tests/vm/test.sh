#!/usr/bin/env bash
# The vm tier: KubeWard on the kernels it promises, in each one's default preemption and with preempt=full.
#
#   tests/vm/test.sh [MACHINE]...       MACHINE as its result line names it, say "6.12 preempt=full"; all when none is named
#
# One result line a machine, then `N passed, M failed`; the exit status is 0 only when M is 0. What each machine said and
# did stays in target/vm/MACHINE, and its `kubeward doctor` in target/vm/MACHINE.doctor.txt. KUBEWARD_BIN names the
# binary (default bin/kubeward); it must be static.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
results=$root/target/vm
bin=$results/bin
kubeward=${KUBEWARD_BIN:-$root/bin/kubeward}
backends=(tracepoint kprobe fentry auto)
programs=(calls64 compat blocked loop)
machines=("6.1 default" "6.1 preempt=full" "6.12 default" "6.12 preempt=full" "7.x default" "7.x preempt=full" "6.12 cgroup=v2"
    "6.1 moves" "6.12 moves" "6.1 cost" "6.12 cost" "7.x unselected" "6.1 table" "7.x table" "6.1 io_uring" "7.x io_uring"
    "6.1 many" "6.12 many-full" "7.x many" "7.x many-full")
at_once=2

fail() {
    echo "test.sh: $*" >&2
    exit 1
}

# --- what goes into a machine

build_programs() {
    mkdir -p "$bin"
    local program
    for program in "${programs[@]}"; do
        cc -O1 -static -Wall -Wextra -o "$bin/$program" "$root/tests/witness/$program.c"
    done
    cc -O1 -static -Wall -Wextra -o "$bin/bpf_objects" "$here/guest/bpf_objects.c"
    cc -O1 -static -pthread -Wall -Wextra -o "$bin/results" "$root/tests/witness/results.c"
    cc -O1 -static -Wall -Wextra -o "$bin/made_up" "$root/tests/witness/made_up.c"
    cc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -Wall -Wextra -o "$bin/many" "$root/tests/witness/many.c"
    for program in uring uring_held; do
        cc -O1 -static -Wall -Wextra -o "$bin/$program" "$root/tests/witness/$program.c"
    done
    local test
    for test in root_moves root_cost root_table root_many root_skips root_parts root_uring; do
        program=$(cd "$root" && cargo test --release --locked -p kubeward-bpf --test "$test" --no-run --message-format=json \
            | jq -r --arg test "$test" 'select(.target.name == $test) | .executable // empty')
        strip -o "$bin/$test" "$program"
    done
}

# Dynamic programs with the libraries and the loader that they name, as FILE=PATH arguments of run.sh.
with_libraries() { # PROGRAM...
    local program library
    for program in "$@"; do
        program=$(command -v "$program") || fail "$program is missing: install the packages runc and containerd"
        echo "$program"
        for library in $(ldd "$program" | grep -o '/[^ ]*'); do echo "$library=$library"; done
    done | sort -u
}

# --- what must be true of what came out; each prints a line for every claim that does not hold

# judge WHAT FILTER ARGS...: a filter of checks/ that fails to run is a failed claim too.
judge() {
    local what=$1 filter=$2 shown=8 wrong
    shift 2
    if ! wrong=$(jq -rn -f "$here/checks/$filter" "$@" 2>&1); then
        echo "$what: its output cannot be read: $(tail -n1 <<<"$wrong")"
    elif [ -n "$wrong" ]; then
        head -n "$shown" <<<"$wrong" | while IFS= read -r line; do echo "$what: $line"; done
        [ "$(wc -l <<<"$wrong")" -le "$shown" ] || echo "$what: and $(($(wc -l <<<"$wrong") - shown)) claims more"
    fi
}

status_is_0() { # WHAT STATUS_FILE MESSAGES_FILE
    local status
    status=$(cat "$2" 2>/dev/null || echo none)
    [ "$status" = 0 ] || echo "$1: exit status $status: $(grep -v '^$' "$3" 2>/dev/null | tail -n 3 | tr '\n' ' ')"
}

count_right_reads() { # EVENTS
    jq -n '[inputs | select(.kind == "syscall" and .syscall.name == "read" and .syscall.ret == 1 and .process.comm == "blocked")]
        | {read: length}' "$1"
}

judge_run() { # DIR BACKEND PROGRAM
    local name=$1/$2.$3 lines all
    local what="$2 $3"
    status_is_0 "$what" "$name.status" "$name.err"
    [ "$(cat "$name.status" 2>/dev/null)" = 0 ] || return 0
    local files=(--slurpfile made "$name.made" --slurpfile events "$name.events" --arg backend "$2")
    case $3 in
        calls64)
            judge "$what" calls64.jq "${files[@]}"
            ;;
        compat)
            judge "$what" compat.jq "${files[@]}"
            ;;
        blocked)
            lines=$(count_right_reads "$name.events")
            all=$(jq -n '[inputs | select(.kind == "syscall")] | length' "$name.events")
            judge "$what" account.jq "${files[@]}" --argjson lines "$lines" --argjson all "$all"
            ;;
        loop)
            lines=$(jq -Rn '[inputs | split(" ") | {(.[0]): (.[1] | tonumber)}] | add | del(.all)' "$name.lines")
            all=$(sed -n 's/^all //p' "$name.lines")
            judge "$what" account.jq "${files[@]}" --argjson lines "$lines" --argjson all "$all"
            ;;
    esac
}

judge_matrix() { # DIR PREEMPT
    local dir=$1 backend program before after ran=("${programs[@]}")
    [ "$2" = default ] || ran=(blocked loop)
    [ "$2" = default ] || grep -q '(full)' "$dir/preempt" || echo "the kernel is not in preempt=full: $(cat "$dir/preempt")"
    status_is_0 doctor "$dir/doctor.status" "$dir/doctor.txt"
    for backend in "${backends[@]}"; do
        for program in "${ran[@]}"; do
            [ "$backend $program" = "auto compat" ] || judge_run "$dir" "$backend" "$program"
        done
        before=$(sed -n 's/^before: \(.*\), after: .*/\1/p' "$dir/$backend.left")
        after=$(sed 's/.*, after: //' "$dir/$backend.left")
        [ -n "$before" ] && [ "$before" = "$after" ] || echo "$backend: left BPF objects behind: before $before, after $after"
    done
}

judge_containers() { # DIR
    local dir=$1
    [ "$(cat "$dir/hierarchies")" = "0::/" ] || echo "the v2 hierarchy is not alone: $(tr '\n' ' ' <"$dir/hierarchies")"
    status_is_0 doctor "$dir/doctor.status" "$dir/doctor.txt"
    status_is_0 "trace of runc run" "$dir/runc.status" "$dir/runc.err"
    grep -qx from-the-container "$dir/runc.out" || echo "runc's container did not print its marker: $(cat "$dir/runc.out" "$dir/runc.err" | tail -n 3)"
    judge "trace of runc run" runc.jq --slurpfile events "$dir/runc.events"
    if [ -e "$dir/gave-up" ]; then
        echo "gave up: $(cat "$dir/gave-up"); the agent says: $(tail -n 3 "$dir/agent.err" 2>&1 | tr '\n' ' ')"
        return
    fi
    status_is_0 "ctr run" "$dir/ctr.status" "$dir/ctr.err"
    status_is_0 agent "$dir/agent.status" "$dir/agent.err"
    judge agent agent.jq --slurpfile events "$dir/agent.events"
}

# The tests judge themselves; here only that all of them ran, and with calls that moved.
judge_moves() { # DIR
    local file=$1/moves tests
    status_is_0 moves "$1/moves.status" "$file"
    tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$file")
    [ "$tests" = 3 ] || echo "moves: ${tests:-no} tests passed instead of 3: $(grep -m1 -A3 'panicked at' "$file" | tr '\n' ' ')"
    grep -q '^meanwhile \[TpBtf\], then \[Fentry\]' "$file" || echo "moves: no call went from the raw tracepoint to fentry"
}

# Unselected calls ran no program under hooks on functions, which this kernel has; `auto` went by cost; and where 32-bit calls go through
# one function that can be hooked, it was.
judge_cost() { # DIR KERNEL
    local tests
    status_is_0 doctor "$1/doctor.status" "$1/doctor.txt"
    status_is_0 cost "$1/cost.status" "$1/cost"
    tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/cost")
    [ "$tests" = 4 ] || echo "cost: ${tests:-no} tests passed instead of 4: $(grep -m1 -A3 'panicked at' "$1/cost" | tr '\n' ' ')"
    [ "$(grep -c '\(fentry\|kprobe\): [0-9]* unselected calls' "$1/cost")" = 2 ] || echo "cost: not all kinds of hooks on functions were tried"
    grep -q 'auto: .* for up to [0-9]* calls\|auto: .* for any number of calls\|auto: .* for every call' "$1/doctor.txt" \
        || echo "cost: doctor does not say how auto chooses"
    [ "$2" = 7.x ] || grep -q '32-bit calls: by one hook under fentry' "$1/doctor.txt" || echo "cost: fentry has no hook for all 32-bit calls"
}

# The same of unselected calls alone, where one kprobe.multi serves all: attaching and timing everything takes 7.x many minutes.
judge_unselected() { # DIR
    local tests
    status_is_0 "unselected calls" "$1/unselected.status" "$1/unselected"
    tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/unselected")
    [ "$tests" = 1 ] || echo "unselected calls: ${tests:-no} tests passed instead of 1: $(grep -m1 -A3 'panicked at' "$1/unselected" | tr '\n' ' ')"
    grep -q 'kprobe: [0-9]* unselected calls, .* by hooks {KprobeMulti: ' "$1/unselected" || echo "unselected calls: none were made under kprobe.multi"
}

judge_table() { # DIR
    local backend tests
    for backend in tracepoint auto; do
        status_is_0 "table under $backend" "$1/$backend.status" "$1/$backend"
        tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/$backend")
        [ "$tests" = 8 ] || echo "table under $backend: ${tests:-no} tests passed instead of 8: $(grep -m1 -A3 'panicked at' "$1/$backend" | tr '\n' ' ')"
    done
}

# The tests know which backends are exact.
judge_many() { # DIR
    local backend tests all
    if grep -q '(full)' "$1/preempt"; then
        status_is_0 "kinds of hooks" "$1/parts.status" "$1/parts"
        tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/parts")
        [ "$tests" = 4 ] || echo "kinds of hooks: ${tests:-no} tests passed instead of 4: $(grep -m1 -A3 'panicked at' "$1/parts" | tr '\n' ' ')"
    fi
    for backend in "${backends[@]}"; do
        status_is_0 "skipped runs under $backend" "$1/skips.$backend.status" "$1/skips.$backend"
        if [ "$backend" = fentry ] && ! grep -q '(voluntary)' "$1/preempt"; then continue; fi
        case $backend in tracepoint | auto) all=2 ;; *) all=1 ;; esac
        status_is_0 "many kinds under $backend" "$1/$backend.status" "$1/$backend"
        tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/$backend")
        [ "$tests" = "$all" ] || echo "many kinds under $backend: ${tests:-no} tests passed instead of $all: $(grep -m1 -A3 'panicked at' "$1/$backend" | tr '\n' ' ')"
    done
}

# Each operation that the witness made is seen as its call, with its result and path, and nothing else is; those that are under way
# while policies come and go are counted once.
judge_uring() { # DIR
    local name way ways=0 tests
    for name in "$1"/uring.*.status; do
        way=$(basename "$name" .status)
        name=${name%.status} ways=$((ways + 1))
        status_is_0 "$way" "$name.status" "$name.err"
        judge "$way" uring.jq --rawfile made "$name.made" --slurpfile events "$name.events"
    done
    [ "$ways" = 12 ] || echo "the witness went $ways ways instead of 12"
    status_is_0 "requests under way" "$1/held.status" "$1/held"
    tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$1/held")
    [ "$tests" = 5 ] || echo "requests under way: ${tests:-no} tests passed instead of 5"
    grep -q '^io_uring  *operations in place of calls are seen' "$1/doctor.txt" || echo "doctor does not say that io_uring is seen"
}

# The hooks that auto took for one call, and for all 63.
picked_by_auto() { # DIR
    local program picked
    for program in blocked calls64; do
        [ -e "$1/auto.$program.events" ] || continue
        picked=$(jq -rn '[inputs | select(.kind == "syscall" and .syscall.name == "read") | .probe] | unique | join("+")' "$1/auto.$program.events")
        echo "$program: $picked"
    done | sed 's/^blocked/auto picked for one call/; s/^calls64/for 63/' | paste -sd ' ' | sed 's/ for 63/, for 63/'
}

# --- one machine

boot() { # DIR KERNEL KIND
    local dir=$1 kernel=$2 kind=$3 files=("$kubeward=/bin/kubeward" "$bin/bpf_objects")
    case $kind in
        cgroup=v2)
            mapfile -t -O 2 files < <(with_libraries runc containerd containerd-shim-runc-v2 ctr)
            files+=("$results/bundle=/bundle" "$results/image.tar=/image.tar" "$here/guest/containerd.toml=/etc/containerd.toml")
            "$here/run.sh" --cgroup v2 --memory 2048 --timeout 240 --out "$dir" "$kernel" -- "$here/guest/containers.sh" "${files[@]}"
            ;;
        moves)
            "$here/run.sh" --timeout 900 --out "$dir" "$kernel" -- "$here/guest/moves.sh" "$bin/root_moves"
            ;;
        cost)
            "$here/run.sh" --timeout 600 --out "$dir" "$kernel" -- "$here/guest/cost.sh" "$kubeward" "$bin/root_cost"
            ;;
        unselected)
            "$here/run.sh" --timeout 300 --out "$dir" "$kernel" -- "$here/guest/unselected.sh" "$bin/root_cost"
            ;;
        table)
            "$here/run.sh" --timeout 600 --out "$dir" "$kernel" -- "$here/guest/table.sh" "$bin/root_table" "$bin/results" "$bin/made_up"
            ;;
        many | many-full)
            local preempt=default
            [ "$kind" = many ] || preempt=full
            "$here/run.sh" --preempt "$preempt" --timeout 1200 --out "$dir" "$kernel" -- "$here/guest/many.sh" "$bin/root_many" "$bin/many" "$bin/root_skips" "$bin/loop" "$bin/root_parts"
            ;;
        io_uring)
            files+=("$bin/uring" "$bin/uring_held" "$bin/root_uring")
            "$here/run.sh" --timeout 600 --out "$dir" "$kernel" -- "$here/guest/uring.sh" "${files[@]}"
            ;;
        *)
            files+=("${programs[@]/#/$bin/}")
            "$here/run.sh" --preempt "${kind#preempt=}" --timeout 900 --out "$dir" "$kernel" -- "$here/guest/matrix.sh" "${files[@]}"
            ;;
    esac
}

# Leaves the machine's result line and, indented below it, the claims that do not hold in DIR.result.
run_machine() { # MACHINE
    local machine=$1 kernel=${1% *} kind=${1#* } dir=$results/${1// /-} started=$SECONDS status=0 note='' wrong
    rm -rf "$dir" "$dir.result" "$dir.doctor.txt"
    mkdir -p "$dir"
    boot "$dir" "$kernel" "$kind" >"$dir/run.log" 2>&1 || status=$?
    if [ "$status" = 99 ]; then
        # Emulation itself can kill a machine; what KubeWard does to a kernel happens twice.
        note=", the first boot died: $(head -n1 "$dir/run.log")"
        mv "$dir/console.log" "$dir/console.first.log"
        status=0
        boot "$dir" "$kernel" "$kind" >"$dir/run.log" 2>&1 || status=$?
    fi
    if [ "$status" != 0 ]; then
        wrong="the machine ended with status $status"$'\n'$(cat "$dir/run.log" && tail -n 5 "$dir/console.log" | tr -d '\r')
    elif [ "$kind" = cgroup=v2 ]; then
        wrong=$(judge_containers "$dir")
    elif [ "$kind" = cost ]; then
        wrong=$(judge_cost "$dir" "$kernel")
        note="$note; $(grep -m1 '^auto: ' "$dir/cost" || true)"
    elif [ "$kind" = unselected ]; then
        wrong=$(judge_unselected "$dir")
        note="$note; $(grep -m1 -o 'kprobe: .*' "$dir/unselected" || true)"
    elif [ "$kind" = table ]; then
        wrong=$(judge_table "$dir")
    elif [ "${kind%-full}" = many ]; then
        wrong=$(judge_many "$dir")
        note="$note; $(grep -h ' calls of ' "$dir/auto" | head -n1)"
    elif [ "$kind" = io_uring ]; then
        wrong=$(judge_uring "$dir")
    elif [ "$kind" = moves ]; then
        wrong=$(judge_moves "$dir")
        note="$note; $(grep -m1 '^apply ' "$dir/moves" || true)"
    else
        wrong=$(judge_matrix "$dir" "${kind#preempt=}")
        note="$note; $(picked_by_auto "$dir")"
    fi
    [ ! -e "$dir/doctor.txt" ] || cp "$dir/doctor.txt" "$dir.doctor.txt"
    if [ -z "$wrong" ]; then
        echo "vm $machine: pass ($((SECONDS - started)) s$note)"
    else
        echo "vm $machine: FAIL ($((SECONDS - started)) s$note)"
        sed 's/^/    /' <<<"$wrong"
    fi >"$dir.result"
    cat "$dir.result"
}

for tool in jq cc readelf qemu-system-x86_64; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install the packages jq, gcc, libc6-dev, binutils and qemu-system-x86"
done
[ -x "$kubeward" ] || fail "$kubeward is missing: run 'make build' first, or name the binary in KUBEWARD_BIN"
! readelf -lW "$kubeward" | grep -q INTERP || fail "$kubeward is not static, it cannot start in a bare machine: use 'make build'"

[ $# -eq 0 ] || machines=("$@")
mkdir -p "$results"
build_programs
"$here/fetch.sh" >&2
"$here/image.sh" "$results"

for machine in "${machines[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
    run_machine "$machine" &
done
wait

passed=0 failed=0
for machine in "${machines[@]}"; do
    if head -n1 "$results/${machine// /-}.result" 2>/dev/null | grep -q ': pass ('; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
