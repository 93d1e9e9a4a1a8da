"""Laws that hold for every host and every wish."""

from __future__ import annotations

from typing import Any

from hypothesis import given, reject, settings
from hypothesis import strategies as st
from model import after

from nncp.before import before
from nncp.errors import Error
from nncp.host import Host, Key, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.show import show_state

NAMES = ("eth0", "eth1", "bond0", "br0", "br1", "v5", "d0")
VIDS = (((1, 1, "pvid untagged"),), ((1, 1, "pvid untagged"), (5, 6, "")), ((7, 7, "pvid untagged"),), ())
QUEUES = {"eth0": 1, "eth1": 2, "v5": 3, "ve0": 4}
MANY = 2 * settings.default.max_examples
ADDRESSES = ("192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64")


@st.composite
def hosts(draw: Any) -> Host:
    """Return a host that a kernel could hold."""
    rows = [Row(("link", name), {"type": "ethernet"}) for name in ("eth0", "eth1")]
    rows += [Row(("link", "bond0"), _bond(draw))] * draw(st.booleans())
    rows += [Row(("link", bridge), _bridge(draw)) for bridge in ("br0", "br1") if draw(st.booleans())]
    if draw(st.booleans()):
        rows += [
            Row(("link", name), {"type": "veth", "peer": peer})
            for name, peer in (("ve0", "ve1"), ("ve1", "ve0"))
        ]
    if draw(st.booleans()):
        base = draw(st.sampled_from([row.name for row in rows]))
        rows.append(
            Row(("link", "v5"), {"type": "vlan", "base-iface": base, "id": draw(st.sampled_from([5, 6]))})
        )
    host = Host(rows)
    _ports(draw, host)
    _above(draw, host)
    return host


def _bond(draw: Any) -> dict[str, Any]:
    """Return the attributes of a bond: all that it has in its mode, as a snapshot tells them."""
    mode = draw(st.sampled_from(["802.3ad", "active-backup"]))
    miimon = draw(st.sampled_from([0, 100]))
    attrs = {"type": "bond", "mode": mode, "miimon": miimon, "updelay": draw(st.sampled_from([0, miimon]))}
    if mode == "802.3ad":
        return {**attrs, "lacp_rate": draw(st.sampled_from(["slow", "fast"]))}
    return {**attrs, "primary": draw(st.sampled_from(["", "eth0", "eth1"]))}


def _bridge(draw: Any) -> dict[str, Any]:
    return {
        "type": "linux-bridge",
        "stp.enabled": draw(st.booleans()),
        "vlan-filtering": draw(st.booleans()),
        "vlan-default-pvid": draw(st.sampled_from([0, 1, 7])),
    }


def _ports(draw: Any, host: Host) -> None:
    controllers = [row.name for row in host.table("link") if row.attrs["type"] in {"bond", "linux-bridge"}]
    for name in ("eth0", "eth1", "v5", "ve0"):
        controller = draw(st.sampled_from(["", *controllers]))
        # A loop (a VLAN on the bridge that it is a port of) is nothing a kernel could hold.
        if controller and ("link", name) in host and host.attr("link", "v5", name="base-iface") != controller:
            kind = host.attr("link", controller, name="type")
            queue = {"queue-id": draw(st.sampled_from([0, QUEUES[name]]))} if kind == "bond" else {}
            host.rows["port", name] = Row(("port", name), {"controller": controller, "type": kind, **queue})
            if kind == "linux-bridge":
                host.rows["vlans", name] = Row(("vlans", name), {"vids": draw(st.sampled_from(VIDS))})


def _above(draw: Any, host: Host) -> None:
    for name in [row.name for row in host.table("link")]:
        base = host.attr("link", name, name="base-iface")
        if draw(st.booleans()) and (base is None or ("up", base) in host):
            host.rows["up", name] = Row(("up", name))
        for address in draw(st.sets(st.sampled_from(ADDRESSES), max_size=2)):
            host.rows["address", name, address] = Row(("address", name, address), {"scope": 0})


@settings(max_examples=MANY)
@given(hosts())
def test_a_host_planned_onto_itself_needs_no_write(host: Host) -> None:
    assert plan(host, list(host), KINDS) == []


@settings(max_examples=MANY)
@given(hosts(), hosts())
def test_any_host_can_be_led_to_any_other_in_an_order_that_works(host: Host, wish: Host) -> None:
    want = [*wish, *(Row(row.key, absent=True) for row in host if row.key not in wish and _droppable(row))]
    done = after(host, plan(host, want, KINDS))
    assert plan(done, want, KINDS) == []


@settings(max_examples=MANY)
@given(hosts(), hosts())
def test_the_way_back_leads_to_where_it_began(host: Host, wish: Host) -> None:
    want = list(wish)
    try:
        ops = plan(host, want, KINDS)
    except Error:
        reject()  # together with what stays, the wish is a loop, which no kernel takes either
    done = after(host, ops)
    undone = after(done, plan(done, before(host, ops, KINDS), KINDS))
    assert known(undone) == known(host)


@given(hosts())
def test_showing_a_host_twice_says_the_same(host: Host) -> None:
    for row in host.table("link"):
        host.rows[row.key] = Row(row.key, {**row.attrs, "mtu": 1500, "mac": "02:00:00:00:00:01"})
    assert show_state(host, KINDS) == show_state(host, KINDS)


def known(host: Host) -> dict[Key, dict[str, Any]]:
    """Return the rows without the options that a bond has of another mode, and that no kernel tells."""
    options = KINDS.attrs("link", "bond")
    return {
        row.key: {
            name: value
            for name, value in row.attrs.items()
            if row.attrs.get("type") != "bond"
            or row.key[0] != "link"
            or name not in options
            or not options[name].only
            or row.attrs["mode"] in options[name].only
        }
        for row in host
    }


def _droppable(row: Row) -> bool:
    return row.key[0] != "vlans" and row.name not in {"eth0", "eth1"}
