"""What links cannot be to each other: told before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.addresses import LOOPBACK, without_addresses
from nncp.difference import difference
from nncp.document.rules import NO_MAC
from nncp.document.state import SAME_TYPE
from nncp.future import MAX_NEST_DEV, Future
from nncp.kinds.flat import is_given
from nncp.kinds.kind import Tie
from nncp.tables.table import references

if TYPE_CHECKING:
    from nncp.desk import Desk, Path
    from nncp.future import Stack
    from nncp.host import Row

MAC_VLANS = frozenset({"mac-vlan", "macvtap"})
ON_FRAMES = MAC_VLANS | {"ipvlan", "ipvtap"}
"""Types that take the frames of the link that they rest on, as a bridge and a bond do of their ports."""


def check_links(desk: Desk) -> None:
    """Check what rests on what, now that all interfaces are known, and take addresses off new ports."""
    for key, row in list(desk.out.rows.items()):
        path = desk.out.origins[key]
        if row.absent:
            continue
        if key[0] == "port":
            _check_port(desk, row, path)
        elif key[0] == "link" and row.attrs.get("base-iface"):
            _check_base(desk, row, path)
        elif key[0] == "link" and row.attrs.get("peer"):
            _check_pair(desk, row, path)
        elif key[0] == "up":
            _check_up(desk, row)
        elif key[0] == "link" and row.name == LOOPBACK and row.attrs.get("mac", NO_MAC) != NO_MAC:
            # eth_mac_addr() takes it, and never again none (is_valid_ether_addr).
            message = f"{row.name} can have no MAC address: nothing could take it off again"
            desk.fault(row.name, (*path, "mac-address"), message, of_host=False)
    _check_mac_vlans(desk)
    _check_vlans(desk)
    _check_ends(desk)


def is_impossible(desk: Desk) -> bool:
    """Tell of links that would rest on each other in a circle, or too high on one another."""
    found = list(Future(desk.out.rows, desk.host, desk.kinds).impossible())
    for stack in found:
        (_circle if stack.circle else _too_high)(desk, stack)
    return bool(found)


def _too_high(desk: Desk, stack: Stack) -> None:
    (name,), most = stack.names, MAX_NEST_DEV - 1
    path = desk.out.origins.get(("link", name)) or desk.out.origins[stack.by]
    message = (
        f"{name} would rest on {most + 1} links, each on the next, and the kernel takes no more than {most}"
    )
    desk.fault(name, path, message, "let it rest on one further down", of_host=name not in desk.named)


def _circle(desk: Desk, stack: Stack) -> None:
    """Tell of a circle at the first place by which the document makes it one."""
    names = stack.names
    ties = list(zip(names, (*names[1:], names[0]), strict=True))
    said = [path for tie in ties if (path := _tie(desk, *tie))]
    message, hint = f"{names[0]} cannot rest on itself", ""
    if len(names) > 1:
        message = f"these interfaces rest on each other in a circle: {' -> '.join((*names, names[0]))}"
        hint = "give one of them another base-iface or controller"
    desk.fault(names[0], said[0], message, hint, of_host=len(said) < len(ties))


def _tie(desk: Desk, name: str, below: str) -> Path | None:
    """Return where the document says that a link is to rest on another one, or have it as a port."""
    row, listed = desk.out.rows.get(("link", name)), desk.out.rows.get(("port", below))
    if listed and listed.attrs.get("controller") == name:
        return desk.out.origins[listed.key]
    found = references(row.key, row.attrs, desk.kinds) if row else ()
    word = next((attr.name for attr, other in found if other == below and attr.tie is Tie.RESTS), "")
    kind = desk.kinds.by_type.get(desk.type_of(name))
    return (*desk.out.origins["link", name], kind.section if kind else "", word) if word else None


def _check_port(desk: Desk, row: Row, path: Path) -> None:
    """Refuse ports that are not there, and those that no controller takes (br_add_if, do_vrf_add_slave)."""
    controller = row.attrs["controller"]
    kind = desk.kinds.by_type.get(desk.type_of(controller))
    alike = kind is not None and desk.type_of(row.name) == kind.type
    if row.name == LOOPBACK:
        message = f"{row.name} is the loopback, and can be no port of {controller}"
        desk.fault(row.name, path, message, "use a dummy", of_host=False)
    elif row.name != controller and kind and alike and not kind.among_ports:
        message = f"{row.name} is a {kind.type}, and can be no port of {controller}, which is one too"
        desk.fault(row.name, path, message, "join them by a veth, an end in each", of_host=False)
    elif not desk.will_be(row.name):
        desk.fault(
            row.name, path, f"{controller} lists the port {row.name}, which is not there", _there(desk)
        )
    elif not desk.will_be(controller):
        desk.fault(
            row.name, path, f"{row.name} names the controller {controller}, which is not there", _there(desk)
        )
    if desk.host.attr("port", row.name, name="controller") != controller and not desk.kinds.is_routed(
        desk.type_of(controller)
    ):
        for lost in without_addresses(row.name, desk.host, families=(4, 6)):
            desk.add(lost, path, implied=True)


def _check_base(desk: Desk, row: Row, path: Path) -> None:
    """Refuse what is not there, and the loopback (vlan_check_real_dev, macvlan_port_create)."""
    base = row.attrs["base-iface"]
    section = desk.named[row.name][1].section if row.name in desk.named else ""
    where = (*path, section, "base-iface") if section else path
    if base == LOOPBACK:
        message = f"{base} is the loopback, and nothing can rest on it"
        desk.fault(row.name, where, message, "use a dummy", of_host=False)
    elif not desk.will_be(base):
        message = f"{row.name} rests on {base}, which is not there"
        desk.fault(row.name, where, message, _there(desk), of_host=not desk.is_absent(base))
    elif base != row.name and {desk.type_of(row.name), desk.type_of(base)} <= MAC_VLANS:
        # macvlan_common_newlink() takes the link below that one.
        message = f"{row.name} cannot rest on {base}, which is a {desk.type_of(base)} itself"
        hint = f"name that one: base-iface: {below}" if (below := _base(desk, base)) else ""
        desk.fault(row.name, where, message, hint, of_host=base not in desk.named)


def _base(desk: Desk, name: str) -> str:
    """Return what a link will rest on, or ""."""
    row = desk.out.rows.get(("link", name))
    said = row.attrs.get("base-iface") if row else None
    return str(said or desk.host.attr("link", name, name="base-iface", default=""))


def _check_up(desk: Desk, row: Row) -> None:
    """Refuse what is to be up over what is to be down (vlan_dev_open)."""
    base = _base(desk, row.name)
    below, link = desk.out.rows.get(("up", base)), desk.out.rows.get(("link", row.name))
    if below is None or not below.absent:
        return
    kind, have = desk.kinds.by_type.get(desk.type_of(row.name)), desk.host.get("link", row.name)
    if kind and kind.up_with_base({**(have.attrs if have else {}), **(link.attrs if link else {})}):
        message = f"{base} is to be down, and {row.name}, which rests on it, up"
        hint = f"let {row.name} be down too, or leave {base} up"
        desk.fault(base, desk.out.origins[below.key], message, hint, of_host=not link)


def _check_mac_vlans(desk: Desk) -> None:
    """Refuse MAC VLANs on ports: both want to take the link's frames (netdev_rx_handler_register)."""
    stands = {row.key: row for row in desk.host.table("link") if row.attrs["type"] in ON_FRAMES}
    for key, row in {**stands, **desk.out.rows}.items():
        if key[0] != "link" or row.absent or desk.type_of(key[1]) not in ON_FRAMES:
            continue
        base = _base(desk, key[1])
        port = desk.out.rows.get(("port", base)) or desk.host.get("port", base)
        if port is None or port.absent or desk.kinds.is_routed(desk.type_of(port.attrs["controller"])):
            continue
        path = desk.out.origins.get(port.key) or desk.out.origins.get(key)
        if path:
            controller, hint = port.attrs["controller"], f"let {key[1]} rest on {port.attrs['controller']}"
            message = (
                f"{base} cannot be a port of {controller}: the {desk.type_of(key[1])} {key[1]} rests on it"
            )
            desk.fault(base, path, message, hint, of_host=key not in desk.out.rows)


