"""From a document to the rows that it asks for, given the host: nmstate's merge, absence and list rules.

What a document does not mention gets no row. What it takes away gets an absent one, so that a plan, its
verification and a later look for drift all see the same wish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from nncp.addresses import address_rows, defaults, leased, unmade, without_addresses
from nncp.carried import carried, joined
from nncp.checks import check_links, is_impossible
from nncp.desk import Compiled, Desk, Note, Path
from nncp.difference import difference
from nncp.document.rules import NO_MAC
from nncp.document.state import SAME_TYPE
from nncp.host import Host, Row
from nncp.kinds.codec import readable
from nncp.kinds.flat import flat, is_given
from nncp.kinds.ports import guests_of
from nncp.listed import kept_on
from nncp.macs import is_lent, of_new_bridges, permanent
from nncp.mtu import may_change, misfits, moved
from nncp.routes import route_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.document.state import Interface, State
    from nncp.kinds.kind import Kind
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Table


ETHTOOL = ("pause", "feature", "coalesce", "ring")


def compile_state(state: State, interfaces: Mapping[int, Interface], host: Host, kinds: Kinds) -> Compiled:
    """Return what a document asks of `host`; its `faults` are empty when it can be meant.

    Args:
        state: the document, but for its interfaces.
        interfaces: its interfaces, by their index.
        host: the rows as they are.
        kinds: the interface types.

    """
    named = {interface.name: (i, interface) for i, interface in interfaces.items()}
    desk = Desk(host, kinds, Compiled({}, {}, []), named, set())
    for i, interface in interfaces.items():
        _interface(desk, i, interface)
    check_links(desk)
    if not is_impossible(desk):
        for row in list(of_new_bridges(desk.out.rows, host)):
            desk.add(row, desk.out.origins[row.key], implied=True)
        _mtus(desk)
    for row in list(carried(desk.out.rows, host)):
        desk.add(row, desk.out.origins.get(("link", row.name), ()))
    for interface in interfaces.values():
        _keeps(desk, interface)
        _left(desk, interface)
        _untold(desk, interface)
    for bridge, base, names in joined(desk.out.rows.values(), host):
        text = f"warning: {bridge} joins VLANs of {base} into one network: {', '.join(names)}"
        desk.out.notes.append(Note("warn", ("port", bridge), text, tuple(names)))
    routes = state.routes.config if is_given(state.routes) and state.routes else ()
    wished = route_rows(
        tuple(routes or ()) if is_given(routes) else (), host, desk.out.rows, kinds, desk.will_be, desk.fault
    )
    takers = {key[1]: path for key, path in reversed(desk.out.origins.items()) if key[0] == "address"}
    for row, index in wished:
        # What takes a route away is where its link loses its addresses.
        hops = desk.host.attr(*row.key, name="nexthops", default=())
        taker = next((takers[hop[0]] for hop in hops if hop[0] in takers), ())
        desk.add(row, ("routes", "config", index) if index is not None else taker)
    for table in kinds.tables.values():
        _listed(desk, table, state)
    return desk.out


def _listed(desk: Desk, table: Table, state: State) -> None:
    """Take in what a list of the whole host's asks for."""
    section: Any = getattr(state, table.section.replace("-", "_"), None) if table.section else None
    entries = section.config if is_given(section) else ()

    def fault(index: int, message: str, hint: str) -> None:
        desk.fault(table.section, (table.section, "config", index), message, hint)

    for row, index in table.asks(entries, desk.host, fault) if is_given(entries) else ():
        desk.add(row, (table.section, "config", index))


def _mtus(desk: Desk) -> None:
    """Tell of MTUs that cannot be, and take in those that links get from below."""
    if not may_change(desk.out.rows.values(), desk.host):
        return
    named = {("interfaces", i) for i, one in desk.named.values() if is_given(one.mtu)}
    for row, cause, is_sure in list(moved(desk.out.rows, desk.host, desk.kinds)):
        if not is_sure or desk.is_ignored(row):
            # Written to a bridge, it would no longer be that of its ports.
            text = f"warning: {row.name} gets mtu {row.attrs['mtu']} with {cause}"
            desk.out.notes.append(Note("warn", row.key, text, (row.name,)))
        else:
            desk.add(row, _origin(desk, cause), implied=True)
    for misfit in misfits(desk.out.rows, desk.host, desk.kinds):
        place = _origin(desk, misfit.cause or misfit.name)
        where = (*place, "mtu") if place in named else place
        desk.fault(misfit.name, where, misfit.message, misfit.hint, of_host=not misfit.said)


