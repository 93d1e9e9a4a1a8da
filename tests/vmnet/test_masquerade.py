"""Slides 9 to 12 on this host's own kernel: a namespace takes the guest's place, with a real DHCP client."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.vmnet.dial import CLIENT, RENEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Node

HERE = Path(__file__).parent / "manifests"
VM = str(HERE / "masquerade.yaml")
AS_POD = "ip netns exec pod-1"
AS_GUEST = "ip netns exec guest"

LEASE_SCRIPT = """\
#!/bin/sh
[ "$1" = bound ] || exit 0
env > /run/lease
ip addr add "$ip/$mask" dev "$interface"
ip link set "$interface" mtu "$mtu"
ip route add default via "${router%% *}"
"""

pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox, for udhcpc")


@pytest.fixture
def pod(pod_network: Node) -> Iterator[Node]:
    """An attached Pod, with a namespace in the guest's place: a second port of k6t-eth0 beside its tap."""
    node = pod_network
    node.vmnet("attach", "pod-1", VM, "--cni-conf-dir", "/run/net.d")
    node.sh("""
        ip netns add guest
        ip link add g0 netns guest address 02:11:22:33:44:55 type veth peer name g0p netns pod-1
        ip -n pod-1 link set g0p master k6t-eth0 up
        ip -n guest link set lo up; ip -n guest link set g0 up
    """)
    server = node.python(str(Path(__file__).with_name("serve.py")), "/run/bridgehead/pods/pod-1/pod.json")
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == "ready\n"
    node.run("tee", "/run/lease.sh", stdin=LEASE_SCRIPT)
    client = "busybox udhcpc -i g0 -s /run/lease.sh -n -q -f -t 60 -T 1 -O 121 -O 119"
    node.sh(f"chmod +x /run/lease.sh; {AS_GUEST} {client}")
    yield node
    server.stdin.close()
    assert server.wait() == 0
    server.stdout.close()


def lease(node: Node) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in node.sh("cat /run/lease").splitlines())


def addresses(node: Node, namespace: str) -> dict[str, Any]:
    found = json.loads(node.sh(f"ip -n {namespace} -d -j addr"))
    return {link["ifname"]: link for link in found}


def asked(node: Node, where: str, address: str, port: int, *, source: str = "0.0.0.0") -> str:
    return node.sh(f"{where} python3 -c '{CLIENT}' {address} {port} {source} 60")


def test_a_real_client_gets_the_slides_lease(pod: Node) -> None:
    got = lease(pod)
    assert (got["ip"], got["mask"], got["router"], got["mtu"]) == ("10.0.2.2", "24", "10.0.2.1", "1400")
    assert (got["hostname"], got["dns"], got["serverid"]) == ("guest", "10.96.0.10", "10.0.2.1")
    assert got["search"] == "default.svc.cluster.local cluster.local"
    assert got["domain"] == "default.svc.cluster.local"


def test_a_client_that_has_its_address_is_answered_there(pod: Node) -> None:
    renew = [*AS_GUEST.split(), sys.executable, "-c", RENEW, "10.0.2.2", "10.0.2.1", "02:11:22:33:44:55"]
    assert pod.run(*renew).stdout == "10.0.2.1 67 5\n"


def test_the_pod_looks_like_slides_9_and_10(pod: Node) -> None:
    links = addresses(pod, "pod-1")
    eth0, bridge, tap = links["eth0"], links["k6t-eth0"], links["tap0"]
    assert [a["local"] for a in eth0["addr_info"] if a["family"] == "inet"] == ["10.244.1.2"]
    assert bridge["address"] == "02:00:00:00:00:00"
    assert [(a["local"], a["prefixlen"]) for a in bridge["addr_info"]] == [("10.0.2.1", 24)]
    assert (tap["master"], tap["linkinfo"]["info_kind"]) == ("k6t-eth0", "tun")
    assert {eth0["mtu"], bridge["mtu"], tap["mtu"]} == {1400}
    assert all("UP" in link["flags"] for link in (eth0, bridge, tap))
    assert not tap["addr_info"]


