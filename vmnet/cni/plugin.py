"""Our bridge plugin: `type: cnv-bridge` and `type: bridge`, as the CNI specification 1.1.0 wants it.

    CNI_COMMAND=ADD ... python -m vmnet.cni < configuration > result

A port of a bridge of the node, with its VLANs, in a Pod. The bridge is the policy's: this plugin never
makes one. An interface with KubeVirt's name for a VM's network (pod + 11 hex digits) stays down: the
launcher's binding takes it, and until then nothing may speak with the guest's MAC.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from msgspec import Struct

import nncp
from nncp import netns
from nncp.errors import Error, ErrorKind
from nncp.host import Row
from vmnet import nft
from vmnet.cni import runtime
from vmnet.cni.conf import BridgeConf, host_faults, port_mtu, port_rows, read_conf
from vmnet.cni.ports import BridgePort, BridgePorts
from vmnet.names import host_veth, is_launcher_interface, plain_mac

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nncp.host import Host
    from vmnet.reading import Fault

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

BAD_VERSION, BAD_ENVIRONMENT, IO_FAILURE, BAD_CONTENT, BAD_CONFIG, TRY_LATER = 1, 4, 5, 6, 7, 11
NOT_AVAILABLE, INTERNAL, DRIFTED = 50, 999, 100
"""Error codes of the specification; from 100 on they are the plugin's own."""

NEEDS = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
SINCE = {"CHECK": (0, 4, 0), "GC": (1, 1, 0), "STATUS": (1, 1, 0)}


class Refusal(Exception):
    """What the plugin answers in place of a result."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Request(Struct, frozen=True):
    """One call: the configuration, and for which interface of which container."""

    raw: dict[str, Any]
    conf: BridgeConf
    container: str
    netns: str
    interface: str
    args: dict[str, str]
    ports: BridgePorts
    nncp_state: Path

    @property
    def network(self) -> str:
        """The network's name."""
        return str(self.raw["name"])

    @property
    def veth(self) -> str:
        """The node's end of the pair."""
        return host_veth(self.container, self.interface)

    @property
    def mac(self) -> str:
        """The MAC that is asked for: runtimeConfig before args.cni before CNI_ARGS, as upstream has it."""
        runtime = (self.raw.get("runtimeConfig") or {}).get("mac")
        args = ((self.raw.get("args") or {}).get("cni") or {}).get("mac")
        return plain_mac(str(runtime or args or self.args.get("MAC", "")))

    @property
    def ipam(self) -> str:
        """The IPAM plugin, or nothing: pure layer 2."""
        return str((self.raw.get("ipam") or {}).get("type") or "")

    @property
    def stays_down(self) -> bool:
        """Whether the container's interface is left down, for a launcher to take."""
        return self.conf.disable_container_interface or is_launcher_interface(self.interface)


def add(request: Request) -> dict[str, Any]:
    """ADD: a port of the bridge, its other end in the container."""
    host = nncp.snapshot()
    _refuse_faults(host_faults(request.conf, host, but=request.veth))
    request.ports.write(_port(request))
    try:
        return _added(request, host)
    except BaseException:
        with contextlib.suppress(Error):  # what failed is told; the runtime's DEL tries the rest again
            _remove(request)
        raise


def _added(request: Request, host: Host) -> dict[str, Any]:
    mtu = port_mtu(request.conf, host)
    pair = {"peer": request.interface, "peer-netns": request.netns, "peer-mtu": mtu}
    if request.mac:
        pair["peer-mac"] = request.mac
    _apply(request, port_rows(request.conf, veth=request.veth, mtu=mtu, pair=pair))
    given = _delegate(request, "ADD") if request.ipam else {}
    with netns.entered(request.netns):
        _apply(request, _container_rows(request, given))
        mac = nncp.snapshot().attr("link", request.interface, name="mac")
    if request.conf.macspoofchk:
        _guard(request, mac)
    return _result(request, host, given, mac=mac, mtu=mtu)