def _check_vlans(desk: Desk) -> None:
    """Refuse a VLAN that another link is already (vlan_check_real_dev)."""
    first: dict[tuple[Any, ...], str] = {}
    stands = {row.key: row for row in desk.host.table("link") if row.attrs["type"] == "vlan"}
    wanted = {
        key: row for key, row in desk.out.rows.items() if key[0] == "link" and row.attrs.get("type") == "vlan"
    }
    if all(key in stands and not difference(stands[key].attrs, row) for key, row in wanted.items()):
        return
    for key, row in {**stands, **wanted}.items():
        if (key in desk.out.rows and desk.out.rows[key].absent) or desk.type_of(key[1]) != "vlan":
            continue
        attrs = {**(stands[key].attrs if key in stands else {}), **row.attrs}
        what = (attrs.get("base-iface"), attrs.get("protocol", "802.1q"), attrs.get("id"))
        other = first.setdefault(what, key[1])
        path = desk.out.origins.get(key) or desk.out.origins.get(("link", other))
        if other != key[1] and path and what[0]:
            message = f"{other} is VLAN {what[2]} of {what[0]} already, and {key[1]} would be it once more"
            desk.fault(
                key[1], path, message, "give one of them another id", of_host=("link", other) in stands
            )


def _check_ends(desk: Desk) -> None:
    """Refuse that two veths name one other end."""
    ends: dict[str, str] = {}
    for index, interface in desk.named.values():
        if is_given(veth := interface.part("veth")) and is_given(veth.peer):
            other = ends.setdefault(str(veth.peer), interface.name)
            if other != interface.name:
                message = f"{veth.peer} is the other end of {other}, and cannot be that of {interface.name}"
                path = ("interfaces", index, "veth", "peer")
                desk.fault(interface.name, path, message, "name another peer", of_host=False)


def _check_pair(desk: Desk, row: Row, path: Path) -> None:
    """Refuse to pair what stands and has no other end here: both are made at once (veth_newlink)."""
    have, peer = desk.host.get(*row.key), row.attrs["peer"]
    if have is None or have.attrs["type"] not in SAME_TYPE or "peer" in have.attrs:
        return
    said = row.name in desk.named and is_given(desk.named[row.name][1].part("veth"))
    where = (*path, "veth", "peer") if said else path
    of_veth = have.attrs["type"] == "veth"
    why = "has its other end in another network namespace" if of_veth else "is a card"
    message = f"{row.name} {why}, and could not be made again as an end of a veth with {peer}"
    hint = f"delete {row.name} yourself first" if of_veth else "use another name"
    desk.fault(row.name, where, message, hint, unsupported=True)


def _there(desk: Desk) -> str:
    names = sorted({row.name for row in desk.host.table("link")} - {"lo"})
    return f"this host has {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}" if names else ""
