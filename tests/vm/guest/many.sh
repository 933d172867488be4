#!/bin/sh
# In the machine: calls of more than seventy kinds, refused and interrupted ones among them, as the tests of root_many make and
# judge them. Nothing is judged here; what the tests printed under each backend is left in /out/BACKEND, and their exit status in
# /out/BACKEND.status; of root_skips in /out/skips.BACKEND; and under preempt=full of root_parts in /out/parts.

sed 's/.*preempt=//' /sys/kernel/debug/sched/preempt >preempt

many() { # BACKEND TESTS
    KUBEWARD_MANY="60 4 4" KUBEWARD_WITNESSES=/bin KUBEWARD_PROBE_BACKEND=$1 \
        timeout -s KILL 280 root_many --test-threads=1 --nocapture "$2" >"$1" 2>&1
    echo $? >"$1.status"
}

# Under kprobe and fentry, which lose more than the ring does, one of the two tests; under fentry, whose hooks take long to attach,
# only where the kernel does not preempt them, and so skips none.
for backend in tracepoint kprobe fentry auto; do
    case $backend in
    tracepoint | auto) many "$backend" root_ ;;
    kprobe) many "$backend" table_and_records ;;
    fentry) ! grep -q '(voluntary)' preempt || many "$backend" table_and_records ;;
    esac
    KUBEWARD_WITNESSES=/bin KUBEWARD_PROBE_BACKEND=$backend timeout -s KILL 120 root_skips --nocapture >"skips.$backend" 2>&1
    echo $? >"skips.$backend.status"
done

# What is loaded where tp_btf is not exact. Without the tests that try every kind, which take minutes here.
if grep -q '(full)' preempt; then
    timeout -s KILL 180 root_parts --test-threads=1 --nocapture --skip verifier_takes >parts 2>&1
    echo $? >parts.status
fi
exit 0 # what failed is told by the files