def _guard(request: Request, mac: str) -> None:
    comment = f"macspoofchk-{request.container}-{request.interface}"[:100]
    nft.run(nft.spoof_guard(port=request.veth, mac=mac, comment=comment))


def _container_rows(request: Request, given: Mapping[str, Any]) -> Iterator[Row]:
    """The container's side: nothing for a launcher but its addresses; else up, addresses and routes."""
    key = ("link", request.interface)
    for address in runtime.addresses(given):
        yield Row(("address", request.interface, address), needs=(key,))
    if request.stays_down:
        return
    yield Row(("up", request.interface), needs=(key,))
    for destination, gateway in runtime.routes(given):
        family = "ipv6" if ":" in destination else "ipv4"
        hop = (request.interface, gateway, 1, False)
        metric = "1024" if family == "ipv6" else "0"  # IP6_RT_PRIO_USER, which the kernel gives to a 0
        yield Row(("route", family, "254", destination, metric), {"nexthops": (hop,)})


def _result(request: Request, host: Host, given: Mapping[str, Any], *, mac: str, mtu: int) -> dict[str, Any]:
    """The result in the caller's version: 1.0.0 dropped the family of an address, 1.1.0 brought the MTU."""
    veth_mac = nncp.snapshot().attr("link", request.veth, name="mac")
    bridge = {"name": request.conf.bridge, "mac": host.attr("link", request.conf.bridge, name="mac")}
    node = {"name": request.veth, "mac": veth_mac}
    container = {"name": request.interface, "mac": mac, "sandbox": request.netns}
    version = runtime.version(request.raw["cniVersion"])
    interfaces: list[dict[str, Any]] = [bridge, node, container]
    if version >= (1, 1, 0):
        interfaces = [bridge, {**node, "mtu": mtu}, {**container, "mtu": mtu}]
    ips = [{**ip, "interface": 2} for ip in given.get("ips") or ()]
    for ip in ips:
        ip.pop("version", None)
        if version < (1, 0, 0):
            ip["version"] = "6" if ":" in ip["address"] else "4"
    result: dict[str, Any] = {"cniVersion": request.raw["cniVersion"], "interfaces": interfaces}
    if ips:
        result["ips"] = ips
    if given.get("routes"):
        result["routes"] = given["routes"]
    return {**result, "dns": given.get("dns") or request.raw.get("dns") or {}}


def delete(request: Request) -> None:
    """DEL: all of it, whatever is still there; gone already is done."""
    _remove(request)


def _remove(request: Request) -> None:
    _release(request.veth, request)
    request.ports.drop(_port(request))
    if request.ipam:
        _delegate(request, "DEL")


def _release(veth: str, request: Request) -> None:
    """Take a port away, and its spoof guard."""
    if (Path("/sys/class/net") / veth).exists() or nncp.snapshot().get("link", veth):
        # Its other end is in the container: nobody here could make the pair again, nor wants to.
        _apply(request, [Row(("link", veth), absent=True, final=True)])
    port = request.ports.find(request.network, veth)
    if request.conf.macspoofchk or (port and port.guarded):
        nft.run(nft.absent(nft.spoof_table(veth)))


def check(request: Request) -> None:
    """CHECK: the port is as it was made, VLANs, isolation, spoof guard and all, and so is its other end."""
    host = nncp.snapshot()
    _refuse_faults(host_faults(request.conf, host, but=request.veth))
    if host.get("link", request.veth) is None:
        raise Refusal(DRIFTED, f"{request.veth}, the port of {request.interface}, is gone")
    rows = port_rows(request.conf, veth=request.veth, mtu=port_mtu(request.conf, host), pair={})
    _refuse_drift(request.veth, nncp.plan_rows(nncp.snapshot(rows), rows))
    if request.conf.macspoofchk and not nft.exists(nft.spoof_table(request.veth)):
        raise Refusal(DRIFTED, f"the MAC spoof check of {request.veth} is gone")
    _check_container(request)
    if request.ipam:
        _delegate(request, "CHECK")


