"""Routes: what `ip route` shows (net/ipv4/fib_frontend.c, net/ipv6/route.c); their bytes are in rtmsg.py.

Keys are ("route", "ipv4" | "ipv6", table, destination, metric, ...), with `tos 8` and `from 2001:db8::/48`
after it where there are such, `dev eth1` for an IPv6 route without a gateway, and a word of its own for each
further route of the same key.

A dump holds what administrators and the host's own configuration put there. A routing daemon's routes are not
read, of which there may be very many: only those that a plan would take along (nncp.netlink.others).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.address import is_advertised, local_of
from nncp.tables.rtmsg import FAMILIES, HOPLESS, Hop, cannot_be_made, pack, unpack
from nncp.tables.table import SHARED, Table, Usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host, Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.rtmsg import Hop
    from nncp.tables.table import Dumps, Indexes, Rows, Write

RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_BOOT, RTPROT_STATIC, RTPROT_RA, RTPROT_DHCP = 1, 2, 3, 4, 9, 16
CONFIG_PROTOCOLS = frozenset({RTPROT_BOOT, RTPROT_STATIC})  # what an administrator put there
OF_THE_LINK = CONFIG_PROTOCOLS | {RTPROT_RA, RTPROT_DHCP}
"""Protocols whose routes are a link's configuration, as its addresses are."""
PROTOCOLS = {
    RTPROT_BOOT: "boot", RTPROT_STATIC: "static", RTPROT_RA: "ra", RTPROT_DHCP: "dhcp",
    17: "mrouted", 18: "keepalived", 42: "babel",
}  # fmt: skip
"""Those that are dumped (nmstate shows the same), and their names (linux/rtnetlink.h)."""
OTHERS = {
    8: "gated", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 84: "ovn",
    99: "openr", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}  # fmt: skip
SHOWN_SCOPES = frozenset({0, 253})  # universe and link
SHOWN_TYPES = frozenset({"unicast", "blackhole", "unreachable", "prohibit"})
MAIN_TABLE = "254"
TOLD = 8
"""So many prefixes of a link are told."""
LINK_LOCAL = ipaddress.ip_network("fe80::/64")
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE


def protocol_word(attrs: Mapping[str, Any]) -> str:
    """Return the name of a route's protocol."""
    number = attrs.get("protocol", RTPROT_STATIC)
    return PROTOCOLS.get(number) or OTHERS.get(number) or f"protocol {number}"


def rows_of(word: str, dump: Iterable[bytes], names: Mapping[int, str]) -> Iterator[Row]:
    """Yield the routes of a dump, but for those that are the kernel's own."""
    seen: set[Key] = set()
    for data in dump:
        found = unpack(word, data, names)
        if found is None or found[1]["protocol"] in {RTPROT_REDIRECT, RTPROT_KERNEL}:
            continue
        key, attrs = found
        if key in seen:
            key = _further(key, attrs, seen)
        seen.add(key)
        yield Row(key, attrs)


def _further(key: Key, attrs: Mapping[str, Any], seen: set[Key]) -> Key:
    """Return the key of a further route with the same destination and metric (`ip route append`)."""
    words = _hops(attrs) or attrs["type"]
    for told in (words, f"{words} proto {protocol_word(attrs)}"):
        if (*key, told) not in seen:
            return (*key, told)
    count = sum(other[: len(key)] == key for other in seen)
    return (*key, f"{words} {count}")


def is_narrowed(key: Key) -> bool:
    """Whether a route is for a TOS or a source prefix alone: no document has a word for either."""
    return any(map(_narrows, key[5:]))


def _narrows(word: str) -> bool:
    return word.startswith(("tos ", "from "))


def _is_further(key: Key) -> bool:
    return len(key) > 5 and not _narrows(key[-1])


def _stem(key: Key) -> Key:
    """Return the key that the first route of this destination, metric, tos and source prefix has."""
    return key[:-1] if _is_further(key) else key


def _read(dumps: Dumps) -> Iterator[Row]:
    for word, family in FAMILIES.items():
        found: list[bytes] = []
        for protocol in PROTOCOLS:
            # The kernel picks them (NETLINK_GET_STRICT_CHK); one that does not look sends all each time.
            body = wire.RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0)
            answers = dumps.dump(wire.RTM_GETROUTE, body)
            found += [data for data in answers if wire.RTMSG.unpack_from(data)[5] == protocol]
        yield from rows_of(word, found, dumps.names)


def _needs(key: Key, rows: Rows, kinds: Any) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    nexthop = ("nexthop", str(rows[key].get("nexthop-id")))
    if nexthop in rows:
        yield nexthop
    for hop in rows[key].get("nexthops", ()):
        yield ("link", hop[0])
        yield ("up", hop[0])


