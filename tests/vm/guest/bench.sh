#!/bin/sh
# In the machine: hooks on functions, measured as /bench-order says. Left in /out: findings.json, and bench.err.

# shellcheck disable=SC2046 # the order is words
kubeward-bench guest $(cat /bench-order) >findings.json 2>bench.err
