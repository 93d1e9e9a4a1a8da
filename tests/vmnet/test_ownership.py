"""What vmnet takes away is what it made: names, links and folders of others stay, and a guest keeps its Pod."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vmnet.names import OWNER
from vmnet.record import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Node

HERE = Path(__file__).parent / "manifests"
FILES = (str(HERE / "vm.yaml"), str(HERE / "nad.yaml"))
CONF = ("--cni-conf-dir", "/run/net.d")
PODS = "/run/bridgehead/pods"
X = "b6e7df19490"

pytestmark = pytest.mark.kernel


def attach(node: Node, name: str = "pod-1") -> Any:
    return json.loads(node.vmnet("attach", name, *FILES, *CONF, "-o", "json").stdout)


def namespaces(node: Node) -> list[str]:
    return node.sh("ls /run/netns").split()


def links(node: Node, namespace: str = "pod-1") -> set[str]:
    return {link["ifname"] for link in json.loads(node.sh(f"ip -n {namespace} -j link"))}


def kept(node: Node) -> list[str]:
    """Every file and folder of Pods that is on the node."""
    return node.sh(f"find {PODS} -mindepth 1 | sort").split()


LISTEN = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def launcher(bridged: Node) -> Iterator[subprocess.Popen[str]]:
    """Pod pod-1, attached, and a process that listens where its launcher does."""
    attach(bridged)
    process = bridged.python("-c", LISTEN, f"{PODS}/pod-1/launcher.sock")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_namespace_of_somebody_else_is_not_taken_over(bridged: Node) -> None:
    bridged.sh("ip netns add foo; ip -n foo link add theirs type dummy")
    done = bridged.vmnet("attach", "foo", *FILES, *CONF, check=False)
    assert done.returncode == 64
    assert "/run/netns/foo is a network namespace that vmnet did not make" in done.stderr
    assert "hint: give the Pod another name; or, if nobody needs it, ip netns delete foo" in done.stderr
    assert links(bridged, "foo") == {"lo", "theirs"}
    assert kept(bridged) == []


def test_a_file_in_the_place_of_the_name_is_not_removed(bridged: Node) -> None:
    bridged.sh("touch /run/netns/foo")
    done = bridged.vmnet("attach", "foo", *FILES, *CONF, check=False)
    assert done.returncode == 64
    assert "/run/netns/foo is a file that vmnet did not make" in done.stderr
    assert namespaces(bridged) == ["foo"]


def test_a_namespace_of_somebody_else_is_not_detached(bridged: Node) -> None:
    bridged.sh("ip netns add foo; ip -n foo link add theirs type dummy")
    done = bridged.vmnet("detach", "foo", check=False)
    assert done.returncode == 64
    assert "there is no Pod foo, and vmnet did not make the network namespace of that name" in done.stderr
    assert links(bridged, "foo") == {"lo", "theirs"}


def test_a_pod_that_is_not_there_is_done_and_said(bridged: Node) -> None:
    assert bridged.vmnet("detach", "nobody").stdout == "there is no Pod nobody\n"
    assert kept(bridged) == []


def test_a_namespace_that_somebody_made_under_our_name_since_stays(bridged: Node) -> None:
    attach(bridged)
    bridged.sh("ip netns delete pod-1; ip netns add pod-1; ip -n pod-1 link add theirs type dummy")
    done = bridged.vmnet("attach", "pod-1", *FILES, *CONF, check=False)
    assert done.returncode == 64
    assert "/run/netns/pod-1 is a network namespace that vmnet did not make" in done.stderr
    done = bridged.vmnet("detach", "pod-1")
    assert "network namespace pod-1 was made by somebody else since, and stays" in done.stdout
    assert links(bridged) == {"lo", "theirs"}
    assert kept(bridged) == []


def test_a_pod_whose_namespace_is_gone_is_attached_afresh(bridged: Node) -> None:
    first = attach(bridged)
    bridged.sh("ip netns delete pod-1")
    second = attach(bridged)
    assert second["uid"] != first["uid"]
    assert f"k6t-{X}" in links(bridged)
    bridged.vmnet("detach", "pod-1")
    assert bridged.sh("ls /run/ipam/pods").split() == ["last_reserved_ip.0", "lock"]


def test_the_file_that_a_killed_ip_left_is_in_nobodys_way(bridged: Node) -> None:
    """It makes an empty file before it mounts a namespace there (ip-netns(8))."""
    attach(bridged)
    bridged.sh("ip netns delete pod-1; touch /run/netns/pod-1")
    attach(bridged)
    assert f"k6t-{X}" in links(bridged)
    bridged.sh("ip netns delete pod-1; echo theirs > /run/netns/pod-1")
    assert bridged.vmnet("attach", "pod-1", *FILES, *CONF, check=False).returncode == 64
    bridged.vmnet("detach", "pod-1")
    assert bridged.sh("cat /run/netns/pod-1") == "theirs\n"


def test_links_that_others_put_into_a_pod_are_told_before_it_goes(bridged: Node) -> None:
    attach(bridged)
    bridged.sh("ip link add theirs type veth peer name far netns pod-1")
    done = bridged.vmnet("detach", "pod-1", check=False)
    assert done.returncode == 64
    assert "the network namespace of Pod pod-1 has links that vmnet did not make: far (veth)" in done.stderr
    assert "far" in links(bridged)
    bridged.sh("ip -n pod-1 link set far netns 1")
    bridged.vmnet("detach", "pod-1")
    assert namespaces(bridged) == []


def test_what_is_forced_goes_with_the_links_of_others(bridged: Node) -> None:
    attach(bridged)
    bridged.sh("ip -n pod-1 link add theirs type dummy")
    bridged.vmnet("detach", "pod-1", "--force")
    assert (namespaces(bridged), kept(bridged)) == ([], [])


def test_a_guest_keeps_its_pod(bridged: Node, launcher: subprocess.Popen[str]) -> None:
    done = bridged.vmnet("detach", "pod-1", check=False)
    assert done.returncode == 64
    assert "a guest runs in Pod pod-1" in done.stderr
    assert "launcher stop --pod pod-1" in done.stderr
    assert f"k6t-{X}" in links(bridged)


def test_an_attach_under_a_guest_changes_nothing(bridged: Node, launcher: subprocess.Popen[str]) -> None:
    """Not even what somebody has changed since: an nft table that is replaced ends connections."""
    bridged.sh("ip netns exec pod-1 nft delete table ip nat; ip -n pod-1 link set tap0 mtu 1300")
    look = f"""
        ip netns exec pod-1 nft list ruleset; ip -n pod-1 -o link show tap0 | grep -o "mtu [0-9]*"
        stat -c %i:%Y {PODS}/pod-1/pod.json
    """
    before = bridged.sh(look)
    record = attach(bridged)
    assert bridged.sh(look) == before
    assert record["state"] == "attached"


def test_what_is_forced_leaves_a_launcher_its_own_files(
    bridged: Node, launcher: subprocess.Popen[str]
) -> None:
    bridged.vmnet("detach", "pod-1", "--force")
    assert namespaces(bridged) == []
    assert kept(bridged) == [f"{PODS}/pod-1", f"{PODS}/pod-1/launcher.sock"]
    assert launcher.stdin is not None
    launcher.stdin.close()
    launcher.wait()
    assert bridged.vmnet("detach", "pod-1").stdout == "there is no Pod pod-1\n"
    assert kept(bridged) == []


def test_a_launcher_in_a_pod_of_a_long_name_is_seen(bridged: Node) -> None:
    """A socket's whole path has 107 characters at most (unix(7)); a Pod's name alone may have 253."""
    name = "a" * 200
    attach(bridged, name)
    bind = "import os, socket, sys; os.chdir(sys.argv[1]); s = socket.socket(socket.AF_UNIX); s.bind('launcher.sock'); s.listen(); print('up', flush=True); sys.stdin.read()"
    process = bridged.python("-c", bind, f"{PODS}/{name}")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert bridged.vmnet("detach", name, check=False).returncode == 64
    process.stdin.close()
    process.wait()
    process.stdout.close()
    bridged.vmnet("detach", name)


def test_nothing_is_left_of_a_pod_that_has_gone(bridged: Node) -> None:
    """Neither locks, nor what its launcher left, nor the journal of what was plumbed in its namespace."""
    key = attach(bridged)["netns-key"]
    assert f"{PODS}/pod-1/nncp/journals/{key}" in kept(bridged)
    bridged.sh(f"touch {PODS}/pod-1/launcher.log; mkdir {PODS}/pod-1/core; touch {PODS}/pod-1/core/x")
    bridged.vmnet("detach", "pod-1")
    assert (namespaces(bridged), kept(bridged)) == ([], [])


def test_a_pods_folder_is_its_owners_alone(bridged: Node) -> None:
    attach(bridged)
    assert bridged.sh(f"stat -c %a {PODS} {PODS}/pod-1 {PODS}/pod-1/pod.json").split() == [
        "700",
        "700",
        "600",
    ]


@pytest.mark.parametrize("what", ["", "/pod-1", "/pod-1/pod.json"])
def test_a_symbolic_link_in_our_place_is_refused(bridged: Node, what: str) -> None:
    attach(bridged)
    bridged.sh(f"mv {PODS}{what} /run/elsewhere; ln -s /run/elsewhere {PODS}{what}")
    for verb in (("attach", "pod-1", *FILES, *CONF), ("detach", "pod-1")):
        done = bridged.vmnet(*verb, check=False)
        assert done.returncode in {75, 77}, done.stderr
        assert f"{PODS}{what} cannot be used: it is a symbolic link" in done.stderr
        assert "--run-dir" in done.stderr
    assert "pod-1" in namespaces(bridged)


def spoil(node: Node, old: str, new: str) -> None:
    path = f"{PODS}/pod-1/pod.json"
    text = node.sh(f"cat {path}")
    assert old in text
    node.run("tee", path, stdin=text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f'"version": {VERSION}', '"version": 99', "is a Pod record of version 99; this vmnet reads version"),
        (f'"version": {VERSION}', '"x": 1', "is a Pod record of version 0; this vmnet reads version"),
        ('"uid"', '"uiid"', "is not a Pod record: "),
        ("{", "[", "is not a Pod record: "),
    ],
)
def test_a_record_that_is_none_of_ours_is_refused_by_name(
    bridged: Node, old: str, new: str, message: str
) -> None:
    attach(bridged)
    spoil(bridged, old, new)
    for verb in (("attach", "pod-1", *FILES, *CONF), ("detach", "pod-1")):
        done = bridged.vmnet(*verb, check=False)
        assert done.returncode == 75, done.stderr
        assert f"{PODS}/pod-1/pod.json {message}" in done.stderr
        assert "hint: " in done.stderr
    assert f"k6t-{X}" in links(bridged)


def test_a_pod_that_lost_a_link_is_told_by_name(bridged: Node) -> None:
    record = attach(bridged)
    bridged.sh(f"ip link del {record['interfaces'][1]['link']['node-port']}")
    done = bridged.vmnet("attach", "pod-1", *FILES, *CONF, check=False)
    assert done.returncode == 75
    assert f"somebody has deleted pod{X}, the link of Pod pod-1 to network default/virt-bridge" in done.stderr
    assert "hint: vmnet detach pod-1, then attach it again" in done.stderr
    bridged.vmnet("detach", "pod-1")
    attach(bridged)


def test_the_taps_are_not_roots(bridged: Node) -> None:
    record = attach(bridged)
    assert record["owner"] == OWNER
    said = bridged.sh("ip netns exec pod-1 cat /sys/class/net/tap0/owner || ip -n pod-1 -d link show tap0")
    assert str(OWNER) in said
    done = bridged.vmnet("attach", "pod-1", *FILES, *CONF, "--owner", "0", check=False)
    assert done.returncode == 64
    done = bridged.vmnet("attach", "pod-1", *FILES, *CONF, "--owner", "1000", check=False)
    assert done.returncode == 64
    assert f"the taps of Pod pod-1 belong to user {OWNER}, not to 1000" in done.stderr


INSTEAD = """
import os, signal, subprocess, sys
from vmnet import namespace
from vmnet.cli import main

