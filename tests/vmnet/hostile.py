"""Hostile texts and values, and the readers that they are given to."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from launcher.guest import read_guest
from launcher.seed import read_seed
from nncp.document.source import load
from nncp.render import render_error
from vmnet.bindings import BINDINGS
from vmnet.manifest import read_vm
from vmnet.nad import read_nad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.errors import Error

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "manifests"
SCENARIO = ROOT / "vmnet" / "rack" / "scenario"
VM, NAD = (SCENARIO / "vm-tiny.yaml").read_text(), (HERE / "nad.yaml").read_text()
SPEC = ("spec", "template", "spec")
BOOT = (*SPEC, "domain", "firmware", "kernelBoot")
HARMLESS = re.compile(r"[A-Za-z0-9_.:@+=~/-]+")

HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "//",
    "/.",
    "/..",
    "../x",
    "x/..",
    "a/../../b",
    "/etc/shadow",
    "../../../../etc/shadow",
    "a\0b",
    "a\nb",
    "a\n",
    "\n",
    "\x1b[31m",
    "a b",
    " ",
    "a,b",
    "a,readonly=on",
    "x,/etc/shadow",
    "a;b",
    "a'b",
    'a"b',
    "a<b",
    "a>b",
    "a&b",
    "${x}",
    "$(x)",
    "`x`",
    "a\\b",
    "-a",
    "--a",
    "%s",
    "{",
    "}",
    "#",
    "\u00e9",
    "\u0430",
    "\uff11",
    "\u202ex",
    "\ufeffa",
    "\ud800",
    "a" * 64,
    "a" * 254,
    "a" * 5000,
    "A",
    "0",
    "null",
    "true",
    "file:/x",
    "nbd://x/y",
    "a/b/c",
    "a//b",
    "a/./b",
    "~",
    "*",
]  # fmt: skip -- a table of texts
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=12) | st.text(st.sampled_from("./-_a0,\n\0"), max_size=8)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place of a document, the whole first."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def place(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at `path`."""
    spoiled = copy.deepcopy(document)
    inner = spoiled
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return spoiled


def document(text: str) -> Any:
    return load(text, file="x.yaml")[0].value


def read_all(value: Any) -> tuple[Any, Any, Any]:
    """Read a VirtualMachine as `vmnet attach` and `launcher start` do."""
    text = json.dumps(value)
    (node,) = load(text, file="vm.json")
    vm = read_vm(node, bindings=BINDINGS)
    return vm, read_guest(vm), read_seed(node, text=text, macs={"eth0": "", "eth1": ""})


def is_printed_whole(error: Error) -> None:
    assert all(line.isprintable() for line in render_error(error).splitlines())


def told(error: Error) -> None:
    """Whatever an error says is printable, and says where."""
    for one in error:
        is_printed_whole(one)
        assert one.where is not None or one.path


def nad(config: Any, **meta: Any) -> Any:
    value = document(NAD)
    value["spec"]["config"] = config if isinstance(config, str) else json.dumps(config)
    value["metadata"] |= meta
    text = json.dumps(value)
    return read_nad(load(text, file="nad.json")[0], text=text)


CONFIG = json.loads(document(NAD)["spec"]["config"])
