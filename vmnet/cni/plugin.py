"""Our bridge plugin, `type: cnv-bridge`, as the CNI specification 1.1.0 wants it.

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
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from msgspec import structs, to_builtins

import nncp
from nncp.errors import Error, ErrorKind
from nncp.host import Row
from vmnet import nft
from vmnet.cni import container, runtime
from vmnet.cni.conf import host_faults, port_mtu, port_rows
from vmnet.cni.given import Given, gateway_rows, ips_told, masqueraded, read_given, with_gateways
from vmnet.cni.ports import PodPort
from vmnet.cni.refusal import (
    BAD_CONFIG,
    BAD_CONTENT,
    BAD_ENVIRONMENT,
    BAD_VERSION,
    DRIFTED,
    INTERNAL,
    IO_FAILURE,
    NOT_AVAILABLE,
    TRY_LATER,
    Refusal,
    Said,
    of_error,
    of_faults,
)
from vmnet.cni.request import VERSIONS, Request, decoded, read_request, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nncp.host import Host
    from vmnet.cni.ports import Slot


def add(request: Request) -> dict[str, Any]:
    """ADD: a port of the bridge, its other end in the container."""
    with request.ports.held(request.veth) as slot:
        known = slot.read()
        if known is not None and known.result is not None:
            return _again(request, known)
        if known is not None:  # an ADD that was killed
            _remove(request, slot, known)
        host = nncp.snapshot()
        _refuse_unfit(request, host)
        slot.write(_port(request, host))
        try:
            port = _added(request, host, slot)
        except BaseException:
            with contextlib.suppress(Error, Refusal):  # the runtime's DEL tries the rest again
                _remove(request, slot, slot.read())
            raise
        slot.settle()
    assert port.result is not None
    return port.result


def _again(request: Request, known: PodPort) -> dict[str, Any]:
    """Answer a second ADD, which the specification forbids a runtime: as before, and nothing changes."""
    what = f"{request.interface} of container {request.container} is attached already"
    if known.netns != request.netns or (request.mac and request.mac != known.mac):
        raise Refusal(BAD_CONFIG, f"{what}, with another MAC or namespace", "DEL comes first")
    keys = {*known.conf, *request.raw} - {"prevResult"}
    changed = sorted(key for key in keys if known.conf.get(key) != request.raw.get(key))
    if changed:
        raise Refusal(BAD_CONFIG, f"{what} in another way: {', '.join(changed)}", "DEL comes first")
    assert known.result is not None
    try:
        _check_port(request, known, read_given(known.result)[0])
    except Refusal as drift:
        raise Refusal(DRIFTED, f"{what}, and {drift.message}", "DEL comes first") from None
    return known.result


def _refuse_unfit(request: Request, host: Host) -> None:
    _refuse_node(request, host)
    if host.get("link", request.veth) is not None:
        message = f"{request.veth}, the name of this port, is taken by a link that nobody remembers"
        raise Refusal(DRIFTED, message, "DEL takes it away")
    container.refuse_unfit(request.netns, request.interface)


def _refuse_node(request: Request, host: Host) -> None:
    """Refuse what this node cannot do now; a bridge that is not there may still come (code 11)."""
    faults = list(host_faults(request.conf, host, but=request.veth))
    if faults:
        missing = host.get("link", request.conf.bridge) is None
        raise Refusal(
            TRY_LATER if missing else BAD_CONFIG, "; ".join(f.message for f in faults), faults[0].hint
        )


def _port(request: Request, host: Host) -> PodPort:
    return PodPort(
        network=request.network,
        container=request.container,
        interface=request.interface,
        netns=request.netns,
        veth=request.veth,
        conf=request.raw,
        mac=request.mac or container.random_mac(),
        mtu=port_mtu(request.conf, host),
    )


def _added(request: Request, host: Host, slot: Slot) -> PodPort:
    """Make the port that is remembered; its guard first, so that no frame passes before it."""
    port = slot.read()
    assert port is not None
    if request.conf.macspoofchk:
        nft.run(nft.spoof_guard(port=port.veth, mac=port.mac))
    pair = {"peer": port.interface, "peer-netns": port.netns, "peer-mtu": port.mtu, "peer-mac": port.mac}
    rows = port_rows(request.conf, veth=port.veth, mtu=port.mtu, vids=request.conf.vlans, pair=pair)
    nncp.apply_rows(rows, state_dir=slot.undo)
    given = with_gateways(_addresses(request, slot, port), request.conf)
    container.settle(
        given,
        port,
        enabledad=request.conf.enabledad,
        stays_down=request.stays_down,
        undo=slot.undo,
    )
    _give_gateway(request, host, slot, given)
    if hidden := masqueraded(given, request.conf):
        nft.run(nft.masqueraded(port=port.veth, addresses=hidden))
    now = nncp.snapshot()
    port = structs.replace(
        port,
        leased=bool(request.conf.ipam.type),
        vids=now.attr("vlans", port.veth, name="vids", default=()),
        rules={table: nft.listed(table) for table in _tables(request, port.veth)},
        result=_result(request, now, given, port),
    )
    slot.write(port)
    return port


def _addresses(request: Request, slot: Slot, port: PodPort) -> Given:
    """Return what the IPAM plugin gives, if there is one."""
    kind = request.conf.ipam.type
    if not kind:
        return Given()
    slot.write(structs.replace(port, leased=True))
    try:
        answer = runtime.delegate("ADD", request.raw, kind, request.call())
    except Error as error:
        if isinstance(error, Said) or error.kind is ErrorKind.UNSUPPORTED:
            slot.write(port)  # it has given nothing: it says so, or was not there
        raise
    given, faults = read_given(answer)
    if faults:
        said = of_faults(faults).message
        raise Refusal(BAD_CONTENT, f"IPAM plugin {kind} answered ADD with what is no result: {said}")
    if not given.addresses:
        raise Refusal(BAD_CONTENT, f"IPAM plugin {kind} gave no address")
    return given


def _give_gateway(request: Request, host: Host, slot: Slot, given: Given) -> None:
    rows, faults = gateway_rows(given, request.conf, host)
    if faults:
        raise of_faults(faults)
    if rows:
        nncp.apply_rows(rows, state_dir=slot.undo)


def _tables(request: Request, veth: str) -> list[str]:
    """Return the nft tables of a port."""
    spoof = [nft.spoof_table(veth)] if request.conf.macspoofchk else []
    return spoof + ([nft.masquerade_table(veth)] if request.conf.ip_masq else [])


def _result(request: Request, host: Host, given: Given, port: PodPort) -> dict[str, Any]:
    """The result in the caller's version: 1.1.0 brought the MTU. The MACs are those after the join."""
    bridge = {"name": request.conf.bridge, "mac": host.attr("link", request.conf.bridge, name="mac")}
    node = {"name": port.veth, "mac": host.attr("link", port.veth, name="mac")}
    inside = {"name": port.interface, "mac": port.mac, "sandbox": port.netns}
    mtu = {"mtu": port.mtu} if request.version >= (1, 1, 0) else {}
    result: dict[str, Any] = {
        "cniVersion": request.raw["cniVersion"],
        "interfaces": [bridge, {**node, **mtu}, {**inside, **mtu}],
    }
    if given.ips:
        result["ips"] = ips_told(given, request.version)
    if given.routes:
        result["routes"] = list(to_builtins(given.routes))
    return {**result, "dns": request.raw.get("dns") or given.dns or {}}


