"""What leads back to what was before each policy: kept on the node, since nobody else could know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nncp.errors import Error, ErrorKind
from nncp.operator import text
from nncp.operator.reversal import merged
from nncp.state_folder import StateFolder, decoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nncp.operator.protocol import Document

FOLDER = ("engine", "ways")
VERSION = 1
NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""A policy's name is a label's value too (apimachinery, validation.go), and a file's here."""


class Step(Struct, frozen=True):
    """A change that is being made: the document, by its digest and as it is meant, and what undoes it."""

    asked: str
    state: Any
    back: Any


class Way(Struct, frozen=True):
    """What leads back to what was before a policy.

    Args:
        asked: the digest of the document that was applied last, "" before the first.
        back: the state that undoes all that was applied.
        step: of an apply that goes on, or whose end nobody has written down.

    """

    asked: str = ""
    back: Any = {}
    step: Step | None = None
    version: int = VERSION

    def settled(self, in_force: Any) -> Way:
        """Return it with the step taken if it held: then its document is in force, as it was meant."""
        if self.step is None:
            return self
        return self.taken() if in_force is not None and in_force == self.step.state else self.dropped()

    def taken(self) -> Way:
        """Return it once its step has held."""
        if self.step is None:
            return self
        return Way(self.step.asked, merged(self.step.back, self.back))

    def dropped(self) -> Way:
        """Return it without its step, which was undone."""
        return replace(self, step=None)


def digest(document: Document) -> str:
    """Return what a document is known by."""
    return text.digest(document.desired, dict(document.capture))


class Ways:
    """The ways back of all policies of a node.

    Args:
        state_dir: where they are kept.
        in_force: the states of the documents that are in force, by their names.

    """

    def __init__(self, state_dir: Path, in_force: Mapping[str, Any]) -> None:
        self.state_dir = state_dir
        self.in_force = in_force

    def of(self, name: str) -> Way | None:
        """Return the way back of a policy; None where none is known.

        Raises:
            Error: it cannot be read.

        """
        with self._folder() as folder:
            data = folder.read(_file(name))
            place = folder.path / _file(name)
        if data is None:
            return None
        hint = f"move {place} away: the policy cannot be reverted on this node then"
        return decoded(data, Way, VERSION, place, hint).settled(self.in_force.get(name))

    def begin(self, name: str) -> None:
        """Know that nothing was applied yet of a policy that is seen for the first time."""
        if self.of(name) is None and name not in self.in_force:
            self.keep(name, Way())

    def keep(self, name: str, way: Way) -> None:
        """Write the way back of a policy, on the disk when this returns."""
        with self._folder() as folder:
            folder.write(_file(name), msgspec.json.encode(way))

    def forget(self, name: str) -> None:
        """Forget the way back of a policy."""
        with self._folder() as folder:
            folder.remove(_file(name))

    def _folder(self) -> StateFolder:
        return StateFolder.make(self.state_dir, *FOLDER)


def _file(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Error(f"{name!r} is no policy's name", kind=ErrorKind.USAGE)
    return f"{name}.json"
