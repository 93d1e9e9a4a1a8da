"""The guest images, booted under TCG on the host: what their seed says is what they do."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from launcher.seed import Seed, write_seed
from vmnet.rack import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.guest, pytest.mark.slow]

NETWORK = """\
version: 2
ethernets:
  eth1:
    addresses:
    - 172.17.33.250/24
"""
MEMORY = {"tiny": "128", "debian": "512"}
PATIENCE = {"tiny": 60.0, "debian": 240.0}
# Which port of the guest on which of its addresses a port of 127.0.0.1 leads to. Both are reached only at just
# that address: user-mode networking forwards to what the guest was told, not to what it might have taken.
DHCP, STATIC = "10.0.2.2", "172.17.33.250"


class Guest:
    """A QEMU with a NIC that has a DHCP server (eth0) and one that has one too, but is not to be asked (eth1)."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image = image
        self.console = folder / "console"
        self.ports = {(address, port): free_port() for address in (DHCP, STATIC) for port in (7, 8)}
        built = images.ensure(image)
        disk, seed = folder / "disk.img", folder / "seed.iso"
        subprocess.run(["cp", "--sparse=always", built / "disk.img", disk], check=True)
        write_seed(Seed("11111111-2222-3333-4444-555555555555", "guest", network_data=NETWORK), seed)
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", MEMORY[image], "-nodefaults"]
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
        forwards = [f"hostfwd=tcp:127.0.0.1:{self.ports[address, port]}-{address}:{port}" for port in (7, 8)]
        device = f"virtio-net-pci,netdev={name},mac={mac}"
        return ["-netdev", f"user,id={name},{net},{','.join(forwards)}", "-device", device]

    def asks(self, address: str, port: int, word: bytes = b"") -> bytes:
        """What the guest answers at one of its addresses; empty while it does not."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.ports[address, port]), 2) as line,
        ):
            line.settimeout(2)
            if word:
                line.sendall(word)
            return line.recv(64)
        return b""

    def wait(self, address: str, port: int, word: bytes = b"") -> bytes:
        end = time.monotonic() + PATIENCE[self.image]
        while time.monotonic() < end and self.process.poll() is None:
            answer = self.asks(address, port, word)
            if answer:
                return answer
            time.sleep(0.2)
        raise AssertionError(
            f"no answer; the console says: {self.console.read_text(errors='replace')[-2000:]}"
        )

    def rounds(self) -> int:
        verdict = self.wait(STATIC, 8).decode()
        assert verdict.startswith("sound "), verdict
        return int(verdict.split()[1])

    def press_power(self) -> int:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.monitor))
            line.sendall(b"system_powerdown\n")
            return self.process.wait(60)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


@pytest.fixture(scope="module", params=["tiny", "debian"])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    made = Guest(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.end()


def test_the_nic_that_the_seed_names_has_its_static_address(guest: Guest) -> None:
    assert guest.wait(STATIC, 7, b"hello\n") == b"hello\n"


def test_the_nic_that_it_does_not_name_has_a_lease(guest: Guest) -> None:
    assert guest.wait(DHCP, 7, b"hello\n") == b"hello\n"


def test_it_watches_its_memory_and_disk_and_says_so(guest: Guest) -> None:
    first = guest.rounds()
    time.sleep(5)
    assert guest.rounds() > first


def test_the_power_button_ends_it(guest: Guest) -> None:
    guest.wait(STATIC, 8)
    assert guest.press_power() == 0
