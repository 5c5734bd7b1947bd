"""Make the keys, certificates and kubeconfigs of a cluster with the openssl program.

Called by `cluster` on every start; keys are made once, kubeconfigs anew, since ports may change.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import yaml

from mistral_dev.commands import run
from mistral_dev.network import NODE_IP, SERVICE_IP
from mistral_dev.paths import write_atomically

DAYS = 3650
"""The keys guard a cluster on loopback; a state directory that is kept should not expire."""

NODE_NAME = "node0"
"""The one real node; its name is part of its certificate."""

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """One certificate to make.

    Args:
        name: of the files, `<name>.crt` and `<name>.key`.
        subject: in openssl's notation; Kubernetes takes CN as user and O as group.
        usage: extended key usage.
        names: subject alternative names of a server.
        authority: who signs.
    """

    name: str
    subject: str
    usage: str = "clientAuth"
    names: str = ""
    authority: str = "ca"


_API_NAMES = ",".join(
    (
        *(f"DNS:kubernetes{end}" for end in ("", ".default", ".default.svc")),
        "DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1",
        f"IP:{NODE_IP},IP:{SERVICE_IP}",
    )
)

CERTIFICATES = (
    Certificate("etcd", "/CN=etcd", "serverAuth,clientAuth", "IP:127.0.0.1,DNS:localhost"),
    Certificate("apiserver-etcd", "/CN=apiserver-etcd"),
    Certificate("apiserver", "/CN=kube-apiserver", "serverAuth", _API_NAMES),
    Certificate("apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet"),
    Certificate("front-proxy", "/CN=front-proxy", authority="front-proxy-ca"),
    Certificate(
        "kubelet-server",
        f"/CN={NODE_NAME}",
        "serverAuth",
        f"DNS:{NODE_NAME},IP:127.0.0.1,IP:{NODE_IP}",
    ),
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    Certificate("kubelet", f"/O=system:nodes/CN=system:node:{NODE_NAME}"),
)

KUBECONFIGS = ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
"""Whose certificate also gets a kubeconfig."""


def create(pki: Path) -> None:
    """Make all keys and certificates, unless that was done before. Takes about 1 s."""
    done = pki / "done"
    if done.exists():
        return
    for name in ("ca", "front-proxy-ca"):
        _make_authority(pki, name)
    run(["openssl", "genrsa", "-out", pki / "sa.key", "2048"])
    run(["openssl", "rsa", "-in", pki / "sa.key", "-pubout", "-out", pki / "sa.pub"])
    for certificate in CERTIFICATES:
        _make_certificate(pki, certificate)
    done.touch()


def write_kubeconfigs(pki: Path, api_port: int) -> None:
    """Write the kubeconfig of every user, for an API server on a loopback port.

    The port is the same inside a cluster's namespace and outside, so one file serves both.
    """
    for name in KUBECONFIGS:
        config = kubeconfig(pki, name, api_port)
        write_atomically(pki / f"{name}.kubeconfig", yaml.safe_dump(config), mode=0o600)


def kubeconfig(pki: Path, name: str, api_port: int) -> dict[str, object]:
    """Return the kubeconfig of one user, with the keys in it."""
    cluster = {
        "server": f"https://127.0.0.1:{api_port}",
        "certificate-authority-data": _encoded(pki / "ca.crt"),
    }
    user = {
        "client-certificate-data": _encoded(pki / f"{name}.crt"),
        "client-key-data": _encoded(pki / f"{name}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
        "current-context": "local",
    }


def extensions(certificate: Certificate) -> str:
    """Return the extensions of a certificate as openssl reads them from a file."""
    lines = [
        "basicConstraints=CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={certificate.usage}",
    ]
    if certificate.names:
        lines.append(f"subjectAltName={certificate.names}")
    return "\n".join(lines) + "\n"


def _make_authority(pki: Path, name: str) -> None:
    usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
    run(
        [
            *("openssl", "req", "-x509", *_NEW_KEY, "-days", str(DAYS), "-subj", f"/CN={name}"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", usage),
            *("-keyout", pki / f"{name}.key", "-out", pki / f"{name}.crt"),
        ]
    )


def _make_certificate(pki: Path, certificate: Certificate) -> None:
    base = pki / certificate.name
    request, options = base.with_suffix(".csr"), base.with_suffix(".ext")
    run(
        [
            *("openssl", "req", *_NEW_KEY, "-subj", certificate.subject),
            *("-keyout", base.with_suffix(".key"), "-out", request),
        ]
    )
    options.write_text(extensions(certificate))
    authority = pki / certificate.authority
    run(
        [
            *("openssl", "x509", "-req", "-in", request, "-days", str(DAYS)),
            *("-CA", authority.with_suffix(".crt"), "-CAkey", authority.with_suffix(".key")),
            *("-CAcreateserial", "-extfile", options, "-out", base.with_suffix(".crt")),
        ]
    )
    request.unlink()
    options.unlink()


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
