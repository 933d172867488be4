#!/usr/bin/env bash
# Runs the command blocks of getting-started/README.md as a reader would, top to bottom, in the root of the clone.
#
# Blocks fenced ```sh are run, those with kubectl against Kubernetes' own server of custom resources (tests/guide/server.py).
# What a block needs beyond that stands in its fence (```sh kubelet): it is reported as not run, by its first line. Ends with
# `N passed, M failed`; one block is one test.
set -euo pipefail
. "$(dirname "$0")/../scripts/env.sh"

GUIDE=getting-started/README.md
BLOCK_SECONDS=120
START_SECONDS=180

scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" || true; }; rm -rf "$scratch"' EXIT

# Each block in a file of its own, in order, named by what it needs.
awk -v dir="$scratch" '
    /^```sh/ { inside = 1; file = sprintf("%s/%02d.%s", dir, ++n, $2 == "" ? "sh" : $2); next }
    /^```$/  { inside = 0 }
    inside   { print > file }
' "$GUIDE"

# Says why kubectl has no server here, or nothing; leaves its kubeconfig in KUBECONFIG.
start_server() {
    local programs
    have kubectl || { echo "no kubectl"; return; }
    have openssl || { echo "no openssl"; return; }
    [ -x tests/kubernetes/fetch.sh ] || { echo "no tests/kubernetes/fetch.sh"; return; }
    programs=$(tests/kubernetes/fetch.sh 2>"$scratch/fetch") || { echo "no server: $(tail -n1 "$scratch/fetch")"; return; }
    mkdir "$scratch/server"
    tests/guide/server.py "$programs" "$scratch/server" deployments/crds/kubeward.yaml >&2 &
    server=$!
    for ((second = 0; second < START_SECONDS; second++)); do
        [ ! -e "$scratch/server/kubeconfig" ] || return 0
        kill -0 "$server" 2>/dev/null || die "the API server for the guide ended at once: see above"
        sleep 1
    done
    die "the API server for the guide did not start within $START_SECONDS s"
}

first_line() { grep -v '^#' "$1" | head -n1; }

start_server >"$scratch/reason"
reason=$(<"$scratch/reason")
export KUBECONFIG=$scratch/server/kubeconfig

# A reader has it in the PATH; deployed pods have it as /kubeward.
export PATH="$ROOT/bin:$PATH"

passed=0
failed=0
for block in "$scratch"/[0-9][0-9].*; do
    needs=${block##*.}
    if [ "$needs" != sh ]; then
        echo "not run: guide: $(first_line "$block") (needs a $needs)"
        continue
    fi
    if [ -n "$reason" ] && grep -q kubectl "$block"; then
        echo "not run: guide: $(first_line "$block") ($reason)"
        continue
    fi
    if timeout --kill-after=10 "$BLOCK_SECONDS" bash -euo pipefail "$block" </dev/null >"$scratch/said" 2>&1; then
        passed=$((passed + 1))
        continue
    fi
    failed=$((failed + 1))
    echo "a command block of $GUIDE failed:"
    sed 's/^/    /' "$block"
    echo "and said:"
    tail -40 "$scratch/said"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
