"""A cluster that stands in this kernel, for who works on it from outside of its room: tests, benchmarks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nncp.lab import nodes, room
from nncp.lab.cluster import inside, program
from nncp.lab.cluster.addresses import CONTROL
from nncp.lab.cluster.cli import HOST, Place

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Handle:
    """A cluster by its name. Leaving it as a context manager takes the cluster down."""

    def __init__(self, name: str) -> None:
        """Name it."""
        place = Place(name, HOST)
        self.name = name
        self.site = place.site
        self.words = [sys.executable, "-P", "-m", "nncp.lab", *place.words()]

    def __enter__(self) -> Self:
        self.command("up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.command("down")

    def command(self, *words: str) -> str:
        """Run a command of `nncp lab cluster`: up, off, on, cut, mend, down."""
        return nodes.checked([*self.words, *words])

    def argv(self, machine: str, *words: str) -> list[str]:
        """Return the command that runs `words` in a machine of the cluster.

        Raises:
            Error: the cluster does not stand, or has no such machine.

        """
        kept = room.find(self.site)
        if kept is None:
            raise self.site.is_missing()
        return kept.command(nodes.standing(kept.root)[machine].command(words))

    def on(self, machine: str, *words: str, stdin: str = "") -> str:
        """Run a command in a machine and return what it printed; its own words are the error."""
        return nodes.checked(self.argv(machine, *words), stdin=stdin)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl, as the administrator; likewise."""
        return self.on(CONTROL, *inside.kubectl(program.folder() / "kubectl", *words), stdin=stdin)
