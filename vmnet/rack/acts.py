"""What the demo does on the rack, one function an act; each runs the same commands that a person would type.

`nncp`, `vmnet` and `launcher` run in the nodes by their command lines, so nothing here knows their insides.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.document.source import load
from nncp.errors import Error, ErrorKind, raise_all
from nncp.lab import switch
from nncp.lab.nodes import DISKS, Node, checked, failure
from nncp.netns import entered
from nncp.pace import Limit, communicate
from vmnet.names import OWNER
from vmnet.rack import images, report
from vmnet.rack.cabling import NODES, PROBER_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.nodes import Rack

SCENARIO = Path(str(files("vmnet.rack"))) / "scenario"
NAD = SCENARIO / "nad.yaml"
POLICIES = Path(__file__).parents[2] / "policies" / "vm-bridge"
CLAIM = "vm-disk"  # as the VirtualMachine names it
GUEST, MASQUERADED = "172.17.33.250", "10.0.2.2"
ECHO, VERDICT = 7, 8
VLAN = 33
CLAIMS, IMAGES = DISKS / "claims", DISKS / "images"
# Limits of a quiet machine. A guest that goes on saying something on its console is waited for in any case,
# up to the second number.
FIRST_ANSWER_S, FIRST_ANSWER_IN_ALL = 240.0, 600.0
# What a guest's console says when its start is over: until then it writes memory faster than it is copied.
BOOTED = {"tiny": "guest up:", "debian": " finished at "}
BOOTED_S, BOOTED_IN_ALL = 180.0, 600.0
LEASE_S, VERDICT_S, SOUND_S = 20.0, 10.0, 15.0
PROBER_S, PROBER_IN_ALL = 30.0, 120.0
TRY_S = 0.2
TRY_SHARE = 0.05
"""A single try to connect gets so much of what has been waited: where answers are slow, a try has to be."""
SETTLE_S = 2.0  # of probing before and after a migration, so that what is at rest shows too
MAX_DOWNTIME_MS = 50


def policy(name: str) -> Path:
    """Return the file of a node's policy."""
    path = POLICIES / f"{name}.yaml"
    if not path.exists():
        raise Error(f"{path} is not there", kind=ErrorKind.USAGE, hint="the demo runs in a checkout")
    return path


def manifest(guest: str) -> Path:
    """Return the file of the VirtualMachine that boots this guest image."""
    return SCENARIO / f"vm-{guest}.yaml"


def apply(node: Node, file: Path) -> tuple[float, str]:
    """Apply a policy on a node; return the seconds that took and the plan as the command printed it."""
    began = time.monotonic()
    plan = node.run(*_ours("nncp"), "apply", str(file))
    return time.monotonic() - began, plan


def wait_for_links(rack: Rack) -> None:
    """Wait until LACP is up on both sides of all bonds, between the right two, and bridges' ports forward."""
    switch.wait_for_lacp([(rack[name], "bond0") for name in NODES])
    switch.wait_for_lacp([(rack["tor"], f"to-{name}") for name in NODES])
    for name in NODES:
        switch.wait_for_forwarding(rack[name], "bond0")
        cable = [(rack[name], "bond0"), (rack["tor"], f"to-{name}")]
        raise_all(Error(fault, kind=ErrorKind.FAILED) for fault in switch.strangers(cable))


def bond(node: Node) -> report.Bond:
    """Return what the kernel says of a node's bond."""
    found = switch.bond_of(node, "bond0")
    return report.Bond(found.mode, found.partner_mac, sum(port.up for port in found.ports))


