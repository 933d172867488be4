#!/bin/sh
# Runs the tests that need a real containerd on each version that is supported: the machine's own, 1.7 and 2.x.
# Arguments go to `cargo test`. Needs root.
set -eu

here=$(dirname "$0")
for version in installed 1.7 2; do
    if [ "$version" = installed ]; then
        unset KUBEWARD_CONTAINERD_DIR
        program=containerd
    else
        KUBEWARD_CONTAINERD_DIR=$("$here/fetch.sh" "$version")
        export KUBEWARD_CONTAINERD_DIR
        program=$KUBEWARD_CONTAINERD_DIR/containerd
    fi
    echo "== $("$program" --version)"
    cargo test --workspace "$@" containerd_
done
