"""The guest images, booted under TCG on the host: what their seed says is what they do."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from launcher.seed import Seed, write_seed
from nncp import netns
from nncp.pace import Limit
from tests import leftovers
from tests.shared import Shared
from tests.waiting import until
from vmnet.rack import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.guest, pytest.mark.slow]

ANSWERS = 10.0  # seconds for one answer; whoever gets none asks again
NETWORK = """\
version: 2
ethernets:
  eth1:
    addresses:
    - 172.17.33.250/24
"""
MEMORY = {"tiny": "128", "debian": "512"}
BOOTS = {"tiny": 60.0, "debian": 240.0}  # seconds of a quiet machine, from the last word on its console
# Which port of the guest on which of its addresses a port of 127.0.0.1 leads to, in a network namespace of the
# guest's own. Both are reached only at just that address: user-mode networking forwards to what the guest was
# told, not to what it might have taken.
DHCP, STATIC = "10.0.2.2", "172.17.33.250"
PORTS = {(DHCP, 7): 1007, (DHCP, 8): 1008, (STATIC, 7): 2007, (STATIC, 8): 2008}


class Guest:
    """A QEMU with a NIC that has a DHCP server (eth0) and one that has one too, but is not to be asked (eth1)."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image = image
        self.console = folder / "console"
        self.netns = leftovers.unused_namespace()
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        built = images.ensure(image)
        disk, seed = folder / "disk.img", folder / "seed.iso"
        subprocess.run(["cp", "--sparse=always", built / "disk.img", disk], check=True)
        write_seed(Seed("11111111-2222-3333-4444-555555555555", "guest", network_data=NETWORK), seed)
        argv = [
            "ip",
            "netns",
            "exec",
            self.netns,
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-M",
            "q35",
            "-m",
            MEMORY[image],
            "-nodefaults",
        ]
        argv += ["-display", "none", "-no-reboot", "-serial", f"file:{self.console}"]
        argv += ["-kernel", built / "vmlinuz", "-initrd", built / "initrd"]
        argv += ["-append", (built / "cmdline").read_text()]
        argv += ["-drive", f"file={disk},if=virtio,format=raw"]
        argv += ["-drive", f"file={seed},if=virtio,format=raw,readonly=on"]
        argv += ["-monitor", f"unix:{folder}/monitor,server=on,wait=off"]
        argv += self.nic("n0", "52:54:00:00:00:10", f"net=10.0.2.0/24,host=10.0.2.1,dhcpstart={DHCP}", DHCP)
        argv += self.nic("n1", "52:54:00:00:00:11", "net=172.17.33.0/24,dhcpstart=172.17.33.15", STATIC)
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        self.monitor = folder / "monitor"

    def nic(self, name: str, mac: str, net: str, address: str) -> list[str]:
        forwards = [f"hostfwd=tcp:127.0.0.1:{PORTS[address, port]}-{address}:{port}" for port in (7, 8)]
        device = f"virtio-net-pci,netdev={name},mac={mac}"
        return ["-netdev", f"user,id={name},{net},{','.join(forwards)}", "-device", device]

    def asks(self, address: str, port: int, word: bytes = b"") -> bytes:
        """What the guest answers at one of its addresses; empty while it does not."""
        with (
            contextlib.suppress(OSError),
            netns.entered(leftovers.NAMESPACES / self.netns),
            socket.create_connection(("127.0.0.1", PORTS[address, port]), ANSWERS) as line,
        ):
            if word:
                line.sendall(word)
            return line.recv(64)
        return b""

    def wait(self, address: str, port: int, word: bytes = b"") -> bytes:
        limit, said = Limit(BOOTS[self.image]), ""
        while not (answer := self.asks(address, port, word)):
            said = self.console.read_text(errors="replace") if self.console.exists() else ""
            limit.sees(said)
            assert self.is_there(), f"the guest has ended; its console says: {said[-2000:]}"
            assert not limit.is_over(), f"no answer {limit.story}; its console says: {said[-2000:]}"
            time.sleep(0.2)
        return answer

    def is_there(self) -> bool:
        return self.process.poll() is None

    def rounds(self) -> int:
        verdict = self.wait(STATIC, 8).decode()
        assert verdict.startswith("sound "), verdict
        return int(verdict.split()[1])

    def press_power(self) -> int:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.monitor))
            line.sendall(b"system_powerdown\n")
            return self.process.wait()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        leftovers.remove_namespace(self.netns)


@pytest.fixture(scope="module", params=["tiny", "debian"])
def guests(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared[Guest]]:
    shared = Shared(
        lambda: Guest(request.param, tmp_path_factory.mktemp(request.param)),
        is_there=Guest.is_there,
        end=Guest.end,
    )
    yield shared
    shared.end()


@pytest.fixture
def guest(guests: Shared[Guest]) -> Guest:
    return guests.running()


def test_the_nic_that_the_seed_names_has_its_static_address(guest: Guest) -> None:
    assert guest.wait(STATIC, 7, b"hello\n") == b"hello\n"


def test_the_nic_that_it_does_not_name_has_a_lease(guest: Guest) -> None:
    assert guest.wait(DHCP, 7, b"hello\n") == b"hello\n"


def test_it_watches_its_memory_and_disk_and_says_so(guest: Guest) -> None:
    first = guest.rounds()
    until(lambda: guest.rounds() > first, seconds=30)


def test_the_power_button_ends_it(guest: Guest) -> None:
    guest.wait(STATIC, 8)
    assert guest.press_power() == 0
