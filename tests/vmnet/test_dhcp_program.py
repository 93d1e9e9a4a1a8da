"""The program that serves DHCP, with no rights and on a real link: whatever arrives or fails, it goes on serving."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.waiting import until
from vmnet.lease import Lease, service
from vmnet.names import mac_bytes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from conftest import Node

scapy = pytest.importorskip("scapy.all", reason="scapy writes the frames that our code did not")

GUEST = "02:11:22:33:44:55"
LEASE = Lease(interface="d0", server="10.9.0.1", address="10.9.0.2/24", mac=GUEST)

START = """
import fcntl, os, resource, sys
from vmnet.node.sockets import opened
from vmnet.plumbing import Socket
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
least = int(sys.argv[1])
number = fcntl.fcntl(opened(Socket("d0", 67)), fcntl.F_DUPFD, least)
bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"]
os.execvp(bare[0], [*bare, sys.executable, "-P", "-m", "vmnet.dhcp", str(number)])
"""

CLIENT = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
s.bind(("c0", 0x800))  # one protocol: what it sends itself does not come back to it
s.settimeout(60)
print("ready", flush=True)
for line in sys.stdin:
    if line == "hear\\n":
        while True:
            data = s.recv(2048)
            if data[23:24] == b"\\x11" and data[34:36] == b"\\0\\x43":
                break
        print(data.hex(), flush=True)
    else:
        times, frame = line.split()
        for _ in range(int(times)):
            s.send(bytes.fromhex(frame))
        print("sent", flush=True)
"""


class Client:
    """A client's end of the link, in a namespace of its own, that sends frames and hears answers."""

    def __init__(self, node: Node) -> None:
        self.process = node.spawn(
            "ip", "netns", "exec", "client", sys.executable, "-c", CLIENT, stdin=-1, stdout=-1
        )
        assert self.says() == "ready"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, frame: bytes, times: int = 1) -> None:
        self.tell(f"{times} {frame.hex()}")
        assert self.says() == "sent"

    def hears(self) -> int:
        """Wait for an answer; return whose it is. It has no checksum: a wrong one is left to cards otherwise."""
        self.tell("hear")
        frame = scapy.Ether(bytes.fromhex(self.says()))
        assert frame[scapy.UDP].chksum == 0
        xid: int = frame[scapy.BOOTP].xid
        return xid

    def close(self) -> None:
        self.process.communicate()


def discover(xid: int, mac: str = GUEST, **udp: int) -> bytes:
    bootp = scapy.BOOTP(chaddr=mac_bytes(mac), xid=xid) / scapy.DHCP(
        options=[("message-type", "discover"), "end"]
    )
    return datagram(bytes(bootp), **udp)


def datagram(payload: bytes, **udp: int) -> bytes:
    ethernet = scapy.Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff") / scapy.IP(
        src="0.0.0.0", dst="255.255.255.255"
    )
    return bytes(ethernet / scapy.UDP(sport=68, dport=67, **udp) / payload)


@pytest.fixture
def link(node: Node) -> Node:
    node.sh("""
        ip netns add client
        ip link add d0 type veth peer name c0 netns client
        ip addr add 10.9.0.1/24 dev d0; ip link set d0 up; ip -n client link set c0 up
    """)
    node.until("ip link show dev d0 | grep -q LOWER_UP")
    return node


Start = "Callable[..., subprocess.Popen[str]]"


@pytest.fixture
def start(link: Node, tmp_path: Path) -> Iterator[Start]:
    """Start the program, its sockets open, on a lease; `least` is the least number a descriptor may have."""
    started: list[subprocess.Popen[str]] = []

    def begin(lease: Lease = LEASE, *, least: int = 3) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("w") as log:
            process = link.spawn(
                sys.executable, "-c", START, str(least), stdin=-1, stdout=-1, stderr=log.fileno()
            )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(service(lease).config).decode() + "\n")
        process.stdin.flush()
        until(
            lambda: b"-m\0vmnet.dhcp" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), what="it to serve"
        )
        return process

    yield begin
    for process in started:
        process.communicate()
        assert process.returncode == 0