def _check_container(request: Request) -> None:
    known = (request.raw.get("prevResult") or {}).get("interfaces") or ()
    macs = {i.get("mac") for i in known if i.get("sandbox") and i.get("name") == request.interface}
    with netns.entered(request.netns):
        host = nncp.snapshot()
        link = host.get("link", request.interface)
        if link is None:
            raise Refusal(DRIFTED, f"{request.interface} is not in the container")
        if macs and link.attrs.get("mac") not in macs:
            raise Refusal(DRIFTED, f"{request.interface} has MAC {link.attrs.get('mac')}, not {min(macs)}")
        if not request.stays_down:
            rows = list(_container_rows(request, request.raw.get("prevResult") or {}))
            _refuse_drift(request.interface, nncp.plan_rows(nncp.snapshot(rows), rows))


def collect(request: Request) -> None:
    """GC: take away every port of this network that the runtime no longer knows."""
    listed = request.raw.get("cni.dev/valid-attachments") or request.raw.get("cni.dev/attachments") or ()
    valid = {(a.get("containerID"), a.get("ifname")) for a in listed}
    for port in list(request.ports.all(request.network)):
        if (port.container, port.interface) not in valid:
            _release(port.veth, request)
            request.ports.drop(port)
    if request.ipam:
        _delegate(request, "GC")


def status(request: Request) -> None:
    """STATUS: whether an ADD could succeed now."""
    faults = list(host_faults(request.conf, nncp.snapshot()))
    if faults:
        raise Refusal(NOT_AVAILABLE, "; ".join(fault.message for fault in faults), faults[0].hint)
    if request.ipam:
        _delegate(request, "STATUS")


VERBS: dict[str, Callable[[Request], dict[str, Any] | None]] = {
    "ADD": add,
    "DEL": delete,
    "CHECK": check,
    "GC": collect,
    "STATUS": status,
}


def _refuse_faults(faults: Iterable[Fault]) -> None:
    """Refuse with all faults in one sentence; a bridge that is not there may still come (code 11)."""
    found = list(faults)
    if found:
        code = TRY_LATER if "does not exist" in found[0].message else BAD_CONFIG
        raise Refusal(code, "; ".join(fault.message for fault in found), found[0].hint)


def _refuse_drift(name: str, ops: Iterable[nncp.Op]) -> None:
    changes = [f"{op.verb} {' '.join(op.key)} {dict(op.attrs) or ''}".strip() for op in ops]
    if changes:
        raise Refusal(DRIFTED, f"{name} is not as it was made; to mend: {', '.join(changes)}")


def _apply(request: Request, rows: Iterable[Row]) -> None:
    nncp.apply_rows(list(rows), state_dir=request.nncp_state)


def _port(request: Request) -> BridgePort:
    return BridgePort(
        network=request.network,
        container=request.container,
        interface=request.interface,
        veth=request.veth,
        guarded=request.conf.macspoofchk,
    )


def _delegate(request: Request, verb: str) -> dict[str, Any]:
    """Hand the verb on to the IPAM plugin, which reads the same configuration."""
    call = runtime.Call(
        container=request.container,
        netns=request.netns,
        interface=request.interface,
        args=request.args,
        paths=tuple(os.environ.get("CNI_PATH", "").split(":")),
    )
    return runtime.delegate(verb, request.raw, request.ipam, call)