def _origin(desk: Desk, name: str) -> Path:
    """Return the place of what a document says of a link, or of what it gets its MTU of."""
    found = (desk.out.origins.get((table, name)) for table in ("link", "port"))
    return next(filter(None, found), None) or next(iter(desk.out.origins.values()), ())


def _interface(desk: Desk, index: int, interface: Interface) -> None:
    path: Path = ("interfaces", index)
    kind = desk.kind_of(interface)
    if interface.state in {"ignore", "unknown"}:
        return
    if kind is None:
        _unknown_type(desk, path, interface)
    elif interface.state == "absent":
        for row in _absent(interface.name, kind, desk.host):
            desk.add(row, path)
    elif interface.state == "down":
        desk.add(Row(("up", interface.name), absent=True), (*path, "state"))
        _up(desk, path, interface, kind)
    else:
        desk.add(Row(("up", interface.name)), path)
        _up(desk, path, interface, kind)


def _unknown_type(desk: Desk, path: Path, interface: Interface) -> None:
    have = desk.host.get("link", interface.name)
    if interface.state == "absent":
        kind = desk.kinds.by_type.get(have.attrs["type"]) if have else None
        if kind and not kind.shown_as:
            message = f"{interface.name} is of type {kind.type}, and not of type {interface.type}"
            desk.fault(interface.name, (*path, "type"), message, f"type: {kind.type}")
        elif have is not None:
            desk.fault(
                interface.name,
                path,
                f"{interface.name} is of type {have.attrs['type']}, which is not supported yet, and could"
                " not be made again",
                "delete it yourself",
                unsupported=True,
            )
        return
    if not is_given(interface.type):
        desk.fault(
            interface.name,
            (*path, "name"),
            f"there is no interface {interface.name}, and no type says what to make",
            "add its type, or mend its name",
        )
        return
    known = sorted(kind.type for kind in desk.kinds.by_type.values() if not kind.shown_as)
    desk.fault(
        interface.name,
        (*path, "type"),
        f"interfaces of type {interface.type} are not supported yet",
        f"supported types: {', '.join(known)}",
        unsupported=True,
    )


def _absent(name: str, kind: Kind, host: Host) -> Iterator[Row]:
    """Yield what makes an interface absent: a virtual link goes, a network card loses its configuration."""
    row = host.get("link", name)
    if row is None:
        return
    if kind.virtual and row.attrs.get("type") not in {"ethernet", "loopback"}:
        yield Row(row.key, absent=True)
        return
    if ("port", name) in host:
        yield Row(("port", name), absent=True)
    yield from without_addresses(name, host, families=(4, 6))
    yield from defaults(name, host)


def _up(desk: Desk, path: Path, interface: Interface, kind: Kind) -> None:
    name, host = interface.name, desk.host
    attrs: dict[str, Any] = {"type": _type(host, name, kind)}
    attrs |= {
        word: value
        for word, value in (
            ("mtu", interface.mtu),
            ("mac", interface.mac_address),
            ("alias", _alias(desk, interface)),
            ("addr-gen-mode", getattr(interface.ipv6, "addr_gen_mode", None)),
        )
        if is_given(value)
    }
    if is_given(interface.copy_mac_from):
        attrs["mac"] = _copied_mac(desk, path, interface)
    config = _config(desk, interface, kind)
    can_be = kind.macs(config, name, host)
    if is_given(interface.mac_address) and can_be is not None and interface.mac_address not in can_be:
        message = f"no port of {name} has {interface.mac_address}, which has its active port's MAC address"
        desk.fault(name, (*path, "mac-address"), message, "leave it out, or use another fail_over_mac")
    for fault in kind.check(config, name, host):
        where = (*path, kind.section, *fault.path) if fault.path else path
        desk.out.faults.append((name, structs.replace(fault, path=where)))
    attrs |= kind.settings(config, name, host)
    stays = attrs.get("base-iface") in {None, host.attr("link", name, name="base-iface")}
    if attrs.get("mac") and stays and is_lent(attrs["mac"], name, host):
        del attrs["mac"]
    desk.add(Row(("link", name), attrs), path)
    for row in kind.rows(config, name, host):
        if row.key[0] == "up" and interface.state == "down":
            continue  # what is down brings nothing else up
        where = _port_path(path, kind, config, row.name) if row.key[0] == "port" else (*path, kind.section)
        desk.add(row, where, implied=True)
    _controller(desk, path, interface)
    _addresses(desk, path, interface)


def _config(desk: Desk, interface: Interface, kind: Kind) -> Any:
    """Return the section of an interface's type; a veth's peer is also who names it as his."""
    config = interface.part(kind.section)
    if not is_given(config):
        config = kind.config() if kind.config else None
    peer = desk.peers.get(interface.name)
    if peer and kind.below == "peer" and not is_given(config.peer):
        return structs.replace(config, peer=peer)
    return config


