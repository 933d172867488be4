#!/usr/bin/env python3
"""Kubernetes' own server of custom resources with an etcd, for kubectl: server.py PROGRAMS DIR CRDS

PROGRAMS has `etcd` and `apiextensions-apiserver` (tests/kubernetes/fetch.sh prints it), DIR gets all state. Applies the
definitions of the YAML file CRDS, writes DIR/kubeconfig once everything answers, and serves until it is ended; its children end
with it.

That server has neither lists of its groups nor descriptions of custom resources, without which kubectl finds and validates
nothing: those are made up here, the descriptions of the definitions' own schemas, and every other request is passed on.
"""

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_SECONDS = 120
GROUP, VERSION = "kubeward.kubeward", "v1"
GROUPS = {"apiextensions.k8s.io": "v1", GROUP: VERSION}
DESCRIPTION = f"/openapi/v3/apis/{GROUP}/{VERSION}"
ADMISSION_OFF = (
    "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,"
    "ValidatingAdmissionPolicy,MutatingAdmissionPolicy"
)
CONFIG = """apiVersion: v1
kind: Config
current-context: it
clusters: [{{name: it, cluster: {{server: "{server}"}}}}]
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
users: [{{name: it, user: {{}}}}]
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make_identity(folder):
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stderr=subprocess.DEVNULL)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "client.key", "-out", "client.csr",
        "-subj", "/O=system:masters/CN=guide",
    )
    openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "client.crt")


def start(programs, folder):
    """Starts both programs; returns them and the server's port."""
    client, peer, port = free_port(), free_port(), free_port()
    nowhere = folder / "nowhere"
    nowhere.write_text(CONFIG.format(server="http://127.0.0.1:1"))
    etcd = [
        programs / "etcd", "--data-dir", folder / "etcd",
        "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
        "--initial-cluster", f"default=http://127.0.0.1:{peer}",
    ]
    server = [
        programs / "apiextensions-apiserver", "--etcd-servers", f"http://127.0.0.1:{client}",
        "--secure-port", str(port), "--bind-address", "127.0.0.1", "--cert-dir", folder / "certs",
        "--client-ca-file", folder / "ca.crt", "--kubeconfig", nowhere, "--authentication-kubeconfig", nowhere,
        "--authorization-kubeconfig", nowhere, "--authentication-skip-lookup",
        "--disable-admission-plugins", ADMISSION_OFF,
    ]
    children = []
    for name, command in (("etcd", etcd), ("server", server)):
        log = open(folder / f"{name}.log", "wb")
        children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    return children, port


class Front(BaseHTTPRequestHandler):
    upstream = None  # host, port and TLS context of the server
    made_up = {}  # answers by path

    def forward(self):
        known = self.made_up.get(self.path.partition("?")[0])
        if known is not None and self.command == "GET":
            return self.answer(200, json.dumps(known).encode())
        host, port, tls = self.upstream
        connection = http.client.HTTPSConnection(host, port, context=tls, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("accept", "content-type", "user-agent")}
        connection.request(self.command, self.path, body, kept)
        response = connection.getresponse()
        return self.answer(response.status, response.read(), response.getheader("Content-Type"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def made_up(definitions):
    """What kubectl asks for before it asks for an object; `definitions` as the server has them."""
    groups = []
    for name, version in GROUPS.items():
        served = {"groupVersion": f"{name}/{version}", "version": version}
        groups.append({"name": name, "versions": [served], "preferredVersion": served})
    return {
        "/api": {"kind": "APIVersions", "versions": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/openapi/v3": {"paths": {f"apis/{GROUP}/{VERSION}": {"serverRelativeURL": f"{DESCRIPTION}?hash=1"}}},
        DESCRIPTION: description(definitions),
    }


def description(definitions):
    paths, schemas = {}, {}
    for definition in definitions:
        spec = definition["spec"]
        kind = {"group": GROUP, "version": VERSION, "kind": spec["names"]["kind"]}
        parent = f"/apis/{GROUP}/{VERSION}/" + ("namespaces/{namespace}/" if spec["scope"] == "Namespaced" else "")
        operation = {"x-kubernetes-group-version-kind": kind, "parameters": [{"name": "fieldValidation", "in": "query"}]}
        paths[parent + spec["names"]["plural"]] = {"get": operation, "post": operation}
        paths[parent + spec["names"]["plural"] + "/{name}"] = {"get": operation, "patch": operation}
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]
        schemas[f"{GROUP}.{VERSION}.{kind['kind']}"] = {**schema, "x-kubernetes-group-version-kind": [kind]}
    return {"openapi": "3.0.0", "info": {"title": GROUP, "version": VERSION}, "paths": paths, "components": {"schemas": schemas}}


def wait_for(what, ready, children):
    """Asks until `ready()` holds; nothing tells a client when the server begins to answer."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if any(child.poll() is not None for child in children):
            sys.exit(f"server.py: etcd or the server ended before {what}; see their logs")
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"server.py: not {what} after {START_SECONDS} s")


def main():
    programs, folder, definitions = map(Path, sys.argv[1:])
    make_identity(folder)
    children, port = start(programs, folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.load_cert_chain(folder / "client.crt", folder / "client.key")
        Front.upstream = ("127.0.0.1", port, tls)

        def ask(method, path, body=None, kind="application/yaml"):
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=10)
            connection.request(method, path, body and body.encode(), {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read().decode()

        wait_for("ready to serve", lambda: ask("GET", "/livez")[0] == 200, children)
        resources = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions.read_text().split("\n---\n")[1:]:
            status, said = ask("POST", f"{resources}?fieldValidation=Strict", definition)
            if status != 201:
                sys.exit(f"server.py: {definitions} is refused: {said}")
        wait_for("serving KubeWard", lambda: ask("GET", "/apis/kubeward.kubeward/v1/kubewards")[0] == 200, children)

        Front.made_up = made_up(json.loads(ask("GET", resources)[1])["items"])
        front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        written = folder / "kubeconfig.new"
        written.write_text(CONFIG.format(server=f"http://127.0.0.1:{front.server_port}"))
        written.rename(folder / "kubeconfig")
        front.serve_forever()
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


main()
