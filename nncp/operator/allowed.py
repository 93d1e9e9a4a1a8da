"""Which probes a policy may name on a node, and what they mean there. Pure but for the programs' folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind, raise_all
from nncp.operator.protocol import API_SERVER, USUAL
from nncp.probes import Probe, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
"""What the kubelet tells each container of the API server (kubelet, envvars)."""


def probes(texts: Sequence[str] | None, folder: Path, environment: Mapping[str, str]) -> list[Probe]:
    """Return the probes of a policy; the usual ones, as far as there are any, where it names none.

    Args:
        texts: as the policy has them.
        folder: where the node's own programs are.
        environment: what the container was told.

    Raises:
        Error: with all that is wrong with them.

    """
    usual = [text for text in USUAL if text != API_SERVER or HOST in environment]
    found: dict[tuple[str, str, int], Probe] = {}
    errors: list[Error] = []
    for text in dict.fromkeys(usual if texts is None else texts):
        try:
            probe = _probe(text, folder, environment)
            found.setdefault((probe.kind, probe.target, probe.port), probe)
        except Error as error:
            errors.append(error)
    raise_all(errors)
    return list(found.values())


def _probe(text: str, folder: Path, environment: Mapping[str, str]) -> Probe:
    if text == API_SERVER:
        return _api_server(environment)
    kind, _, file = text.partition(":")
    if kind != "exec":
        return parse(text)
    name = file.removeprefix(f"{folder}/")
    if not name or "/" in name or name in {".", ".."}:
        message = f"probe {text}: only programs directly in {folder} are run"
        raise Error(
            message, kind=ErrorKind.USAGE, hint=f"put it there on each node, and write exec:{folder}/NAME"
        )
    return parse(f"exec:{folder / name}")


def _api_server(environment: Mapping[str, str]) -> Probe:
    host, port = environment.get(HOST, ""), environment.get(PORT, "443")
    if not host:
        message = f"probe {API_SERVER}: nobody has told where it is, {HOST} is empty"
        raise Error(message, kind=ErrorKind.UNSUPPORTED)
    place = f"[{host}]" if ":" in host else host
    found = parse(f"tcp:{place}:{port}")
    return Probe(found.kind, found.target, API_SERVER, found.port)
