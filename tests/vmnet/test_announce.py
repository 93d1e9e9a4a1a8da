"""The gate and the announcements, on a real bridge; and the frame as scapy reads it."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from scapy.layers.l2 import ARP, Ether

from nncp import netns as namespaces
from nncp.pace import Limit
from tests.waiting import until
from vmnet.node.announce import EVERY, Announcer, Decoy, rarp
from vmnet.node.gate import Gate

if TYPE_CHECKING:
    from tests.conftest import Netns

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
MAC = "02:fb:f0:13:44:86"


def plumbed(netns: Netns) -> None:
    netns.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    # One that snoops joins a group itself (br_ip4_multicast_join_snoopers), and may be first in a tap with that.
    netns.ip("link", "add", "k6t-x", "type", "bridge", "mcast_snooping", "0")
    netns.ip("link", "add", "x-nic", "type", "veth", "peer", "name", "far")
    netns.ip("link", "set", "x-nic", "master", "k6t-x")
    for name in ("k6t-x", "x-nic", "far"):
        netns.ip("link", "set", name, "up")
    # Until the kernel has worked a carrier off (net/core/link_watch.c), a port cannot forward (br_set_state)
    # and what is sent is dropped.
    for name in ("x-nic", "far"):
        until(lambda name=name: "state UP" in netns.ip("link", "show", name), what=f"carrier of {name}")


def open_tap(name: str) -> int:
    """Take the place of QEMU."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tun


def frame_of(end: int) -> bytes:
    limit = Limit(5)
    while not select.select([end], [], [], limit.left)[0]:
        assert not limit.is_over(), f"no frame came {limit.story}"
    return os.read(end, 100)


def test_however_often_it_is_asked_for_an_announcement_leaves_every_so_often(netns: Netns) -> None:
    plumbed(netns)
    with namespaces.entered(netns.path):
        announcer = Announcer([("x-nic", MAC)])
        sent = 0
        for number in range(1000):
            now = number / 1000
            announcer.plan([now])
            sent += announcer.speak(now)
        announcer.end()
    assert sent == 1 / EVERY


def test_a_gate_closes_opens_and_stays(netns: Netns) -> None:
    plumbed(netns)
    with namespaces.entered(netns.path):
        gate = Gate(["x-nic"])
        for is_open, state in ((False, "disabled"), (True, "forwarding"), (False, "disabled")):
            gate.open() if is_open else gate.close()
            assert f"state {state}" in netns.run("bridge", "link", "show", "dev", "x-nic")
        netns.ip("link", "add", "tapx", "type", "veth", "peer", "name", "guest")
        netns.ip("link", "set", "tapx", "up", "master", "k6t-x")
        netns.ip("link", "set", "guest", "up")
        assert "state disabled" in netns.run("bridge", "link", "show", "dev", "x-nic")
        gate.end()


def test_an_announcement_passes_a_closed_gate_and_teaches_the_pods_bridge_nothing(netns: Netns) -> None:
    plumbed(netns)
    with namespaces.entered(netns.path):
        gate = Gate(["x-nic"])
        gate.close()
        far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035))
        far.bind(("far", 0x8035))
        voice = Announcer([("x-nic", MAC)])
        voice.plan([10.0, 10.05])
        assert voice.speak(9.9) == 0
        assert voice.speak(10.0) == 1
        assert frame_of(far.fileno()) == rarp(MAC)
        assert voice.next == 10.05
        voice.mute()
        assert voice.speak(11.0) == 0
        assert MAC not in netns.run("bridge", "fdb", "show", "br", "k6t-x")
        voice.end()
        far.close()
        gate.end()


def test_a_decoy_is_the_first_frame_that_a_tap_holds_and_teaches_the_bridge_nothing(netns: Netns) -> None:
    plumbed(netns)
    netns.ip("tuntap", "add", "tapx", "mode", "tap")
    netns.ip("link", "set", "tapx", "master", "k6t-x", "up")
    with namespaces.entered(netns.path):
        qemu = open_tap("tapx")
        limit = Limit(5)  # the bridge hears of the tap's carrier a moment later
        while "state forwarding" not in netns.run("bridge", "link", "show", "dev", "tapx"):
            assert not limit.is_over()
            time.sleep(0.01)
        decoy, voice = Decoy(["tapx"]), Announcer([("far", MAC)])
        decoy.send()
        voice.plan([0.0])
        voice.speak(0.0)
        assert [frame_of(qemu), frame_of(qemu)] == [Decoy.FRAME, rarp(MAC)]
        assert Ether(Decoy.FRAME).src not in netns.run("bridge", "fdb", "show", "br", "k6t-x")
        decoy.end()
        voice.end()
        os.close(qemu)


def test_the_frame_is_a_reverse_request_of_the_guest_about_itself() -> None:
    frame = Ether(rarp(MAC))
    assert (frame.dst, frame.src, frame.type) == ("ff:ff:ff:ff:ff:ff", MAC, 0x8035)
    body = ARP(bytes(frame.payload))
    assert (body.op, body.hwsrc, body.hwdst, body.psrc) == (3, MAC, MAC, "0.0.0.0")
    assert len(rarp(MAC)) == 60
