#!/usr/bin/env bash
# `make docker`'s image under a Docker engine: its size and labels, and the agent in it with the DaemonSet's rights beside a
# container that it watches. Needs root; the engine is one of the test's own (tests/docker/fetch.sh), with no network.
set -euo pipefail
. "$(dirname "$0")/../../scripts/env.sh"

LIMIT_BYTES=15000000
IMAGE=kubeward:docker-test
passed=0 failed=0

work=$(mktemp -d /tmp/kubeward-docker-XXXXXX)
if ! engine=$(tests/docker/fetch.sh 2>"$work/fetch"); then
    echo "not run: image under Docker ($(tail -1 "$work/fetch"))"
    rm -rf "$work"
    exit 0
fi

export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0 DOCKER_CONFIG=$work/config
export PATH=$engine/usr/bin:$engine/usr/sbin:$PATH
daemons=()

cleanup() {
    local status=$?
    docker ps --all --quiet 2>/dev/null | xargs --no-run-if-empty docker rm --force >/dev/null 2>&1 || true
    local daemon
    for daemon in "${daemons[@]}"; do
        if kill "$daemon" 2>/dev/null; then wait "$daemon" || true; fi
    done
    [ "$status" -eq 0 ] || tail -20 "$work/dockerd.log" >&2 || true
    umount --lazy "$work/run" 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT

# check NAME CMD...: one claim.
check() {
    local name=$1
    shift
    if "$@"; then
        echo "pass $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        failed=$((failed + 1))
    fi
}

# until_true SECONDS CMD...: waits for something that nobody announces.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# A containerd of its own, whose folder is a shared mount as /run is where systemd is the init.
mkdir -p "$work/run/containerd"
mount --bind "$work/run" "$work/run"
mount --make-shared "$work/run"
cat >"$work/containerd.toml" <<EOF
version = 2
root = "$work/containerd"
state = "$work/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/run/containerd/containerd.sock"
EOF
containerd --config "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
daemons+=($!)
until_true 60 [ -S "$work/run/containerd/containerd.sock" ] || die "containerd does not start: $(tail -5 "$work/containerd.log")"

dockerd --containerd "$work/run/containerd/containerd.sock" --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false >"$work/dockerd.log" 2>&1 &
daemons=($! "${daemons[@]}")
answers() { docker version >/dev/null 2>&1; }
until_true 60 answers || die "dockerd does not answer; its log: $(tail -5 "$work/dockerd.log")"

docker build --quiet --file deployments/Dockerfile --build-arg VERSION=1.2.3 --tag "$IMAGE" bin >/dev/null
size=$(docker image inspect --format '{{.Size}}' "$IMAGE")
echo "the image has $size bytes"
check "image_is_under_15_MB" [ "$size" -lt "$LIMIT_BYTES" ]
label=$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "$IMAGE")
check "image_says_its_version" [ "$label" = 1.2.3 ]
files=$(docker export "$(docker create "$IMAGE" version)" | tar -t | grep -cE '^kubeward$|/(bin|lib|usr)/.' || true)
check "image_is_the_binary_alone" [ "$files" = 1 ]
check "image_runs_the_binary" [ "$(docker run --rm --network none "$IMAGE" version)" = "$(bin/kubeward version)" ]

# The workload: busybox alone, which makes a folder again and again.
mkdir -p "$work/busybox/bin"
cp /bin/busybox "$work/busybox/bin/busybox"
printf 'FROM scratch\nCOPY bin /bin\n' >"$work/busybox/Dockerfile"
docker build --quiet --tag web:1 "$work/busybox" >/dev/null

# of_pod MEMBER: the first member of that name in the agents' DaemonSet, which must have it.
awk 'BEGIN { RS = "---\n" } /kind: DaemonSet/ && /name: kubeward\n/ { print; exit }' deployments/kubeward.yaml >"$work/daemonset.yaml"
of_pod() {
    sed -n "s/^ *\(- \)\?$1: \(.*\)/\2/p" "$work/daemonset.yaml" | head -1 | grep . || die "no $1 in the DaemonSet"
}
words() { tr -d '[],' <<<"$1"; }
[ "$(of_pod hostPID) $(of_pod readOnlyRootFilesystem) $(of_pod allowPrivilegeEscalation)" = 'true true false' ] ||
    die "the DaemonSet has other rights than this test knows"
read -ra capabilities <<<"$(words "$(of_pod add)")"
memory=$(of_pod limits | grep -oE '[0-9]+Mi')
socket=$(grep -A1 'name: KUBEWARD_SOCKET' "$work/daemonset.yaml" | sed -n 's/^ *value: //p')

# agent CAPABILITY...: the agent with the DaemonSet's rights and these capabilities, in the background. No API server is here.
agent() {
    docker run --detach --name agent --network none --pid host --read-only --security-opt no-new-privileges \
        --user "$(of_pod runAsUser):$(of_pod runAsGroup)" --memory "${memory%i}" \
        --cap-drop "$(words "$(of_pod drop)")" "${@/#/--cap-add=}" \
        --volume "$work/run:/run:ro,rslave" --volume /sys/kernel/tracing:/sys/kernel/tracing:ro \
        --mount "type=tmpfs,destination=${socket%/*}" --env "KUBEWARD_SOCKET=$socket" \
        --env KUBEWARD_KUBERNETES=off --env KUBEWARD_CALLS=mkdir,mkdirat "$IMAGE" agent >/dev/null
}
# said TEXT: whether the agent said so, in its events or beside them.
said() { docker logs agent 2>&1 | grep -qF "$1"; }

agent "${capabilities[@]}"
check "agent_finds_dockers_containerd" until_true 60 said containerd_answers
check "probe_says_ready" until_true 30 docker exec agent /kubeward health --ready
docker run --detach --name web --network none web:1 /bin/busybox sh -c \
    'while :; do /bin/busybox mkdir /tmp-marker; /bin/busybox rmdir /tmp-marker; /bin/busybox sleep 0.1; done' >/dev/null
id=$(docker inspect --format '{{.Id}}' web)
sees() { docker logs agent 2>/dev/null | grep -F '"kind":"syscall"' | grep -F "$id" | grep -qF '/tmp-marker'; }
check "agent_names_the_call_and_the_container" until_true 60 sees
docker stop --time 15 agent >/dev/null
check "agent_ends_in_order" [ "$(docker inspect --format '{{.State.ExitCode}}' agent)" = 0 ]
docker rm agent >/dev/null

agent PERFMON
check "agent_without_cap_bpf_is_refused" until_true 60 said 'CAP_BPF missing'
docker rm --force agent >/dev/null
agent BPF
check "agent_without_cap_perfmon_is_refused" until_true 60 said 'CAP_PERFMON missing'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
