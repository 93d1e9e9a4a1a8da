"""What a user puts up, leaves standing and takes down: a rack, a cluster.

It stands in a room of this machine or, where this kernel lacks what it needs, in a room of a lab kernel. The
commands are the same, and run themselves again where it stands.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.errors import Error
from nncp.lab import room
from nncp.lab.session import Session, attach, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IN_ROOM = "BRIDGEHEAD_ROOM"
"""Set where a command runs in the room."""


class Standing(Struct, frozen=True):
    """One thing that may stand, and where."""

    site: room.Site
    module: str
    """`python -m` of it is the command line that runs itself again."""
    in_lab: bool
    """Whether it stands in a lab kernel; seen from inside of one it does not."""
    folder: Path
    """Of that kernel's session."""
    memory: str = "3G"

    def again(self, *words: str) -> list[str]:
        """Return this command line with other words."""
        return [sys.executable, "-P", "-m", self.module, *words]

    def put_up(
        self, *, up: Sequence[str], furnish: Sequence[str], reason: str, say: Callable[[str], None]
    ) -> None:
        """Put it up and leave it standing.

        Args:
            up: the words of the command that called this: it runs again in the lab kernel.
            furnish: the words of the one that furnishes the room.
            reason: why it stands in a lab kernel.
            say: takes what is done, for people.

        """
        if not self.in_lab:
            room.keep(self.site, self.again(*furnish), say=say)
            return
        if self.session() is not None:
            raise self.site.stands_already()
        say(f"starts a lab kernel: {reason}")
        session = start(
            folder=self.folder,
            name=self.site.what,
            memory=self.memory,
            detached=True,
            writable=writable(),
        )
        try:
            status = session.run(self.again(*up), forward=True)
        except BaseException:
            session.stop()
            raise
        if status:
            session.stop()
            sys.exit(status)

    def find(self, *words: str) -> room.Kept:
        """Return its room. From outside of the lab kernel that it stands in, run `words` there, and exit.

        Raises:
            Error: it does not stand here.

        """
        if self.in_lab:
            session = self.session()
            if session is None:
                raise self.site.is_missing()
            terminal = os.isatty(0) and os.isatty(1)
            sys.exit(session.run(self.again(*words), stdin=0, forward=True, terminal=terminal))
        kept = room.find(self.site)
        if kept is None:
            raise self.site.is_missing()
        return kept

    def go_in(self, *words: str) -> None:
        """Go on in the room, with `words`, in place of this process; return where that is done."""
        if os.environ.pop(IN_ROOM, ""):  # what is started there is not this command line
            return
        argv = self.find(*words).command(self.again(*words))
        os.execvpe(argv[0], argv, {**os.environ, IN_ROOM: "1"})  # noqa: S606

    def take_down(self) -> None:
        """Take it down; of what is down already, nothing is left to do."""
        if not self.in_lab:
            room.clear(self.site)
        elif session := self.session():
            session.stop()

    def session(self) -> Session | None:
        """Return the lab kernel that it stands in, if it does."""
        try:
            return attach(self.folder)
        except Error:
            return None


def writable(*more: Path) -> list[Path]:
    """Return which folders a lab kernel writes through: the one where the command starts, and others."""
    return [path for path in dict.fromkeys([Path.cwd(), *more]) if path != Path("/")]
