#!/bin/sh
# In a machine with the v2 hierarchy alone: watch a container that runc runs, then one that containerd runs. Nothing is
# judged here; what came out is left in /out:
#
#   hierarchies          /proc/self/cgroup, one line on a v2-only machine
#   doctor.txt           `kubeward doctor`, its exit status in doctor.status
#   runc.events          `kubeward trace --host` of `runc run`; runc.out, runc.err, runc.status
#   agent.events         `kubeward agent` while `ctr run` starts a container; agent.err, agent.status
#   ctr.out ctr.status   what that container printed and its exit status
#   containerd.log
#   gave-up              what did not come true in time; the steps after it were not done

cat /proc/self/cgroup >hierarchies
kubeward doctor >doctor.txt 2>&1
echo $? >doctor.status

# awaited NAME CONDITION...: false when the condition does not come true in 30 s.
awaited() {
    what=$1 tries=300
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ]; then
            echo "waited 30 s for $what" >gave-up
            return 1
        fi
        usleep 100000
    done
}

timeout -s KILL 60 kubeward trace --host -e openat,execve --format json -o runc.events -- runc run --bundle /bundle watched \
    >runc.out 2>runc.err
echo $? >runc.status

containerd --config /etc/containerd.toml >containerd.log 2>&1 &
containerd=$!
awaited "containerd" ctr version || exit 0
ctr images import --snapshotter native /image.tar >import.log 2>&1 || echo "ctr images import failed: $(cat import.log)" >gave-up

kubeward agent --kubernetes off -e openat,execve --format json -o agent.events 2>agent.err &
agent=$!
# The agent says in its log when it has found containerd; what is created after that must be seen from its first call.
awaited "the agent to find containerd" grep -q containerd.sock agent.err || exit 0
timeout -s KILL 60 ctr run --rm --snapshotter native docker.io/library/watched:1 watched-by-agent >ctr.out 2>ctr.err
echo $? >ctr.status
awaited "the agent to show the container's end" grep -q '"/marker"' agent.events
kill -TERM $agent
wait $agent
echo $? >agent.status
kill $containerd
wait $containerd
exit 0 # what failed is told by the files
