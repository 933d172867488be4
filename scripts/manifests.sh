#!/usr/bin/env bash
# Makes deployments/kubeward.yaml of its parts, and sets image and version in the Helm chart:
# manifests.sh [--print] VERSION IMAGE
#
# With --print it prints the manifest and writes nothing.
# The parts are deployments/crds (made by `kubeward crd`) and deployments/objects. A word between two @ stands for what
# differs between the two DaemonSets, and for the image.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/env.sh"

print=false
[ "${1-}" != --print ] || { print=true; shift; }
version=$1 image=$2
parts=deployments/objects
chart=deployments/helm/kubeward
output=deployments/kubeward.yaml

[[ $image =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]] ||
    die "IMAGE is no image name: '$image' (example: registry.example/team/kubeward:$version)"
crds=(deployments/crds/*.yaml)
[ -e "${crds[0]}" ] || die "deployments/crds has no definition: 'kubeward crd' prints them"

# filled NAME=VALUE...: standard input with each @NAME@ replaced; a word that is left over is a mistake of this script.
filled() {
    local text pair
    text=$(cat)
    for pair in "$@"; do text=${text//"@${pair%%=*}@"/"${pair#*=}"}; done
    ! grep -oE '@[A-Z0-9]+@' <<<"$text" || die "nothing is known of the word above"
    printf '%s\n' "$text"
}

agents() {
    echo ---
    filled IMAGE="$image" NAME=kubeward COMPONENT=agent MICROK8S=DoesNotExist RUN=/run \
        WHO='The agent, on every node but those of MicroK8s.' <"$parts/agent.yaml"
    echo ---
    filled IMAGE="$image" NAME=kubeward-microk8s COMPONENT=agent-microk8s MICROK8S=Exists \
        RUN=/var/snap/microk8s/common/run \
        WHO="The same on MicroK8s' nodes, whose containerd has its socket in a folder that no other node has." \
        <"$parts/agent.yaml"
}

definitions() {
    local crd
    for crd in "${crds[@]}"; do
        echo ---
        # Without the file's own comment and separator on top.
        sed '1,/^---$/{/^#/d; /^---$/d}' "$crd"
    done
}

all() {
    echo "# All of KubeWard: kubectl apply -f deployments/kubeward.yaml. Made by 'make manifests [IMAGE=...]': edit the parts, not this."
    definitions
    echo ---
    cat "$parts/namespace.yaml"
    echo ---
    cat "$parts/rbac.yaml"
    agents
    echo ---
    filled IMAGE="$image" <"$parts/controller.yaml"
}

# replaced FILE TEXT: writes it in one step, and only where it differs.
replaced() {
    local new
    if [ -e "$1" ] && [ "$(cat "$1")" = "$2" ]; then return 0; fi
    new=$(mktemp "$1.XXXXXX")
    printf '%s\n' "$2" >"$new"
    chmod 0644 "$new"
    mv "$new" "$1"
    say "$1: written"
}

manifest=$(all)
if $print; then
    printf '%s\n' "$manifest"
    exit 0
fi
replaced "$output" "$manifest"
replaced "$chart/files/crds.yaml" "$(definitions)"
replaced "$chart/values.yaml" "$(sed "s|^image: .*|image: $image|" "$chart/values.yaml")"
replaced "$chart/Chart.yaml" "$(sed -E "s|^(version): .*|\1: $version|; s|^(appVersion): .*|\1: \"$version\"|" "$chart/Chart.yaml")"
say "$output: image $image"