def preflight(rack: Rack) -> tuple[report.Preflight, str]:
    """Check the NADs' bridges between the nodes and the prober; return the verdict and its reason."""
    members = {**{name: rack[name] for name in NODES}, "prober:eth0": rack["prober"]}
    given = [f"--member={name}={shlex.join(node.command([]))}" for name, node in members.items()]
    argv = [*_ours("vmnet.cli"), "preflight", str(NAD), *given, "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise failure(argv, done.returncode, done.stderr)
    answer = json.loads(done.stdout)
    return report.Preflight(answer["verdict"], answer["pairs"]), answer["reason"]


class Pod(Struct, frozen=True):
    """A launcher Pod of the guest, where it is and by which address."""

    name: str
    node: Node
    address: str
    image: str

    def launcher(self, verb: str, *words: str) -> dict[str, Any]:
        """Run a launcher command on this Pod and return its answer."""
        argv = [*_ours("launcher"), verb, "--pod", self.name, *words, "-o", "json"]
        return dict(json.loads(self.node.run(*argv)))

    def beginning(self) -> list[str]:
        """Return the words that `start` and `prepare` have in common."""
        words = [str(manifest(self.image)), f"--claims={CLAIMS}", f"--images={IMAGES}"]
        tree = images.qemu_tree()
        return [*words, f"--qemu={tree}"] if tree else words


def lay_out_disk(image: str) -> None:
    """Put a fresh disk of the guest into the folder that both nodes share, and its kernel beside it."""
    folder = images.find(image)
    if folder is None:
        raise Error(f"there is no {image} image", kind=ErrorKind.FAILED, hint=f"vmnet rack images {image}")
    (CLAIMS / CLAIM).mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (IMAGES / image).symlink_to(folder)
    checked(["cp", "--sparse=always", str(folder / "disk.img"), str(CLAIMS / CLAIM / "disk.img")])
    os.chown(CLAIMS / CLAIM / "disk.img", OWNER, OWNER)


def attach(node: Node, *, number: int, image: str) -> Pod:
    """Make a launcher Pod on a node and attach it to the VM's networks."""
    name = f"virt-launcher-vm-{number}"
    files_ = [str(manifest(image)), str(NAD)]
    record = json.loads(node.run(*_ours("vmnet.cli"), "attach", name, *files_, "-o", "json"))
    own = next(status for status in record["network-status"] if status.get("default"))
    return Pod(name, node, own["ips"][0].partition("/")[0], image)


def detach(pod: Pod) -> None:
    """Take a Pod whose guest has gone off its networks."""
    pod.node.run(*_ours("vmnet.cli"), "detach", pod.name)


def start(rack: Rack, pod: Pod) -> report.Vm:
    """Start the guest, and return when it answers on its static address and holds its lease."""
    pod.launcher("start", *pod.beginning())
    first = _wait_for_echo(rack["prober"], pod)
    wait_for_lease(pod)
    addresses = {"eth0": f"{MASQUERADED}/24", "eth1": f"{GUEST}/24"}
    name = load(manifest(pod.image).read_text(encoding="utf-8"), file="vm")[0].value["metadata"]["name"]
    return report.Vm(name, addresses, round(first, 2))


def wait_for_lease(pod: Pod) -> None:
    """Wait until the guest answers in its Pod on the address that only DHCP gives it."""
    limit = Limit(LEASE_S)
    ping = ["ip", "netns", "exec", pod.name, "ping", "-c", "1", "-W", "1", MASQUERADED]
    while subprocess.run(pod.node.command(ping), capture_output=True, check=False).returncode:
        if limit.is_over():
            message = f"the guest did not answer on {MASQUERADED} in its Pod {limit.story}"
            raise Error(message, kind=ErrorKind.FAILED, hint="it gets this address by DHCP")


class Refused(Exception):
    """A migration that was not begun, and why in one sentence."""


def move(rack: Rack, source: Pod, target: Node) -> tuple[Pod, report.Migration]:
    """Move the guest to another node, watched by the prober.

    Raises:
        Refused: preflight found that the guest would not answer there; nothing was touched.

    """
    checked_, reason = preflight(rack)
    if checked_.verdict != "ok":
        raise Refused(reason)
    number = int(source.name.rpartition("-")[2]) + 1
    pod = attach(target, number=number, image=source.image)
    # The shared disk folder stands for the way that an operator trusts.
    credentials = DISKS / f"credentials-{number}.json"
    pod.launcher("prepare", *pod.beginning(), f"--from={source.address}", f"--credentials={credentials}")
    before = source.node.counted("enp1s0")
    with probing(rack["prober"]) as seen:
        time.sleep(SETTLE_S)
        answer = source.launcher(
            "migrate", f"--credentials={credentials}", f"--max-downtime={MAX_DOWNTIME_MS}"
        )
        time.sleep(SETTLE_S)
    moved = report.Migration(
        from_node=source.node.name,
        to_node=target.name,
        total_s=answer["total_s"],
        downtime_ms=answer["downtime_ms"],
        pings_sent=seen["pings_sent"],
        pings_lost=seen["pings_lost"],
        longest_gap_ms=seen["longest_gap_ms"],
        prober_jitter_ms=seen["prober_jitter_ms"],
        tcp_survived=seen["tcp_survived"],
        pod_address_changed=pod.address != source.address,
        bytes_on_management=source.node.counted("enp1s0") - before,
    )
    return pod, moved


@contextlib.contextmanager
def probing(prober: Node) -> Iterator[dict[str, Any]]:
    """Ping the guest and talk to it over TCP meanwhile; what came of it is in the dictionary afterwards."""
    seen: dict[str, Any] = {}
    argv = prober.command([*_ours("launcher"), "probe", GUEST, "-o", "json"])
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():  # it says when it begins; nothing when it cannot
            raise failure(argv, process.wait(), _last_words(process)[1])
        yield seen
        process.send_signal(signal.SIGTERM)
        out, errors = _last_words(process)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise failure(argv, process.returncode, errors)
    seen.update(json.loads(out))


def _last_words(process: subprocess.Popen[str]) -> tuple[str, str]:
    limit = Limit(PROBER_S, in_all=PROBER_IN_ALL)
    try:
        return communicate(process, limit)
    except subprocess.TimeoutExpired:
        raise Error(f"the prober was told to end and did not {limit.story}", kind=ErrorKind.FAILED) from None


def verdict(prober: Node) -> str:
    """Ask the guest how its memory and its disk are: "sound N", or what is wrong."""
    limit = Limit(VERDICT_S)
    with entered(f"/proc/{prober.pid}/ns/net"):
        while True:
            why = "it has not looked yet"
            try:
                with socket.create_connection((GUEST, VERDICT), max(limit.left, 1.0)) as line:
                    if said := line.makefile("r").readline().strip():
                        return said
            except OSError as error:
                why = str(error)
            if limit.is_over():
                message = f"the guest did not say how it is {limit.story}: {why}"
                raise Error(message, kind=ErrorKind.FAILED)
            time.sleep(TRY_S)


def verdicts(prober: Node) -> tuple[str, str]:
    """Return two verdicts of the guest, the second once it differs: a count that stands still is no good."""
    first, limit = verdict(prober), Limit(SOUND_S)
    while True:
        time.sleep(TRY_S)
        second = verdict(prober)
        if second != first or limit.is_over():
            return first, second


def _wait_for_echo(prober: Node, pod: Pod) -> float:
    """Return after how many seconds the guest answered on its static address."""
    began, limit = time.monotonic(), Limit(FIRST_ANSWER_S, in_all=FIRST_ANSWER_IN_ALL)
    with entered(f"/proc/{prober.pid}/ns/net"):
        while not limit.is_over():
            waited = time.monotonic() - began
            patience = max(TRY_S, TRY_SHARE * waited)
            with contextlib.suppress(OSError), socket.create_connection((GUEST, ECHO), patience):
                return time.monotonic() - began
            _see(pod, limit)
            time.sleep(0.02)
    message = f"{GUEST} gave no answer to {PROBER_ADDRESS} {limit.story}"
    raise Error(message, kind=ErrorKind.FAILED)


def wait_until_booted(pod: Pod) -> None:
    """Wait until the guest's console says that its start is over."""
    limit = Limit(BOOTED_S, in_all=BOOTED_IN_ALL)
    while BOOTED[pod.image] not in console(pod):
        _see(pod, limit)
        if limit.is_over():
            raise Error(f"the guest did not finish its start {limit.story}", kind=ErrorKind.FAILED)
        time.sleep(0.2)


def _see(pod: Pod, limit: Limit) -> None:
    """Let the limit see how far a guest's start is; raise when its Pod has ended."""
    limit.sees(len(console(pod)))
    if '"event": "ended"' in pod.node.read(f"/run/bridgehead/pods/{pod.name}/launcher/launcher.log"):
        raise Error("the guest's Pod ended", kind=ErrorKind.FAILED)


def console(pod: Pod) -> str:
    """Return what the guest has said on its console."""
    return pod.node.read(f"/run/bridgehead/pods/{pod.name}/launcher/console.log")


def _ours(module: str) -> list[str]:
    return [sys.executable, "-P", "-m", module]


def programs_missing() -> list[str]:
    """Return which programs of the distribution the demo lacks."""
    names = ("ip", "bridge", "nft", "nsenter", "unshare", "ping", "qemu-system-x86_64")
    return [name for name in names if shutil.which(name) is None]