def _lives_on(key: Key, attrs: Mapping[str, Any]) -> Iterator[Key]:
    if key[1] == "ipv4":
        # fib_disable_ip() takes every route of a link that loses its last IPv4 address.
        yield from ((SHARED, "ipv4", hop[0]) for hop in attrs.get("nexthops", ()))
    if source := attrs.get("source"):
        # fib_sync_down_addr() takes the routes whose source goes; IPv6 takes their source from them.
        yield (SHARED, "source", source)


class Reach:
    """Which gateways can be reached through which link, on a host of which these are the rows.

    The kernel looks a gateway up in the table of its route, then as it would any address (fib_check_nh_v4_gw,
    ip6_route_check_nh). A prefix that a router advertises without an address is no row: of a link that
    listens to one nothing is known to be out of reach.
    """

    def __init__(self, rows: Iterable[tuple[Key, Mapping[str, Any]]], kinds: Kinds) -> None:
        self._networks: dict[str, dict[tuple[str, int, int], dict[int, Any]]] = {}
        self._broadcast: dict[tuple[str, Any], str] = {}
        self._own: set[tuple[str, Any]] = set()
        self._bare: set[Any] = set()
        self._controllers: dict[str, str] = {}  # by their ports
        self._routed: set[str] = set()  # controllers whose ports keep their addresses
        self._tables: dict[str, str] = {}  # of VRFs
        self._holders: dict[Any, set[str]] = {}
        self._advertised: set[str] = set()
        for key, attrs in rows:
            if key[0] == "address":
                self._add_address(key, attrs)
            elif key[0] == "route" and attrs.get("type", "unicast") == "unicast":
                self._add_route(key, attrs)
            elif key[0] == "port":
                self._controllers[key[1]] = attrs["controller"]
            elif key[0] == "link" and kinds.is_routed(attrs.get("type", "")):
                self._routed.add(key[1])
                self._tables[key[1]] = str(attrs.get("route-table-id", ""))

    def _add_address(self, key: Key, attrs: Mapping[str, Any]) -> None:
        address, _, size = local_of(key[2]).partition("/")
        network = ipaddress.ip_network(f"{attrs.get('peer-address') or address}/{size}", strict=False)
        self._bare.add(ipaddress.ip_address(address))
        self._holders.setdefault(ipaddress.ip_address(address), set()).add(key[1])
        self._own.add(_where(key[1], ipaddress.ip_address(address)))
        if network.version == 4 and network.prefixlen < 31:
            # The network's own is one whatever was given besides (net/ipv4/fib_frontend.c, fib_add_ifaddr).
            own = str(network.broadcast_address)
            for broadcast in {own, attrs.get("broadcast") or own}:
                self._broadcast[key[1], ipaddress.ip_address(broadcast)] = str(network)
        if is_advertised(key, attrs):
            self._advertised.add(key[1])
        if not attrs.get("noprefixroute"):
            self._add_network(key[1], MAIN_TABLE, network)

    def _add_route(self, key: Key, attrs: Mapping[str, Any]) -> None:
        for link, via, *_ in attrs.get("nexthops", ()):
            if attrs.get("protocol") == RTPROT_RA:
                self._advertised.add(link)
            if not via:
                self._add_network(link, key[2], ipaddress.ip_network(key[3]))

    def _add_network(self, link: str, table: str, network: Any) -> None:
        alike = (table, network.version, network.prefixlen)
        found = self._networks.setdefault(link, {}).setdefault(alike, {})
        found[int(network.network_address)] = network

    def is_own(self, address: str) -> bool:
        """Whether a link has an address; the loopback has all of 127.0.0.0/8."""
        parsed = ipaddress.ip_address(address)
        return parsed in self._bare or (parsed.version == 4 and parsed.is_loopback)

    def owner(self, address: str, table: str) -> str:
        """Return the VRF whose own an address is, "" where a route of a table may have it as its source.

        That of a VRF, or of its port, is known to the VRF's table alone (net/ipv4/fib_semantics.c,
        fib_valid_prefsrc); IPv6 asks the links.
        """
        parsed = ipaddress.ip_address(address)
        links = self._holders.get(parsed, set()) if parsed.version == 4 else set()
        owners = {link if link in self._tables else self._controllers.get(link, "") for link in links}
        if any(self._tables.get(owner, table) == table for owner in owners):
            return ""
        return min(owners, default="")

    def why_not(self, link: str, gateway: str, table: str) -> str:
        """Return why no route of a table may lead to a gateway through a link, as words after it, or ""."""
        address = ipaddress.ip_address(gateway)
        if address.version == 6 and _where(link, address) in self._own:
            return "is an address of this host itself"
        if address.version == 6 and address.is_link_local:
            port = self._controllers.get(link, "") not in {"", *self._routed}
            return f"is behind {link}, which is a port" if port else ""
        if address.version == 6 and link in self._advertised:
            return ""
        if (link, address) in self._broadcast:
            return f"is the broadcast address of {self._broadcast[link, address]}"
        known = {
            (where, size): found
            for (where, version, size), found in self._networks.get(link, {}).items()
            if version == address.version and where in {MAIN_TABLE, table}
        }
        for (_, size), found in known.items():
            host = address.max_prefixlen - size
            if int(address) >> host << host in found:
                return ""
        every = {
            str(network) for found in known.values() for network in found.values() if network != LINK_LOCAL
        }
        more = ", ..." if len(every) > TOLD else ""
        told = ", ".join(sorted(every)[:TOLD]) + more
        return f"is outside every prefix of {link} ({told or 'which has no address'})"


