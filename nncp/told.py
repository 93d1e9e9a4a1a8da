"""An error on its way from the child that writes to whoever asked for it, with all that was found with it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.host import Op
from nncp.netlink.carry import Refused

BROKEN = 0
"""In place of a kind: it is no Error."""


class _Told(Struct, frozen=True):
    """An error on its way from the child to the caller."""

    message: str
    kind: int
    path: str = ""
    subject: str = ""
    hint: str = ""
    op: Op | None = None
    errno: int = 0


class Ended(Error):
    """The child has ended without a word."""


class Broken(Exception):
    """The child has failed by a fault of ours; a note holds its traceback."""


def packed(error: BaseException) -> bytes:
    """Return an error as bytes."""
    if isinstance(error, OSError) and error.errno:
        return msgspec.json.encode([_Told(error.strerror or "", BROKEN, errno=error.errno)])
    if not isinstance(error, Error):
        import traceback  # noqa: PLC0415  (nothing is broken mostly)

        notes = "".join(traceback.format_exception(error))
        return msgspec.json.encode([_Told(f"{type(error).__name__}: {error}", BROKEN, hint=notes)])
    return msgspec.json.encode([_told(one) for one in error])


def _told(error: Error) -> _Told:
    told = _Told(error.message, error.kind.value, error.path, error.subject, error.hint)
    return (
        msgspec.structs.replace(told, op=error.op, errno=error.errno) if isinstance(error, Refused) else told
    )


def unpacked(data: bytes) -> Exception:
    """Return the error that `packed` packed; `Ended` where there is nothing."""
    if not data:
        return Ended("the process that wrote was ended", kind=ErrorKind.FAILED)
    first, *others = msgspec.json.decode(data, type=list[_Told])
    if first.kind == BROKEN:
        return _broken(first)
    error = _error(first)
    error.others = tuple(_error(one) for one in others)
    return error


def _broken(told: _Told) -> Exception:
    if told.errno:
        return OSError(told.errno, told.message)
    broken = Broken(told.message)
    broken.add_note(told.hint)
    return broken


def _error(told: _Told) -> Error:
    kind = ErrorKind(told.kind)
    if told.op is None:
        return Error(told.message, kind=kind, path=told.path, subject=told.subject, hint=told.hint)
    return Refused.again(told.message, kind=kind, hint=told.hint, op=told.op, code=told.errno)
