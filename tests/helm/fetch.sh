#!/bin/sh
# Makes Helm available to the tests and prints the Python that renders with it (tests/helm/render.py).
#
# It is Helm's own code, built as a library by the package helm-python-sdk; nothing is installed on the machine. Kept in
# $KUBEWARD_CACHE (default ~/.cache/kubeward).
set -eu

version=0.2.2 # Helm 4.2.3
cache=${KUBEWARD_CACHE:-${HOME:?}/.cache/kubeward}
target=$cache/helm-$version
python=$target/bin/python

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

mkdir -p "$cache"
# Two runs at once would install over each other.
exec 9>"$cache/helm.lock"
flock 9
if [ -x "$python" ] && [ -e "$target/complete" ]; then
    echo "$python"
    exit 0
fi

rm -rf "$target"
python3 -m venv "$target" >&2 || fail "python3 cannot make an environment: apt-get install python3-venv"
"$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 3 \
    "helm-python-sdk==$version" >&2 || fail "cannot install helm-python-sdk $version from Python's package index"
"$python" -c 'import helm_python; helm_python.helm_sdk_version()' >&2 || fail "helm-python-sdk $version does not run here"
touch "$target/complete"
echo "$python"
