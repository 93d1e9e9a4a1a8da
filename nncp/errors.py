"""One error for everything a user can be told, and the exit codes of the command line.

An `Error` names what is wrong, where in the user's own file, and what to do. Several errors of one
document travel together in one `Error` (its `others`), so that nobody mends a file one line a run.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ErrorKind(Enum):
    """What kind of trouble, hence which exit code and whether the same call may succeed later.

    The values are exit codes, after BSD's sysexits where it has a word for it.
    """

    USAGE = 64  # a wrong option or argument
    DOCUMENT = 65  # what the user wrote cannot be meant
    UNSUPPORTED = 69  # this kernel or host lacks it
    BUG = 70  # our fault
    UNTOLD = 74  # done, but what is to be said of it could not be written
    FAILED = 75  # tried, did not hold, and was undone
    ROLLBACK_FAILED = 76  # tried, did not hold, and could not be undone
    PRIVILEGE = 77  # needs root or a capability
    INTERRUPTED = 130  # stopped by a signal, and undone

    @property
    def exit_code(self) -> int:
        """The process exit code that this kind ends with."""
        return self.value

    @property
    def retry_helps(self) -> bool:
        """Whether the same call may succeed later without any change to the document."""
        return self in {ErrorKind.FAILED, ErrorKind.ROLLBACK_FAILED, ErrorKind.INTERRUPTED}


class Place(Struct, frozen=True):
    """A place in a file: 1-based line and column, the line's text and how many columns are meant."""

    file: str
    line: int
    column: int
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def said(self) -> str:
        """The words that are meant, as they are written."""
        return self.text[self.column - 1 : self.column - 1 + self.width]


class Error(Exception):
    """What a user is told: a sentence, a path into the document, a place and a hint.

    Args:
        message: one sentence without a full stop, quoting the user's own words.
        kind: what kind of trouble it is.
        path: where in the document, as the user would write it: `interfaces[1].vlan.id`.
        subject: what the path is about, usually an interface's name.
        hint: what to do about it.
        where: the place in the user's file, when there is one.
        others: further errors that were found with this one.

    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind = ErrorKind.DOCUMENT,
        path: str = "",
        subject: str = "",
        hint: str = "",
        where: Place | None = None,
        others: tuple[Error, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.path = path
        self.subject = subject
        self.hint = hint
        self.where = where
        self.others = others

    def __iter__(self) -> Iterator[Error]:
        """This error and all that were found with it, in order."""
        yield self
        for other in self.others:
            yield from other


def together(errors: Iterable[Error]) -> Error | None:
    """Return one error that carries all of `errors`, or None when there is none."""
    found = list(errors)
    if not found:
        return None
    found[0].others += tuple(found[1:])
    return found[0]


def raise_all(errors: Iterable[Error]) -> None:
    """Raise all of `errors` as one, if there is any."""
    error = together(errors)
    if error is not None:
        raise error
