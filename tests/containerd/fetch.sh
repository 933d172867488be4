#!/bin/sh
# Fetches a containerd newer than Debian 12's and prints the folder of its programs.
#
#   tests/containerd/fetch.sh 1.7    from Debian 13
#   tests/containerd/fetch.sh 2      from Debian unstable
#
# The package is unpacked into $KUBEWARD_CACHE (default ~/.cache/kubeward) and never installed; the machine's
# own package lists stay as they are. runc stays the machine's own.
set -eu

case "${1-}" in
    1.7) suite=trixie ;;
    2) suite=sid ;;
    *) echo "usage: $0 1.7|2" >&2; exit 2 ;;
esac
version=$1

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

cache=${KUBEWARD_CACHE:-${HOME:?}/.cache/kubeward}/containerd
target=$cache/$version
programs=$target/usr/bin
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mkdir -p "$cache"
# Two runs at once would unpack over each other.
exec 9>"$cache/lock"
flock 9
if [ -x "$programs/containerd" ]; then
    echo "$programs"
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
(cd "$work" && apt download "containerd/$suite" >&2) || fail "cannot download containerd of Debian $suite"
dpkg -x "$work"/containerd_*.deb "$work/root"

found=$("$work/root/usr/bin/containerd" --version 2>&1) ||
    fail "containerd of Debian $suite does not run here (it needs glibc 2.34 or later): $found"
case "$found" in
    *" $version."*) ;;
    *) fail "Debian $suite no longer has containerd $version: $found" ;;
esac

rm -rf "$target"
mv "$work/root" "$target"
echo "$programs"
