"""A Pod's node handler: what it does for a launcher, what it does not, and what is left of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from launcher.node import Node
from nncp import netns as namespaces
from nncp.errors import Error
from tests.waiting import until
from vmnet.names import NOBODY, Devices
from vmnet.node import handler, orders, readiness, rights
from vmnet.node.announce import rarp
from vmnet.plumbing import Gate, PodLink, Service, Socket
from vmnet.record import NetworkStatus, Nic, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Netns

MAC = "02:fb:f0:13:44:86"
MADE = "table inet made {\n}\n"
FORK = multiprocessing.get_context("fork")


def record(netns: Netns) -> Record:
    nic = Nic(
        name="nic-add1",
        network="default/virt-bridge",
        binding="bridge",
        mac=MAC,
        devices=Devices(pod="podx", bridge="k6t-x", nic="x-nic", tap="tapx", alias="ua-x"),
        link=PodLink(name="podx", mac=MAC, mtu=1500),
        domain="<interface/>",
        services=(Service("dhcp", "vmnet.dhcp", (Socket("k6t-x", 67), Socket("k6t-x", 69))),),
        rules={"inet made": MADE},
        gate=Gate(nic="x-nic", tap="tapx", mac=MAC),
    )
    status = NetworkStatus("pods", "eth0", ips=("10.244.1.2",), default=True)
    return Record(
        name="pod-1",
        namespace="default",
        vm="default/vm",
        uid="u",
        netns=str(netns.path),
        interfaces=(nic,),
        network_status=(status,),
    )


class Served:
    """A handler in a namespace, and the launcher's end of the line to it."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def run() -> None:
            ours.close()
            os.setgroups([0, 4])
            with namespaces.entered(netns.path):
                os._exit(handler.serve(record(netns), theirs))  # it may not go back

        self.process = FORK.Process(target=run, daemon=True)
        self.process.start()
        theirs.close()
        self.node = Node(ours)

    def said(self) -> orders.Done:
        return msgspec.json.decode(self.node.line.recv(orders.LARGEST), type=orders.Done)

    def state(self) -> str:
        return self.netns.run("bridge", "link", "show", "dev", "x-nic")


@pytest.fixture
def served(netns: Netns) -> Iterator[Served]:
    netns.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    netns.ip("link", "add", "k6t-x", "type", "bridge", "mcast_snooping", "0")
    netns.ip("link", "add", "x-nic", "type", "veth", "peer", "name", "far")
    netns.ip("tuntap", "add", "tapx", "mode", "tap")
    for name in ("x-nic", "tapx"):
        netns.ip("link", "set", name, "master", "k6t-x")
    for name in ("k6t-x", "x-nic", "far", "tapx"):
        netns.ip("link", "set", name, "up")
    for name in ("x-nic", "far"):
        until(lambda name=name: "state UP" in netns.ip("link", "show", name), what=f"carrier of {name}")
    netns.run("nft", "add", "table", "inet", "made")
    made = Served(netns)
    yield made
    made.node.line.close()
    made.process.join()


def test_it_hands_over_the_services_sockets_and_keeps_two_capabilities(served: Served) -> None:
    files = served.node.greeted()
    assert [file.getsockname() for file in files] == [("0.0.0.0", 67), ("0.0.0.0", 69)]
    for file in files:  # nothing that reaches the Pod's other links
        assert (file.family, file.type) == (socket.AF_INET, socket.SOCK_DGRAM)
        assert file.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"k6t-x"
    served.node.ask(orders.Mute())  # it has given up the rest by then
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    kept = f"{1 << rights.NET_ADMIN | 1 << rights.NET_RAW:016x}"
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert f"{name}:\t{kept}" in status
    assert "NoNewPrivs:\t1" in status
    nobody = str(NOBODY)
    assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n" in status
    assert "Groups:\t \n" in status, "none of who started it"
    for file in files:
        file.close()


def test_it_closes_and_opens_the_gate_and_announces_below_it(served: Served) -> None:
    served.node.greeted()
    with namespaces.entered(served.netns.path):
        far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035))
        far.bind(("far", 0x8035))
    served.node.ask(orders.Close())
    assert "state disabled" in served.state()
    served.node.ask(orders.Announce((0, 20)))
    assert [far.recv(100), far.recv(100)] == [rarp(MAC)] * 2
    served.node.ask(orders.Decoy(), orders.Open())
    assert "state forwarding" in served.state()
    far.close()


def test_a_migrations_rules_come_with_an_order_and_go_with_another_or_with_the_launcher(
    served: Served,
) -> None:
    served.node.greeted()
    served.node.ask(orders.Receive("10.244.2.2"))
    assert "10.244.2.2" in served.netns.run("nft", "list", "ruleset")
    served.node.ask(orders.Settle("receiving"))
    assert served.netns.run("nft", "list", "ruleset") == MADE
    served.node.ask(orders.Send("10.244.2.2"))
    assert "10.244.2.2" in served.netns.run("nft", "list", "ruleset")
    served.node.line.close()
    served.process.join()
    assert served.process.exitcode == 0
    assert served.netns.run("nft", "list", "ruleset") == MADE


