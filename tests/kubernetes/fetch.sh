#!/usr/bin/env bash
# Makes Kubernetes' own server of custom resources (k8s.io/apiextensions-apiserver) and etcd, and prints their folder.
#
#   tests/kubernetes/fetch.sh
#
# Debian unstable has the server's source, the Go that builds it, and etcd. They are unpacked into $KUBEWARD_CACHE
# (default ~/.cache/kubeward) and never installed; the machine's own package lists stay as they are. What stays is
# `apiextensions-apiserver`, `etcd` and `release` (the packages they came from); a later run takes no network and no time.
# The first takes minutes (two cores: about three), 2.5 GB of disk while it works, and a mirror of Debian: this machine's
# own, or KUBEWARD_DEBIAN_MIRROR.
set -euo pipefail

cache=${KUBEWARD_CACHE:-${HOME:-/root}/.cache/kubeward}/kubernetes
# Another way to build it gets another number, and so a build of its own.
target=$cache/1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=sid
wanted=(golang-k8s-apiextensions-apiserver-dev golang-go etcd-server)
# Two thirds of the download, for features of libraries that this server does not link.
heavy='golang-(github-(cloudflare-circl|klauspost-compress|pierrec-lz4|aws-.*|nxadm-tail)|google-(cloud|api)|gonum-.*|golang-x-tools|mongodb-.*)(-dev)?'

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

mirror() {
    if [ -n "${KUBEWARD_DEBIAN_MIRROR:-}" ]; then
        echo "$KUBEWARD_DEBIAN_MIRROR"
        return
    fi
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -E -m1 '^https?://.*/debian/?$' || echo http://deb.debian.org/debian
}

# An apt that knows one suite, no installed package, and nothing of this machine but its network settings.
write_apt_config() {
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    : >"$work/status"
    echo "deb [signed-by=$keyring] $(mirror) $suite main" >"$work/sources.list"
    cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update;
#clear Acquire::IndexTargets::deb::DEP-11;
CONF
}

# apt repeats a broken download by itself, but not a failed connection or a mirror caught in the middle of an update.
apt_get() { # ARGS...
    local attempt
    for attempt in 1 2 3; do
        # `apt-get update` calls a mirror that does not answer a warning.
        if apt-get -qq -c "$work/apt.conf" "$@" >"$work/out" 2>"$work/log" && ! grep -q 'Failed to fetch' "$work/log"; then
            return 0
        fi
        sleep "$attempt"
    done
    return 1
}

# What apt complained of first.
said() {
    grep -E -m1 '^[EW]:' "$work/log" || tail -n1 "$work/log"
}

# The names of all that `wanted` depends on and that the build can use: Go, sources in Go, and etcd.
list_closure() {
    apt_get install --yes --print-uris "${wanted[@]}" || return 1
    awk -F"[' ]" '/^'"'"'/ { print $4 }' "$work/out" | sed 's/_.*//' | grep -E '^golang-|^etcd-server$'
}

# Downloads and unpacks packages named on standard input; those that are there already are left alone.
unpack() {
    local deb names
    mapfile -t names
    (cd "$work/archives" && apt_get download "${names[@]}") || return 1
    for deb in "$work"/archives/*.deb; do
        dpkg-deb -x "$deb" "$work/root" || return 1
        rm "$deb"
    done
}

go_build() { # OUT PACKAGE
    local goroot
    goroot=$(echo "$work"/root/usr/lib/go-*)
    env -u GOFLAGS GOROOT="$goroot" GOPATH="$work/root/usr/share/gocode" GOCACHE="$work/gocache" GOENV=off \
        GOTOOLCHAIN=local GO111MODULE=off GOTELEMETRY=off CGO_ENABLED=0 \
        "$goroot/bin/go" build -ldflags '-s -w' -o "$1" "$2"
}

build() {
    local log=$work/build.log
    grep -vxE "$heavy" "$work/closure" | unpack || fail "cannot fetch the server's sources from Debian $suite: $(said)"
    go_build "$work/new/apiextensions-apiserver" k8s.io/apiextensions-apiserver >"$log" 2>&1 && return
    # A later version may link what this one does not.
    echo "fetch.sh: the build failed ($(tail -n1 "$log")); again with every package that it depends on" >&2
    grep -xE "$heavy" "$work/closure" | unpack || fail "cannot fetch the server's sources from Debian $suite: $(said)"
    go_build "$work/new/apiextensions-apiserver" k8s.io/apiextensions-apiserver >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "Go cannot build k8s.io/apiextensions-apiserver of Debian $suite: see above"
    }
}

versions() {
    # apt-cache show is not in the order of its arguments when a name is virtual: one at a time.
    local name
    for name in "${wanted[@]}"; do
        echo "$name $(apt-cache -c "$work/apt.conf" show "$name" | sed -n 's/^Version: //p' | head -n1)"
    done
}

mkdir -p "$cache" || fail "cannot make the cache folder $cache: set KUBEWARD_CACHE to one that can be written"
# Two runs at once would both build it.
exec 9>"$cache/lock"
flock -w 1200 9 || fail "another fetch holds $cache/lock for 20 minutes"
if [ -x "$target/apiextensions-apiserver" ] && [ -x "$target/etcd" ]; then
    echo "$target"
    exit 0
fi

for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || fail "$tool is missing: the server's sources come as Debian packages"
done
[ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m): etcd and Go are fetched for x86_64"
[ -r "$keyring" ] || fail "$keyring is missing: install the package debian-archive-keyring"

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root" "$work/new"
write_apt_config
apt_get update || fail "cannot read the package list of Debian $suite at $(mirror): $(said)"
list_closure >"$work/closure" || fail "Debian $suite at $(mirror) cannot give ${wanted[*]} now: $(said)"
echo "fetch.sh: building Kubernetes' CRD server (once, some minutes): $(versions | tr '\n' ' ')" >&2
build
cp "$work/root/usr/bin/etcd" "$work/new/etcd"
found=$("$work/new/etcd" --version 2>&1) || fail "etcd of Debian $suite does not run here (it needs glibc 2.34 or later): $found"
versions >"$work/new/release"
rm -rf "$target"
mv "$work/new" "$target"
echo "$target"