def test_traffic_passes_both_ways_and_loopback_reaches_the_guest(pod: Node) -> None:
    pod.sh(f"{AS_GUEST} ping -c1 -W60 10.0.2.1; {AS_GUEST} ping -c1 -W60 10.244.1.1")
    pod.serve("guest", 8080, "guest")
    assert asked(pod, "", "10.244.1.2", 8080) == "guest"
    assert asked(pod, AS_POD, "127.0.0.1", 8080) == "guest"


def test_the_largest_frame_passes_and_one_more_byte_does_not(pod: Node) -> None:
    pod.sh(f"{AS_GUEST} ping -c1 -W60 -M do -s {1400 - 28} 10.0.2.1")
    assert pod.run(
        *AS_GUEST.split(), "ping", "-c1", "-W1", "-M", "do", "-s", "1373", "10.0.2.1", check=False
    ).returncode


def test_attach_again_changes_nothing_and_detach_leaves_nothing(pod: Node) -> None:
    everything = (
        "{ ip -n pod-1 -4 -j addr; ip -n pod-1 -j link; ip -j link; bridge -n pod-1 link; }"
        # A tap's carrier, and what follows from it, comes a little after the tap has gone up.
        """ | sed -E 's/"(operstate|qdisc)":"[^"]*",|,"LOWER_UP"|"NO-CARRIER",//g'"""
    )
    # Nobody reads from it: it loses its carrier, and its port what rests on that, a moment after it went up.
    pod.until("bridge -n pod-1 link show dev tap0 | grep -q NO-CARRIER")
    before = pod.sh(everything)
    pod.vmnet("attach", "pod-1", VM, "--cni-conf-dir", "/run/net.d")
    assert pod.sh(everything) == before
    pod.sh("ip -n pod-1 link delete g0p")  # the test's own, which would be told
    pod.vmnet("detach", "pod-1")
    pod.vmnet("detach", "pod-1")
    assert pod.sh(
        "ls /run/netns; ls /run/bridgehead/pods; ls /run/ipam/pods | grep -v -e last -e lock || true"
    ) == ("guest\n")


@pytest.mark.parametrize(
    ("said", "instead"),
    [("masquerade: {}", "bridge: {}"), ("pod: {}", "pod: {vmNetworkCIDR: 10.9.0.0/24}")],
    ids=["another binding", "another network behind it"],
)
def test_a_pod_that_is_attached_one_way_is_not_made_into_another(
    pod_network: Node, said: str, instead: str
) -> None:
    conf = ("--cni-conf-dir", "/run/net.d")
    pod_network.vmnet("attach", "pod-1", VM, *conf)
    before = pod_network.sh("ip -n pod-1 -o addr")
    text = Path(VM).read_text()
    assert said in text
    done = pod_network.vmnet("attach", "pod-1", "-", *conf, check=False, stdin=text.replace(said, instead))
    assert done.returncode == 64
    assert "Pod pod-1 was attached to pods in another way than is asked now" in done.stderr
    assert pod_network.sh("ip -n pod-1 -o addr") == before


def test_a_handlers_user_is_nobodys_guest(pod_network: Node) -> None:
    done = pod_network.vmnet("attach", "pod-1", VM, "--owner", "65534", check=False)
    assert done.returncode == 64
    assert "65534 is nobody, as whom the node's handlers run" in done.stderr


def test_an_attach_that_fails_leaves_nothing(pod_network: Node) -> None:
    broken = pod_network.sh('sed \'s/"bridge",/"no-such-plugin",/\' /run/net.d/10-pods.conflist')
    pod_network.run("tee", "/run/net.d/10-pods.conflist", stdin=broken)
    done = pod_network.vmnet("attach", "pod-1", VM, "--cni-conf-dir", "/run/net.d", check=False)
    assert done.returncode == 69
    assert done.stderr.startswith("error: CNI plugin no-such-plugin is not installed")
    assert pod_network.sh("ls /run/netns /run/bridgehead/pods") == "/run/bridgehead/pods:\n\n/run/netns:\n"


def test_the_record_says_what_a_launcher_needs(pod: Node) -> None:
    record = json.loads(pod.sh("cat /run/bridgehead/pods/pod-1/pod.json"))
    (status,) = record["network-status"]
    assert (status["name"], status["interface"], status["ips"], status["default"]) == (
        "pods",
        "eth0",
        ["10.244.1.2"],
        True,
    )
    (nic,) = record["interfaces"]
    assert nic["devices"]["tap"] == "tap0"
    assert '<target dev="tap0"' in nic["domain"]
    assert f'<mac address="{nic["mac"]}"' in nic["domain"]
    (service,) = nic["services"]
    assert (service["module"], service["config"]["server"]) == ("vmnet.dhcp", "10.0.2.1")
    assert record["netns"] == "/run/netns/pod-1"


