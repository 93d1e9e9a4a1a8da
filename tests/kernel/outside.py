"""A throw-away network namespace as others see it: through ip, bridge and sysctl, not our own reader."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from itertools import chain, groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncp import netns
from nncp.pace import Limit
from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Sequence

# What runs by itself, or what the kernel hands out anew and nobody can ask for.
MOVING = {
    "qdisc",  # noop before a link's first "up", never again after it
    "hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "hold_timer", "message_age_timer",
    "forward_delay_timer", "topology_change", "topology_change_detected", "topology_change_ack", "config_pending",
    "id", "no", "designated_port", "designated_cost",  # a port's number: the lowest free one when it is attached
    "ad_info", "ad_aggregator_id", "link_failure_count", "mii_status", "active_slave",
    "ad_actor_oper_port_state", "ad_partner_oper_port_state", "ad_actor_oper_port_state_str",
    "ad_partner_oper_port_state_str", "link_index",
    "cstamp", "tstamp", "expires", "valid_life_time", "preferred_life_time",
}  # fmt: skip
SLAVE_STATE = {"state"}
SETTLES = 3.0  # seconds of a quiet machine in which the kernel does by itself what it does


class Namespace:
    """A network namespace made for one test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace."""
        argv = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(argv, text=True, capture_output=True, check=check, input=stdin)

    def popen(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        """Start a command in the namespace; whoever leaves its context closes its standard input."""
        argv = ["ip", "netns", "exec", self.name, *command]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **more}
        return subprocess.Popen(argv, text=True, **streams)

    def nncp(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line in the namespace, in a fork of this process, which has imported all of it."""
        return forked("nncp", *argv, path=self.path, stdin=stdin)

    def batch(self, *lines: str) -> None:
        """Run ip commands, one a line; those that start with `bridge` or `sysctl` by these programs."""
        for program, some in groupby(map(_command, lines), lambda command: command[0]):
            told = [words for _, words in some]
            batch = () if program[0] == "sysctl" else ("-batch", "-")
            argv = [*program, *(batch or chain.from_iterable(told))]
            with netns.entered(self.path):  # and not by `ip netns exec`, which takes longer than they do
                done = subprocess.run(
                    argv,
                    input="\n".join(map(" ".join, told)),
                    text=True,
                    errors="surrogateescape",
                    capture_output=True,
                    check=False,
                )
            assert done.returncode == 0, f"{argv}: {told}: {done.stderr}"

    def json(self, *command: str) -> Any:
        """Return what an iproute2 command says in JSON."""
        text = self.run(*command).stdout
        return json.loads(text) if text.strip() else []

    def view(self) -> dict[str, Any]:
        """Return links, addresses, routes, rules, bridge ports, VLANs and IPv6 switches, less what moves."""
        with netns.entered(self.path):  # and not by `ip netns exec`: a view is taken after every kill
            links, addresses, routes, rules = _batch(["ip"], "link", "addr", "route show table all", "rule")
            routes6, rules6 = _batch(["ip", "-6"], "route show table all", "rule")
            ports, vlans = _batch(["bridge"], "link", "vlan")
            switches = {link["ifname"]: _switch(link["ifname"]) for link in links}
        return {
            "link": _by_name(links),
            "addr": _by_name(addresses),
            "route": _sorted(routes),
            "route6": _sorted(routes6),
            "rule": rules,
            "rule6": rules6,
            "bridge": _by_name(ports),
            "vlan": _by_name(vlans),
            "ipv6": switches,
        }

    def settled(self) -> dict[str, Any]:
        """Return the view once it is the same twice: carriers and duplicate address detection take a moment."""
        limit = Limit(SETTLES)
        before = self.view()
        while not limit.is_over():
            time.sleep(0.05)
            now = self.view()
            if now == before and not _is_moving(now):
                return now
            before = now
        return before

    def differs(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return what differs from `before`, once that no longer changes."""
        limit = Limit(SETTLES, in_all=10 * SETTLES)
        while (now := self.view()) != before and not limit.is_over():
            limit.sees(now)
            time.sleep(0.05)
        tables = [table for table in before if before[table] != now[table]]
        return {table: difference(before[table], now[table]) for table in tables}


def _command(line: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the program of a line with its options, and the rest of its words."""
    words = line.split()
    program = words.pop(0) if words[0] in {"bridge", "sysctl"} else "ip"
    options = list(takewhile(lambda word: word in {"-4", "-6"}, words))
    return (program, *options), words[len(options) :]


def forked(module: str, *argv: str, path: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a module as `python -m` does, in a network namespace, in a fork of this process.

    A test of a command line would spend most of its time in imports. What it says goes to files, not to pipes:
    what it leaves behind may hold them, and is not waited for.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write((stdin or "").encode())
        files[0].seek(0)
        if (pid := os.fork()) == 0:
            code = 1
            try:
                code = _as_program(module, argv, path, [file.fileno() for file in files])
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = []
        for file in files[1:]:
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([module, *argv], code, *said)


def _as_program(module: str, argv: Sequence[str], path: Path, files: Sequence[int]) -> int:
    """Return the code with which a program ends that this process becomes."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "w" if number else "r", closefd=False)  # noqa: SIM115  (until this process ends)
        for number in range(3)
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = [module, *argv]
    code: Any = 0
    try:
        with netns.entered(path):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  (as an interpreter ends)
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def _is_moving(view: dict[str, Any]) -> bool:
    """Whether addresses are still looked for, or links still wait to be told of their carrier.

    The kernel tells of a carrier that went once a second (net/core/link_watch.c, linkwatch_schedule_work).
    """
    return "tentative" in json.dumps(view["addr"]) or any(
        "UP" in link["flags"] and link["operstate"] == ("DOWN" if "LOWER_UP" in link["flags"] else "UNKNOWN")
        for link in view["link"].values()
    )


def _batch(program: list[str], *questions: str) -> list[Any]:
    """Return what one iproute2 process answers to some questions, in their order."""
    argv = [*program, "-d", "-j", "-batch", "-"]
    asked, names = "\n".join(questions), "surrogateescape"  # which may hold any bytes
    done = subprocess.run(argv, input=asked, text=True, errors=names, capture_output=True, check=True)
    reader, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        answer, end = reader.raw_decode(rest)
        found.append(answer)
        rest = rest[end:].strip()
    assert len(found) == len(questions), done.stdout
    return found


def _switch(name: str) -> str:
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def difference(before: Any, now: Any) -> Any:
    """Return what differs between two answers."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now), key=str)
        return {
            key: difference(before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)
        }
    if isinstance(before, list) and isinstance(now, list):
        return {
            "gone": [item for item in before if item not in now],
            "new": [item for item in now if item not in before],
        }
    return (before, now)


def _by_name(found: Any) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for entry in found:
        still = _still(entry)
        if "addr_info" in still:
            still["addr_info"] = _sorted(still["addr_info"])
        named[f"{entry['ifname']}{'/port' if 'master' in entry and 'state' in entry else ''}"] = still
    return named


def _sorted(found: Any) -> list[Any]:
    # The kernel's multicast route comes with a link's first carrier and goes only with the link.
    lasting = (_still(entry) for entry in found if entry.get("dst") != "ff00::/8")
    return sorted(lasting, key=lambda entry: json.dumps(entry, sort_keys=True))


def _still(value: Any, parent: str = "") -> Any:
    if isinstance(value, dict):
        skip = MOVING | (SLAVE_STATE if parent == "info_slave_data" else set())
        found = {key: _still(item, key) for key, item in value.items() if key not in skip}
        if "flags" in found and isinstance(found["flags"], list):
            found["flags"] = sorted(found["flags"])
        return found
    return [_still(item, parent) for item in value] if isinstance(value, list) else value


def make() -> Namespace:
    """Make a namespace with IPv6 quick to settle."""
    name = leftovers.unused_namespace()
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    namespace = Namespace(name)
    namespace.run(
        "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
        "net.ipv6.conf.default.dad_transmits=0",
    )  # fmt: skip
    namespace.batch("link set lo up")
    return namespace


def remove(namespace: Namespace) -> None:
    """Remove a namespace."""
    leftovers.remove_namespace(namespace.name)


def plug(ns: Namespace, beyond: Namespace, name: str, peer: str, *, mac: str = "") -> None:
    """Make a veth in `ns` whose other end is in `beyond`."""
    address = f" address {mac}" if mac else ""
    ns.batch(
        f"link add {name}{address} type veth peer name {peer} netns {beyond.name}", f"link set {name} up"
    )
    beyond.batch(f"link set {peer} up")