def name(self, path):
    {}

name_it, namespace.Fresh.name = namespace.Fresh.name, name
main()
"""


def attach_but(node: Node, script: str) -> subprocess.CompletedProcess[str]:
    """Attach pod-1, with `script` in place of what gives its namespace the name."""
    argv = (sys.executable, "-c", INSTEAD.format(script), "attach", "pod-1", *FILES, *CONF)
    return node.run(*argv, check=False)


def test_a_name_that_somebody_takes_meanwhile_is_theirs(bridged: Node) -> None:
    done = attach_but(bridged, "subprocess.run(['ip', 'netns', 'add', path.name]); name_it(self, path)")
    assert done.returncode == 75
    assert "network namespace pod-1 could not be named" in done.stderr
    assert (namespaces(bridged), links(bridged), kept(bridged)) == (["pod-1"], {"lo"}, [])


@pytest.mark.parametrize("when", ["", "name_it(self, path); ", "path.touch(); "])
@pytest.mark.parametrize("then", ["attach", "detach"])
def test_who_is_killed_about_the_name_leaves_what_is_known_to_be_ours(
    bridged: Node, when: str, then: str
) -> None:
    done = attach_but(bridged, f"{when}os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    if then == "attach":
        attach(bridged)
        assert f"k6t-{X}" in links(bridged)
    bridged.vmnet("detach", "pod-1")
    assert (namespaces(bridged), kept(bridged)) == ([], [])


SLOW = """#!/bin/sh
# An IPAM plugin that takes its time to hand out an address.
if [ "$CNI_COMMAND" = ADD ]; then
    : > /run/slow-began
    while [ -e /run/slow ]; do sleep 0.05; done