def _left(desk: Desk, interface: Interface) -> None:
    """Note what a document says that is left to the link itself."""
    kind = desk.kind_of(interface)
    told = interface.ethtool if interface.is_up and is_given(interface.ethtool) else None
    found = [f"ethtool.{word}" for word in ETHTOOL if is_given(getattr(told, word, None))]
    for section, words in kind.as_it_is.items() if kind and interface.is_up else ():
        said = flat(interface.part(section))
        found += [word for word in words if word in said]
    if is_given(interface.ipv6) and (interface.is_up or interface.state == "down"):
        mac = interface.mac_address or desk.host.attr("link", interface.name, name="mac")
        found += unmade(interface.name, interface.ipv6, mac, desk.host)
    lasts = [
        address
        for ip in (interface.ipv4, interface.ipv6)
        if is_given(ip) and interface.is_up
        for address in leased(interface.name, ip, desk.host)
    ]
    texts = {
        f"left to {interface.name} itself, and not set": found,
        f"leased, and {interface.name} has it for good": lasts,
    }
    for text, names in texts.items():
        if names:
            line = f"warning: {text}: {', '.join(names)}"
            desk.out.notes.append(Note("warn", ("link", interface.name), line, (interface.name,)))


def _untold(desk: Desk, interface: Interface) -> None:
    """Note what is written and cannot be read back, since a link does not tell it now."""
    row, have = desk.out.rows.get(("link", interface.name)), desk.host.get("link", interface.name)
    if row is None or have is None or row.absent:
        return
    wanted = [name for name in have.attrs.get("untold", ()) if name in difference(have.attrs, row)]
    if wanted:
        unknown = [name for name in wanted if name not in have.attrs]
        text = f"warning: {interface.name} has others' values in force and does not tell its own: "
        text += f"{', '.join(wanted)} cannot be verified{' or undone' if unknown else ''}"
        desk.out.notes.append(Note("warn", row.key, text, (interface.name,)))


def _keeps(desk: Desk, interface: Interface) -> None:
    """Note which ports of guests a port list leaves where they are."""
    kind = desk.kind_of(interface)
    if kind is None or not kind.port_attrs or not is_given(getattr(interface.config, "port", None)):
        return
    if desk.host.attr("link", interface.name, name="type") != kind.type:
        return  # what it was keeps none
    guests = [name for name in guests_of(interface.name, desk.host) if ("port", name) not in desk.out.rows]
    if guests:
        text = kept_on(interface.name, guests)
        desk.out.notes.append(Note("keep", ("port", interface.name), text, tuple(guests)))


def _type(host: Host, name: str, kind: Kind) -> str:
    have = str(host.attr("link", name, name="type", default=kind.type))
    return have if {have, kind.type} <= SAME_TYPE else kind.type


def _alias(desk: Desk, interface: Interface) -> Any:
    """Return the description; what is shown of one that is no text means the very same bytes."""
    have = desk.host.attr("link", interface.name, name="alias")
    return have if have and readable(have) == interface.description else interface.description


def _copied_mac(desk: Desk, path: Path, interface: Interface) -> str | None:
    source = str(interface.copy_mac_from)
    mac = permanent(source, desk.host)
    if mac == NO_MAC:
        message = f"{source} has no MAC address to copy"
        desk.fault(interface.name, (*path, "copy-mac-from"), message)
    elif mac is None:
        desk.fault(
            interface.name,
            (*path, "copy-mac-from"),
            f"there is no interface {source} to copy a MAC address from",
        )
    return None if mac is None else str(mac)


def _port_path(path: Path, kind: Kind, config: Any, port: str) -> Path:
    names = [getattr(entry, "name", entry) for entry in getattr(config, "port", None) or ()]
    return (*path, kind.section, "port", names.index(port)) if port in names else (*path, kind.section)


def _controller(desk: Desk, path: Path, interface: Interface) -> None:
    if not is_given(interface.controller):
        return
    name, controller = interface.name, str(interface.controller)
    if not controller:
        desk.add(Row(("port", name), absent=True), (*path, "controller"))
        return
    desk.add(Row(("port", name), {"controller": controller}), (*path, "controller"))


def _addresses(desk: Desk, path: Path, interface: Interface) -> None:
    for version, ip in ((4, interface.ipv4), (6, interface.ipv6)):
        if is_given(ip):
            where: Path = (*path, f"ipv{version}")
            for row in address_rows(interface.name, ip, version, desk.host):
                desk.add(row, (*where, "address") if row.key[0] == "address" else where)