def test_a_pod_that_has_lost_its_guests_rules_takes_no_guest_in(served: Served) -> None:
    served.node.greeted()
    served.netns.run("nft", "delete", "table", "inet", "made")
    with pytest.raises(Error, match="Pod pod-1 has lost rules of its nft tables inet made"):
        served.node.ask(orders.Receive("10.244.2.2"))
    assert served.netns.run("nft", "list", "ruleset") == ""


def test_the_rules_of_every_interface_are_looked_for(netns: Netns) -> None:
    made = record(netns)
    (first,) = made.interfaces
    second = structs.replace(first, name="nic-add2", rules={"inet second": "table inet second {\n}\n"})
    made = structs.replace(made, interfaces=(first, second))
    netns.run("nft", "add", "table", "inet", "made")
    with namespaces.entered(netns.path):
        with pytest.raises(Error, match="has lost rules of its nft tables inet second"):
            readiness.check_rules(made)
        netns.run("nft", "add", "table", "inet", "second")
        readiness.check_rules(made)


@pytest.mark.parametrize("address", ["", "no address", '10.0.0.1; add rule "x"', "10.0.0.1/8", "::1%eth0\n"])
def test_an_address_that_is_none_is_refused_and_ends_nothing(served: Served, address: str) -> None:
    served.node.greeted()
    for act in (orders.Receive(address), orders.Send(address)):
        with pytest.raises(Error, match="handler failed"):
            served.node.ask(act)
    assert served.netns.run("nft", "list", "ruleset") == MADE
    served.node.ask(orders.Mute())


def test_what_depends_on_an_act_is_not_done_when_it_failed(served: Served) -> None:
    served.node.greeted()
    served.node.ask(orders.Close())
    with pytest.raises(Error):
        served.node.ask(orders.Receive("nonsense"), orders.Open())
    assert "state disabled" in served.state()


ODD = [
    b"x",
    b"[]",
    b"{}",
    b'{"version": 1}',
    b'{"version": 2, "number": 1, "acts": []}',
    b"\xff",
    b"[" * 4000,
]


def test_nothing_odd_ends_it_and_each_is_answered(served: Served) -> None:
    served.node.greeted()
    for data in ODD:
        served.node.line.send(data)
        done = served.said()
        assert (done.number, bool(done.error)) == (-1, True)
    served.node.line.send(b'{"version": 1, "number": 7, "acts": [{"act": "fly"}]}')
    assert "said something odd" in served.said().error
    served.node.ask(orders.Mute())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["version", "number", "acts", "act"]), inner)
        ),
    )
)
def test_no_json_is_an_order_by_accident(value: Any) -> None:
    """In this process: decoding is what may go wrong."""
    line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with line, other:
        made = handler.Handler.__new__(handler.Handler)
        made.launcher, made._odd = line, 0
        made._do(json.dumps(value).encode())
        done = msgspec.json.decode(other.recv(orders.LARGEST), type=orders.Done)
    assert done.error or done.number == value["number"]


@pytest.mark.parametrize(
    "after", ["[3000000000000]", "[-1]", "[" + "9" * 3000 + "]", "[" + "0," * 99 + "0]", '["x"]']
)
def test_no_time_of_an_announcement_ends_it(served: Served, after: str) -> None:
    served.node.greeted()
    acts = '[{"act": "announce", "after_ms": ' + after + "}]"
    served.node.line.send(b'{"version": 1, "number": 1, "acts": ' + acts.encode() + b"}")
    assert served.said().error
    served.node.ask(orders.Mute())


def test_whoever_says_nothing_but_nonsense_is_not_listened_to(served: Served) -> None:
    served.node.greeted()
    for _ in range(handler.MOST_ODD + 1):
        served.node.line.send(b"x")
        served.said()
    served.node.line.send(b"x")
    served.process.join()
    assert served.process.exitcode == 0


def test_whoever_orders_only_what_fails_is_not_listened_to_either(served: Served) -> None:
    served.node.greeted()
    for number in range(handler.MOST_ODD + 1):
        order = orders.Order(orders.VERSION, number, (orders.Send("x" * 3000),))
        served.node.line.send(msgspec.json.encode(order))
        assert len(served.said().error) <= handler.LONGEST_ERROR
    served.node.line.send(b"x")
    served.process.join()
    assert served.process.exitcode == 0


def test_what_a_handler_that_was_killed_has_left_goes_with_the_next(served: Served) -> None:
    served.node.greeted()
    served.node.ask(orders.Receive("10.244.2.2"))
    os.kill(served.process.pid or 0, 9)
    served.process.join()
    assert "10.244.2.2" in served.netns.run("nft", "list", "ruleset")
    again = Served(served.netns)
    again.node.greeted()
    assert served.netns.run("nft", "list", "ruleset") == MADE
    again.node.line.close()
    again.process.join()


def test_a_launcher_is_told_when_its_handler_has_gone(served: Served) -> None:
    served.node.greeted()
    heard: list[str] = []
    os.kill(served.process.pid or 0, 9)
    served.process.join()
    served.node.order(orders.Open(), then=heard.append)
    served.node.read()
    assert served.node.is_gone
    assert heard
    assert "handler" in heard[0]