def _where(link: str, address: Any) -> tuple[str, Any]:
    """Return an address with the link on which it is this host's: any, unless it is IPv6's link-local."""
    return (link if address.version == 6 and address.is_link_local else "", address)


def _fallen(keys: Iterable[Key], rows: Rows, kinds: Kinds) -> set[Key]:
    """Return those routes that the kernel would not take: by a gateway out of reach, or a VRF's address."""
    keys = list(keys)
    sourced = [key for key in keys if key[1] == "ipv4" and rows[key].get("source")]
    found = [key for key in keys if any(hop[1] and not hop[3] for hop in rows[key].get("nexthops", ()))]
    if not found and not sourced:
        return set()
    reach = Reach(rows.items(), kinds)
    fallen = {key for key in found if any(_falls(hop, key[2], reach) for hop in rows[key]["nexthops"])}
    own = [key for key in sourced if reach.is_own(rows[key]["source"])]
    return fallen | {key for key in own if reach.owner(rows[key]["source"], key[2])}


def _falls(hop: Hop, table: str, reach: Reach) -> bool:
    return bool(hop[1]) and not hop[3] and bool(reach.why_not(hop[0], hop[1], table))


def _write(op: Op, indexes: Indexes) -> Iterator[Write]:
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELROUTE, wire.NLM_F_ACK, pack(op.key, op.old, indexes))
        return
    if (source := op.attrs.get("source")) and op.key[1] == "ipv6":
        yield Usable(source)  # ip6_route_info_create() refuses one that is still tentative
    body = pack(op.key, op.attrs, indexes)
    if _is_further(op.key):
        if op.verb == "change":
            yield wire.message(wire.RTM_DELROUTE, wire.NLM_F_ACK, pack(op.key, op.old, indexes))
        yield wire.message(wire.RTM_NEWROUTE, PUT | wire.NLM_F_APPEND, body)
    elif op.attrs.get("beside"):
        yield wire.message(wire.RTM_NEWROUTE, PUT, body)  # before the others, of which it was the first
    elif op.verb == "create" and not op.old:
        # Whoever has put one there meanwhile keeps it: a routing daemon, say, whose routes were not read.
        yield wire.message(wire.RTM_NEWROUTE, PUT | wire.NLM_F_EXCL, body)
    else:
        yield wire.message(wire.RTM_NEWROUTE, PUT | wire.NLM_F_REPLACE, body)


def _hops(attrs: Mapping[str, Any]) -> str:
    hops: Iterable[Hop] = attrs.get("nexthops") or ()
    many = len(attrs.get("nexthops") or ()) > 1
    return " and ".join(
        f"{f'via {hop[1]} ' if hop[1] else ''}dev {hop[0]}"
        f"{f' weight {hop[2]}' if many else ''}{' onlink' if hop[3] else ''}"
        for hop in hops
    )


def words(key: Key, attrs: Mapping[str, Any]) -> str:
    """Return a route as `ip route` words it."""
    kind = attrs.get("type", "unicast")
    said = ["" if kind == "unicast" else kind, "" if kind in HOPLESS else _hops(attrs)]
    said.append(f"metric {key[4]}" if key[4] != "0" and key[1:5:3] != ("ipv6", "1024") else "")
    said.append(f"table {key[2]}" if key[2] != MAIN_TABLE else "")
    said.append(f"src {attrs['source']}" if attrs.get("source") else "")
    said.append(f"cwnd {attrs['cwnd']}" if attrs.get("cwnd") else "")
    said.append(f"proto {protocol_word(attrs)}" if attrs.get("protocol", 4) not in CONFIG_PROTOCOLS else "")
    return " ".join(word for word in said if word)


