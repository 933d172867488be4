#!/usr/bin/env bash
# Counts what a fleet of simulated agents costs an API server: fleet.sh [AGENTS [POLICIES [SECONDS OF REST]]]
#
# The agents' watches and writers are the real ones, in one process; the controller is the real program; the server is
# Kubernetes' own, on this machine. docs/decisions/0011-status-of-a-fleet.md has the figures and what follows from them.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/env.sh

# A connection for each watch, and one for each agent's writes.
ulimit -n "$(ulimit -H -n)"

# Counts do not depend on the compiler's effort, and this is built already where tests were.
cargo build --locked -p kubeward
cargo build --locked -p kubeward-agent --example fleet
built=$(cargo metadata --format-version 1 --no-deps --locked |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/x86_64-unknown-linux-gnu/debug
KUBEWARD_BIN=$built/kubeward exec "$built/examples/fleet" "$@"
