#!/usr/bin/env bash
# Everything that can be judged without running the program. Goes on after a failure, so that one run shows them all.
# With --format it judges nothing and formats the Rust and the C in place.
set -euo pipefail
. "$(dirname "$0")/env.sh"

CARGO_DENY_VERSION=0.20.2
failures=()

# check NAME CMD...: runs CMD, its output shown, and notes whether it failed.
check() {
    local name=$1
    shift
    say "lint: $name"
    "$@" >&2 || failures+=("$name")
}

# ours NAME...: the files of this tree with such names, never what a build made.
ours() {
    local names=() name
    for name in "$@"; do names+=(-o -name "$name"); done
    find . \( -path ./target -o -path ./.git -o -path ./bin -o -path ./fuzz/target \) -prune -o -type f \( "${names[@]:1}" \) -print
}
c_sources() { ours '*.c' '*.h'; }
shell_scripts() {
    ours '*' | xargs -d '\n' grep -lE '^#!(/usr)?/bin/(env )?(ba)?sh\b|^# shellcheck shell=' --
}

# The version that the tree is formatted with, else the distribution's own, whose idea of the style may be another.
c_formatter() { if have clang-format-19; then echo clang-format-19; else echo clang-format; fi; }

c_is_formatted() {
    local file bad=0
    if [ "$(c_formatter)" != clang-format-19 ]; then
        say "not run: the form of the C (clang-format-19 is not to be had here, and other versions judge otherwise)"
        return 0
    fi
    while read -r file; do
        clang-format-19 "$file" | diff -u --label "$file" --label "$file, formatted" "$file" - || bad=1
    done < <(c_sources)
    [ "$bad" -eq 0 ] || say "'make format' does this; judged by $(clang-format-19 --version)"
    return $bad
}

format_all() {
    cargo fmt --all
    c_sources | xargs --no-run-if-empty "$(c_formatter)" -i
}

# The kernel only loads a program whose licence it knows, and the shared header is read by both sides.
c_names_its_licence() {
    local file bad=0
    while read -r file; do
        head -3 "$file" | grep -qE 'SPDX-License-Identifier: GPL-2\.0 OR Apache-2\.0( \*/)?$' && continue
        say "$file: no line 'SPDX-License-Identifier: GPL-2.0 OR Apache-2.0' among its first three"
        bad=1
    done < <(c_sources | grep '/bpf/')
    return $bad
}

files_are_short() {
    local file lines bad=0
    while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 500 ] || { say "$file: $lines lines, over the limit of 500: look for the second idea in it"; bad=1; }
    done < <(ours '*.rs' '*.c' '*.h' '*.sh' '*.py')
    return $bad
}

dependencies_are_allowed() {
    cargo deny --locked --log-level warn check bans licenses sources
}

# Needs the network for the advisory database, whose absence is no fault of this tree: told, and not a failure.
dependencies_have_no_advisory() {
    local log status=0
    log=$(timeout 120 cargo deny --locked check advisories 2>&1) || status=$?
    [ "$status" -ne 0 ] || return 0
    if grep -q '^error\[' <<<"$log"; then
        say "$log"
        return 1
    fi
    say "not run: known vulnerabilities of dependencies (the advisory database cannot be fetched from here)"
}

if [ "${1:-}" = --format ]; then
    format_all
    exit
fi
cargo_tool cargo-deny "$CARGO_DENY_VERSION"
check "Rust is formatted" cargo fmt --all --check
check "clippy" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
check "C is formatted" c_is_formatted
check "C names its licence" c_names_its_licence
check "files are short" files_are_short
mapfile -t scripts < <(shell_scripts)
check "shellcheck" shellcheck --severity=info "${scripts[@]}"
check "dependencies: bans, licences, sources" dependencies_are_allowed
check "dependencies: advisories" dependencies_have_no_advisory

if [ ${#failures[@]} -gt 0 ]; then
    printf 'lint failed: %s\n' "${failures[@]}" >&2
    exit 1
fi
say "lint passed"