def _named(key: Key) -> str:
    return f"route {key[3]}{''.join(f' {word}' for word in key[5:] if _narrows(word))}"


def _renamed(key: Key, attrs: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Key, Mapping[str, Any]]:
    hops = attrs.get("nexthops", ())
    if not any(hop[0] in names for hop in hops):
        return key, attrs
    links = {f"dev {old}": f"dev {new}" for old, new in names.items()}
    key = (*key[:5], *(links.get(word, word) for word in key[5:]))
    return key, {**attrs, "nexthops": tuple(sorted((names.get(hop[0], hop[0]), *hop[1:]) for hop in hops))}


def _show(host: Host, names: set[str]) -> Mapping[str, Any]:
    """Return all routes as `running`, and as `config` those of an administrator that a document can say."""
    found = sorted(_by_protocol(host, names), key=lambda found: _route_order(found[1]))
    return {
        "routes": {"running": [entry for _, entry in found], "config": [entry for own, entry in found if own]}
    }


def _by_protocol(host: Host, wanted: set[str]) -> list[tuple[bool, dict[str, Any]]]:
    return [
        (row.attrs.get("protocol") in CONFIG_PROTOCOLS and _can_be_asked_for(row, host), entry)
        for row in host.table("route")
        if row.attrs.get("type", "unicast") in SHOWN_TYPES
        and row.attrs.get("scope", 0) in SHOWN_SCOPES
        and row.attrs.get("protocol", RTPROT_STATIC) in PROTOCOLS
        for entry in _routes(row)
        if not wanted or entry.get("next-hop-interface") in wanted
    ]


def _can_be_asked_for(row: Row, host: Host) -> bool:
    """Whether a document can say a route: weights are IPv4's alone in nmstate, and no two hops are alike."""
    hops = row.attrs.get("nexthops", ())
    if is_narrowed(row.key) or (row.key[1] == "ipv6" and any(hop[2] != 1 for hop in hops)):
        return False
    # A hop over a link that is down stands beside others (fib_sync_down_dev).
    return len({hop[:2] for hop in hops}) == len(hops) and all(("up", hop[0]) in host for hop in hops)


def _routes(row: Row) -> list[dict[str, Any]]:
    """Return one entry for each next hop, as nmstate writes multipath routes."""
    _, family, table, network, metric, *_ = row.key
    shown: dict[str, Any] = {"destination": network, "metric": int(metric), "table-id": int(table)}
    shown |= {name: row.attrs[name] for name in ("source", "cwnd") if row.attrs.get(name)}
    if row.attrs.get("type", "unicast") != "unicast":
        return [{**shown, "route-type": row.attrs["type"]}]
    hops = row.attrs.get("nexthops", ())
    none = "::" if family == "ipv6" else "0.0.0.0"  # noqa: S104  (nmstate's word for no gateway)
    return [
        {
            **shown,
            "next-hop-interface": hop[0],
            "next-hop-address": hop[1] or none,
            # nmstate has weights for IPv4 alone.
            **({"weight": hop[2]} if len(hops) > 1 and family == "ipv4" else {}),
        }
        for hop in hops
    ]


def _route_order(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["table-id"], entry["destination"], entry["metric"], entry.get("next-hop-address", ""))


def _changed(op: Op) -> str:
    before, after = words(op.key, op.old), words(op.key, op.attrs)
    if before == after:
        return f"{_named(op.key)} {before}: proto {protocol_word(op.old)} → {protocol_word(op.attrs)}"
    return f"{_named(op.key)}: {before} → {after}"


ROUTE = Table(
    name="route",
    read=_read,
    write=_write,
    needs=_needs,
    lives_on=_lives_on,
    fallen=_fallen,
    cannot_be_made=lambda attrs, _: cannot_be_made(attrs),
    links=lambda _, attrs: (hop[0] for hop in attrs.get("nexthops", ())),
    about=False,
    whole=True,
    stem=_stem,
    # A route to the link comes before what is behind a gateway on it.
    turn=lambda _, attrs, number: (any(hop[1] for hop in attrs.get("nexthops", ())), number),
    sentence=lambda op: f"{op.verb} {_named(op.key)}",
    what=lambda key, attrs: f"{_named(key)} {words(key, attrs)}",
    changed=_changed,
    told=True,
    counted=lambda attrs: "" if attrs.get("protocol", RTPROT_STATIC) in PROTOCOLS else protocol_word(attrs),
    partly=lambda attrs: "hops of " if len(attrs.get("nexthops", ())) > 1 or attrs.get("nexthop-id") else "",
    plural="routes",
    renamed=_renamed,
    show=_show,
)
