"""Whether the MTUs that a document asks for can be, on the host as it will be.

A link takes no MTU beyond its device's bounds (net/core/dev.c, dev_validate_mtu), and one that rests on
another none beyond that one's (vlan_dev_change_mtu, macvlan_change_mtu): a lesser one takes it down
(vlan_device_event, macvlan_device_event).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from nncp.future import Future
from nncp.host import Row
from nncp.tables.address import is_kernels_own, is_v6
from nncp.tables.sysctl import sysctl_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host, Key
    from nncp.tables.kinds import Kinds

ETHERNET = 1500
"""What a new link has, unless it takes that of the link below it (net/ethernet/eth.c, ether_setup)."""
BRIDGE = "linux-bridge"
FOLLOWERS = frozenset({"vlan", "mac-vlan", "macvtap"})
"""What never has a larger MTU than the link that it rests on."""
IPV4_MIN_MTU = 68
"""With less a link loses all its IPv4 (RFC 791, section 3.2; net/ipv4/devinet.c, inetdev_event)."""
IPV6_MIN_MTU = 1280
"""With less a link loses all its IPv6 (RFC 8200, section 5; net/ipv6/addrconf.c, NETDEV_CHANGEMTU)."""

WORDS = {"link": ("type", "mtu", "base-iface"), "port": ("controller",), "sysctl": ("value",)}
"""What of rows that stand moves an MTU or IPv6."""
IPV6_OFF = {"value": "1"}
"""What is so without IPv6 too (nncp.sysctl.write)."""


class Misfit(Struct, frozen=True):
    """An MTU that cannot be: whose, why and what to do, whether the document alone says so, and by whom."""

    name: str
    message: str
    hint: str
    said: bool = False
    cause: str = ""


def may_change(want: Iterable[Row], host: Host) -> bool:
    """Whether rows can change an MTU or bring IPv6: if not, every link has one that it can have."""
    return any(_touches(row, host.get(*row.key)) for row in want)


def _touches(row: Row, have: Row | None) -> bool:
    if row.absent or have is None:
        return row.absent != (have is None)
    words = WORDS.get(row.key[0], ())
    return any(word in row.attrs and row.attrs[word] != have.attrs.get(word) for word in words)


def misfits(want: Mapping[Key, Row], host: Host, kinds: Kinds) -> Iterator[Misfit]:
    """Yield every MTU of `want` that cannot be, and each that a link gets by itself and cannot have."""
    future = _Mtus(want, host, kinds)
    asked = {
        row.name: row.attrs.get("mtu") for row in want.values() if row.key[0] == "link" and not row.absent
    }
    taking = {row.name for row in host.table("link") if _moves(row, future)}
    for name in dict.fromkeys((*asked, *sorted(taking))):
        mtu, by_itself = future.mtu(name), name in asked and asked[name] is None
        misfit = _too_little_by_itself(name, future) if by_itself else None
        if misfit := misfit or _beyond_device(name, mtu, future) or _beyond_base(name, mtu, future):
            yield misfit if name in asked else structs.replace(misfit, cause=future.cause(name))


def moved(want: Mapping[Key, Row], host: Host, kinds: Kinds) -> Iterator[tuple[Row, str, bool]]:
    """Yield the MTU that each link gets of another one, with that which a document is about.

    Above a link that gets less, VLANs and MAC VLANs do too; so does a bridge whose MTU is that of its ports,
    and a bond's ports get the bond's (bond_change_mtu, bond_enslave). The third word is whether that is sure.
    """
    future = _Mtus(want, host, kinds)
    for row in host.table("link"):
        wish = want.get(row.key)
        if wish and (wish.absent or wish.attrs.get("mtu") is not None):
            continue
        if wish and wish.attrs.get("type", row.attrs["type"]) != row.attrs["type"]:
            continue
        if _moves(row, future):
            found = {"type": row.attrs["type"], "mtu": future.mtu(row.name)}
            yield Row(row.key, found), future.cause(row.name), future.is_sure(row.name)


def _moves(row: Row, future: _Mtus) -> bool:
    """Whether a link gets another MTU by itself: less, or what its bond has."""
    now = row.attrs.get("mtu")
    if now is None or future.source(row.name) is None:
        return False
    mtu = future.mtu(row.name)
    return mtu < now or (mtu > now and future.bond_over(row.name) is not None)


def _too_little_by_itself(name: str, future: _Mtus) -> Misfit | None:
    mtu = future.mtu(name)
    if mtu >= IPV6_MIN_MTU or not future.wants_ipv6(name):
        return None
    below = future.source(name)
    got = f"mtu {mtu}, which {name} gets from {below}," if below else f"mtu {mtu} of {name}"
    message = f"{got} is less than IPv6 takes, {IPV6_MIN_MTU}, and {name} is to have IPv6"
    return Misfit(name, message, f"give {below or name} an mtu of {IPV6_MIN_MTU} or more")


def _beyond_device(name: str, mtu: int, future: _Mtus) -> Misfit | None:
    low, high = future.bounds(name)
    for family, least in (("IPv4", IPV4_MIN_MTU), ("IPv6", IPV6_MIN_MTU)):
        if low <= mtu < least and future.has(family, name):
            hint = f"use {least} or more, or take its {family} addresses off"
            message = f"mtu {mtu} is less than {family} takes, {least}, and {name} has {family} addresses"
            return Misfit(name, message, hint)
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
        self._addresses: dict[str, list[Key]] = {}
        self._with_ipv6: set[str] = set()
        for key, row in want.items():
            if key[0] == "address" and not row.absent:
                self._addresses.setdefault(key[1], []).append(key)
            elif key[0] == "sysctl" and key[1].startswith("net/ipv6/") and row.attrs != IPV6_OFF:
                self._with_ipv6.add(sysctl_link(key[1]))

    def bounds(self, name: str) -> tuple[int, int]:
        """Return the least and the most that a device takes; 0 is no bound."""
        attrs = self.attrs(name)
        kind = self.kinds.by_type.get(attrs["type"])
        low, high = kind.mtu if kind else (0, 0)
        return attrs.get("min-mtu", low), attrs.get("max-mtu", high)

    def has(self, family: str, name: str) -> bool:
        """Return whether a link will have IPv4 or IPv6 addresses that somebody gave it."""
        keys = [row.key for row in self.host.of("address", name) if not is_kernels_own(row.key, row.attrs)]
        stay = (key for key in keys if key not in self.want)
        return any(is_v6(key[2]) == (family == "IPv6") for key in (*stay, *self._addresses.get(name, ())))

    def wants_ipv6(self, name: str) -> bool:
        """Return whether a link will have IPv6 addresses, or is to have sysctls of IPv6."""
        return name in self._with_ipv6 or self.has("IPv6", name)

    def source(self, name: str) -> str | None:
        """Return the link of which one has its MTU by itself: its bond, its base, a bridge's least port."""
        kind = self.attrs(name).get("type")
        if kind == BRIDGE:
            return min(self.ports(name), key=self.mtu, default=None) if self._is_automatic(name) else None
        return self.bond_over(name) or (self.base(name) if kind in FOLLOWERS else None)

    def bond_over(self, name: str) -> str | None:
        """Return the bond that gives a link its MTU: it becomes its port, or the bond gets another MTU."""
        port, was = self.want.get(("port", name)), self.host.attr("port", name, name="controller")
        controller = was if port is None else None if port.absent else port.attrs["controller"]
        kind = self.kinds.by_type.get(self.attrs(str(controller)).get("type", ""))
        if kind is None or not kind.imposes:
            return None
        stays = controller == was and self.mtu(controller) == self.host.attr("link", controller, name="mtu")
        return None if stays else str(controller)

    def _is_automatic(self, bridge: str) -> bool:
        """Whether a bridge has the least MTU of its ports, as it has until somebody sets its own.

        Nothing tells that (net/bridge/br_if.c, br_mtu_auto_adjust), but one that differs is somebody's.
        """
        have = self.host.attr("link", bridge, name="mtu")
        ports = (self.host.attr("link", row.name, name="mtu") for row in self.host.ports(bridge))
        return not have or have == min(filter(None, ports), default=ETHERNET)

    def is_sure(self, name: str | None) -> bool:
        """Whether no bridge is among the links of which one has its MTU: somebody may have set its own."""
        while name:
            if self.attrs(name).get("type") == BRIDGE:
                return False
            name = self.source(name)
        return True

    def cause(self, name: str) -> str:
        """Return the link of which one has its MTU in the end: the next that a document is about."""
        while source := self.source(name):
            name = source
            if ("link", name) in self.want:
                break
        return name

    def mtu(self, name: str) -> int:
        """Return the MTU that a link will have."""
        if name not in self._known:
            row = self.want.get(("link", name))
            asked = row.attrs.get("mtu") if row else None
            self._known[name] = int(asked if asked is not None else self._by_itself(name))
        return self._known[name]

    def _by_itself(self, name: str) -> int:
        now, kind = self.attrs(name).get("mtu"), self.attrs(name).get("type")
        source = self.source(name)
        if source is None:
            return int(now or ETHERNET)
        mtu = self.mtu(source)
        follows = kind in FOLLOWERS and not self.bond_over(name)
        return min(now, mtu) if now and follows else mtu
