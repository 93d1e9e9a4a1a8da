"""What enters our bridge plugin is checked where it enters: names, types, versions, and all the rest of JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vmnet.cni_runtime import CONF, ipam
from vmnet.cni import plugin
from vmnet.cni.refusal import Refusal
from vmnet.cni.request import read_request
from vmnet.valid import CONTAINER, LINK, NETWORK, Rule

if TYPE_CHECKING:
    from conftest import Node

    from tests.vmnet.cni_runtime import Runtime

HERE = Path(__file__).parent
ENVIRONMENT = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c", "CNI_IFNAME": "net1"}
GC = {**CONF, "cni.dev/valid-attachments": []}


def refusal(verb: str, conf: object, **env: str) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read_request(verb, json.dumps(conf), {**ENVIRONMENT, **env})
    return refused.value


@pytest.mark.parametrize("name", ["eth0", "net1", "podb6e7df19490", "a.b", "x-1_2", "a" * 15])
def test_a_name_that_the_kernel_takes_is_one(name: str) -> None:
    assert LINK.allows(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a:b",
        "a b",
        "a\tb",
        "a\nb",
        "a\x00",
        "a\x7f",
        "eth%d",
        "a" * 16,
        "ä" * 8,
        "\udc80",
    ],
)
def test_a_name_that_it_does_not_take_is_none(name: str) -> None:
    assert not LINK.allows(name)


@pytest.mark.parametrize("rule", [CONTAINER, NETWORK])
@pytest.mark.parametrize(
    ("name", "good"),
    [
        *((name, True) for name in ("c1", "A.b_c-9", "A")),
        *((name, False) for name in ("", "-a", "../../..", "a/b", "a b", "a\n", "ä", 'x";drop#', ".")),
    ],
)
def test_an_identifier_begins_with_a_letter_or_digit(rule: Rule, name: str, good: bool) -> None:
    assert rule.allows(name) is good


TYPES = [
    ("ADD", {**CONF, "ipam": 5}, "ipam: expected an object, got a whole number"),
    ("ADD", {**CONF, "ipam": {"type": 5}}, "ipam.type: expected text"),
    (
        "ADD",
        {**CONF, "ipam": {"type": "../../bin/sh"}},
        'ipam.type: "../../bin/sh" is not the name of a plugin',
    ),
    ("ADD", {**CONF, "args": []}, "args: expected an object, got a list"),
    ("ADD", {**CONF, "args": {"cni": "x"}}, "args.cni: expected an object or null, got text"),
    ("ADD", {**CONF, "runtimeConfig": "x"}, "runtimeConfig: expected an object, got text"),
    ("ADD", {**CONF, "runtimeConfig": {"mac": "x"}}, 'runtimeConfig.mac: "x" is not a MAC address'),
    ("ADD", {**CONF, "prevResult": 3}, "prevResult: expected an object"),
    ("ADD", {**CONF, "capabilities": {"mac": 1}}, "capabilities"),
    ("ADD", {**CONF, "vlan": "33", "mtu": True}, "mtu: expected a whole number, got true or false"),
    ("ADD", {**CONF, "vlanTrunk": {"id": 3}}, "vlanTrunk: expected a list, got an object"),
    ("ADD", {**CONF, "vlanTrunk": [{"minID": -(10**12), "maxID": 10**12}]}, "incorrect trunk minID"),
    ("ADD", {**CONF, "dns": {"search": "a"}}, "dns.search: expected a list or null, got text"),
    ("ADD", {**CONF, "name": 3}, "name: expected text, got a whole number"),
    ("ADD", {**CONF, "name": "../../.."}, "name: '../../..' is not the name of a network"),
    ("ADD", {**CONF, "cniVersion": 1}, "cniVersion: expected text"),
    ("CHECK", CONF, "CHECK needs the prevResult of the ADD"),
    ("GC", CONF, "GC needs cni.dev/valid-attachments"),
    ("GC", {**CONF, "cni.dev/valid-attachments": {}}, "cni.dev/valid-attachments: expected a list"),
    ("GC", {**CONF, "cni.dev/valid-attachments": [{"ifname": "a"}]}, "containerID"),
]


@pytest.mark.parametrize(("verb", "conf", "message"), TYPES, ids=[f"{t[0]} {t[2][:50]}" for t in TYPES])
def test_a_wrong_type_is_refused_by_its_key(verb: str, conf: object, message: str) -> None:
    said = refusal(verb, conf)
    assert said.code == 7
    assert message in said.message


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"CNI_IFNAME": 'x";drop#'},
            None,
        ),  # an odd name that the kernel takes, and that no ruleset ever sees
        ({"CNI_IFNAME": "a b"}, "CNI_IFNAME: 'a b': at most 15 characters without"),
        ({"CNI_IFNAME": "a" * 16}, "at most 15 characters"),
        ({"CNI_CONTAINERID": "../x"}, "CNI_CONTAINERID: '../x': letters, digits"),
        ({"CNI_ARGS": "MAC"}, "CNI_ARGS: 'MAC' is no pair"),
        ({"CNI_ARGS": "MAC=x"}, 'CNI_ARGS: MAC: "x" is not a MAC address'),
        ({"CNI_ARGS": "FOO=1"}, "CNI_ARGS: unknown args FOO"),
        ({"CNI_ARGS": "IgnoreUnknown=1;FOO=1"}, None),
    ],
)
def test_the_environment_is_checked_by_the_rules_of_cni(env: dict[str, str], message: str | None) -> None:
    if message is None:
        assert read_request("ADD", json.dumps(CONF), {**ENVIRONMENT, **env}).interface
        return
    said = refusal("ADD", CONF, **env)
    assert said.code == 4
    assert message in said.message


@pytest.mark.parametrize("version", [None, "", "0.1.0", "0.2.0", "1.2.0", "1.0.²"])
def test_a_version_that_is_not_ours_stops_all_but_a_del(version: str | None) -> None:
    conf = {**GC, "prevResult": {}, "cniVersion": version}
    for verb in ("ADD", "CHECK", "GC", "STATUS"):
        assert refusal(verb, conf).code == 1
    assert read_request("DEL", json.dumps(conf), ENVIRONMENT).verb == "DEL"


def test_a_del_is_not_kept_from_its_work_by_a_bad_configuration() -> None:
    for conf in ({}, {"ipam": 5, "args": [], "vlan": "x", "name": "../.."}, {**CONF, "prevResult": 3}):
        env = {**ENVIRONMENT, "CNI_ARGS": "MAC"}
        assert read_request("DEL", json.dumps(conf), env).veth.startswith("veth")


def test_plugins_are_looked_for_in_the_folders_of_cni_path_alone() -> None:
    for text, paths in [("", ()), (".::x", ()), ("/opt/cni/bin::/b", ("/opt/cni/bin", "/b"))]:
        env = {**ENVIRONMENT, "CNI_PATH": text}
        assert read_request("ADD", json.dumps(CONF), env).paths == paths


@pytest.mark.parametrize(
    "text", ["", "{", "3", "[]", "nul", "[" * 100_000, '{"a": NaN}', f'{{"a": {"9" * 9999}}}']
)
def test_what_is_no_json_object_is_code_6(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRONMENT, "CNI_COMMAND": "ADD"}.items():
        monkeypatch.setenv(name, value)
    sink = io.StringIO()
    assert plugin.main(io.StringIO(text), sink) == 1
    answer = json.loads(sink.getvalue())
    assert (answer["code"], answer["cniVersion"]) == (6, "1.1.0")
    assert "Error" not in answer["msg"]


def test_bytes_that_are_no_text_are_code_6(runtime: Runtime) -> None:
    env = " ".join(f"{name}={value}" for name, value in {**ENVIRONMENT, "CNI_COMMAND": "ADD"}.items())
    script = f"printf '\\377' | {env} PYTHONIOENCODING=utf8:strict {sys.executable} -m vmnet.cni || true"
    assert json.loads(runtime.node.sh(script))["code"] == 6


def test_a_name_from_outside_is_in_no_ruleset(runtime: Runtime) -> None:
    conf = {**CONF, "macspoofchk": True}
    runtime.ok("ADD", conf, ifname='x";drop#')
    rules = runtime.node.sh("nft list ruleset")
    assert "drop#" not in rules
    assert "c1" not in rules
    runtime.ok("DEL", conf, ifname='x";drop#')
    runtime.gone()


@pytest.mark.parametrize("path", ["/run/netns/none", "/dev/null", "/proc/self/ns/mnt", "/run/fifo"])
def test_what_is_no_network_namespace_is_refused_and_not_waited_for(runtime: Runtime, path: str) -> None:
    runtime.node.sh("mkfifo /run/fifo")
    said = runtime.refused("ADD", CONF, CNI_NETNS=path)
    assert said["code"] == 8
    runtime.gone()


def test_the_nodes_own_namespace_and_an_interface_that_is_there_are_refused(runtime: Runtime) -> None:
    assert "the node's own" in runtime.refused("ADD", CONF, CNI_NETNS="/proc/self/ns/net")["msg"]
    runtime.node.sh("ip -n c link add net1 type bridge")
    assert "has an interface net1 already" in runtime.refused("ADD", CONF)["msg"]
    runtime.gone()


BAD_IPAMS = [
    ("3", "what is no JSON object"),
    ("Traceback", "what is no JSON object"),
    ("{}", "gave no address"),
    ('{"ips": 5}', "ips: expected array"),
    ('{"ips": [{"address": "10.9.0.2"}]}', "is not an address with a prefix length"),
    ('{"ips": [{"address": "10.9.0.2/24"}], "routes": [{"dst": "x"}]}', 'routes.0.dst: "x" is not a network'),
    (
        '{"ips": [{"address": "10.9.0.2/24"}], "routes": [{"dst": "::/0", "gw": "10.9.0.1"}]}',
        "another family",
    ),
    (
        '{"ips": [{"address": "10.9.0.2/24"}], "routes": [{"dst": "10.0.0.0/8"}, {"dst": "10.0.0.0/8"}]}',
        "second route",
    ),
]


@pytest.mark.parametrize(("answer", "message"), BAD_IPAMS, ids=[one[1] for one in BAD_IPAMS])
def test_an_ipam_plugin_that_talks_nonsense_is_told_of(runtime: Runtime, answer: str, message: str) -> None:
    node = runtime.node
    node.sh("mkdir /run/bin")
    node.run("tee", "/run/bin/odd", stdin=f"#!/bin/sh\n[ $CNI_COMMAND != ADD ] || echo '{answer}'\n")
    node.sh("chmod +x /run/bin/odd")
    said = runtime.refused("ADD", {**CONF, "ipam": {"type": "odd"}}, CNI_PATH="/run/bin")
    assert message in said["msg"]
    assert "odd" in said["msg"]
    runtime.gone()


def test_an_ipam_plugins_own_code_is_passed_on(runtime: Runtime) -> None:
    said = runtime.refused("ADD", {**ipam("10.9.0.0/24"), "cniVersion": "1.1.0"})
    assert (said["code"], "incompatible CNI versions" in said["msg"]) == (1, True)
    runtime.gone()


def test_any_configuration_and_any_environment_gets_a_result_or_an_error_object(runtime: Runtime) -> None:
    said = runtime.node.run(sys.executable, str(HERE / "cni_fuzz.py"), "1000", PYTHONPATH=str(Path.cwd()))
    assert "(('ADD', 0)" in said.stdout, said.stdout


def test_del_without_anything_known_succeeds(node: Node) -> None:
    done = node.run(
        sys.executable,
        "-m",
        "vmnet.cni",
        stdin="{}",
        CNI_COMMAND="DEL",
        CNI_CONTAINERID="c1",
        CNI_IFNAME="net1",
    )
    assert done.stdout == ""
