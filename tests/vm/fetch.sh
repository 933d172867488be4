#!/usr/bin/env bash
# Fetch the Debian cloud kernels that the vm tests boot.
#
#   tests/vm/fetch.sh [KERNEL]...      KERNEL is one of 6.1, 6.12, 7.x; all of them when none is named
#
# Each lands in $KUBEWARD_CACHE/kernels/KERNEL as `vmlinuz` beside `release` (the package it came from); one that is there
# already is left alone, so a cached run takes no network. The default cache is ~/.cache/kubeward. A package is found
# through apt with sources and lists of its own: the machine's are only asked for the address of its Debian mirror
# (KUBEWARD_DEBIAN_MIRROR overrides it).
set -euo pipefail

cache=${KUBEWARD_CACHE:-${HOME:-/root}/.cache/kubeward}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
all_kernels=(6.1 6.12 7.x)

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

# The suites that hold a kernel line, the longest lived first.
suites_of() {
    case $1 in
        6.1) echo bookworm ;;
        6.12) echo trixie bookworm-backports ;;
        7.x) echo trixie-backports ;;
        *) fail "unknown kernel \"$1\": known are ${all_kernels[*]}" ;;
    esac
}

# From 7.3 the image itself is in linux-binary-*, and linux-image-* only depends on it.
package_pattern_of() {
    case $1 in
        7.x) echo '^linux-(image|binary)-7\.[0-9][^ ]*-cloud-amd64$' ;;
        *) echo "^linux-image-${1//./\\.}\\.[0-9][^ ]*-cloud-amd64\$" ;;
    esac
}

mirror() {
    if [ -n "${KUBEWARD_DEBIAN_MIRROR:-}" ]; then
        echo "$KUBEWARD_DEBIAN_MIRROR"
        return
    fi
    # Only a mirror of the main archive has every suite; a machine that is not Debian has none.
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -E -m1 '^https?://.*/debian/?$' || echo http://deb.debian.org/debian
}

# An apt that knows one suite and nothing of this machine but its network settings (proxy, certificates).
write_apt_config() { # SUITE
    local dir=$cache/apt/$1
    mkdir -p "$dir/lists/partial" "$dir/archives/partial"
    : >"$dir/status"
    echo "deb [signed-by=$keyring] $(mirror) $1 main" >"$dir/sources.list"
    cat >"$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Retries "3";
#clear APT::Update;
#clear Acquire::IndexTargets::deb::DEP-11;
CONF
}

# apt repeats a broken download by itself, but not a failed connection or a mirror caught in the middle of an update.
apt_get() { # SUITE ARGS...
    local dir=$cache/apt/$1 attempt
    shift
    for attempt in 1 2 3; do
        # `apt-get update` calls a mirror that does not answer a warning.
        if (cd "$dir/archives" && apt-get -qq -c "$dir/apt.conf" "$@") >"$dir/log" 2>&1 && ! grep -q 'Failed to fetch' "$dir/log"; then
            return 0
        fi
        sleep "$attempt"
    done
    return 1
}

# Names of the suite's packages for this kernel line, oldest first; a linux-binary after the linux-image of its version.
packages_of() { # KERNEL SUITE
    apt-cache -c "$cache/apt/$2/apt.conf" pkgnames linux- | grep -E "$(package_pattern_of "$1")" |
        sed -E 's/^linux-(image|binary)-(.*)/\2 \1 &/' | sort -k1,1V -k2,2r | cut -d' ' -f3 || true
}

# Take the kernel image alone out of a package; false when it holds none.
unpack_image() { # DEB DIR
    local image
    image=$(dpkg-deb --fsys-tarfile "$1" | tar -t | grep -E '(^|/)vmlinuz[^/]*$' | head -n1) || return 1
    dpkg-deb --fsys-tarfile "$1" | tar -xO "$image" >"$2/vmlinuz"
}

fetch_from() { # KERNEL SUITE
    local kernel=$1 suite=$2 dir=$cache/kernels/$1 package
    write_apt_config "$suite"
    if ! apt_get "$suite" update; then
        echo "fetch.sh: suite $suite at $(mirror) cannot be read: $(grep -m1 '^[EW]:' "$cache/apt/$suite/log")" >&2
        return 1
    fi
    for package in $(packages_of "$kernel" "$suite" | tac | head -n2); do
        rm -f "$cache/apt/$suite/archives"/*.deb
        if apt_get "$suite" download "$package" && unpack_image "$cache/apt/$suite/archives"/*.deb "$dir.new"; then
            rm -f "$cache/apt/$suite/archives"/*.deb
            echo "$package from $suite" >"$dir.new/release"
            return 0
        fi
    done
    echo "fetch.sh: suite $suite has no package with a kernel image that matches $(package_pattern_of "$kernel")" >&2
    return 1
}

fetch() { # KERNEL
    local kernel=$1 dir=$cache/kernels/$1 suite suites
    suites=$(suites_of "$kernel")
    if [ -s "$dir/vmlinuz" ]; then
        echo "$kernel: $(cat "$dir/release") (cached)"
        return 0
    fi
    for suite in $suites; do
        rm -rf "$dir.new"
        mkdir -p "$dir.new"
        if fetch_from "$kernel" "$suite"; then
            rm -rf "$dir"
            mv "$dir.new" "$dir"
            echo "$kernel: $(cat "$dir/release")"
            return 0
        fi
    done
    rm -rf "$dir.new"
    fail "no kernel $kernel: tried suite(s) $suites at $(mirror); is the network there, and does the archive still hold it?"
}

[ $# -gt 0 ] || set -- "${all_kernels[@]}"
mkdir -p "$cache/kernels" || fail "cannot make the cache folder $cache/kernels: set KUBEWARD_CACHE to one that can be written"
exec 9>"$cache/kernels/lock"
flock -w 600 9 || fail "another fetch holds $cache/kernels/lock for 10 minutes"
for kernel in "$@"; do
    suites_of "$kernel" >/dev/null
    if [ ! -s "$cache/kernels/$kernel/vmlinuz" ]; then
        for tool in apt-get apt-cache dpkg-deb tar; do
            command -v "$tool" >/dev/null || fail "$tool is missing: kernels come as Debian packages"
        done
        [ -r "$keyring" ] || fail "$keyring is missing: install the package debian-archive-keyring"
    fi
    fetch "$kernel"
done
