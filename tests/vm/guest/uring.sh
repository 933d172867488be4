#!/bin/sh
# In the machine: operations through io_uring in place of calls. Nothing is judged here; for each way W that the witness knows,
# /out has:
#
#   uring.W.made              what it printed: the operations and their results
#   uring.W.events            the JSON lines
#   uring.W.status uring.W.err   exit status and messages of `kubeward trace`
#
# and what the tests of root_uring print is in /out/held, their exit status in /out/held.status.

step_seconds=120

for way in plain async sqpoll link fixed multishot skip overflow doubles reuse unanswered credentials; do
    mkdir "/tmp/$way"
    cd "/tmp/$way" || exit 1
    timeout -s KILL "$step_seconds" kubeward trace --format json -o "/out/uring.$way.events" -- uring "$way" \
        >"/out/uring.$way.made" 2>"/out/uring.$way.err"
    echo $? >"/out/uring.$way.status"
done
cd /out || exit 1
KUBEWARD_WITNESSES=/bin timeout -s KILL "$step_seconds" root_uring --test-threads=1 >held 2>&1
echo $? >held.status
kubeward doctor >doctor.txt 2>&1
echo $? >doctor.status
