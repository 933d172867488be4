#!/bin/bash
# The small workload of `make run`: what a container might do in its first second, good and bad.
# No `set -e`: two of these steps are meant to fail.

work=$(mktemp -d)

# Files: write, read back, rename, remove.
echo "token=s3cret" >"$work/settings"
cat "$work/settings" >/dev/null
mv "$work/settings" "$work/settings.old"
rm "$work/settings.old"
rmdir "$work"

# A file that is not there, and one that a container has no business with.
cat /etc/kubeward/absent 2>/dev/null
head -c 1 /etc/shadow >/dev/null 2>&1

# Network: nobody listens at the discard port.
(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null

# Processes: a fork, and a signal to it.
sleep 30 &
kill -TERM $!
wait $! 2>/dev/null

echo "demonstration workload: done"
