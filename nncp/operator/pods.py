"""Whose ports a refusal is about: Pods by their names, from what CNI's runtimes keep of each attachment.

libcni writes a file for each network of each Pod, below the runtime's cache folder (libcni, api.go,
cacheAdd: `results/NETWORK-CONTAINER-IFNAME`); Multus keeps those of its delegates in the same form below its
own. Nothing is decided by them: a port that nobody knows is refused all the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nncp.errors import Error

LARGEST, MOST = 1 << 20, 10_000
"""Bytes of a file, and files, that are looked at."""
RESULTS = ("results/*", "*/results/*")
NAMESPACE, NAME = "K8S_POD_NAMESPACE", "K8S_POD_NAME"
POD = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
LINK = re.compile(r"[!-~]{1,15}")  # IFNAMSIZ less the final zero; printable, and no space (dev_valid_name)


class _Interface(Struct):
    name: str = ""
    sandbox: str = ""


class _Result(Struct):
    interfaces: list[_Interface] = []


class _Cached(Struct, rename="camel"):
    cni_args: list[tuple[str, str]] = field(default_factory=list)
    result: _Result = field(default_factory=_Result)


def by_port(folder: Path) -> dict[str, str]:
    """Return the Pods, as NAMESPACE/NAME, by the ports that they have on this node.

    Args:
        folder: the runtime's cache; what cannot be read is left out.

    """
    found: dict[str, str] = {}
    for number, path in enumerate(path for pattern in RESULTS for path in folder.glob(pattern)):
        if number >= MOST:
            break
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            found.update(_ports(data))
        except OSError:
            continue
    return found


def _ports(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the ports of one attachment with their Pod's name. Pure."""
    try:
        cached = msgspec.json.decode(data, type=_Cached)
    except (msgspec.MsgspecError, RecursionError):
        return
    words = dict(cached.cni_args)
    namespace, name = words.get(NAMESPACE, ""), words.get(NAME, "")
    if POD.fullmatch(namespace) and POD.fullmatch(name):
        for each in cached.result.interfaces:
            if not each.sandbox and LINK.fullmatch(each.name):
                yield each.name, f"{namespace}/{name}"


def named(error: Error, pods: Mapping[str, str]) -> Error:
    """Return an error, and those found with it, with the Pods whose ports it names. Pure."""
    for each in error:
        each.message = re.sub(r"[^\s,:;()]+", lambda word: _with(word[0], pods), each.message)
    return error


def _with(word: str, pods: Mapping[str, Any]) -> str:
    return f"{word} (Pod {pods[word]})" if word in pods else word
