"""The configuration of the bridge plugin, what is wrong with it, and the rows it means. Pure.

The keys and the words of the errors are those of containernetworking's bridge plugin, which OpenShift ships
as cnv-bridge too. What that plugin does silently wrong is refused here by name: see `host_faults`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from nncp.host import Row
from vmnet.names import plain_mac
from vmnet.reading import Fault, read
from vmnet.rows import port, sysctl
from vmnet.valid import LINK, PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host

OURS = ("cnv-bridge",)
"""The plugin type that is ours: `bridge` is the reference plugin's, and is looked for where plugins are."""
BRIDGES = (*OURS, "bridge")
"""The plugin types that make ports of a node's bridge, and are read alike."""

MAX_VLAN = 4094
LEAST_MTU, MOST_MTU = 68, 65535
"""What a veth may have (net/core/dev.c, dev_validate_mtu; ether_setup, ETH_MIN_MTU)."""

DOWNLINKS = frozenset({"veth", "tap"})
"""Port types that lead to Pods and guests; every other port of a bridge is an uplink."""

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")
_WORDS = {
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "float": "a fraction",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class Trunk(Struct, frozen=True, forbid_unknown_fields=True):
    """A range of tagged VLANs, `{minID: 100, maxID: 200}`, or one, `{id: 33}`."""

    minID: int | None = None  # noqa: N815 -- the configuration's own word
    maxID: int | None = None  # noqa: N815
    id: int | None = None


class Ipam(Struct, frozen=True):
    """Who gives addresses; what else stands there is that plugin's business."""

    type: str = ""


class OfRuntime(Struct, frozen=True):
    """`runtimeConfig`, and the `cni` of `args`: the MAC of one container; the rest is other plugins'."""

    mac: str | None = None


class Args(Struct, frozen=True):
    """`args`: what a runtime passes on to plugins."""

    cni: OfRuntime | None = None


class Dns(Struct, frozen=True):
    """Resolver settings as a result has them."""

    nameservers: tuple[str, ...] | None = None
    domain: str | None = None
    search: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None


class Known(Struct, frozen=True):
    """An attachment that a runtime knows, in a GC."""

    containerID: str  # noqa: N815 -- the specification's own word
    ifname: str


class BridgeConf(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One bridge port.

    {"type": "cnv-bridge", "bridge": "br1", "vlan": 33, "macspoofchk": false}
    """

    bridge: str = "cni0"
    vlan: int = 0
    vlan_trunk: tuple[Trunk, ...] = ()
    mtu: int = 0
    macspoofchk: bool = False
    port_isolation: bool = False
    hairpin_mode: bool = False
    disable_container_interface: bool = False
    preserve_default_vlan: bool = False
    is_gateway: bool = False
    is_default_gateway: bool = False
    force_address: bool = False
    ip_masq: bool = False
    ip_masq_backend: str = ""
    promisc_mode: bool = False
    enabledad: bool = False

    # The specification's own, and its conventions'.
    name: str = ""
    cni_version: str = ""
    type: str = ""
    ipam: Ipam = Ipam()
    dns: Dns = Dns()
    args: Args = Args()
    runtime_config: OfRuntime = OfRuntime()
    capabilities: dict[str, bool] = {}
    disable_check: bool = False
    prev_result: dict[str, Any] | None = None
    valid: tuple[Known, ...] | None = field(default=None, name="cni.dev/valid-attachments")
    attachments: tuple[Known, ...] | None = field(default=None, name="cni.dev/attachments")

    @property
    def gateway(self) -> bool:
        """Whether the bridge is the containers' gateway."""
        return self.is_gateway or self.is_default_gateway

    @property
    def vlans(self) -> tuple[tuple[int, int, str], ...]:
        """The VLAN set of the port; empty when the bridge's default is to stay.

        Without `vlan` a trunk carries tagged frames only. The upstream plugin adds VLAN 1 untagged to it,
        which leaks whatever the bridge carries untagged into the guest; `preserveDefaultVlan` asks for that
        here.
        """
        tagged = {vid for trunk in self.vlan_trunk for vid in _vids(trunk)} - {self.vlan}
        if not tagged and not self.vlan:
            return ()
        vids = dict.fromkeys(sorted(tagged), "")
        if self.preserve_default_vlan:
            vids[1] = "untagged"
        if native := self.vlan or (1 if self.preserve_default_vlan else 0):
            vids[native] = "pvid untagged"
        return _ranges(vids)

    @property
    def wanted(self) -> frozenset[int]:
        """The VLANs that the configuration names."""
        tagged = {vid for trunk in self.vlan_trunk for vid in _vids(trunk)}
        return frozenset(tagged | ({self.vlan} if self.vlan else set()))


def read_conf(value: Mapping[str, Any]) -> tuple[BridgeConf, list[Fault]]:
    """Read a plugin configuration, and list everything that is wrong with it. A null is nothing said."""
    conf, faults = read({key: v for key, v in value.items() if v is not None}, BridgeConf)
    faults = [_plain(fault) for fault in faults]
    conf = conf or BridgeConf()
    return conf, faults + list(_faults(conf))


def _plain(fault: Fault) -> Fault:
    """Return a fault with JSON's words for types in place of Python's."""
    if not fault.message.startswith("expected "):
        return fault
    said = re.sub(r"\b(int|str|bool|float|array|object)\b", lambda word: _WORDS[word[0]], fault.message)
    return Fault(said.replace(" | ", " or "), fault.path, fault.hint, fault.key)


def _faults(conf: BridgeConf) -> Iterator[Fault]:
    if not LINK.allows(conf.bridge):
        yield Fault(f'"{conf.bridge}" is no name of an interface', ("bridge",), LINK.words)
    if not 0 <= conf.vlan <= MAX_VLAN:
        yield Fault(f"invalid VLAN ID {conf.vlan} (must be between 0 and {MAX_VLAN})", ("vlan",))
    for index, trunk in enumerate(conf.vlan_trunk):
        yield from (fault.below("vlanTrunk", index) for fault in _trunk_faults(trunk))
    if conf.mtu and not LEAST_MTU <= conf.mtu <= MOST_MTU:
        yield Fault(f"invalid MTU {conf.mtu} (must be 0, or {LEAST_MTU} to {MOST_MTU})", ("mtu",))
    if conf.ipam.type and not PLUGIN.allows(conf.ipam.type):
        yield Fault(f'"{conf.ipam.type}" is not the name of a plugin', ("ipam", "type"), PLUGIN.words)
    for path, mac in (
        (("runtimeConfig", "mac"), conf.runtime_config.mac),
        (("args", "cni", "mac"), _arg(conf)),
    ):
        if mac and (why := mac_fault(mac)):
            yield Fault(why, path)
    yield from _layer_3_faults(conf)


def _arg(conf: BridgeConf) -> str:
    return (conf.args.cni.mac if conf.args.cni else None) or ""


def mac_fault(text: str) -> str:
    """Tell why a link cannot have this MAC address, or "" (linux/etherdevice.h, is_valid_ether_addr)."""
    mac = plain_mac(text)
    if not _MAC.match(mac):
        return f'"{text}" is not a MAC address'
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        return f'"{text}" is no address of one interface: it is a group\'s, or all zeros'
    return ""


def _layer_3_faults(conf: BridgeConf) -> Iterator[Fault]:
    """Yield what asks for more than a port: it takes addresses, or would change a policy's bridge."""
    if conf.ipam.type and conf.disable_container_interface:
        message = "cannot use IPAM when DisableContainerInterface flag is set"
        yield Fault(message, ("disableContainerInterface",), key=True)
    for key in ("isGateway", "isDefaultGateway", "ipMasq") if not conf.ipam.type else ():
        if {"isGateway": conf.is_gateway, "isDefaultGateway": conf.is_default_gateway}.get(key, conf.ip_masq):
            yield Fault(f"{key} means nothing without ipam: there are no addresses", (key,), key=True)
    if conf.gateway and conf.vlan:
        hint = f"give it one in the policy, on a vlan interface {conf.bridge}.{conf.vlan}"
        message = "isGateway with vlan would need an interface beside the policy's, which has the address"
        yield Fault(message, ("vlan",), hint, key=True)
    if conf.ip_masq_backend not in {"", "nftables"}:
        message = f'ipMasqBackend "{conf.ip_masq_backend}" is not supported'
        yield Fault(message, ("ipMasqBackend",), "nftables is what there is, and the default here")
    if conf.promisc_mode:
        message = "promiscMode is not supported: the bridge is the policy's, and nobody would end it"
        yield Fault(message, ("promiscMode",), "hairpinMode lets a container reach itself", key=True)
    if conf.promisc_mode and conf.hairpin_mode:
        message = "cannot set hairpin mode and promiscuous mode at the same time"
        yield Fault(message, ("hairpinMode",), key=True)


def _trunk_faults(trunk: Trunk) -> Iterator[Fault]:
    for name in ("minID", "maxID", "id"):
        vid = getattr(trunk, name)
        if vid is not None and not 1 <= vid <= MAX_VLAN:
            yield Fault(f"incorrect trunk {name} parameter", (name,), f"1 to {MAX_VLAN}")
    if (trunk.minID is None) != (trunk.maxID is None):
        missing = "minID" if trunk.minID is None else "maxID"
        yield Fault(f"minID and maxID should be configured simultaneously, {missing} is missing")
    elif trunk.minID is not None and trunk.maxID is not None and trunk.minID > trunk.maxID:
        yield Fault("minID is greater than maxID in trunk parameter", ("minID",))


def _vids(trunk: Trunk) -> set[int]:
    found = {trunk.id} if trunk.id is not None else set()
    if trunk.minID is not None and trunk.maxID is not None:
        found |= set(range(max(trunk.minID, 1), min(trunk.maxID, MAX_VLAN) + 1))
    return found


def _ranges(vids: Mapping[int, str]) -> tuple[tuple[int, int, str], ...]:
    """Merge neighbours of the same flags; the PVID stands alone, as there is only one."""
    merged: list[tuple[int, int, str]] = []
    for vid in sorted(vids):
        flags = vids[vid]
        if merged and merged[-1][1] == vid - 1 and merged[-1][2] == flags and "pvid" not in flags:
            merged[-1] = (merged[-1][0], vid, flags)
        else:
            merged.append((vid, vid, flags))
    return tuple(merged)


def host_faults(conf: BridgeConf, host: Host, *, but: str = "") -> Iterator[Fault]:
    """Yield what makes this node unfit for the configuration; `but` is a port that is not asked.

    Upstream creates a missing bridge without an uplink, takes a bridge that does not filter as if it did,
    never looks at the uplink's VLANs, and accepts an MTU that the uplink cannot carry: a guest that runs
    and hears nothing.
    """
    link = host.get("link", conf.bridge)
    if link is None:
        hint = "apply the policy that makes it, or name another bridge"
        yield Fault(f'bridge "{conf.bridge}" does not exist on this node', ("bridge",), hint)
    elif link.attrs.get("type") != "linux-bridge":
        yield Fault(f'"{conf.bridge}" already exists but is not a bridge', ("bridge",))
    else:
        yield from _vlan_faults(conf, host, but)
        yield from _mtu_faults(conf, host)


def _vlan_faults(conf: BridgeConf, host: Host, but: str) -> Iterator[Fault]:
    if not conf.wanted:
        return
    key = "vlan" if conf.vlan else "vlanTrunk"
    if not host.attr("link", conf.bridge, name="vlan-filtering"):
        what = f"VLAN {conf.vlan}" if conf.vlan else "a VLAN trunk"
        hint = "give its ports vlan settings in the policy, or drop the VLAN"
        yield Fault(
            f'bridge "{conf.bridge}" does not filter VLANs, so {what} would mean nothing', (key,), hint
        )
        return
    ports = [name for name in uplinks(host, conf.bridge) if name != but]
    carried = frozenset().union(*(carries(host, name) for name in ports))
    missing = conf.wanted - carried
    if ports and missing:
        text = ", ".join(_span(first, last) for first, last, _ in _ranges(dict.fromkeys(missing, "")))
        names = ", ".join(ports)
        message = f'no uplink of bridge "{conf.bridge}" ({names}) carries VLAN {text}'
        yield Fault(message, (key,), "add it to the uplink port's vlan settings in the policy")


def _mtu_faults(conf: BridgeConf, host: Host) -> Iterator[Fault]:
    least = min((host.attr("link", p, name="mtu", default=0) for p in uplinks(host, conf.bridge)), default=0)
    if least and conf.mtu > least:
        message = f'MTU {conf.mtu} is more than the uplinks of bridge "{conf.bridge}" carry ({least})'
        yield Fault(message, ("mtu",), "raise the uplink's MTU in the policy, or lower this one")


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def uplinks(host: Host, bridge: str) -> list[str]:
    """Return the ports of a bridge that lead out of the node."""
    ports = (row.name for row in host.table("port") if row.attrs.get("controller") == bridge)
    return [name for name in ports if host.attr("link", name, name="type") not in DOWNLINKS]


def carries(host: Host, name: str) -> frozenset[int]:
    """Return the VLANs of a bridge port."""
    ranges: Iterable[tuple[int, int, str]] = host.attr("vlans", name, name="vids", default=()) or ()
    return frozenset(vid for first, last, _ in ranges for vid in range(first, last + 1))


def port_rows(
    conf: BridgeConf,
    *,
    veth: str,
    mtu: int,
    vids: tuple[tuple[int, int, str], ...],
    pair: Mapping[str, Any],
) -> list[Row]:
    """Return the node's side of an attachment: the veth, a port of the bridge.

    `vids` are its VLANs, none when the bridge's default is to stay. `pair` are the attributes that make its
    other end; empty when the pair is there already.
    """
    off = sysctl(f"net/ipv6/conf/{veth}/disable_ipv6", "1", of=veth)
    attrs = {"stp-hairpin-mode": conf.hairpin_mode, "isolated": conf.port_isolation}
    member = port(veth, conf.bridge, **attrs)
    rows = [Row(("link", veth), {"type": "veth", "mtu": mtu, **pair}), off, member]
    needs: tuple[tuple[str, ...], ...] = (("link", veth), off.key, member.key)
    if vids:
        vlans = Row(("vlans", veth), {"vids": vids}, needs=(member.key,))
        rows.append(vlans)
        needs = (*needs, vlans.key)  # up last: not a frame passes in the bridge's default VLAN
    return [*rows, Row(("up", veth), needs=needs)]


def port_mtu(conf: BridgeConf, host: Host) -> int:
    """Return the MTU of a port: as configured, else the bridge's, which joining then never lowers."""
    return conf.mtu or int(host.attr("link", conf.bridge, name="mtu", default=1500))
