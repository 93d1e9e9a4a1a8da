"""The certificates of a lab cluster, and what its programs and users log in with.

One authority signs all of them; it lives as long as the cluster, in the room's memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp.lab.nodes import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

DAYS = "365"
# Without the extensions that the system's own configuration adds: those are an authority's.
CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
USERS = {
    "admin": "/O=system:masters/CN=admin",
    "controllers": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "multus": "/CN=multus",
}
"""What the API server takes them for: a group and a name (Kubernetes, X.509 client certificates)."""


def make(folder: Path, *, server: str, addresses: Iterable[str], nodes: Iterable[str]) -> None:
    """Write an authority, the API server's certificate, its signing key, and a kubeconfig for each user.

    Args:
        folder: where they go.
        server: the URL of the API server, as all users reach it.
        addresses: its IP addresses.
        nodes: names of nodes; each is a user too.

    """
    folder.mkdir(mode=0o700)
    (folder / "openssl.cnf").write_text(CONFIG, encoding="ascii")
    _openssl("/CN=lab", "ca", "basicConstraints=critical,CA:TRUE", folder=folder)
    names = ["DNS:kubernetes.default.svc", "DNS:localhost", *(f"IP:{address}" for address in addresses)]
    _sign("apiserver", "/CN=kube-apiserver", f"subjectAltName={','.join(names)}", folder=folder)
    checked(["openssl", "genrsa", "-out", str(folder / "accounts.key"), "2048"])
    users = USERS | {name: f"/O=system:nodes/CN=system:node:{name}" for name in nodes}
    for name, subject in users.items():
        _sign(name, subject, folder=folder)
        (folder / f"{name}.kubeconfig").write_text(json.dumps(_kubeconfig(name, server, folder)), "ascii")


def _sign(name: str, subject: str, *extensions: str, folder: Path) -> None:
    """Make a key and its certificate, good for a server and for a client."""
    uses = ["keyUsage=digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    _openssl(subject, name, *uses, *extensions, signer=["-CA", "ca.crt", "-CAkey", "ca.key"], folder=folder)


def _openssl(subject: str, name: str, *extensions: str, signer: Sequence[str] = (), folder: Path) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    out = ["-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.crt"]
    request = ["openssl", "req", "-x509", "-batch", "-config", "openssl.cnf", "-days", DAYS]
    checked(["env", "-C", str(folder), *request, *KEY, *signer, *added, *out])


def _kubeconfig(name: str, server: str, folder: Path) -> dict[str, Any]:
    user = {"client-certificate": str(folder / f"{name}.crt"), "client-key": str(folder / f"{name}.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": server, "certificate-authority": str(folder / "ca.crt")}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }
