#!/usr/bin/env bash
# Boot a kernel in QEMU, run a script there, and bring back what the script wrote and how it ended.
#
#   tests/vm/run.sh [OPTION]... KERNEL -- SCRIPT [FILE[=PATH]]...
#
# KERNEL is a name that fetch.sh knows, or the path of a kernel image. SCRIPT (busybox sh) runs as root with /out as its
# working folder; every file it leaves there is unpacked into the --out folder. FILE is copied to /bin in the machine, or
# to PATH there; a folder is copied whole. The exit status is the script's, or 99 when the machine did not get that far.
#
#   --preempt default|full   the kernel's own preemption, or preempt=full on its command line
#   --cgroup hybrid|v2       v1 hierarchies with v2 beside them (default), or v2 alone
#   --out DIR                where console.log and the script's files go (default: a new folder, named at the end)
#   --timeout SECONDS        the machine is stopped after that long (default 120)
#   --memory MIB             (default 1024)
#
# CPUs are emulated (TCG), so no nested virtualisation is needed; at most two machines run at once, others wait.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${KUBEWARD_CACHE:-${HOME:-/root}/.cache/kubeward}
preempt=default cgroup=hybrid out='' timeout=120 memory=1024
no_result=99

fail() {
    echo "run.sh: $*" >&2
    exit "$no_result"
}

while [ $# -gt 0 ]; do
    case $1 in
        --preempt) preempt=$2 && shift 2 ;;
        --cgroup) cgroup=$2 && shift 2 ;;
        --out) out=$2 && shift 2 ;;
        --timeout) timeout=$2 && shift 2 ;;
        --memory) memory=$2 && shift 2 ;;
        -*) fail "unknown option $1" ;;
        *) break ;;
    esac
done
if [ $# -lt 3 ] || [ "$2" != -- ]; then fail "usage: run.sh [OPTION]... KERNEL -- SCRIPT [FILE[=PATH]]..."; fi
kernel=$1 script=$3
shift 3
case $preempt in default | full) ;; *) fail "--preempt is default or full, not $preempt" ;; esac
case $cgroup in hybrid | v2) ;; *) fail "--cgroup is hybrid or v2, not $cgroup" ;; esac
for tool in qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static readelf:binutils; do
    command -v "${tool%:*}" >/dev/null || fail "${tool%:*} is missing: install the package ${tool#*:}"
done
! readelf -lW "$(command -v busybox)" | grep -q INTERP || fail "$(command -v busybox) is not static: install the package busybox-static"

if [ -f "$kernel" ]; then
    image=$kernel release=$(basename "$kernel")
else
    "$here/fetch.sh" "$kernel" >/dev/null || fail "no kernel $kernel to boot"
    image=$cache/kernels/$kernel/vmlinuz release=$kernel
fi

# Haswell is the oldest model with all that Debian's kernels want. Under emulation the cmpxchg16b of 6.x's allocator
# corrupts its free lists (a panic, often at boot); 7.x needs the instruction and does not show this.
case $release in
    6.* | vmlinuz-6.*) cpu=Haswell,-cx16 ;;
    *) cpu=Haswell ;;
esac

work=$(mktemp -d)
qemu='' watchdog=''
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    [ -z "$watchdog" ] || kill "$watchdog" 2>/dev/null || true
    [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
[ -n "$out" ] || out=$(mktemp -d)
mkdir -p "$out"

make_initramfs() { # FILE[=PATH]...
    local root=$work/root file path
    mkdir -p "$root/bin"
    cp "$(command -v busybox)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cp "$here/guest/init" "$root/init"
    cp "$script" "$root/script"
    for file in "$@"; do
        path=/bin/$(basename "$file")
        case $file in *=/*) path=${file#*=} ;; esac
        mkdir -p "$root$(dirname "$path")"
        cp -rL "${file%%=/*}" "$root$path" || fail "cannot copy ${file%%=/*} into the machine"
    done
    chmod +x "$root/init" "$root/script"
    # Not compressed: unpacking under emulation costs more time than reading.
    (cd "$root" && find . | cpio --quiet -o -H newc) >"$work/initrd"
}

# The host is shared: a third machine at once would only slow all three down past their time limits.
take_slot() {
    mkdir -p "$cache"
    exec 8>"$cache/vm-slot-1" 9>"$cache/vm-slot-2"
    until flock -n 8 || flock -w 1 9; do :; done
}

boot() {
    local append="console=ttyS0 panic=-1 oops=panic quiet loglevel=4 test.cgroup=$cgroup"
    [ "$preempt" = default ] || append="$append preempt=$preempt"
    # One emulation thread: with one per CPU, 6.12 panics often.
    qemu-system-x86_64 -accel tcg,thread=single -smp 2 -cpu "$cpu" -m "$memory" -display none -no-reboot -nodefaults \
        -serial "file:$out/console.log" -serial "file:$work/results.tar.gz" \
        -kernel "$image" -initrd "$work/initrd" -append "$append" >"$work/qemu.log" 2>&1 8>&- 9>&- &
    qemu=$!
}

# What went wrong, with the console's end, for a machine that sent no result.
explain() { # HOW
    echo "run.sh: kernel $release (preempt $preempt, cgroup $cgroup) $1; the console ends with:" >&2
    tail -n 30 "$out/console.log" 2>/dev/null | tr -d '\r' | sed 's/^/  | /' >&2
    grep -v "TCG doesn't support requested feature" "$work/qemu.log" | sed 's/^/  qemu | /' >&2 || true
    exit "$no_result"
}

make_initramfs "$@"
take_slot
: >"$out/console.log"
boot
(
    sleep "$timeout" &
    trap 'kill $!' TERM
    wait $! && touch "$work/timed-out" && kill "$qemu"
) 8>&- 9>&- &
watchdog=$!
status=0
wait "$qemu" || status=$?
kill "$watchdog" 2>/dev/null || true
qemu='' watchdog=''
[ ! -e "$work/timed-out" ] || explain "was stopped after $timeout s"
! grep -q 'Kernel panic' "$out/console.log" || explain "panicked ($(grep -m1 -o 'Kernel panic.*' "$out/console.log" | tr -d '\r'))"
[ "$status" = 0 ] || explain "ended with QEMU's status $status"
tar -xzf "$work/results.tar.gz" -C "$out" 2>/dev/null || explain "sent no complete result"
[ -s "$out/status" ] || explain "sent a result without the script's status"
exit "$(cat "$out/status")"
