#!/bin/sh
# Fetches Debian 13's Docker engine and prints the folder that holds it: Debian 12's does not know CAP_BPF and CAP_PERFMON.
#
# The packages are unpacked into $KUBEWARD_CACHE (default ~/.cache/kubeward) and never installed; the machine's own package
# lists stay as they are. containerd and runc are the machine's own.
set -eu

suite=trixie
cache=${KUBEWARD_CACHE:-${HOME:?}/.cache/kubeward}/docker
target=$cache/$suite
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

mkdir -p "$cache"
# Two runs at once would unpack over each other.
exec 9>"$cache/lock"
flock 9
if [ -x "$target/usr/sbin/dockerd" ]; then
    echo "$target"
    exit 0
fi

[ -r "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
# The mirror that this machine already uses, so that what works for apt works here.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -m 1 '/debian/*$' || true)
mirror=${mirror:-http://deb.debian.org/debian}

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"

apt() {
    apt-get -qq \
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

apt update >&2 || fail "cannot read the package list of Debian $suite at $mirror"
(cd "$work" && apt download "docker.io/$suite" "docker-cli/$suite" >&2) || fail "cannot download Docker of Debian $suite"
for package in "$work"/docker*.deb; do dpkg -x "$package" "$work/root"; done
version=$("$work/root/usr/sbin/dockerd" --version 2>&1) || fail "Docker of Debian $suite does not run here: $version"

rm -rf "$target"
mv "$work/root" "$target"
echo "$target"
