"""A guest that has been taken over, and what it reaches: before, during and after its migration."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp import netns
from nncp.pace import Limit
from tests.guest.conftest import GUEST
from vmnet.names import NOBODY, OWNER
from vmnet.node.migration_rules import PEER_PORT
from vmnet.node.rights import NET_ADMIN, NET_RAW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.guest.conftest import Node, Pod

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SHELL = 9
LIBVIRT, QEMU = (16509, 16514), (49152, 49153)
ENDS = "that is all"


NOISE = """
import contextlib, os, socket, sys
where = (sys.argv[1], int(sys.argv[2]))
knocks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    with contextlib.suppress(OSError):
        knocks.sendto(os.urandom(58), where)
    with contextlib.suppress(OSError):
        line = socket.create_connection(where, 1)
        line.sendall(os.urandom(4096))
        line.close()
"""
"""From the source's own Pod, without its credentials: nonsense on both ports of a migration, without an end."""


class Obedient:
    """A real guest that does what it is told, over its address on the bridge."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def does(self, script: str) -> str:
        """Run a script in the guest and return what it printed."""
        with netns.entered(f"/proc/{self.node.first}/ns/net"):
            limit = Limit(60)
            while True:
                with contextlib.suppress(OSError):
                    line = socket.create_connection((GUEST, SHELL), 5)
                    break
                assert not limit.is_over(), f"no shell {limit.story}"
        with line, line.makefile("rw") as shell:
            line.settimeout(120)
            shell.write(f"{script}\necho {ENDS}\nexit\n")
            shell.flush()
            said = ""
            for said_line in shell:
                if said_line.strip() == ENDS:
                    return said
                said += said_line
        pytest.fail(f"the guest did not finish: {said}")

    def reaches(self, address: str, *ports: int) -> list[int]:
        """Return to which of these ports the guest can connect."""
        tries = [f"nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo open {port}" for port in ports]
        return [int(port) for port in re.findall(r"open (\d+)", self.does("\n".join(tries)))]


@pytest.fixture(params=["all ports", "one port"])
def obedient(request: pytest.FixtureRequest, node: Node) -> Obedient:
    text = node.vm.read_text().replace("console=ttyS0 quiet", "console=ttyS0 quiet obedient")
    if request.param == "one port":
        text = text.replace("masquerade: {}", "masquerade: {}\n            ports: [{port: 80}]")
    node.vm.write_text(text)
    return Obedient(node)


def listening(node: Node, namespace: str = "") -> list[str]:
    """All that listens on a network there: protocol, address and port."""
    where = ["ip", "netns", "exec", namespace] if namespace else []
    argv = [*node.command, *where, "ss", "-Hlntu"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(f"{words[0]} {words[4]}" for words in (line.split() for line in lines))


def rights(pod: Pod) -> dict[int, tuple[str, int, int]]:
    """The Pod's processes by pid: their command, their user, and their capabilities in effect."""
    found = {}
    for pid, command in pod.processes().items():
        with contextlib.suppress(OSError):
            status = dict(
                line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            found[pid] = (command, int(status["Uid"].split()[1]), int(status["CapEff"], 16))
            if int(status["Uid"].split()[1]) == OWNER:
                assert (int(status["CapBnd"], 16), status["NoNewPrivs"].strip()) == (0, "1"), command
    return found


def test_a_guest_reaches_nobodys_launcher_before_during_and_after_its_migration(
    node: Node, obedient: Obedient, make_pod: Callable[[str], Pod]
) -> None:
    source = make_pod("pod-1")
    source.start()
    node.wait_for_guest()
    served = ["udp 0.0.0.0%k6t-eth0:67"]
    assert (listening(node), listening(node, "pod-1")) == ([], served)
    everything = (*LIBVIRT, 7000, *QEMU, PEER_PORT)
    for address in (source.address, "10.0.2.1", "10.244.0.1", "172.17.33.1"):
        assert obedient.reaches(address, *everything) == []

    target = make_pod("pod-2")
    target.prepare(source)
    waiting = sorted([*served, f"udp {target.address}:{PEER_PORT}"])
    assert (listening(node), listening(node, "pod-2")) == ([], waiting), "nothing listens before a knock"
    assert obedient.reaches(target.address, *everything) == []
    obedient.does(f"for i in 1 2 3; do echo nonsense | nc -u -w 1 {target.address} {PEER_PORT}; done")
    assert listening(node, "pod-2") == waiting

    answer = node.spawn("launcher", "migrate", "--pod", "pod-1", "--credentials", str(target.credentials))
    target.wait("source came")
    assert listening(node, "pod-1") == served, "the source listens nowhere"
    assert listening(node, "pod-2") == sorted([*waiting, f"tcp {target.address}:{PEER_PORT}"])
    assert obedient.reaches(target.address, *everything) == []
    there = ["nsenter", f"--net=/proc/{node.first}/root/run/netns/pod-1"]
    with subprocess.Popen([*there, sys.executable, "-c", NOISE, target.address, str(PEER_PORT)]) as noise:
        code = answer.wait()
        assert noise.poll() is None
        noise.kill()
    assert code == 0, answer.stdout
    node.wait_for_guest()
    target.wait("lifted")
    assert listening(node, "pod-2") == served
    assert obedient.reaches(target.address, *everything) == []
    rules = [*node.command, "ip", "netns", "exec", "pod-2", "nft", "list", "tables"]
    assert (
        "bridgehead_migration" not in subprocess.run(rules, capture_output=True, text=True, check=True).stdout
    )


def test_nobody_in_a_pod_is_root_or_has_any_capability(node: Node, make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("pod-1")
    pod.start()
    node.wait_for_guest()
    found = rights(pod).values()
    assert any("qemu-system" in command for command, _, _ in found)
    assert any("libvirtd" in command or "virtqemud" in command for command, _, _ in found)
    assert {kept for _, user, kept in found if user == OWNER} == {0}
    handler = [(user, kept) for _, user, kept in found if user != OWNER]
    assert handler == [(NOBODY, 1 << NET_ADMIN | 1 << NET_RAW)], (
        "the node's handler has two, and nobody else any"
    )
    folder = Path(f"/proc/{node.first}/root/run/bridgehead/pods/pod-1")
    for path in (folder, folder / "launcher"):
        assert path.stat().st_mode & 0o777 == 0o700, path
    for name in ("seed.iso", "console.log", "launcher.log"):
        assert (folder / "launcher" / name).stat().st_mode & 0o077 == 0, name


def environ(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def groups(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Groups:")).split()[1:]


def mounts(pid: int) -> list[tuple[str, list[str]]]:
    """What a process has mounted: each place, and how."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return [(words[4], words[5].split(",")) for words in map(str.split, lines)]


def test_what_a_guest_that_broke_out_finds_is_its_own(
    node: Node, make_pod: Callable[[str], Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In QEMU's place: its file tree holds no other Pod, no record, nobody's home, and no disk of the node."""
    monkeypatch.setenv("A_SECRET", "of whoever starts the Pod")
    make_pod("pod-2")
    pod = make_pod("pod-1")
    pod.start()
    qemu = next(pid for pid, command in pod.processes().items() if "qemu-system" in command)
    as_qemu = [
        "nsenter",
        f"--target={qemu}",
        "--mount",
        "--pid",
        f"--setuid={OWNER}",
        f"--setgid={OWNER}",
    ]

    def finds(*argv: str) -> str:
        done = subprocess.run([*as_qemu, *argv], capture_output=True, text=True, check=False)
        return done.stdout

    accounts = {"group", "passwd"}  # where the node's do not name the Pod's user
    assert set(finds("ls", "/run/bridgehead").split()) - accounts == {"claims", "home", "images", "pod"}
    assert finds("ls", "/run/bridgehead/claims").split() == ["vm-disk"]
    assert finds("ls", "/run/bridgehead/images").split() == ["tiny"]
    assert "pod.json" not in finds("find", "/run/bridgehead")
    assert set(finds("ls", "/dev").split()) <= {
        *("fd", "full", "kvm", "net", "null", "random", "stderr", "stdin", "stdout", "tty", "urandom"),
        *("vhost-net", "zero"),
    }
    assert finds(
        "sh", "-c", "echo x > /sys/kernel/uevent_helper; echo x > /proc/sys/kernel/core_pattern; id -u"
    ) == (f"{OWNER}\n")
    for pid, command in pod.processes().items():
        if any(word in command for word in ("qemu-system", "libvirt", "virtqemud", "vmnet.dhcp")):
            names = {line.partition("=")[0] for line in environ(pid)}
            assert not {name for name in names if "SECRET" in name}, f"{command}: its starter's environment"
        assert groups(pid) == []
    for kind in ("mnt", "pid", "uts", "ipc", "net"):
        assert Path(f"/proc/{qemu}/ns/{kind}").readlink() != Path(f"/proc/{node.first}/ns/{kind}").readlink()
    seen = mounts(qemu)
    assert [point for point, _ in seen].count("/") == 1, "nothing is left of the node's own tree"
    for point, options in seen:
        assert "nosuid" in options, point
        assert "nodev" in options or point == "/" or point.startswith("/run/bridgehead/claims/"), point
        own = point in {"/", "/proc", "/run/bridgehead/pod"} or point.startswith("/run/bridgehead/claims/")
        assert "ro" in options or own, point


def test_a_claim_that_the_user_cannot_write_is_refused_with_its_owner(
    node: Node, make_pod: Callable[[str], Pod]
) -> None:
    make_pod("pod-1")
    disk = node.vm.parent / "claims" / "vm-disk" / "disk.img"
    subprocess.run(["chown", "123:456", str(disk)], check=True)
    disk.chmod(0o640)
    done = node.call("launcher", "start", "--pod", "pod-1", *node.storage, check=False)
    assert done.returncode == 65
    assert f"cannot be written by user {OWNER}, which QEMU runs as: it is 123:456's, mode 0640" in done.stderr
    assert "volumes[0].persistentVolumeClaim.claimName" in done.stderr
    assert (disk.stat().st_uid, disk.stat().st_gid) == (123, 456)
    disk.chmod(0o666)  # however that comes about: it can be written
    assert (
        json.loads(node.run("launcher", "start", "--pod", "pod-1", *node.storage, "-o", "json"))["phase"]
        == "running"
    )
