#!/usr/bin/env bash
# Builds bin/kubeward and proves that it is static: build.sh TARGET
set -euo pipefail
. "$(dirname "$0")/env.sh"

target=$1
cargo build --release --locked --target "$target" --package kubeward
mkdir -p bin
# Moved into place: a running kubeward keeps its own file, and no half-written one is ever there.
cp "target/$target/release/kubeward" bin/.kubeward.new
mv bin/.kubeward.new bin/kubeward
if LC_ALL=C readelf -lW bin/kubeward | grep -q 'INTERP'; then
    die "bin/kubeward asks for a dynamic loader and so is not static: is RUSTFLAGS set in the environment? It overrides .cargo/config.toml"
fi
say "bin/kubeward: $(stat -c %s bin/kubeward | numfmt --to=iec-i --suffix=B), static"
