"""How one attribute's value stands in a netlink message, in both directions.

Values are what a document says (names for enumerations, seconds, booleans); bytes are what the kernel
reads, in host order unless said otherwise (Documentation/userspace-api/netlink/intro.rst).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


class Codec(Struct, frozen=True):
    """`pack` and `unpack` are inverses over the values that the kernel reports.

    `combine`, where there is one, merges two packed values of the same attribute (flag words). `words` are
    all values of a codec that has few, `bounds` the least and the most of one that has numbers.
    """

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    combine: Callable[[bytes, bytes], bytes] | None = None
    words: tuple[Any, ...] = ()
    bounds: tuple[int, int] | None = None


def _number(code: str) -> Codec:
    form = struct.Struct(code)
    bits, least = 8 * form.size, -(2 ** (8 * form.size - 1)) if code[1].islower() else 0
    return Codec(
        pack=lambda value: form.pack(int(value)),
        unpack=lambda data: form.unpack_from(data)[0],
        bounds=(least, least + 2**bits - 1),
    )


U8 = _number("=B")
U16 = _number("=H")
U32 = _number("=I")
U64 = _number("=Q")
S32 = _number("=i")
BE16 = _number("!H")
LINK = _number("=I")
"""A link, by name in rows and by index in messages: the netlink layer translates between them."""


def _text_or_raw(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"\0{data.hex()}"


def _is_raw(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("\0")


def readable(value: Any) -> Any:
    """Return a value as a person can read it: what is not UTF-8 with its bytes escaped."""
    return bytes.fromhex(value[1:]).decode(errors="backslashreplace") if _is_raw(value) else value


TEXT = Codec(
    pack=lambda value: str(value).encode() + b"\0",
    unpack=lambda data: data.rstrip(b"\0").decode(errors="backslashreplace"),
)
# The one text that ends without a zero byte: a length of 0 takes it away (net/core/rtnetlink.c, ifla_policy).
# One that is not UTF-8 is a zero byte, which none can hold, and its bytes in hexadecimal.
ALIAS = Codec(
    pack=lambda value: bytes.fromhex(value[1:]) if _is_raw(value) else str(value).encode(),
    unpack=lambda data: _text_or_raw(data.rstrip(b"\0")),
)
MAC = Codec(pack=lambda value: bytes.fromhex(value.replace(":", "")), unpack=lambda data: data.hex(":"))
RAW = Codec(pack=bytes.fromhex, unpack=lambda data: data.hex())
"""Bytes that are nobody's business here, in hexadecimal."""
BOOL8 = Codec(pack=lambda value: bytes([bool(value)]), unpack=lambda data: data[0] != 0, words=(False, True))
BOOL32 = Codec(
    pack=lambda value: struct.pack("=I", bool(value)),
    unpack=lambda data: struct.unpack_from("=I", data)[0] != 0,
    words=(False, True),
)


def enum(names: Mapping[str, int], number: Codec = U8) -> Codec:
    """Code an enumeration by name; a number that we have no name for is its own decimal name."""
    words = {value: name for name, value in names.items()}

    def unpack(data: bytes) -> str:
        value = number.unpack(data)
        return words.get(value, str(value))

    return Codec(
        pack=lambda name: number.pack(names[name] if name in names else int(name)),
        unpack=unpack,
        words=tuple(names),
    )


def scaled(number: Codec, unit: int) -> Codec:
    """Code a number of units, each worth `unit` of the kernel's own (USER_HZ is 100 a second).

    Documents have whole ones; a part of one, which somebody else gave, is a float.
    """
    least, most = number.bounds or (0, 0)

    def unpack(data: bytes) -> int | float:
        ticks = int(number.unpack(data))
        return ticks / unit if ticks % unit else ticks // unit

    return Codec(
        pack=lambda value: number.pack(round(value * unit)),
        unpack=unpack,
        bounds=(least // unit, most // unit),
    )


def bits(names: Mapping[Any, int], mask: int) -> Codec:
    """Code a value by some bits of a (flags, mask) pair: `struct ifla_vlan_flags` and its like."""
    words = {value: name for name, value in names.items()}
    pair = struct.Struct("=II")

    def combine(one: bytes, other: bytes) -> bytes:
        (flags, known), (more, further) = pair.unpack(one), pair.unpack(other)
        return pair.pack(flags | more, known | further)

    return Codec(
        pack=lambda name: pair.pack(names[name], mask),
        unpack=lambda data: words.get(pair.unpack_from(data)[0] & mask),
        combine=combine,
        words=tuple(names),
    )


def bit16(flag: int, *, inverse: bool = False) -> Codec:
    """Code a boolean as one bit of a 16-bit flag word."""
    return Codec(
        pack=lambda value: struct.pack("=H", flag if bool(value) != inverse else 0),
        unpack=lambda data: bool(struct.unpack_from("=H", data)[0] & flag) != inverse,
        words=(False, True),
    )


def address_list(version: int) -> Codec:
    """Code addresses, separated by commas in a document, as a nest of numbered attributes (arp_ip_target)."""
    size = 4 if version == 4 else 16
    step = 4 + size

    def pack(text: str) -> bytes:
        packed = [ipaddress.ip_address(word.strip()).packed for word in text.split(",") if word.strip()]
        return b"".join(struct.pack("=HH", step, i) + data for i, data in enumerate(packed))

    def unpack(data: bytes) -> str:
        found = (data[at + 4 : at + step] for at in range(0, len(data) - step + 1, step))
        return ",".join(str(ipaddress.ip_address(one)) for one in found if any(one))

    return Codec(pack=pack, unpack=unpack)
