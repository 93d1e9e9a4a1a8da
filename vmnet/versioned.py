"""What programs of different versions say to each other: one decoder, and one sentence of refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Head(Struct, frozen=True):
    """What every version of every message has."""

    version: int


def decode(data: bytes, form: Any, *, version: int, what: str) -> Any:
    """Return the message in `data`, of the type `form`.

    Args:
        data: JSON.
        form: what msgspec is to make of it.
        version: the version that is understood.
        what: who says it, for the refusal: "the target's launcher".

    Raises:
        Error: it is of another version, or odd.

    """
    head = _decoded(data, Head, what)
    if head.version != version:
        word = "newer" if head.version > version else "older"
        message = f"{what} speaks version {head.version} and this program version {version}: it is {word}"
        raise Error(message, kind=ErrorKind.UNSUPPORTED, hint="use the same version on both sides")
    return _decoded(data, form, what)


def _decoded(data: bytes, form: Callable[..., T] | Any, what: str) -> Any:
    try:
        return msgspec.json.decode(data, type=form)
    except (ValueError, RecursionError) as error:  # msgspec's own, UTF-8's, and a nesting without end
        said = str(error).partition(" - at")[0]
        raise Error(f"{what} said something odd: {said}", kind=ErrorKind.FAILED) from None
