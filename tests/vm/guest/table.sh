#!/bin/sh
# In the machine: the exact table against a program that counts for itself, as the tests of root_table hold it. Nothing is judged
# here; what the tests printed under each backend is left in /out/BACKEND, and their exit status in /out/BACKEND.status.

for backend in tracepoint auto; do
    KUBEWARD_WITNESSES=/bin KUBEWARD_PROBE_BACKEND=$backend timeout -s KILL 280 root_table --test-threads=1 --nocapture >"$backend" 2>&1
    echo $? >"$backend.status"
done
exit 0 # what failed is told by the files
