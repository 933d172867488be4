#!/usr/bin/env bash
# Runs each fuzz target of fuzz/ for some seconds: fuzz.sh SECONDS [TARGET]...
#
# The stable compiler does: coverage instrumentation is an LLVM pass that can be named, and only the address sanitizer,
# which safe Rust needs little, is kept to nightly. `cargo fuzz run TARGET` works too, where it is installed.
set -euo pipefail
. "$(dirname "$0")/env.sh"

seconds=${1:?usage: fuzz.sh SECONDS [TARGET]...}
shift
target=x86_64-unknown-linux-gnu
# Takes the place of the flags in .cargo/config.toml: what is fuzzed is linked dynamically.
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1'
RUSTFLAGS=$(tr -s '\n ' '  ' <<<"$RUSTFLAGS")

[ $# -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
[ $# -eq 0 ] || targets=("$@")
cargo build --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --target "$target" --release --locked >&2

passed=0
failed=0
for name in "${targets[@]}"; do
    # What an earlier run learned is kept beside the build; seeds are in the tree.
    corpus=target/fuzz/corpus/$name
    mkdir -p "$corpus" target/fuzz/artifacts
    seeds=()
    [ ! -d "fuzz/seeds/$name" ] || seeds=("fuzz/seeds/$name")
    if "target/fuzz/$target/release/$name" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="target/fuzz/artifacts/$name-" "$corpus" "${seeds[@]}" >"target/fuzz/$name.log" 2>&1; then
        echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "target/fuzz/$name.log") inputs in $seconds s"
        passed=$((passed + 1))
    else
        echo "fuzz target $name failed; its input is in target/fuzz/artifacts:"
        grep -A2 'panicked at' "target/fuzz/$name.log" || true
        tail -40 "target/fuzz/$name.log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
