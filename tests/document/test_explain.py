"""What is told of a property: its path in whichever words, its meaning, its cost, and an example that holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nncp import answers
from nncp.cli import cli
from nncp.desired import WRITTEN, checked
from nncp.document.emit import dump
from nncp.document.lax import FORMS
from nncp.errors import Error, ErrorKind
from nncp.example import FORMS as SAMPLES
from nncp.explain import Explanation, explain
from nncp.terminal import run
from nncp.topic import everywhere
from tests.toys import WITH_TOYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALL = {topic.path: topic for topic in everywhere(WRITTEN)}
BOND, BRIDGE = "interfaces[].link-aggregation", "interfaces[].bridge"


def told(path: str) -> Explanation:
    return explain(path, WRITTEN)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", ""),
        ("spec.desiredState", ""),
        ("interfaces", "interfaces"),
        ("interfaces[]", "interfaces"),
        ("interfaces.bond", BOND),
        ("link-aggregation", BOND),
        ("interfaces.bond.options.miimon", f"{BOND}.options.miimon"),
        ("interfaces.link-aggregation.options.miimon", f"{BOND}.options.miimon"),
        ("bond.options.miimon", f"{BOND}.options.miimon"),
        ("bond.link-aggregation.options.miimon", f"{BOND}.options.miimon"),
        ("bond.mtu", "interfaces[].mtu"),
        ("bond.ports", f"{BOND}.port"),
        ("bond.options.num_unsol_na", f"{BOND}.options.num_grat_arp"),
        ("bond.options.balance-slb", f"{BOND}.options.balance_slb"),
        ("linux-bridge.options.stp.forward-delay", f"{BRIDGE}.options.stp.forward-delay"),
        ("bridge.port.vlan", f"{BRIDGE}.port[].vlan"),
        (
            "bridge.ports[0].vlan.trunk-tags[1].id-range.max",
            f"{BRIDGE}.port[].vlan.trunk-tags[].id-range.max",
        ),
        ("spec.desiredState.interfaces[1].bridge.port", f"{BRIDGE}.port"),
        ("vlan.id", "interfaces[].vlan.id"),
        ("ethernet.veth.peer", "interfaces[].veth.peer"),
        ("veth.ethernet.speed", "interfaces[].ethernet.speed"),
        ("dummy", "interfaces[]"),
        ("routes.config.metric", "routes.config[].metric"),
        ("route-rules.config.priority", "route-rules.config[].priority"),
        ("ipv4.address.prefix-length", "interfaces[].ipv4.address[].prefix-length"),
        ("802.1x", "interfaces[].802.1x"),
        ('interfaces[0]["802.1x"]', "interfaces[].802.1x"),
        ("description", "description"),
        ("interfaces.description", "interfaces[].description"),
    ],
)
def test_a_path_is_taken_in_the_words_of_whoever_writes_it(written: str, path: str) -> None:
    assert told(written).path == path


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("bond.options.mimon", f"unknown key mimon in {BOND}.options", "did you mean miimon?"),
        ("interface", "unknown key interface", "did you mean interfaces?"),
        ("bnod.mode", "unknown key bnod", "did you mean bond?"),
        ("miimon", "unknown key miimon", f"did you mean {BOND}.options.miimon?"),
        (
            "bond.stp-priority",
            f"unknown key stp-priority in {BOND}",
            f"did you mean {BRIDGE}.port[].stp-priority?",
        ),
        ("vlan.id.x", "interfaces[].vlan.id has no keys, hence no x", ""),
        ("link-aggregation.mtuu", f"unknown key mtuu in {BOND}", ""),
        ("dummy.peeer", "unknown key peeer in interfaces[]", ""),
    ],
)
def test_a_path_that_leads_nowhere_is_a_wrong_argument_with_a_hint(
    path: str, message: str, hint: str
) -> None:
    with pytest.raises(Error) as caught:
        told(path)
    assert (caught.value.message, caught.value.hint) == (message, hint)
    assert caught.value.kind is ErrorKind.USAGE


def test_all_that_a_document_may_hold_is_found_by_its_path_and_has_a_meaning_and_a_type() -> None:
    assert len(ALL) > 200
    for path, topic in ALL.items():
        found = told(path)
        assert found.path == path
        assert found.meaning.endswith("."), path
        assert found.type or not path
        assert bool(found.keys) == (topic.holds is not None), path


def keys_in(data: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield way
    for key, inner in data.items() if isinstance(data, dict) else ():
        yield from keys_in(inner, (*way, key))
    for one in data if isinstance(data, list) else ():
        yield from keys_in(one, way)


def errors_of(document: Mapping[str, Any]) -> list[Error]:
    try:
        list(checked([("x", dump(document))]))
    except Error as error:
        return list(error)
    return []


@pytest.mark.parametrize("path", ALL)
def test_an_example_holds_the_property_and_is_a_document_that_passes_unless_it_is_refused(path: str) -> None:
    found = told(path)
    refused = found.note.startswith("not supported") or any(
        "not supported" in key for key in found.keys.values()
    )
    if not found.example:
        assert refused or found.note.startswith("shown") or ALL[path].words[-1] == "enabled"
        return
    assert ALL[path].words in set(keys_in(found.example))
    wrong = errors_of(found.example)
    assert {one.kind for one in wrong} <= ({ErrorKind.UNSUPPORTED} if refused else set()), wrong


def test_every_form_of_text_has_a_sample_that_is_one() -> None:
    assert {form.form: form.read(SAMPLES[form.form]) for form in FORMS} == SAMPLES


@pytest.mark.parametrize(
    ("path", "change", "modes"),
    [
        ("bond.options.miimon", "live", ()),
        ("bond.mode", "the link goes down for it, without its ports", ()),
        ("bond.options.lacp_rate", "the link goes down for it", ("802.3ad",)),
        ("bond.options.primary", "live", ("active-backup", "balance-alb", "balance-tlb")),
        ("bond.ports-config.priority", "live", ("active-backup", "balance-alb", "balance-tlb")),
        ("bond.port", "a link that becomes a port, or is one no more, goes down for it", ()),
        ("bridge.port", "live", ()),
        ("bridge.port.stp-priority", "live", ()),
        ("bridge.options.stp.forward-delay", "live", ()),
        ("bridge.options.vlan-default-pvid", "live, with vlan-filtering off meanwhile", ()),
        ("vlan.id", "the link is deleted and made again", ()),
        ("vlan.base-iface", "the link is deleted and made again", ()),
        ("vrf.route-table-id", "the link is deleted and made again", ()),
        ("veth.peer", "the link is deleted and made again", ()),
        ("mac-vlan.mode", "live; to or from passthru the link is deleted and made again", ()),
        ("mtu", "live", ()),
        ("bond.mtu", "live", ()),
        ("interfaces.description", "live", ()),
        ("controller", "live; the link goes down for it where the controller is a bond or a vrf", ()),
        ("routes.config.metric", "", ()),
        ("ipv4.address.ip", "", ()),
        ("bridge.port.name", "", ()),
    ],
)
def test_what_a_change_costs_is_what_the_interface_type_says(
    path: str, change: str, modes: tuple[str, ...]
) -> None:
    assert (told(path).change, told(path).modes) == (change, modes)


def test_no_attribute_of_a_type_that_a_document_may_write_is_without_its_cost() -> None:
    for kind in (kind for kind in WRITTEN.values() if kind.section):
        for attr in kind.attrs:
            for around in ("", ".options"):
                path = f"interfaces[].{kind.section}{around}.{attr.name}"
                assert path not in ALL or told(path).change, path


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("bond.options.miimon", 100),
        ("bond.options.arp_ip_target", ""),
        ("bridge.options.stp.forward-delay", 15),
        ("bridge.options.stp.enabled", False),
        ("interfaces.state", "up"),
        ("routes.config.table-id", 254),
    ],
)
def test_a_default_is_told_where_it_is_known(path: str, default: Any) -> None:
    assert told(path).default == default
    assert f"default  {dump(default)}" in answers.explanation(told(path), "table")


@pytest.mark.parametrize("path", ["mtu", "bond.mode", "bridge.port.stp-path-cost", "vrf.route-table-id"])
def test_no_default_is_invented(path: str) -> None:
    assert "default" not in json.loads(answers.explanation(told(path), "json"))
    assert "\ndefault" not in answers.explanation(told(path), "table")


def test_words_are_told_with_their_numbers_and_whatever_else_stands_for_them() -> None:
    assert told("bond.options.lacp_rate").values == {"slow": [0], "fast": [1]}
    assert told("bridge.options.multicast-router").values == {
        "disabled": [0, False],
        "auto": [1, True],
        "enabled": [2],
    }
    assert told("vlan.protocol").values["802.1q"] == [0x8100, "802.1Q"]
    assert told("wait-ip").values == {"any": [], "ipv4": [], "ipv6": [], "ipv4+ipv6": []}
    assert list(told("interfaces.type").values) == [*WRITTEN, "unknown"]


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("vlan.id", "a whole number, from 0 to 4094"),
        ("vlan.loose-binding", "true or false"),
        ("mac-address", "a MAC address like 02:00:00:12:34:56"),
        ("bond.port", "a list; each item is text"),
        ("bridge.port", "a list; each item is a mapping"),
        ("bond.options", "a mapping"),
        ("ethtool.feature", "a mapping of names; each value is true or false"),
        ("vlan.base-iface", "text"),
        ("mptcp", "anything"),
    ],
)
def test_what_may_be_written_is_told_with_its_range(path: str, type_: str) -> None:
    (line,) = (
        line for line in answers.explanation(told(path), "table").splitlines() if line.startswith("type ")
    )
    assert line.split(maxsplit=1)[1] == type_


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("ipv4.dhcp", "not supported yet: it needs a client, and nncp starts none"),
        ("wait-ip", "not supported yet: it needs a client, and nncp starts none; 'any' asks for nothing"),
        ("dns-resolver.config.server", "not supported yet: it is kept in files, and nncp writes none"),
        ("ethernet.speed", "read, and left to the link itself: it is not set, and a plan says so"),
        ("ethtool.ring.rx", "read, and left to the link itself: it is not set, and a plan says so"),
        ("driver", "shown, and ignored when applied"),
        ("bond.options.balance_slb", "not supported yet: it is no option of the kernel's bonds"),
        ("mtu", ""),
        ("ovs-db", "not supported yet: it needs a program of its own, and nncp starts none"),
    ],
)
def test_what_is_refused_or_left_alone_says_so(path: str, note: str) -> None:
    assert told(path).note == note


def test_what_is_refused_is_marked_among_the_keys() -> None:
    assert told("ipv4").keys["dhcp"] == "Whether a DHCP client gets addresses. (not supported yet)"
    assert "not supported" not in told("ipv4").keys["enabled"]


def test_an_answer_for_a_person_has_all_that_is_known_and_no_long_line() -> None:
    assert answers.explanation(told("bond.options.lacp_rate"), "table") == (
        "interfaces[].link-aggregation.options.lacp_rate\n"
        "  How often the partner is to send LACP messages: every 30 seconds (slow) or every second (fast).\n"
        "\n"
        "type     a word\n"
        "values   slow (0), fast (1)\n"
        "default  slow\n"
        "change   the link goes down for it; only in mode 802.3ad\n"
        "\n"
        "example:\n"
        "  interfaces:\n"
        "  - name: bond0\n"
        "    type: bond\n"
        "    link-aggregation:\n"
        "      mode: 802.3ad\n"
        "      options:\n"
        "        miimon: 100\n"
        "        lacp_rate: fast\n"
        "      port:\n"
        "      - eth1\n"
        "      - eth2\n"
    )
    for path in ALL:
        assert max(map(len, answers.explanation(told(path), "table").splitlines())) <= 100, path


@pytest.mark.parametrize("path", ["", "bond", "bridge.options.multicast-router", "vlan.id", "driver"])
def test_programs_get_the_same_as_json_and_as_yaml(path: str) -> None:
    found = json.loads(answers.explanation(told(path), "json"))
    assert yaml.safe_load(answers.explanation(told(path), "yaml")) == found
    assert found["path"] == told(path).path


def test_a_type_that_is_handed_in_is_explained_with_nothing_else_changed() -> None:
    kinds = WITH_TOYS.by_type
    assert "hsr" not in told("interfaces").keys
    assert explain("interfaces", kinds).keys["hsr"] == "A ring."
    assert explain("hsr", kinds).keys["port2"] == "The other link of the ring."
    found = explain("interfaces.hsr.multicast-spec", kinds)
    assert (found.path, found.maximum, found.default) == ("interfaces[].hsr.multicast-spec", 255, 0)
    assert found.change == "the link is deleted and made again"
    (ring,) = found.example["interfaces"]
    assert ring["hsr"] == {"port1": "eth1", "port2": "eth2", "multicast-spec": 1}


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["explain", "bond.mode"], 0, "How the ports share the traffic", ""),
        (["explain"], 0, "interfaces    The interfaces", ""),
        (["explain", "vlan", "-o", "json"], 0, '"path": "interfaces[].vlan"', ""),
        (["explain", "vlan.idd"], 64, "", "hint: did you mean id?"),
        (["schema"], 0, '"$schema": "https://json-schema.org/draft/2020-12/schema"', ""),
        (["schema", "-o", "yaml"], 0, "'$schema': https://json-schema.org/draft/2020-12/schema", ""),
        (["schema", "-o", "table"], 64, "", "Invalid value"),
    ],
)
def test_the_commands_answer_on_standard_output_and_refuse_with_64(
    words: list[str], code: int, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, "nncp", words) == code
    said = capsys.readouterr()
    assert out in said.out
    assert err in said.err
    assert bool(said.out) == (not code)
