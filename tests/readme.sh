#!/usr/bin/env bash
# Runs every command block of README.md as a reader would: as root, in the root of the clone, top to bottom.
# Blocks that need a cluster say so in their fence (```sh kubelet) and are reported as not run. Ends with
# `N passed, M failed`; one block is one test.
set -euo pipefail
. "$(dirname "$0")/../scripts/env.sh"

# What a block may need at most, `make run` included.
BLOCK_SECONDS=300

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The blocks fenced as ```sh, each in a file of its own, in order. Lines that fetch the clone or start the tests are left
# out: the first is done, the second would start this script again.
awk -v dir="$scratch" '
    /^```sh$/ { inside = 1; file = sprintf("%s/%02d.sh", dir, ++n); next }
    /^```$/   { inside = 0 }
    inside && !/^(git clone|cd kubeward|make test)/ { print > file }
' README.md

sed -n '/^```sh ./ { n; s/^/not run: readme: /; p }' README.md

passed=0
failed=0
for block in "$scratch"/*.sh; do
    if timeout --kill-after=10 "$BLOCK_SECONDS" bash -euo pipefail "$block" </dev/null >"$scratch/said" 2>&1; then
        passed=$((passed + 1))
        continue
    fi
    failed=$((failed + 1))
    echo "a command block of README.md failed:"
    sed 's/^/    /' "$block"
    echo "and said:"
    tail -40 "$scratch/said"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