fi
exec /usr/lib/cni/host-local
"""


def test_the_add_of_a_killed_attach_ends_before_the_next_one_begins(bridged: Node) -> None:
    """Else the second ADD's lease would go with the first one's failure, or the first one's stay for good."""
    bridged.run("tee", "/run/slow-ipam", stdin=SLOW)
    bridged.sh("""
        mkdir /run/plugins; mv /run/slow-ipam /run/plugins/slow; chmod +x /run/plugins/slow; touch /run/slow
        sed -i 's/host-local/slow/' /run/net.d/10-pods.conflist
    """)
    where = (*CONF, "--cni-path", "/run/plugins:/usr/lib/cni")
    argv = [sys.executable, "-m", "vmnet.cli", "attach", "pod-1", *FILES, *where]
    first = bridged.spawn(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bridged.until("test -e /run/slow-began")
    os.kill(first.pid, signal.SIGKILL)  # vmnet alone: its plugin goes on
    first.wait()
    second = bridged.spawn(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bridged.until(f"fuser {PODS}/pod-1")
    assert second.poll() is None
    bridged.sh("rm /run/slow")
    assert second.wait() == 0
    record = json.loads(bridged.sh(f"cat {PODS}/pod-1/pod.json"))
    (address,) = record["network-status"][0]["ips"]
    leases = bridged.sh("ls /run/ipam/pods").split()
    assert [lease for lease in leases if lease.startswith("10.")] == [address]
    bridged.vmnet("detach", "pod-1", *("--cni-path", "/run/plugins:/usr/lib/cni"))
    assert bridged.sh("ls /run/ipam/pods").split() == ["last_reserved_ip.0", "lock"]


def test_attaches_and_detaches_of_one_pod_take_turns(bridged: Node) -> None:
    """Each ends well whatever the others do, and what is there at the end is whole or gone."""
    up = [sys.executable, "-m", "vmnet.cli", "attach", "pod-1", *FILES, *CONF]
    down = [sys.executable, "-m", "vmnet.cli", "detach", "pod-1"]
    started = [
        bridged.spawn(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for argv in (up, down) * 3
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * 6, said
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    assert f"k6t-{X}" in links(bridged)
    bridged.vmnet("detach", "pod-1")
    assert (namespaces(bridged), kept(bridged)) == ([], [])
    assert bridged.sh("ls /run/ipam/pods").split() == ["last_reserved_ip.0", "lock"]


def test_different_pods_do_not_wait_for_each_other(bridged: Node) -> None:
    names = [f"pod-{i}" for i in range(3)]
    started = [
        bridged.spawn(
            sys.executable,
            "-m",
            "vmnet.cli",
            "attach",
            name,
            *FILES,
            *CONF,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for name in names
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * 3, said
    assert namespaces(bridged) == names
    for name in names:
        bridged.vmnet("detach", name)
    assert (namespaces(bridged), kept(bridged)) == ([], [])


STUBBORN = """#!/bin/sh
[ "$CNI_COMMAND" != DEL ] || { echo '{"cniVersion": "1.0.0", "code": 11, "msg": "not now"}'; exit 1; }
python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["prevResult"]))'
"""


def test_a_plugin_that_never_lets_go_is_given_up_by_force(bridged: Node) -> None:
    node = bridged
    text = node.sh("cat /run/net.d/10-pods.conflist").rstrip()
    assert text.endswith("]}")
    node.run("tee", "/run/net.d/10-pods.conflist", stdin=text[:-2] + ', {"type": "stubborn"}]}')
    node.sh("mkdir -p /run/plugins")
    node.run("tee", "/run/plugins/stubborn", stdin=STUBBORN)
    node.sh("chmod +x /run/plugins/stubborn")
    path = ("--cni-path", "/run/plugins:/usr/lib/cni")
    node.vmnet("attach", "pod-1", *FILES, *CONF, *path)
    done = node.vmnet("detach", "pod-1", *path, check=False)
    assert done.returncode == 75
    assert "not now" in done.stderr
    assert "hint: vmnet detach pod-1 asks again; with --force it is given up" in done.stderr
    assert kept(node)
    done = node.vmnet("detach", "pod-1", "--force", *path, check=False)
    assert (done.returncode, "not now" in done.stderr) == (75, True)
    assert kept(node) == []
    assert "there is no Pod pod-1" in node.vmnet("detach", "pod-1", *path).stdout
