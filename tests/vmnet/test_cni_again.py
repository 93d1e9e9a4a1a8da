"""A port again: a second ADD, a call that was killed, calls at the same time, and what is left in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.vmnet.cni_runtime import CONF, MAC, ipam

if TYPE_CHECKING:
    from conftest import Node

    from tests.vmnet.cni_runtime import Runtime

LEASED = ipam("10.9.0.0/24")


def test_a_second_add_answers_as_the_first_and_changes_nothing(runtime: Runtime) -> None:
    conf = {**LEASED, "macspoofchk": True}
    first = runtime.ok("ADD", conf)
    # What the kernel tells a little later, by a clock of its own, is not looked at.
    everything = """{ ip -j link; nft list ruleset; ip -n c -j addr; } | sed -E 's/"operstate":"[^"]*"//g'"""
    before = runtime.node.sh(everything)
    assert runtime.ok("ADD", conf) == first
    assert runtime.node.sh(everything) == before
    assert runtime.leases() == ["10.9.0.2"]


OTHERS: list[tuple[dict[str, Any], dict[str, str], int, str]] = [
    (
        {"portIsolation": True},
        {},
        7,
        "net1 of container c1 is attached already in another way: portIsolation",
    ),
    ({"ipam": {"type": "no-such-ipam"}}, {}, 7, "in another way: ipam"),
    ({"bridge": "br9"}, {}, 7, "in another way: bridge"),
    ({}, {"CNI_ARGS": f"MAC={MAC}"}, 7, "attached already, with another MAC or namespace"),
    ({}, {"CNI_NETNS": "/run/netns/d"}, 7, "attached already, with another MAC or namespace"),
    ({"name": "other"}, {}, 7, "in another way: name"),
]


@pytest.mark.parametrize(("change", "env", "code", "message"), OTHERS, ids=[one[3] for one in OTHERS])
def test_a_second_add_that_differs_leaves_the_firsts_port_and_lease(
    runtime: Runtime, change: dict[str, Any], env: dict[str, str], code: int, message: str
) -> None:
    runtime.node.sh("ip netns add d")
    result = runtime.ok("ADD", LEASED)
    said = runtime.refused("ADD", {**LEASED, **change}, **env)
    assert said["code"] == code
    assert message in said["msg"]
    runtime.ok("CHECK", {**LEASED, "prevResult": result})
    assert runtime.leases() == ["10.9.0.2"]


def test_a_second_add_to_a_port_that_is_not_whole_says_so_and_mends_nothing(runtime: Runtime) -> None:
    runtime.ok("ADD", LEASED)
    runtime.node.sh(f"ip link set {runtime.port()} nomaster")
    said = runtime.refused("ADD", LEASED)
    assert said["code"] == 100
    assert "is attached already, and veth" in said["msg"]
    assert runtime.leases() == ["10.9.0.2"]
    runtime.ok("DEL", LEASED)
    runtime.ok("ADD", LEASED)


POLICY = """
interfaces:
- {name: br7, type: linux-bridge, state: up, bridge: {port: []}}
"""


def test_nncp_rollback_undoes_the_policy_and_not_a_pod(runtime: Runtime) -> None:
    node = runtime.node
    node.run("tee", "/run/policy.yaml", stdin=POLICY)
    node.run(sys.executable, "-m", "nncp", "apply", "/run/policy.yaml")
    result = runtime.ok("ADD", CONF)
    node.run(sys.executable, "-m", "nncp", "rollback")
    assert "br7" not in node.sh("ip -br link")
    runtime.ok("CHECK", {**CONF, "prevResult": result})


def test_an_apply_of_a_policy_keeps_no_pod_waiting(runtime: Runtime) -> None:
    """The policy engine's lock is held by somebody who never lets go."""
    node = runtime.node
    node.sh("ip link add br8 type bridge; ip link del br8")
    node.run("tee", "/run/policy.yaml", stdin=POLICY)
    node.run(sys.executable, "-m", "nncp", "apply", "/run/policy.yaml")
    (lock,) = node.sh("ls /var/lib/nncp/journals/*/lock").split()
    holder = node.spawn("flock", lock, "sh", "-c", "echo held; exec sleep inf", stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    result = runtime.ok("ADD", CONF)
    runtime.ok("CHECK", {**CONF, "prevResult": result})
    runtime.ok("DEL", CONF)
    assert "veth" not in node.sh("ip -br link")
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()


CALL = """
CNI_COMMAND={verb} CNI_CONTAINERID={container} CNI_NETNS=/run/netns/{netns} CNI_IFNAME=net1 CNI_PATH=/usr/lib/cni \
    {python} -m vmnet.cni < /run/conf > /run/answer-{container} 2>&1 &
"""


def at_once(node: Node, verb: str, conf: dict[str, Any], containers: list[str]) -> None:
    node.run("tee", "/run/conf", stdin=json.dumps(conf))
    calls = "".join(
        CALL.format(verb=verb, container=one, netns=one, python=sys.executable) for one in containers
    )
    node.sh(f"{calls}\nwait")


def test_many_adds_and_dels_at_once_while_a_policy_is_applied(runtime: Runtime) -> None:
    node = runtime.node
    containers = [f"c{number}" for number in range(2, 10)]
    node.sh("".join(f"ip netns add {one};" for one in containers))
    node.run("tee", "/run/policy.yaml", stdin=POLICY)
    apply = node.spawn(sys.executable, "-m", "nncp", "apply", "/run/policy.yaml")
    conf = {**LEASED, "macspoofchk": True}
    at_once(node, "ADD", conf, containers)
    assert apply.wait() == 0
    answers = [json.loads(node.sh(f"cat /run/answer-{one}")) for one in containers]
    assert all("code" not in answer for answer in answers), answers
    ports = {answer["interfaces"][1]["name"] for answer in answers}
    assert {link["ifname"] for link in json.loads(node.sh("ip -j link show master br1 type veth"))} == ports
    assert len(runtime.leases()) == len(containers)
    rules = node.sh("nft list ruleset")
    for answer in answers:
        port, inside = answer["interfaces"][1]["name"], answer["interfaces"][2]["mac"]
        assert f'iifname "{port}" ether saddr != {inside} counter' in rules
    node.run(sys.executable, "-m", "nncp", "rollback")
    assert len(json.loads(node.sh("ip -j link show master br1 type veth"))) == len(containers)
    at_once(node, "DEL", conf, containers)
    node.sh("rm -r /var/lib/nncp")
    assert runtime.leases() == []
    runtime.gone()


def test_two_adds_of_one_port_at_once_are_one(runtime: Runtime) -> None:
    runtime.node.sh("ip netns add c5")
    runtime.node.run("tee", "/run/conf", stdin=json.dumps(LEASED))
    call = CALL.format(verb="ADD", container="c5", netns="c5", python=sys.executable)
    runtime.node.sh(f"{call} {call.replace('answer-c5', 'answer-c5b')}\nwait")
    one, two = (json.loads(runtime.node.sh(f"cat /run/answer-{name}")) for name in ("c5", "c5b"))
    assert one == two
    assert "code" not in one
    assert runtime.leases() == ["10.9.0.2"]


SLOW = """#!/bin/sh
# An IPAM plugin that is reached, and then waits for ever.
[ $CNI_COMMAND = ADD ] || { echo $CNI_COMMAND >> /run/said; exit 0; }
touch /run/reached; exec sleep inf
"""


def test_an_add_that_was_killed_is_undone_by_del_and_done_anew_by_add(runtime: Runtime) -> None:
    node = runtime.node
    node.sh("mkdir /run/bin")
    node.run("tee", "/run/bin/slow", stdin=SLOW)
    node.sh("chmod +x /run/bin/slow")
    conf = {**CONF, "ipam": {"type": "slow"}, "macspoofchk": True}
    node.run("tee", "/run/conf", stdin=json.dumps(conf))
    start = (
        "exec env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/c CNI_IFNAME=net1 CNI_PATH=/run/bin"
    )
    for verb in ("DEL", "ADD"):
        killed = node.spawn("sh", "-c", f"{start} {sys.executable} -m vmnet.cni < /run/conf")
        node.until("test -e /run/reached; rm /run/reached")
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert runtime.port()
        if verb == "DEL":
            runtime.ok("DEL", conf, CNI_PATH="/run/bin")
            assert node.sh("cat /run/said") == "DEL\n"  # it may have given an address
            runtime.gone()
    result = runtime.ok("ADD", LEASED, CNI_PATH="/run/bin:/usr/lib/cni")
    runtime.ok("CHECK", {**LEASED, "prevResult": result})
    assert node.sh("cat /run/said") == "DEL\nDEL\n"


def test_del_goes_by_what_add_was_given(runtime: Runtime) -> None:
    conf = {**LEASED, "macspoofchk": True, "isGateway": True, "ipMasq": True}
    runtime.ok("ADD", conf)
    assert runtime.node.sh("nft list tables")
    runtime.node.sh("ip netns del c")
    runtime.ok("DEL", {"name": "net", "ipam": 5, "bridge": "br9"}, CNI_NETNS="")
    assert runtime.leases() == []
    runtime.gone()


def test_a_del_whose_ipam_plugin_fails_is_told_and_can_be_done_again(runtime: Runtime) -> None:
    runtime.ok("ADD", LEASED)
    said = runtime.refused("DEL", LEASED, CNI_PATH="/run")
    assert "host-local is not installed" in said["msg"]
    assert "veth" not in runtime.node.sh("ip -br link")
    runtime.ok("DEL", LEASED)
    assert runtime.leases() == []
    runtime.gone()


def test_the_record_is_for_root_alone(runtime: Runtime) -> None:
    runtime.ok("ADD", CONF)
    found = runtime.node.sh("find /run/bridgehead/cni -printf '%y %m %P\\n'").split("\n")
    assert sorted({line.rsplit(" ", 1)[0] for line in found if line}) == ["d 700", "f 600"]
    assert sum("journals" in line for line in found) == 0


def test_gc_gives_back_ports_tables_and_leases(runtime: Runtime) -> None:
    conf = {**LEASED, "macspoofchk": True}
    runtime.ok("ADD", conf)
    runtime.ok("ADD", {**CONF, "name": "other"}, ifname="net2")
    refused = runtime.refused("GC", CONF)
    assert (refused["code"], len(runtime.leases())) == (7, 1)
    runtime.ok("GC", {**CONF, "cni.dev/valid-attachments": []})
    assert runtime.leases() == []
    assert runtime.node.sh("nft list tables") == ""
    assert [link["ifname"] for link in json.loads(runtime.node.sh("ip -n c -j link"))] == ["lo", "net2"]


def test_vmnet_cni_install_puts_cnv_bridge_and_never_bridge(runtime: Runtime) -> None:
    node = runtime.node
    for _ in range(2):
        assert node.vmnet("cni", "install", "--dir", "/run/opt/bin").stdout == "/run/opt/bin/cnv-bridge\n"
    assert node.sh("ls -A /run/opt/bin") == "cnv-bridge\n"
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c", "CNI_IFNAME": "net1"}
    done = node.run("/run/opt/bin/cnv-bridge", stdin=json.dumps(CONF), **env)
    assert json.loads(done.stdout)["interfaces"][1]["name"] == runtime.port()


@pytest.mark.parametrize("make", ["echo '#!/bin/sh' > {}", "ln -s /bin/true {}", "mkdir {}"])
def test_vmnet_cni_install_replaces_nothing_of_others(node: Node, make: str) -> None:
    node.sh("mkdir /run/bin")
    node.sh(make.format("/run/bin/cnv-bridge"))
    done = node.vmnet("cni", "install", "--dir", "/run/bin", check=False)
    assert done.returncode == 75
    assert "is not ours to replace" in done.stderr
    assert node.sh("ls -A /run/bin") == "cnv-bridge\n"