@pytest.fixture
def client(link: Node) -> Iterator[Client]:
    made = Client(link)
    yield made
    made.close()


def lost(tmp_path: Path) -> dict[str, int]:
    lines = (tmp_path / "log").read_text().splitlines()
    return json.loads(lines[-1]) if lines else {}


def test_it_serves_without_any_right(start: Start, client: Client) -> None:
    process = start()
    client.send(discover(7))
    assert client.hears() == 7
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


HOSTILE = {
    "empty": datagram(b""),
    "one octet": datagram(b"\1"),
    "no options": datagram(bytes(236)),
    "magic alone": datagram(bytes(236) + b"\x63\x82\x53\x63"),
    "cut off": discover(1)[:-1],
    "a wrong checksum": discover(1, chksum=0x1234),
    "longer than it says": discover(1, len=9),
    "as long as a frame": datagram(discover(1)[42:] + b"\x37\xff" * 500),
    "through a relay": datagram(bytes(scapy.BOOTP(giaddr="10.9.0.9", chaddr=mac_bytes(GUEST)))),
}


def test_it_outlives_every_datagram(start: Start, client: Client, tmp_path: Path) -> None:
    process = start()
    for frame in HOSTILE.values():
        client.send(frame)
    client.send(discover(8))
    assert client.hears() in {1, 8}
    assert process.poll() is None


def test_it_outlives_a_link_that_was_down(start: Start, client: Client, link: Node, tmp_path: Path) -> None:
    """A link goes down between a request and its answer, as in a migration: that send fails with ENETDOWN."""
    process = start()
    os.kill(process.pid, signal.SIGSTOP)
    client.send(discover(9))
    link.sh("ip link set d0 down")
    os.kill(process.pid, signal.SIGCONT)
    until(lambda: lost(tmp_path).get("Network is unreachable") or process.poll(), what="what was lost")
    link.sh("ip link set d0 up")
    link.until("ip link show dev d0 | grep -q LOWER_UP")
    client.send(discover(10))
    assert client.hears() == 10


def test_it_outlives_an_mtu_that_its_answer_exceeds(
    start: Start, client: Client, link: Node, tmp_path: Path
) -> None:
    process = start()
    link.sh("ip link set d0 mtu 300")
    client.send(discover(9))
    until(lambda: lost(tmp_path).get("Message too long") or process.poll(), what="what was lost")
    link.sh("ip link set d0 mtu 1500")
    client.send(discover(10))
    assert client.hears() == 10


def test_strangers_do_not_take_the_guests_place_in_the_queue(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """While it stands still a thousand more messages of others come than its socket could hold."""
    process = start()
    client.send(discover(1))
    assert client.hears() == 1
    os.kill(process.pid, signal.SIGSTOP)
    client.send(discover(11, mac="02:99:99:99:99:99"), times=3000)
    client.send(discover(12))
    os.kill(process.pid, signal.SIGCONT)
    assert client.hears() == 12
    until(lambda: lost(tmp_path).get("unheard", 0) >= 2000, what="the count of those")


def test_a_flood_of_the_guests_own_is_counted_and_ends(start: Start, client: Client, tmp_path: Path) -> None:
    process = start()
    client.send(discover(1))
    assert client.hears() == 1
    os.kill(process.pid, signal.SIGSTOP)
    client.send(discover(13), times=3000)
    os.kill(process.pid, signal.SIGCONT)
    assert client.hears() == 13

    def answered() -> bool:
        client.send(discover(14))  # again, as a client does: the queue may be full still
        return client.hears() == 14

    assert until(answered, what="an answer to what came after it")
    until(lambda: lost(tmp_path).get("unheard"), what="the count of those")


def test_descriptors_may_have_any_number(start: Start, client: Client) -> None:
    start(least=2000)
    client.send(discover(15))
    assert client.hears() == 15
