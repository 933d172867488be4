#!/usr/bin/env bash
# Installs what a part of the project needs on Debian 12, Ubuntu 22.04 or later: setup.sh [build|lint|test|bench|all].
# Says nothing and asks nobody when all is there, so that the other targets can call it every time.
set -euo pipefail
. "$(dirname "$0")/env.sh"

# Package and what proves that it is there: a command, or a file when the line has a slash. A proof rather than the
# package's name, since containerd may come from Docker's repository and clang from LLVM's.
BUILD_PACKAGES='
clang            clang
gcc              cc
make             make
pkg-config       pkg-config
protobuf-compiler protoc
libprotobuf-dev  /usr/include/google/protobuf/any.proto
libc6-dev        /usr/lib/x86_64-linux-gnu/libc.a
autoconf         autoreconf
automake         aclocal
autopoint        autopoint
flex             flex
bison            bison
gawk             gawk
libelf-dev       /usr/include/gelf.h
zlib1g-dev       /usr/include/zlib.h
ca-certificates  /etc/ssl/certs/ca-certificates.crt
'
LINT_PACKAGES='
shellcheck       shellcheck
git              git
'
TEST_PACKAGES='
g++              c++
containerd       containerd
runc             runc
strace           strace
qemu-system-x86  qemu-system-x86_64
bubblewrap       bwrap
busybox-static   /usr/share/doc/busybox-static
cpio             cpio
git              git
python3          python3
python3-venv     /usr/share/doc/python3-venv
jq               jq
tar              tar
xz-utils         xz
debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
util-linux       setarch
openssl          openssl
perl             perl
procps           ps
'

# What the rows of `make bench` run beside ours. A distribution may lack one: its rows are then told as not run.
PEER_PACKAGES='
linux-perf       perf
bpftrace         bpftrace
redis-server     redis-server
redis-tools      redis-benchmark
'

# clang_format_package: 19 where the distribution has it (the version that the tree is formatted with), else its own. A new
# machine has no package lists to look it up in.
clang_format_package() {
    apt-cache show clang-format-19 >/dev/null 2>&1 || ! is_root || retry 5 5 apt update || true
    if apt-cache show clang-format-19 >/dev/null 2>&1; then echo clang-format-19; else echo clang-format; fi
}

# missing LINES: the packages of LINES whose proof is absent.
missing() {
    local package proof
    while read -r package proof; do
        [ -n "$package" ] || continue
        case $proof in
        /*) [ -e "$proof" ] || echo "$package" ;;
        *) have "$proof" || echo "$package" ;;
        esac
    done <<<"$1"
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >&2
}

install_missing() {
    local packages=("$@")
    have apt-get || die "this machine lacks ${packages[*]}, and only apt-get (Debian, Ubuntu) is known here: install them by hand"
    is_root || die "this machine lacks ${packages[*]}: run 'make setup' as root, or install them by hand"
    say "installing: ${packages[*]}"
    # The lock on the package lists has no time limit of its own in apt, hence the retries.
    retry 5 5 apt update || die "apt-get update failed five times: see its messages above"
    retry 3 5 apt install --no-install-recommends "${packages[@]}" || die "apt-get install failed three times: see its messages above"
}

# with_no_daemon CMD...: runs CMD, during which no package may start its service: redis is needed as a program alone.
with_no_daemon() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    "$@" || status=$?
    rm -f "$policy"
    return $status
}

# The peers that this distribution has, each with its dependencies; the others are named.
install_peers() {
    local package known=()
    if ! is_root || ! have apt-get; then
        say "not installed: $* (what needs them in 'make bench' is told as not run)"
        return
    fi
    # Without lists no package is known.
    retry 5 5 apt update || die "apt-get update failed five times: see its messages above"
    for package in "$@"; do
        if grep -q 'Candidate: [^(]' <<<"$(apt-cache policy "$package")"; then
            known+=("$package")
        else
            say "not to be had here: $package (what needs it in 'make bench' is told as not run)"
        fi
    done
    [ ${#known[@]} -eq 0 ] || with_no_daemon install_missing "${known[@]}"
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have cargo || die "Rust is not installed (no 'cargo' in PATH): get $wanted or newer from https://rustup.rs"
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -1)" = "$wanted" ] ||
        die "Rust $found is too old: $wanted or newer is needed ('rustup update stable')"
}

check_clang() {
    local major
    major=$(clang -dumpversion | cut -d. -f1)
    [ "$major" -ge 14 ] || die "clang $major is too old for the kernel side: 14 or newer is needed"
}

lines='' peers=''
case ${1:-all} in
build) lines=$BUILD_PACKAGES ;;
lint) lines=$BUILD_PACKAGES$LINT_PACKAGES ;;
test) lines=$BUILD_PACKAGES$TEST_PACKAGES ;;
bench) lines=$BUILD_PACKAGES$TEST_PACKAGES peers=$PEER_PACKAGES ;;
all) lines=$BUILD_PACKAGES$LINT_PACKAGES$TEST_PACKAGES peers=$PEER_PACKAGES ;;
*) die "setup.sh: no such part: $1 (build, lint, test, bench or all)" ;;
esac

check_rust
mapfile -t packages < <(missing "$lines")
if [[ $lines == *shellcheck* ]] && ! have clang-format-19 && ! have clang-format; then
    packages+=("$(clang_format_package)")
fi
[ ${#packages[@]} -eq 0 ] || install_missing "${packages[@]}"
mapfile -t packages < <(missing "$peers")
[ ${#packages[@]} -eq 0 ] || install_peers "${packages[@]}"
check_clang
if [[ $lines == *shellcheck* ]]; then
    { have cargo-fmt && have cargo-clippy; } || rustup component add rustfmt clippy ||
        die "rustfmt and clippy are missing, and rustup cannot add them: install them as this Rust was installed"
fi
