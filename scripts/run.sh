#!/usr/bin/env bash
# Shows the main job on scripts/demo.sh, without any cluster: a live trace, then a summary by call.
set -euo pipefail
. "$(dirname "$0")/env.sh"

is_root || die "watching system calls needs root: run 'sudo make run'"

# Without it, each program of the demonstration opens thirty locale files.
export LC_ALL=C

title() {
    if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}

# The calls that tell the story; all nine categories would be several hundred lines.
calls=execve,openat,renameat2,rename,unlink,unlinkat,mkdir,rmdir,connect,kill,clone

title "1. What does this program do?   kubeward trace -e $calls -- scripts/demo.sh"
"$KUBEWARD_BIN" trace -e "$calls" -- bash scripts/demo.sh

title "2. And in numbers?   kubeward trace --summary -- scripts/demo.sh"
"$KUBEWARD_BIN" trace --summary -- bash scripts/demo.sh