def delete(request: Request) -> None:
    """DEL: all of it, whatever is still there; gone already is done."""
    with request.ports.held(request.veth) as slot:
        _remove(request, slot, slot.read())


def _remove(request: Request, slot: Slot, port: PodPort | None) -> None:
    """Take a port away, its tables, its lease, and when all of that has gone its record."""
    veth = port.veth if port else request.veth
    # Its other end is in the container: nobody here could make the pair again, nor wants to.
    nncp.apply_rows([Row(("link", veth), absent=True, final=True)], state_dir=slot.undo)
    _remove_tables(veth, port)
    _give_back(request, port)
    slot.drop()


def _remove_tables(veth: str, port: PodPort | None) -> None:
    tables = [nft.spoof_table(veth)] if port is None or port.conf.get("macspoofchk") else []
    tables += [nft.masquerade_table(veth)] if port is None or port.conf.get("ipMasq") else []
    for table in tables:
        if port is not None or nft.listed(table):
            nft.run(nft.absent(table))


def _give_back(request: Request, port: PodPort | None) -> None:
    """Let the IPAM plugin have its lease back, by the configuration that it was taken with."""
    raw = port.conf if port else request.raw
    ipam = raw.get("ipam")
    kind = ipam.get("type") if isinstance(ipam, dict) else None
    if not isinstance(kind, str) or not kind or "/" in kind:
        return
    call = request.call()
    if port is not None:
        call = structs.replace(call, container=port.container, interface=port.interface)
    try:
        runtime.delegate("DEL", raw, kind, call)
    except Error as error:
        # Whoever is not installed, or speaks another version, has given nothing here.
        stranger = error.kind is ErrorKind.UNSUPPORTED or getattr(error, "code", 0) == BAD_VERSION
        if not stranger if port is None else port.leased:
            raise


def check(request: Request) -> None:
    """CHECK: the port is as it was made, VLANs, isolation, spoof guard and all, and so is its other end."""
    given, faults = read_given(request.conf.prev_result or {})
    if faults:
        raise of_faults([fault.below("prevResult") for fault in faults])
    with request.ports.held(request.veth) as slot:
        known = slot.read()
    if known is None or known.result is None:
        message = f"{request.interface} of container {request.container} has no port that is known here"
        raise Refusal(DRIFTED, message, "DEL and ADD make it anew")
    if known.netns != request.netns:
        raise Refusal(DRIFTED, f"CNI_NETNS is {request.netns}, and ADD was given {known.netns}")
    _check_port(request, known, given)
    if request.conf.ipam.type:
        runtime.delegate("CHECK", request.raw, request.conf.ipam.type, request.call())