def read(verb: str, text: str, environment: Mapping[str, str]) -> Request:
    """Return the request in `text` and the environment, or raise why it is none."""
    missing = [name for name in NEEDS[verb] if not environment.get(name)]
    if missing:
        raise Refusal(BAD_ENVIRONMENT, f"required env variables missing: {', '.join(missing)}")
    raw = _json(text)
    _check_version(verb, raw)
    conf, faults = read_conf(raw)
    if faults and verb not in {"DEL", "GC"}:
        message = "; ".join(fault.message for fault in faults)
        raise Refusal(BAD_CONFIG, f"invalid configuration: {message}", faults[0].hint)
    pairs = (part.partition("=") for part in environment.get("CNI_ARGS", "").split(";") if part)
    folder = environment.get("BRIDGEHEAD_RUN", "/run/bridgehead")
    return Request(
        raw=raw,
        conf=conf,
        container=environment.get("CNI_CONTAINERID", ""),
        netns=environment.get("CNI_NETNS", ""),
        interface=environment.get("CNI_IFNAME", ""),
        args={key: value for key, _, value in pairs},
        ports=BridgePorts(Path(folder) / "cni"),
        nncp_state=Path(environment.get("BRIDGEHEAD_NNCP_STATE", "/var/lib/nncp")),
    )


def _json(text: str) -> dict[str, Any]:
    raw = _decoded(text)
    if not isinstance(raw.get("name"), str):
        raise Refusal(BAD_CONFIG, 'a network configuration needs a "name"')
    return raw


def _decoded(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(BAD_CONTENT, f"failed to decode the configuration: {error}") from None
    if not isinstance(raw, dict):
        raise Refusal(BAD_CONFIG, "a network configuration is a JSON object")
    return raw


def _check_version(verb: str, raw: dict[str, Any]) -> None:
    raw.setdefault("cniVersion", "0.1.0")
    wanted = raw["cniVersion"]
    if wanted not in VERSIONS:
        message = f"incompatible CNI versions: config is {wanted}, plugin supports {', '.join(VERSIONS)}"
        raise Refusal(BAD_VERSION, message)
    if verb in SINCE and runtime.version(wanted) < SINCE[verb]:
        least = ".".join(map(str, SINCE[verb]))
        raise Refusal(BAD_VERSION, f"{verb} needs cniVersion {least} or later, got {wanted}")


def respond(verb: str, text: str, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Carry out a call and return its result, None for the verbs that have none."""
    if verb == "VERSION":
        asked = _decoded(text or "{}").get("cniVersion", VERSIONS[-1])
        return {"cniVersion": asked, "supportedVersions": list(VERSIONS)}
    if verb not in VERBS:
        raise Refusal(BAD_ENVIRONMENT, f"unknown CNI_COMMAND: {verb}")
    return VERBS[verb](read(verb, text, environment))


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Answer one call of a container runtime: environment and `source` in, `sink` and exit code out.

    Standard input and output when None.
    """
    source, sink = source or sys.stdin, sink or sys.stdout
    verb = os.environ.get("CNI_COMMAND", "")
    text = source.read()
    try:
        result = respond(verb, text, os.environ)
    except Refusal as refusal:
        return _say_no(sink, text, refusal)
    except Error as error:
        code = IO_FAILURE if error.kind is not ErrorKind.DOCUMENT else BAD_CONFIG
        message = "; ".join(each.message for each in error)
        return _say_no(sink, text, Refusal(code, message, error.hint))
    except Exception as error:  # noqa: BLE001 -- a runtime reads JSON, never a traceback
        return _say_no(sink, text, Refusal(INTERNAL, f"{type(error).__name__}: {error}"))
    if result is not None:
        json.dump(result, sink)
        sink.write("\n")
    return 0


def _say_no(sink: TextIO, text: str, refusal: Refusal) -> int:
    try:
        asked = json.loads(text).get("cniVersion", VERSIONS[-1])
    except (ValueError, AttributeError, RecursionError):
        asked = VERSIONS[-1]
    error = {"cniVersion": asked, "code": refusal.code, "msg": refusal.message}
    json.dump({**error, "details": refusal.details} if refusal.details else error, sink)
    sink.write("\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
