#!/bin/sh
# In the machine: each backend watches each known program. Nothing is judged here; what came out is left in /out:
#
#   preempt              the kernel's own word on its preemption
#   doctor.txt           `kubeward doctor`, its exit status in doctor.status
#   B.P.made             what program P says it did while backend B watched it
#   B.P.events           the JSON lines (B.loop.events: all but its calls, which B.loop.lines only counts)
#   B.P.status B.P.err   exit status and messages of `kubeward trace`
#   B.P.seconds          how long that took
#   B.left               BPF objects before the backend came and after it went

backends='tracepoint kprobe fentry auto'
blocked_threads=200
loop_threads=8
loop_rounds=1000
step_seconds=300

sed 's/.*preempt=//' /sys/kernel/debug/sched/preempt >preempt

kubeward doctor >doctor.txt 2>&1
echo $? >doctor.status

uptime_hundredths() { sed 's/ .*//; s/\.//' /proc/uptime; }

# watch BACKEND SET PROGRAM ARG...
watch() {
    backend=$1 calls=$2 name=$1.$3 started=$(uptime_hundredths)
    shift 2
    timeout -s KILL "$step_seconds" kubeward trace --probe-backend "$backend" -e "$calls" --format json -o "$name.events" -- "$@" \
        >"$name.made" 2>"$name.err"
    echo $? >"$name.status"
    took=$(($(uptime_hundredths) - started))
    printf '%d.%02d\n' $((took / 100)) $((took % 100)) >"$name.seconds"
}

# The kernel frees programs some time after their last reference went; what is still there after 20 s stays.
left_by() { # BACKEND BEFORE
    tries=200
    while [ "$(bpf_objects)" != "$2" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        usleep 100000
    done
    echo "before: $2, after: $(bpf_objects)" >"$1.left"
}

# A line holds one call, whatever its members' order; a call that returned something else is not counted.
count_loop_lines() { # BACKEND
    for call in getppid dup; do
        case $call in
            getppid) result='"ret":[0-9]' ;;
            dup) result='"ret":-9[,}]' ;;
        esac
        echo "$call $(grep '"syscall":{"name":"'$call'"' "$1.loop.events" | grep '"comm":"loop"' | grep -c "$result")"
    done >"$1.loop.lines"
    echo "all $(grep -c '"kind":"syscall"' "$1.loop.events")" >>"$1.loop.lines"
    grep -v '"kind":"syscall"' "$1.loop.events" >"$1.loop.others"
    mv "$1.loop.others" "$1.loop.events"
}

# What compat does, by both tables' names, and numbers that none has.
compat_calls=$(compat | sed 's/{"name":"//; s/".*//' | grep -v -e ^syscall_ -e ^vm86old -e ^socketcall | sort -u | tr '\n' ',')unlisted

# The 63 names, as calls64 itself says them.
all_calls=$(calls64 | sed 's/{"name":"//; s/".*//' | sort -u | tr '\n' ',' | sed 's/,$//')

for backend in $backends; do
    before=$(bpf_objects)
    # What arguments a call has does not depend on preemption, and takes long to hook.
    if ! grep -q '(full)' preempt; then
        watch "$backend" "$all_calls" calls64
        [ "$backend" = auto ] || watch "$backend" "$compat_calls" compat
    fi
    watch "$backend" read blocked "$blocked_threads"
    watch "$backend" getppid,dup loop "$loop_threads" "$loop_rounds" getppid dup
    count_loop_lines "$backend"
    left_by "$backend" "$before"
done