def _check_port(request: Request, known: PodPort, given: Given) -> None:
    host = nncp.snapshot()
    _refuse_node(request, host)
    if host.get("link", known.veth) is None:
        raise Refusal(DRIFTED, f"{known.veth}, the port of {known.interface}, is gone")
    rows = port_rows(request.conf, veth=known.veth, mtu=known.mtu, vids=known.vids, pair={})
    rows += gateway_rows(given, request.conf, host)[0]
    container.refuse_drift(known.veth, rows)
    for table, rules in known.rules.items():
        if nft.listed(table) != rules:
            raise Refusal(DRIFTED, f"the nft table {table} of {known.veth} is not as it was made")
    _check_macs(known, given, host)
    container.check(given, known, enabledad=request.conf.enabledad, stays_down=request.stays_down)


def _check_macs(known: PodPort, given: Given, host: Host) -> None:
    """Compare the node's end. A bridge's own MAC moves with its ports, and is the policy's."""
    mac = host.attr("link", known.veth, name="mac")
    for link in given.interfaces or ():
        if link.name == known.veth and not link.sandbox and link.mac and link.mac != mac:
            raise Refusal(DRIFTED, f"{known.veth} has MAC {mac}, not {link.mac}")


def collect(request: Request) -> None:
    """GC: take away every port of this network that the runtime no longer knows, and its lease."""
    lists = (request.conf.valid, request.conf.attachments)
    listed = next((found for found in lists if found is not None), ())
    valid = {(one.containerID, one.ifname) for one in listed}
    refusals: list[Refusal] = []
    for port in request.ports.all():
        if port.network == request.network and (port.container, port.interface) not in valid:
            try:
                with request.ports.held(port.veth) as slot:
                    _remove(request, slot, slot.read() or port)
            except Refusal as refusal:  # another call holds it: the next GC takes it
                refusals.append(refusal)
            except Error as error:
                refusals.append(of_error(error))
    if request.conf.ipam.type:
        runtime.delegate("GC", request.raw, request.conf.ipam.type, request.call())
    if refusals:
        raise Refusal(refusals[0].code, "; ".join(each.message for each in refusals))


def status(request: Request) -> None:
    """STATUS: whether an ADD could succeed now."""
    faults = list(host_faults(request.conf, nncp.snapshot()))
    if faults:
        raise Refusal(NOT_AVAILABLE, "; ".join(fault.message for fault in faults), faults[0].hint)
    if request.conf.ipam.type:
        runtime.delegate("STATUS", request.raw, request.conf.ipam.type, request.call())


VERBS: dict[str, Callable[[Request], dict[str, Any] | None]] = {
    "ADD": add,
    "DEL": delete,
    "CHECK": check,
    "GC": collect,
    "STATUS": status,
}


def respond(verb: str, text: str, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Carry out a call and return its result, None for the verbs that have none.

    Raises:
        Refusal: what the runtime is to be told instead.

    """
    if verb == "VERSION":
        decoded(text or "{}")
        return {"cniVersion": spoken(text), "supportedVersions": list(VERSIONS)}
    if verb not in VERBS:
        raise Refusal(BAD_ENVIRONMENT, f"unknown CNI_COMMAND: {verb}")
    try:
        return VERBS[verb](read_request(verb, text, environment))
    except Error as error:
        raise of_error(error) from error
    except OSError as error:
        raise Refusal(IO_FAILURE, f"{error.filename or 'a file'}: {error.strerror}") from error


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Answer one call of a container runtime: environment and `source` in, `sink` and exit code out.

    Standard input and output when None. A fault of our own goes to standard error, which is a runtime's log.
    """
    source, sink = source or sys.stdin, sink or sys.stdout
    text = ""
    try:
        text = source.read()
        answer, code = respond(os.environ.get("CNI_COMMAND", ""), text, os.environ), 0
    except Refusal as refusal:
        answer, code = refusal.told(spoken(text)), 1
    except UnicodeDecodeError:
        answer, code = Refusal(BAD_CONTENT, "the configuration is not UTF-8").told(spoken("")), 1
    except RecursionError:
        answer, code = Refusal(BAD_CONTENT, "the configuration is nested too deeply").told(spoken("")), 1
    except Exception:  # noqa: BLE001 -- a runtime reads JSON, never a traceback
        traceback.print_exc()
        ours = Refusal(INTERNAL, "a fault of this plugin itself", "its standard error tells more")
        answer, code = ours.told(spoken(text)), 1
    if answer is not None:
        json.dump(answer, sink)
        sink.write("\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
