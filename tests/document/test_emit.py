"""Data to YAML that both 1.2 and 1.1 readers read as it was meant, the same bytes each time."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nncp.document.emit import dump
from nncp.document.source import load

TRICKY = st.text("0123456789abcdefxo:_.+-eETZ ,~#'\"\n\t&*[]{}|>%@!?=<y", max_size=24)
KEYS = st.text(max_size=150) | st.sampled_from(["on", "yes", "<<", "1", "~", "a b", "- a", "é"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | TRICKY
    | st.from_regex(r"[-+]?[0-9]{1,4}([:.][0-9]{1,2}){0,5}\.?", fullmatch=True)
)
DATA = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(DATA)
def test_what_is_dumped_loads_as_the_same_data(data: object) -> None:
    (node,) = load(dump(data), file="x")
    assert node.value == data


@given(DATA)
def test_a_yaml_1_1_reader_reads_the_same_data(data: object) -> None:
    assert yaml.load(dump(data), yaml.CSafeLoader) == data


@given(DATA)
def test_a_dump_of_a_dump_is_the_same_bytes(data: object) -> None:
    text = dump(data)
    assert dump(load(text, file="x")[0].value) == text


MISREAD = [
    "yes",
    "On",
    "n",
    "~",
    "0x1f",
    "017",
    "0o17",
    "1_000",
    "1,000",
    "1e3",
    "12:30",
    "52:54:00:12:34:56",
    "2001-01-01",
    "a:",
    "<<",
    "=",
    "---",
    "?",
    "[a",
    "-",
]
PLAIN = [
    "eth0.33",
    "192.0.2.1",
    "10.0.0.0/8",
    "2001:db8::1",
    "02:00:00:12:34:56",
    "802.3ad",
    "layer3+4",
    "it's",
    "Größe",
    "-x",
    "k8s.v1:a",
    "node-role.kubernetes.io/virt",
]


@pytest.mark.parametrize("text", [*MISREAD, "", "- a", "a: b", "a #b", " a", "a ", "it's 'quoted': yes"])
def test_text_that_a_reader_would_take_for_something_else_is_quoted(text: str) -> None:
    assert dump(text)[0] == "'"


@pytest.mark.parametrize("text", [*PLAIN, "x y z"])
def test_text_that_nobody_misreads_stands_plain(text: str) -> None:
    assert dump(text) == f"{text}\n"


def test_a_state_is_laid_out_as_nmstate_lays_it_out() -> None:
    state = {
        "interfaces": [
            {
                "name": "br1",
                "mac-address": "52:54:00:12:34:56",
                "ipv4": {"enabled": True, "address": [{"ip": "172.16.1.21", "prefix-length": 24}]},
                "ipv6": {"enabled": False, "address": []},
                "bridge": {"options": {}, "port": [{"name": "bond0"}]},
                "description": "two\nlines\n",
            },
            {"name": "0x1f", "link-aggregation": {"port": ("ens1f0", "ens1f1"), "options": {"miimon": 1.0}}},
        ],
        "hops": [["a", "b"], [], None],
    }
    assert dump(state) == (
        "interfaces:\n"
        "- name: br1\n"
        "  mac-address: '52:54:00:12:34:56'\n"
        "  ipv4:\n"
        "    enabled: true\n"
        "    address:\n"
        "    - ip: 172.16.1.21\n"
        "      prefix-length: 24\n"
        "  ipv6:\n"
        "    enabled: false\n"
        "    address: []\n"
        "  bridge:\n"
        "    options: {}\n"
        "    port:\n"
        "    - name: bond0\n"
        "  description: |\n"
        "    two\n"
        "    lines\n"
        "- name: '0x1f'\n"
        "  link-aggregation:\n"
        "    port:\n"
        "    - ens1f0\n"
        "    - ens1f1\n"
        "    options:\n"
        "      miimon: 1.0\n"
        "hops:\n"
        "- - a\n"
        "  - b\n"
        "- []\n"
        "- null\n"
    )


def test_what_yaml_has_no_word_for_is_our_bug_and_says_so() -> None:
    with pytest.raises(TypeError, match="YAML has no set"):
        dump({"a": {1, 2}})
    with pytest.raises(TypeError, match="a key must be text, got 1"):
        dump({1: 2})
