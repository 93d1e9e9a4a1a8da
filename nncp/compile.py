"""From a document to the rows that it asks for, given the host: nmstate's merge, absence and list rules.

What a document does not mention gets no row. What it takes away gets an absent one, so that a plan, its
verification and a later look for drift all see the same wish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from nncp.addresses import LOOPBACK, address_rows, defaults, unmade, without_addresses
from nncp.carried import carried, joined
from nncp.difference import difference
from nncp.document.rules import NO_MAC
from nncp.document.state import Interface, State
from nncp.host import Host, Key, Row
from nncp.kinds.codec import readable
from nncp.kinds.flat import flat, is_given
from nncp.kinds.kind import Fault, Kind
from nncp.kinds.ports import guests_of
from nncp.listed import kept_on
from nncp.macs import is_lent, of_new_bridges, permanent
from nncp.mtu import misfits, shrunk
from nncp.routes import route_rows
from nncp.tables.kinds import Kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]

ETHTOOL = ("pause", "feature", "coalesce", "ring")
LINUX_BRIDGE = "linux-bridge"
SAME_TYPE = frozenset({"ethernet", "veth"})
"""nmstate calls a veth an ethernet and the other way round."""


class Note(Struct, frozen=True):
    """What a plan says beside what it writes: a verb, the row that it is about, a line, and which links."""

    verb: Literal["keep", "warn"]
    key: Key
    text: str
    names: tuple[str, ...] = ()


class Compiled(Struct):
    """Wanted rows, where in the document each comes from, what is wrong with the document, and notes."""

    rows: dict[Key, Row]
    origins: dict[Key, Path]
    faults: list[tuple[str, Fault]]
    notes: list[Note] = []


class _Desk(Struct):
    """What the compilation of one document works on."""

    host: Host
    kinds: Kinds
    out: Compiled
    named: dict[str, tuple[int, Interface]]
    freed: set[Key]
    seen_peers: dict[str, str] | None = None

    def add(self, row: Row, path: Path, *, implied: bool = False) -> None:
        """Take a row in; an implied one never contradicts what the document says outright.

        A link that is to be ignored stays exactly as it is, whoever mentions it.
        """
        if self.is_ignored(row):
            return
        have = self.out.rows.get(row.key)
        freed = have is not None and have.absent and row.key in self.freed
        if have is None or (freed and not row.absent):
            # A port that one list lets go and another takes moves; lists may come in any order.
            self.out.rows[row.key] = row
            self.out.origins[row.key] = path
            self.freed.update([row.key] if implied and row.absent else [])
        elif have.absent == row.absent:
            attrs = {**row.attrs, **have.attrs} if implied else {**have.attrs, **row.attrs}
            self.out.rows[row.key] = Row(row.key, attrs, (), row.absent)
        elif not implied:
            self.out.rows[row.key] = row
            self.out.origins[row.key] = path

    def fault(
        self,
        subject: str,
        path: Path,
        message: str,
        hint: str = "",
        *,
        unsupported: bool = False,
        of_host: bool = True,
    ) -> None:
        """Note what is wrong; compiling goes on, so that all of it is told at once."""
        self.out.faults.append((subject, Fault(path, message, hint, unsupported, of_host)))

    def is_ignored(self, row: Row) -> bool:
        """Whether a row is about a link that the document wants left alone."""
        found = self.named.get(row.name) if self.kinds.tables[row.key[0]].about else None
        return found is not None and found[1].state in {"ignore", "unknown"}

    def kind_of(self, interface: Interface) -> Kind | None:
        """Return the kind of an interface: what the document says, or else what the host has."""
        type_name = (
            interface.type
            if is_given(interface.type)
            else self.host.attr("link", interface.name, name="type")
        )
        if type_name in SAME_TYPE and (is_given(interface.part("veth")) or interface.name in self.peers):
            return self.kinds.by_type.get("veth")
        return self.kinds.by_type.get(str(type_name))

    @property
    def peers(self) -> Mapping[str, str]:
        """The other end's name of each link that a document names as the peer of a veth."""
        if self.seen_peers is None:
            self.seen_peers = {
                str(veth.peer): interface.name
                for _, interface in self.named.values()
                if is_given(veth := interface.part("veth")) and is_given(veth.peer)
            }
        return self.seen_peers

    def is_absent(self, name: str) -> bool:
        """Whether the document itself takes a link away."""
        return name in self.named and self.named[name][1].state == "absent"

    def type_of(self, name: str) -> str:
        """Return the type that a link will have, or ""."""
        row = self.out.rows.get(("link", name))
        return str((row and row.attrs.get("type")) or self.host.attr("link", name, name="type", default=""))

    def will_be(self, name: str) -> bool:
        """Whether a link of this name will be there."""
        if name in self.named:
            return self.named[name][1].state not in {"absent", "ignore"} or (
                self.named[name][1].state == "ignore" and ("link", name) in self.host
            )
        return ("link", name) in self.host or ("link", name) in self.out.rows


