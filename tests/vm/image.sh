#!/usr/bin/env bash
# Make the container that the cgroup=v2 machine runs, from busybox alone, without any registry:
#
#   tests/vm/image.sh DIR      leaves DIR/bundle (for runc) and DIR/image.tar (docker-archive, for `ctr images import`)
#
# Its program prints the file /marker and leaves.
set -euo pipefail

out=$1
name=docker.io/library/watched:1
program='["/bin/cat", "/marker"]'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -rf "$out/bundle" "$out/image.tar"
mkdir -p "$out/bundle/rootfs/bin" "$out/bundle/rootfs/proc" "$work/image"
cp "$(command -v busybox)" "$out/bundle/rootfs/bin/cat"
echo from-the-container >"$out/bundle/rootfs/marker"
runc spec --bundle "$out/bundle"
jq ".process.args = $program | .process.terminal = false" "$out/bundle/config.json" >"$work/config.json"
mv "$work/config.json" "$out/bundle/config.json"

tar -C "$out/bundle/rootfs" --owner 0 --group 0 -cf "$work/image/layer.tar" .
layer_digest=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
jq -n --arg layer "sha256:$layer_digest" "{architecture: \"amd64\", os: \"linux\", config: {Cmd: $program},
    rootfs: {type: \"layers\", diff_ids: [\$layer]}}" >"$work/image/config.json"
jq -n --arg name "$name" '[{Config: "config.json", RepoTags: [$name], Layers: ["layer.tar"]}]' >"$work/image/manifest.json"
tar -C "$work/image" -cf "$out/image.tar" manifest.json config.json layer.tar
