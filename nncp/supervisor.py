"""The program that undoes an apply when the process that writes goes away, or stands still.

    python -I -S supervisor.py STATE_DIR SILENCE PATH...

Run by its path, on the standard library alone until it has to undo. Of whoever started it it holds two
descriptors: SOCKET, on which it hears of the writer, and LOCK, the journal's lock. It hears messages of one
byte: the CALLER's and the WRITER's pidfd and the JOURNAL's folder, each in a message of its own, a PULSE for
whatever was written, and in the end COMMIT or UNDO. End of file, the caller's end, and silence for longer
than SILENCE seconds of a quiet machine are UNDO too. Not after HOLD: that comes with seconds and the apply's
number. From then on it waits for so long, whatever becomes of the caller, until somebody renames the
journal: as kept, and it is done, or as one to be undone. When nobody does, or it is gone, it undoes. Before
it undoes it ends the writer, so that nothing is written after it. It says READY once it can undo, GO to the
writer once it can end it, and when it has undone a report in JSON.
"""

from __future__ import annotations

import _socket  # socket.py imports enum, selectors and collections: a third of this program's start
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET, LOCK = 3, 4
CALLER, WRITER, PULSE, COMMIT, UNDO, READY, GO, HOLD = b"p", b"w", b".", b"c", b"u", b"r", b"g", b"h"
JOURNAL = b"j"
PENDING, TRYING, KEPT, UNDOING = "pending.json", "trying-{}.json", "kept-{}.json", "undoing.json"
"""The names in nncp/journal.py, which imports more than is wanted here."""
LOOK_EVERY = 0.1
ASKED = "it was asked for"
MOST = 60.0
"""No silence is stretched further than so many times: see nncp.pace."""
QUIET_WORK = 0.07
"""Seconds that the work of `_slowness` takes on a quiet machine."""
DESCRIPTOR = 4
"""Bytes of one (unix(7), SCM_RIGHTS)."""
PIECE = 1 << 14
"""Bytes of a report in one message."""


class Watch:
    """What has been heard."""

    def __init__(self, line: _socket.socket, silence: float) -> None:
        self.line = line
        self.silence = silence
        self.pidfds: dict[bytes, int] = {}
        self.heard = time.monotonic()
        self.hold: list[bytes] = []
        self.saved = b""

    def wait(self) -> str:
        """Return why it must be undone, or "" when all is well."""
        while True:
            ready = self._ready(self.heard + self.silence - time.monotonic())
            if self.line in ready:
                word = self._hear()
                if word == HOLD:
                    return self._hold()
                if word != PULSE:
                    return {COMMIT: "", UNDO: ASKED}.get(word, "the process that wrote has ended")
            elif ready:
                return "the process that asked for it has ended"
            elif self._is_silent():
                return f"the process that wrote stood still for {time.monotonic() - self.heard:.0f} s"

    def _hold(self) -> str:
        """Return why it must be undone, or "" once it is kept."""
        folder, seconds, number = self.pidfds[JOURNAL], float(self.hold[0]), int(self.hold[1])
        watched, end = [self.line], time.monotonic() + seconds
        while _is_there(TRYING.format(number), folder):
            if time.monotonic() >= end:
                return f"nobody has kept it within {seconds:g} s"
            if not select.select(watched, [], [], LOOK_EVERY)[0]:
                continue
            word = self._hear()
            if word in {COMMIT, UNDO}:
                return "" if word == COMMIT else ASKED
            if word == b"":
                watched = []  # the caller has gone, and who keeps it may come another way
        if _is_there(KEPT.format(number), folder):
            return ""
        return ASKED if _is_there(UNDOING, folder) else "its journal was taken away"

    def _ready(self, seconds: float) -> list[Any]:
        """Wait for a word or the caller's end, at most for so long; return what has come of both."""
        watched: list[Any] = [self.line, *(self.pidfds[who] for who in (CALLER,) if who in self.pidfds)]
        return select.select(watched, [], [], max(0.0, seconds))[0]

    def _hear(self) -> bytes:
        """Return COMMIT, UNDO, HOLD, PULSE for anything else, or b"" for the end of file."""
        try:
            word, given, _, _ = self.line.recvmsg(64, _socket.CMSG_SPACE(DESCRIPTOR))
        except ConnectionResetError:  # the caller ended with a word of ours unread
            return b""
        self.heard = time.monotonic()
        word, told = word[:1], word[1:]
        if given:
            self.pidfds[word] = int.from_bytes(given[0][2][:DESCRIPTOR], sys.byteorder)
        if word == WRITER:
            self.tell(GO)
        elif word == HOLD:
            self.hold = told.split()
        elif word == JOURNAL:
            self.saved = _read(PENDING, self.pidfds[JOURNAL])
        return word if word in {b"", COMMIT, UNDO, HOLD} else PULSE

    def _is_silent(self) -> bool:
        """Whether it has been for too long, for a machine that is as slow as this one is now."""
        allowed = self.silence * _slowness()
        return not self._ready(self.heard + allowed - time.monotonic())

    def end_writer(self) -> None:
        """End the process that writes, and wait until it has."""
        writer = self.pidfds.get(WRITER)
        if writer is None:
            return
        import signal  # noqa: PLC0415

        try:
            signal.pidfd_send_signal(writer, signal.SIGKILL)
        except ProcessLookupError:
            return
        select.select([writer], [], [])

    def tell(self, data: bytes) -> None:
        """Send it, if somebody still listens."""
        try:
            for start in range(0, len(data), PIECE):
                self.line.send(data[start : start + PIECE])
        except OSError:
            pass


