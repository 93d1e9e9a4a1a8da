"""Fixtures of the tests that need a whole kernel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import outside
import pytest
from asking import BEYOND, HOST, SHORT, children
from cards import CARDS, Command
from machine import Machine

from nncp import netns
from nncp.probes import around
from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outside import Namespace


@pytest.fixture
def ns() -> Iterator[outside.Namespace]:
    """Yield a throw-away network namespace."""
    namespace = outside.make()
    try:
        yield namespace
    finally:
        outside.remove(namespace)


@pytest.fixture
def beyond() -> Iterator[Namespace]:
    """Yield the namespace where the other ends of the cards and of the Pods' veths are."""
    namespace = outside.make()
    try:
        yield namespace
    finally:
        outside.remove(namespace)


@pytest.fixture
def host(ns: Namespace, beyond: Namespace) -> Namespace:
    """Return a host whose cards are veths with their other ends in another namespace."""
    for n in (1, 2, 3):
        outside.plug(ns, beyond, f"eth{n}", f"sw{n}", mac=f"52:54:00:00:0{n}:01")
    return ns


@pytest.fixture
def run(host: Namespace, tmp_path: Path) -> Callable[..., str]:
    def ran(*argv: str, document: Any = None, code: int = 0) -> str:
        text = json.dumps(document) if document is not None else None
        where = () if argv[0] == "show" else ("--state-dir", str(tmp_path))
        done = host.nncp(*argv, *where, stdin=text)
        assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return ran


@pytest.fixture
def apply(run: Callable[..., str]) -> Callable[..., str]:
    def applied(*interfaces: dict[str, Any], options: tuple[str, ...] = (), code: int = 0) -> str:
        return run("apply", "-", *options, document={"interfaces": list(interfaces)}, code=code)

    return applied


@pytest.fixture
def nncp(ns: Namespace, tmp_path: Path) -> Command:
    ns.batch(*CARDS)
    return Command(ns, tmp_path)


@pytest.fixture
def wire(host: Namespace, beyond: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Namespace]:
    """Yield the namespace beyond a host on which we are."""
    monkeypatch.setattr(around, "BEFORE", SHORT)
    host.batch(*HOST)
    beyond.batch(*BEYOND)
    with netns.entered(host.path):
        yield beyond
        assert leftovers.gone(children) == []


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Return what writes a program of the shell, and returns the probe that runs it."""

    def written(text: str) -> str:
        path = tmp_path / "check"
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
        path.chmod(0o755)
        return f"exec:{path}"

    return written


@pytest.fixture
def machine(beyond: Namespace, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "state", beyond)
    yield made
    made.off()
