"""Whether the MTUs that a document asks for can be, on the host as it will be.

A link takes no MTU beyond its device's bounds (net/core/dev.c, dev_validate_mtu), and one that rests on
another none beyond that one's (vlan_dev_change_mtu, macvlan_change_mtu): a lesser one takes it down
(vlan_device_event, macvlan_device_event).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.future import Future
from nncp.host import Row
from nncp.tables.address import is_kernels_own, is_v6

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host, Key
    from nncp.tables.kinds import Kinds

ETHERNET = 1500
"""What a new link has, unless it takes that of the link below it (net/ethernet/eth.c, ether_setup)."""
BRIDGE = "linux-bridge"
FOLLOWERS = frozenset({"vlan", "mac-vlan", "macvtap"})
"""What never has a larger MTU than the link that it rests on."""
IPV6_MIN_MTU = 1280
"""With less a link loses all its IPv6 (RFC 8200, section 5; net/ipv6/addrconf.c, NETDEV_CHANGEMTU)."""

WORDS = {"port": ("controller",), "sysctl": ("value",)}
"""What of other rows than links moves an MTU or IPv6."""
IPV6_OFF = {"value": "1"}
"""What is so without IPv6 too (nncp.sysctl.write)."""


class Misfit(Struct, frozen=True):
    """An MTU that cannot be: whose, why and what to do, and whether the document alone says so."""

    name: str
    message: str
    hint: str
    said: bool = False


def may_change(want: Iterable[Row], host: Host, kinds: Kinds) -> bool:
    """Whether rows can change an MTU or bring IPv6: if not, every link has one that it can have."""
    return any(_touches(row, host.get(*row.key), kinds) for row in want)


def _touches(row: Row, have: Row | None, kinds: Kinds) -> bool:
    if row.absent or have is None:
        return row.absent != (have is None)
    if row.key[0] == "link":
        words = ("type", "mtu", *(attr.name for attr in kinds.ties("link", have.attrs["type"])))
    else:
        words = WORDS.get(row.key[0], ())
    return any(word in row.attrs and row.attrs[word] != have.attrs.get(word) for word in words)


def misfits(want: Mapping[Key, Row], host: Host, kinds: Kinds) -> Iterator[Misfit]:
    """Yield every MTU of `want` that cannot be, and each that a link gets by itself, too little for IPv6."""
    future = _Mtus(want, host, kinds)
    for row in want.values():
        if row.key[0] != "link" or row.absent:
            continue
        mtu = row.attrs.get("mtu")
        misfit = (
            _too_little_by_itself(row.name, future)
            if mtu is None
            else _beyond_device(row.name, mtu, future) or _beyond_base(row.name, mtu, future)
        )
        if misfit:
            yield misfit


def shrunk(want: Mapping[Key, Row], host: Host, kinds: Kinds) -> Iterator[tuple[Row, str]]:
    """Yield the lesser MTU that each link gets from the one below, with the link that starts it."""
    future = _Mtus(want, host, kinds)
    for row in host.table("link"):
        wish = want.get(row.key)
        now, asked = row.attrs.get("mtu"), wish.attrs if wish else {}
        kind = row.attrs["type"]
        stays = asked.get("type", kind) == kind and not (wish and wish.absent)
        if kind not in FOLLOWERS or not now or not stays or asked.get("mtu") is not None:
            continue
        if (mtu := future.mtu(row.name)) < now:
            yield Row(row.key, {"type": kind, "mtu": mtu}), future.cause(row.name)


def _too_little_by_itself(name: str, future: _Mtus) -> Misfit | None:
    mtu = future.mtu(name)
    if mtu >= IPV6_MIN_MTU or not future.wants_ipv6(name):
        return None
    below = future.below(name)
    got = f"mtu {mtu}, which {name} gets from {below}," if below else f"mtu {mtu} of {name}"
    message = f"{got} is less than IPv6 takes, {IPV6_MIN_MTU}, and {name} is to have IPv6"
    return Misfit(name, message, f"give {below or name} an mtu of {IPV6_MIN_MTU} or more")


def _beyond_device(name: str, mtu: int, future: _Mtus) -> Misfit | None:
    low, high = future.bounds(name)
    if low <= mtu < IPV6_MIN_MTU and future.has_ipv6(name):
        hint = f"use {IPV6_MIN_MTU} or more, or take its IPv6 addresses off"
        return Misfit(
            name, f"mtu {mtu} is less than IPv6 takes, {IPV6_MIN_MTU}, and {name} has IPv6 addresses", hint
        )
    if mtu < low:
        return Misfit(name, f"mtu {mtu} is less than {name} takes, {low}", f"use {low} or more")
    if high and mtu > high:
        return Misfit(name, f"mtu {mtu} is more than {name} takes, {high}", f"use {high} or less")
    return None


def _beyond_base(name: str, mtu: int, future: _Mtus) -> Misfit | None:
    base = future.base(name)
    if not base or mtu <= (most := future.mtu(base)):
        return None
    hint = f"give {base} an mtu of {mtu} too, or {name} at most {most}"
    row = future.want.get(("link", base))
    said = row is not None and row.attrs.get("mtu") is not None
    return Misfit(name, f"mtu {mtu} is more than {base}'s MTU {most}", hint, said)


class _Mtus(Future):
    """The MTUs of the links as they will be; none of them rests on itself."""

    def __init__(self, want: Mapping[Key, Row], host: Host, kinds: Kinds) -> None:
        super().__init__(want, host, kinds)
        self._known: dict[str, int] = {}

    def bounds(self, name: str) -> tuple[int, int]:
        """Return the least and the most that a device takes; 0 is no bound."""
        attrs = self.attrs(name)
        kind = self.kinds.by_type.get(attrs["type"])
        low, high = kind.mtu if kind else (0, 0)
        return attrs.get("min-mtu", low), attrs.get("max-mtu", high)

    def has_ipv6(self, name: str) -> bool:
        """Return whether a link will have IPv6 addresses that somebody gave it."""
        keys = [row.key for row in self.host.of("address", name) if not is_kernels_own(row.key, row.attrs)]
        stay = (key for key in keys if key not in self.want)
        come = (key for key, row in self.want.items() if key[:2] == ("address", name) and not row.absent)
        return any(is_v6(key[2]) for key in (*stay, *come))

    def wants_ipv6(self, name: str) -> bool:
        """Return whether a link will have IPv6 addresses, or is to have sysctls of IPv6."""
        return self.has_ipv6(name) or any(
            key[0] == "sysctl" and key[1].startswith(f"net/ipv6/conf/{name}/") and row.attrs != IPV6_OFF
            for key, row in self.want.items()
        )

    def below(self, name: str) -> str | None:
        """Return the link of which one has its MTU by itself: its base, or a bridge's port with the least."""
        if self.attrs(name).get("type") == BRIDGE:
            return min(self.ports(name), key=self.mtu, default=None)
        return self.base(name)

    def cause(self, name: str) -> str:
        """Return the link below whose own MTU is another one's limit: the next that a document is about."""
        while base := self.base(name):
            name = base
            if ("link", name) in self.want:
                break
        return name

    def mtu(self, name: str | None) -> int:
        """Return the MTU that a link will have, the usual one for none."""
        if name is None:
            return ETHERNET
        if name not in self._known:
            row = self.want.get(("link", name))
            asked = row.attrs.get("mtu") if row else None
            self._known[name] = int(asked if asked is not None else self._by_itself(name))
        return self._known[name]

    def _by_itself(self, name: str) -> int:
        attrs = self.attrs(name)
        now = attrs.get("mtu")
        if attrs.get("type") == BRIDGE and (ports := self.ports(name)):
            # br_mtu_auto_adjust() gives a bridge the least MTU of its ports, unless somebody has set its own,
            # which nothing tells.
            least = min(map(self.mtu, ports))
            return max(least, now) if now else least
        if now and not (attrs.get("type") in FOLLOWERS and self.base(name)):
            return int(now)
        below = self.mtu(self.base(name))
        return min(now, below) if now else below