def _read(name: str, folder: int) -> bytes:
    """Return what a file holds; nothing when it cannot be read."""
    found = []
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        while piece := os.read(file, 1 << 20):
            found.append(piece)
        os.close(file)
    except OSError:
        return b""
    return b"".join(found)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:  # whatever ails the disk, nobody has renamed it
        return True
    return True


def _slowness() -> float:
    began = time.monotonic()
    sum(range(4_000_000))
    return max(1.0, min(MOST, (time.monotonic() - began) / QUIET_WORK))


def _undo(state_dir: str, path: list[str], saved: bytes) -> list[dict[str, str]]:
    """Undo what is pending, or what was when it was `saved`; return what could not be."""
    sys.path[:] = path
    from pathlib import Path  # noqa: PLC0415

    from nncp.errors import Error  # noqa: PLC0415
    from nncp.way_back import finish  # noqa: PLC0415

    try:
        finish(Path(state_dir), saved)
    except Error as error:
        return [told(one) for one in error]
    return []


def told(error: Exception) -> dict[str, str]:
    """Return an error as a report holds it."""
    words = {name: str(getattr(error, name, "")) for name in ("message", "subject", "hint")}
    return words if words["message"] else {**words, "message": f"the rollback ended with {error!r}"}


def close_all_but(*kept: int) -> None:
    """Close every descriptor of this process but those."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (nothing is imported before it is wanted)
        if int(name) not in kept:
            try:  # noqa: SIM105  (contextlib is not imported before it is wanted, either)
                os.close(int(name))
            except OSError:  # the one by which the folder was read
                pass


def _can_undo(path: list[str]) -> bool:
    """Whether what undoing imports is there, without importing it.

    The last finder is importlib's PathFinder; to import it by that name takes as long as all else here.
    """
    finder = sys.meta_path[-1]
    return all(finder.find_spec(name, path) for name in ("nncp", "msgspec"))


def main() -> int:
    """Watch over one apply; the signals that would stop it are blocked by whoever starts it."""
    os.setsid()
    close_all_but(0, 1, 2, SOCKET, LOCK)
    os.chdir("/")
    if not _can_undo(sys.argv[3:]):
        return 1
    watch = Watch(_socket.socket(fileno=SOCKET), float(sys.argv[2]))
    watch.tell(READY)
    why = watch.wait()
    if not why:
        return 0
    watch.end_writer()
    import json  # noqa: PLC0415

    try:
        left = _undo(sys.argv[1], sys.argv[3:], watch.saved)
    except Exception as error:  # noqa: BLE001  (the last line of defence says so; the journal stays)
        left = [told(error)]
    watch.tell(json.dumps({"why": why, "left": left}).encode())
    return int(bool(left))


if __name__ == "__main__":
    os._exit(main())
