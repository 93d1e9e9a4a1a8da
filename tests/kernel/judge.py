"""Whether a document has come true, by what ip and bridge say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outside import Namespace

KINDS = {"linux-bridge": "bridge", "mac-vlan": "macvlan"}


def untrue(ns: Namespace, document: dict[str, Any]) -> list[str]:
    """Return what of a document's interfaces does not hold, once it no longer changes."""
    links = {link["ifname"]: link for link in ns.json("ip", "-d", "-j", "addr")}
    vlans = {port["ifname"]: _ids(port) for port in ns.json("bridge", "-j", "vlan")}
    return [
        f"{interface['name']}: {what}"
        for interface in document["interfaces"]
        for what in _of(interface, links, vlans)
    ]


def _of(interface: dict[str, Any], links: dict[str, Any], vlans: dict[str, set[int]]) -> Iterator[str]:
    link, state = links.get(interface["name"]), interface.get("state", "up")
    if state == "absent" or link is None:
        if (state == "absent") != (link is None):
            yield f"is {'there' if link else 'not there'}"
        return
    info = link.get("linkinfo", {})
    expected = {
        "up": ("UP" in link["flags"], state == "up"),
        "type": (info.get("info_kind"), KINDS.get(interface.get("type", ""), interface.get("type"))),
        "mtu": (link["mtu"], interface.get("mtu")),
        "MAC": (link["address"], interface.get("mac-address")),
        **_section(interface, link, info.get("info_data", {})),
        **_addresses(interface, link),
        **_ports(interface, links, vlans),
    }
    for what, (have, want) in expected.items():
        if want is not None and have != want:
            yield f"{what} is {have} and not {want}"


def _section(interface: dict[str, Any], link: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    vlan, macvlan = interface.get("vlan", {}), interface.get("mac-vlan", {})
    bond, bridge = interface.get("link-aggregation", {}), interface.get("bridge", {}).get("options", {})
    stp, hash_policy = bridge.get("stp", {}), bond.get("options", {}).get("xmit_hash_policy")
    return {
        "base": (
            link.get("link"),
            (vlan or macvlan).get("base-iface", interface.get("veth", {}).get("peer")),
        ),
        "id": (data.get("id"), vlan.get("id")),
        "mode": (data.get("mode"), macvlan.get("mode", bond.get("mode"))),
        "hash policy": (data.get("xmit_hash_policy"), hash_policy),
        "STP": (bool(data.get("stp_state")), stp.get("enabled")),
        "forward delay": (data.get("forward_delay"), _hundredths(stp.get("forward-delay"))),
        "ageing time": (data.get("ageing_time"), _hundredths(bridge.get("mac-ageing-time"))),
        "default PVID": (data.get("vlan_default_pvid"), bridge.get("vlan-default-pvid")),
    }


def _hundredths(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 100


def _addresses(interface: dict[str, Any], link: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for section, family in (("ipv4", "inet"), ("ipv6", "inet6")):
        have = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a.get("family") == family}
        said = interface.get(section, {})
        want = {f"{a['ip']}/{a['prefix-length']}" for a in said.get("address", ())}
        if want or said.get("enabled") is False:
            found[f"{section} addresses"] = (have, want)
    return found


def _ports(interface: dict[str, Any], links: dict[str, Any], vlans: dict[str, set[int]]) -> dict[str, Any]:
    section = interface.get("link-aggregation") or interface.get("bridge") or {}
    if "port" not in section:
        return {}
    name, ports = (
        interface["name"],
        [port if isinstance(port, dict) else {"name": port} for port in section["port"]],
    )
    have = {link["ifname"] for link in links.values() if link.get("master") == name}
    found: dict[str, Any] = {"ports": (have, {port["name"] for port in ports})}
    for port in ports:
        if tags := _tags(port.get("vlan", {})):
            found[f"VLANs of {port['name']}"] = (vlans.get(port["name"], set()) & tags, tags)
    return found


def _tags(vlan: dict[str, Any]) -> set[int]:
    tags = {vlan["tag"]} if "tag" in vlan else set()
    for one in vlan.get("trunk-tags", ()):
        span = one.get("id-range", {"min": one.get("id"), "max": one.get("id")})
        tags |= set(range(span["min"], span["max"] + 1))
    return tags


def _ids(port: dict[str, Any]) -> set[int]:
    spans = [(vlan["vlan"], vlan.get("vlanEnd", vlan["vlan"])) for vlan in port["vlans"]]
    return {vid for first, last in spans for vid in range(first, last + 1)}
