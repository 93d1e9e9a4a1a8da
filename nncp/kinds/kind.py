"""What an interface type is made of: the one description from which everything else derives.

Decoding, the JSON Schema, the plan's order and cost, writing, reading, `explain` and the topology all
read these tables. A new type is one new file beside this one, and its name in `nncp.known.KINDS`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from msgspec import Struct

from nncp.host import Cost, Host, Row, Value
from nncp.kinds.codec import RAW, Codec
from nncp.kinds.flat import flat

ANY: frozenset[str] = frozenset()
"""Every mode."""


class Tie(Enum):
    """What an attribute whose value is another link's name means for the two links.

    Order, collateral, renaming, decoding and encoding of such attributes derive from it.
    """

    NAMES = "names"  # it only points there: a bond's primary
    RESTS = "rests"  # the kernel takes this link with the other: a VLAN and its base
    PAIR = "pair"  # the two come and go together: the ends of a veth


class Attr(Struct, frozen=True):
    """One attribute of a link or of a port, and what it takes to change it.

    Args:
        name: the document's word for it.
        number: its netlink number within `nest`.
        codec: how its value is packed.
        cost: what a change costs; a function of (old, new) where the values decide.
        nest: further nests between the message and the attribute.
        without: a boolean attribute that the kernel wants false while this one changes.
        only: the modes (of the attribute `mode`) that know it; elsewhere it is refused by name.
        create: settable at creation only; compared only where the kernel reports it.
        late: not taken at creation, so set right after it.
        follows: the kernel moves it along with others, so an undo writes it last, if it still must.
        volatile: the kernel moves it by itself, so an undo does not restore it.
        shared: no two ports of a controller have the same value but this one.
        under: the attribute without which the kernel refuses even a 0.
        unset: the value that stands for its absence: the kernel leaves it out of a dump then.
        tie: the value is another link's name (its index in messages), and this is what that means.

    """

    name: str
    number: int
    codec: Codec
    cost: Cost | Callable[[Value, Value], Cost] = Cost.LIVE
    nest: tuple[int, ...] = ()
    without: str = ""
    only: frozenset[str] = ANY
    create: bool = False
    late: bool = False
    follows: bool = False
    volatile: bool = False
    shared: Value = None
    under: str = ""
    unset: Value = None
    tie: Tie | None = None

    def cost_of(self, old: Value, new: Value) -> Cost:
        """Return what changing this attribute from `old` to `new` costs."""
        return self.cost(old, new) if callable(self.cost) else self.cost


def as_read(*numbers: int, of: str = "", only: frozenset[str] = ANY) -> tuple[Attr, ...]:
    """Return attributes of these numbers that are sent back as they were read, and never compared."""
    where = f" of {of}" if of else ""
    return tuple(
        Attr(f"attribute {number}{where}", number, RAW, create=True, only=only) for number in numbers
    )


def _flat_settings(config: Any, name: str, host: Host) -> Mapping[str, Value]:  # noqa: ARG001
    return flat(config)


def _makeable(attrs: Mapping[str, Value]) -> str:  # noqa: ARG001
    return ""


def _never(attrs: Mapping[str, Value]) -> bool:  # noqa: ARG001
    return False


def _any(*_: Any) -> None:
    return None


def _nothing(*_: Any) -> tuple[()]:
    return ()


class Fault(Struct, frozen=True):
    """What is wrong with a section, given the host: where in the section, a sentence and a hint.

    `unsupported` says that the document is sound and nncp is what lacks something; `of_host` that another
    host may be fine with it.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    unsupported: bool = False
    of_host: bool = False


class Kind(Struct, frozen=True):
    """An interface type.

    Args:
        type: nmstate's word, as in `type: linux-bridge`.
        shown_as: nmstate's word, where documents have another than `type` and nobody can ask for such a link:
            it is shown, and left alone when applied.
        link: the kernel's word (IFLA_INFO_KIND), or "" for a device that software cannot make.
        section: the document's section, as in `bridge:`; "" when the type has none.
        config: the Struct of that section; its docstring holds a YAML sample.
        also: further sections that its interfaces may have, with their Structs.
        as_it_is: by section, what a document may say of it, and we leave as it is, which a plan tells.
        attrs: the attributes of the link (IFLA_INFO_DATA).
        sent_back: those that we do not model, and that a link made again takes as they were read.
        read_only: the numbers of those that only tell.
        port_attrs: the attributes that it gives to its ports (IFLA_INFO_SLAVE_DATA).
        port_read_only: the numbers of those that only tell of a port.
        port_cost: what attaching costs the port: a bond wants it down.
        imposes: whether its ports have its MAC address and MTU.
        routed: whether its ports keep their addresses.
        among_ports: whether such a link can be a port of another of the type (br_add_if, do_vrf_add_slave).
        settings: the attributes that a section asks for, given the host.
        rows: further rows that a section implies: ports, VLANs, sysctls.
        show: the section that describes a link, as plain data.
        macs: the MAC addresses that such a link can have, given section, name and host; None is any.
        check: what is wrong with a section, given the host.
        borrowed: the attributes whose values in force are another's, by what the kernel tells of the link:
            they are not compared, and those of `attrs` not recorded.
        looks_at: the numbers that `borrowed` looks at, besides those of `attrs`.
        virtual: whether `state: absent` deletes the link.
        below: the attribute that IFLA_LINK of such a link means.
        up_with_base: whether it can be up only while the link that it rests on is.
        mtu: the least and the most that a new link takes; 0 is no bound.
        cannot_be_made: why this very link could not be made again, or "".

    """

    type: str
    link: str
    shown_as: str = ""
    section: str = ""
    config: builtins.type[Struct] | None = None
    also: Mapping[str, builtins.type[Struct]] = {}
    as_it_is: Mapping[str, tuple[str, ...]] = {}
    attrs: tuple[Attr, ...] = ()
    sent_back: tuple[Attr, ...] = ()
    read_only: frozenset[int] = frozenset()
    port_attrs: tuple[Attr, ...] = ()
    port_read_only: frozenset[int] = frozenset()
    port_cost: Cost = Cost.LIVE
    imposes: bool = False
    routed: bool = False
    among_ports: bool = True
    settings: Callable[[Any, str, Host], Mapping[str, Value]] = _flat_settings
    rows: Callable[[Any, str, Host], Iterable[Row]] = _nothing
    show: Callable[[Host, str], Mapping[str, Any]] | None = None
    macs: Callable[[Any, str, Host], frozenset[str] | None] = _any
    check: Callable[[Any, str, Host], Iterable[Fault]] = _nothing
    borrowed: Callable[[Mapping[int, bytes]], Iterable[str]] = _nothing
    looks_at: frozenset[int] = frozenset()
    virtual: bool = True
    below: str = "base-iface"
    up_with_base: Callable[[Mapping[str, Value]], bool] = _never
    mtu: tuple[int, int] = (68, 65535)
    cannot_be_made: Callable[[Mapping[str, Value]], str] = _makeable