def compile_state(state: State, interfaces: Mapping[int, Interface], host: Host, kinds: Kinds) -> Compiled:
    """Return what a document asks of `host`; its `faults` are empty when it can be meant.

    Args:
        state: the document, but for its interfaces.
        interfaces: its interfaces, by their index.
        host: the rows as they are.
        kinds: the interface types.

    """
    named = {interface.name: (i, interface) for i, interface in interfaces.items()}
    desk = _Desk(host, kinds, Compiled({}, {}, []), named, set())
    for i, interface in interfaces.items():
        _interface(desk, i, interface)
    _links_together(desk)
    for row in list(of_new_bridges(desk.out.rows, host)):
        desk.add(row, desk.out.origins[row.key], implied=True)
    for row in list(carried(desk.out.rows, host)):
        desk.add(row, desk.out.origins.get(("link", row.name), ()))
    for interface in interfaces.values():
        _keeps(desk, interface)
        _left(desk, interface)
        _untold(desk, interface)
    for row, cause in list(shrunk(desk.out.rows, host, kinds)):
        desk.add(row, desk.out.origins.get(("link", cause), ()), implied=True)
        if desk.is_ignored(row):
            text = f"warning: {row.name} gets mtu {row.attrs['mtu']} with {cause}, below it"
            desk.out.notes.append(Note("warn", row.key, text, (row.name,)))
    for misfit in misfits(desk.out.rows, host, kinds):
        place = desk.out.origins["link", misfit.name]
        said = any(("interfaces", i) == place and is_given(one.mtu) for i, one in interfaces.items())
        where = (*place, "mtu") if said else place
        desk.fault(misfit.name, where, misfit.message, misfit.hint, of_host=not misfit.said)
    for bridge, base, names in joined(desk.out.rows.values(), host):
        text = f"warning: {bridge} joins VLANs of {base} into one network: {', '.join(names)}"
        desk.out.notes.append(Note("warn", ("port", bridge), text, tuple(names)))
    routes = state.routes.config if is_given(state.routes) and state.routes else ()
    wished = route_rows(
        tuple(routes or ()) if is_given(routes) else (), host, desk.out.rows, desk.will_be, desk.fault
    )
    for row, index in wished:
        path = ("routes", "config", index) if index is not None else _taker(desk, row)
        desk.add(row, path)
    return desk.out


def _taker(desk: _Desk, row: Row) -> Path:
    """Return the place of what takes a route away: where its link loses its addresses."""
    names = {hop[0] for hop in desk.host.attr(*row.key, name="nexthops", default=())}
    origins = desk.out.origins.items()
    return next((path for key, path in origins if key[0] == "address" and key[1] in names), ())


def _interface(desk: _Desk, index: int, interface: Interface) -> None:
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


def _unknown_type(desk: _Desk, path: Path, interface: Interface) -> None:
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


def _up(desk: _Desk, path: Path, interface: Interface, kind: Kind) -> None:
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


def _config(desk: _Desk, interface: Interface, kind: Kind) -> Any:
    """Return the section of an interface's type; a veth's peer is also who names it as his."""
    config = interface.part(kind.section)
    if not is_given(config):
        config = kind.config() if kind.config else None
    peer = desk.peers.get(interface.name)
    if peer and kind.below == "peer" and not is_given(config.peer):
        return structs.replace(config, peer=peer)
    return config