CHECK = """
from vmnet.node.readiness import check_rules
from vmnet.record import read_record
check_rules(read_record("/run/bridgehead/pods/pod-1/pod.json"))
"""


@pytest.mark.parametrize("table", ["ip nat", "inet guard_k6t-eth0", "arp guard_k6t-eth0"])
def test_a_pod_that_lost_rules_is_known_by_them_and_one_that_was_given_some_is_not(
    pod_network: Node, table: str
) -> None:
    node = pod_network
    node.vmnet("attach", "pod-1", VM, "--cni-conf-dir", "/run/net.d")
    check = [*AS_POD.split(), sys.executable, "-c", CHECK]
    chain = "prerouting" if "arp" not in table else "input"
    node.sh(f"{AS_POD} nft insert rule {table} {chain} counter; {AS_POD} nft add chain {table} theirs")
    node.run(*check)
    node.sh(f"{AS_POD} nft flush chain {table} {chain}")
    assert f"Pod pod-1 has lost rules of its nft tables {table}\n" in node.run(*check, check=False).stderr


def test_every_error_of_bad_manifests_is_told_with_its_place(pod_network: Node) -> None:
    text = (HERE / "vm.yaml").read_text().replace("masquerade: {}", "masquerades: {}")
    done = pod_network.vmnet("attach", "p", "-", str(HERE / "nad.yaml"), check=False, stdin=text)
    assert done.returncode == 65
    assert done.stderr == textwrap.dedent("""\
        error: unknown field masquerades
          --> <stdin>:15:13  spec.template.spec.domain.devices.interfaces[0].masquerades  (vm)
           |             masquerades: {}
           |             ^^^^^^^^^^^
          hint: did you mean masquerade?
        error: logical default interface must have exactly one binding method or binding plugin
          --> <stdin>:14:13  spec.template.spec.domain.devices.interfaces[0]  (vm)
           |           - name: default
           |             ^
          hint: say bridge: {} or masquerade: {}
    """)


def test_options_that_no_reply_has_room_for_are_refused_at_their_interface_and_leave_nothing(
    pod_network: Node,
) -> None:
    options = ", ".join(f"{{option: {n}, value: {'x' * 255}}}" for n in range(224, 230))
    text = (
        Path(VM)
        .read_text()
        .replace("masquerade: {}", f"masquerade: {{}}, dhcpOptions: {{privateOptions: [{options}]}}")
    )
    conf = ("--cni-conf-dir", "/run/net.d")
    done = pod_network.vmnet("attach", "pod-1", "-", *conf, check=False, stdin=text)
    assert done.returncode == 65
    first, place, *_ = done.stderr.splitlines()
    assert re.fullmatch(
        r"error: the DHCP options of k6t-eth0 take 1\d{3} octets, and a reply has room for 1128", first
    )
    assert place.strip().startswith("--> <stdin>:9:")
    assert "spec.template.spec.domain.devices.interfaces[0]" in place
    assert pod_network.sh("ls /run/netns /run/bridgehead/pods") == "/run/bridgehead/pods:\n\n/run/netns:\n"


def test_an_attach_that_is_interrupted_takes_everything_back(pod_network: Node) -> None:
    node = pod_network
    script = "#!/bin/sh\\n[ $CNI_COMMAND = ADD ] || exit 0\\ntouch /run/slow/called\\nexec sleep 1000\\n"
    node.sh(f"mkdir /run/slow; printf '{script}' > /run/slow/bridge; chmod +x /run/slow/bridge")
    words = ("attach", "pod-1", VM, "--cni-conf-dir", "/run/net.d", "--cni-path", "/run/slow:/usr/lib/cni")
    process = node.spawn(sys.executable, "-m", "vmnet.cli", *words, stderr=subprocess.PIPE)
    node.until("test -e /run/slow/called")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, said.strip()) == (130, "vmnet: interrupted")
    assert node.sh("ls /run/netns; ls /run/bridgehead/pods") == ""