def _left(desk: _Desk, interface: Interface) -> None:
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
    if found:
        text = f"warning: left to {interface.name} itself, and not set: {', '.join(found)}"
        desk.out.notes.append(Note("warn", ("link", interface.name), text, (interface.name,)))


def _untold(desk: _Desk, interface: Interface) -> None:
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


def _keeps(desk: _Desk, interface: Interface) -> None:
    """Note which ports of guests a port list leaves where they are."""
    kind = desk.kind_of(interface)
    if kind is None or not kind.port_attrs or not is_given(getattr(interface.config, "port", None)):
        return
    guests = [name for name in guests_of(interface.name, desk.host) if ("port", name) not in desk.out.rows]
    if guests:
        text = kept_on(interface.name, guests)
        desk.out.notes.append(Note("keep", ("port", interface.name), text, tuple(guests)))


def _type(host: Host, name: str, kind: Kind) -> str:
    have = str(host.attr("link", name, name="type", default=kind.type))
    return have if {have, kind.type} <= SAME_TYPE else kind.type


def _alias(desk: _Desk, interface: Interface) -> Any:
    """Return the description; what is shown of one that is no text means the very same bytes."""
    have = desk.host.attr("link", interface.name, name="alias")
    return have if have and readable(have) == interface.description else interface.description


def _copied_mac(desk: _Desk, path: Path, interface: Interface) -> str | None:
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


def _controller(desk: _Desk, path: Path, interface: Interface) -> None:
    if not is_given(interface.controller):
        return
    name, controller = interface.name, str(interface.controller)
    if not controller:
        desk.add(Row(("port", name), absent=True), (*path, "controller"))
        return
    desk.add(Row(("port", name), {"controller": controller}), (*path, "controller"))


def _addresses(desk: _Desk, path: Path, interface: Interface) -> None:
    for version, ip in ((4, interface.ipv4), (6, interface.ipv6)):
        if is_given(ip):
            where: Path = (*path, f"ipv{version}")
            for row in address_rows(interface.name, ip, version, desk.host):
                desk.add(row, (*where, "address") if row.key[0] == "address" else where)


def _links_together(desk: _Desk) -> None:
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
        elif key[0] == "link" and row.name == LOOPBACK and row.attrs.get("mac", NO_MAC) != NO_MAC:
            # eth_mac_addr() takes it, and never again none (is_valid_ether_addr).
            message = f"{row.name} can have no MAC address: nothing could take it off again"
            desk.fault(row.name, (*path, "mac-address"), message, of_host=False)


def _check_base(desk: _Desk, row: Row, path: Path) -> None:
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


def _check_pair(desk: _Desk, row: Row, path: Path) -> None:
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


def _check_port(desk: _Desk, row: Row, path: Path) -> None:
    """Refuse ports that are not there, and those that no controller takes (br_add_if, do_vrf_add_slave)."""
    controller = row.attrs["controller"]
    if row.name == LOOPBACK:
        message = f"{row.name} is the loopback, and can be no port of {controller}"
        desk.fault(row.name, path, message, "use a dummy", of_host=False)
    elif row.name != controller and desk.type_of(row.name) == desk.type_of(controller) == LINUX_BRIDGE:
        message = f"{row.name} is a bridge, and can be no port of {controller}, which is one too"
        desk.fault(row.name, path, message, "join them by a veth, an end in each", of_host=False)
    elif not desk.will_be(row.name):
        desk.fault(
            row.name, path, f"{controller} lists the port {row.name}, which is not there", _there(desk)
        )
    elif not desk.will_be(controller):
        desk.fault(
            row.name, path, f"{row.name} names the controller {controller}, which is not there", _there(desk)
        )
    if desk.host.attr("port", row.name, name="controller") != controller:
        for lost in without_addresses(row.name, desk.host, families=(4, 6)):
            desk.add(lost, path, implied=True)


def _there(desk: _Desk) -> str:
    names = sorted({row.name for row in desk.host.table("link")} - {"lo"})
    return f"this host has {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}" if names else ""
