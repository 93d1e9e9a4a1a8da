"""YAML 1.2 and JSON text to nodes: what scalars mean, where things stand, what is refused."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.document import stream
from nncp.document.source import Node, decoded, load, path_text
from nncp.errors import Error


def one(text: str) -> Node:
    (node,) = load(text, file="node1.yaml")
    return node


def complaints(text: str) -> list[tuple[str, int, int, str, str]]:
    with pytest.raises(Error) as caught:
        load(text, file="node1.yaml")
    found = []
    for error in caught.value:
        assert error.where is not None
        assert error.where.file == "node1.yaml"
        found.append((error.message, error.where.line, error.where.column, error.path, error.hint))
    return found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("-0", 0),
        ("+12", 12),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2001-01-01", "2001-01-01"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5e1", 5.0),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("", None),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("=", "="),
        ("'1'", "1"),
        ('"0x1f"', "0x1f"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12),
    ],
)
def test_a_plain_scalar_means_what_the_core_schema_of_yaml_1_2_says(written: str, meant: object) -> None:
    value = one(f"key: {written}\n").value["key"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize("word", ["on", "off", "yes", "n"])
def test_a_word_that_is_a_boolean_to_yaml_1_1_is_a_key_like_any_other(word: str) -> None:
    assert one(f"{word}: 1").value == {word: 1}


@pytest.mark.parametrize("number", ["9" * 1000, "0x" + "f" * 998, "-" + "0" * 999])
def test_a_number_of_a_thousand_characters_can_be_written_as_text(number: str) -> None:
    assert str(one(f"a: {number}").value["a"])
    assert one(f'{{"b": "{number}9"}}').value == {"b": f"{number}9"}


@pytest.mark.parametrize(
    "number", ["9" * 1001, "9" * 5000, "0x" + "f" * 5000, "0o" + "7" * 5000, "9" * 1001 + ".5"]
)
@pytest.mark.parametrize("text", ["a: {}", '{{"a": {}}}', "- {}"])
def test_a_longer_number_is_refused_with_its_place(number: str, text: str) -> None:
    with pytest.raises(Error, match="a number of more than 1000 characters") as caught:
        one(text.format(number))
    where = caught.value.where
    assert where
    assert where.text[where.column - 1 :].startswith(number)


def test_several_documents_are_several_nodes_and_empty_ones_keep_their_place() -> None:
    nodes = load("---\n---\na: 1\n---\nb: 2\n...\n", file="x")
    assert [node.value for node in nodes] == [None, {"a": 1}, {"b": 2}]
    assert str(nodes[2].place("b")) == "x:5:4"
    assert str(nodes[0].place("b")) == "x:2:1"


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "\ufeff"])
def test_text_without_content_holds_no_document(text: str) -> None:
    assert load(text, file="x") == []


def test_json_is_read_with_its_escapes_and_its_places() -> None:
    data = {
        "interfaces": [{"name": "eth1", "description": 'a "tab"\t, a / and 😀', "mtu": 1500}],
        "x": [True, None],
    }
    node = one(json.dumps(data, indent="\t"))
    assert node.value == data
    assert (node.place("interfaces", 0, "mtu").line, node.place("interfaces", 0, "mtu").column) == (6, 11)
    assert one(json.dumps(data).replace("/", "\\/")).value == data


def test_every_key_and_value_has_its_place_with_line_and_width() -> None:
    node = one("interfaces:\n- name: eth0\n  vlan:\n    id: 5000  # too high\n  ipv4: {enabled: 'yes'}\n")
    place = node.place("interfaces", 0, "vlan", "id")
    assert str(place) == "node1.yaml:4:9"
    assert (place.text, place.width) == ("    id: 5000  # too high", 4)
    key = node.key_place("interfaces", 0, "vlan", "id")
    assert (str(key), key.width) == ("node1.yaml:4:5", 2)
    assert node.place("interfaces", 0, "ipv4", "enabled").width == len("'yes'")
    assert str(node.place("interfaces", 0)) == "node1.yaml:2:3"
    assert str(node.place()) == "node1.yaml:1:1"


def test_what_is_not_written_is_placed_at_the_nearest_thing_around_it() -> None:
    node = one("interfaces:\n- name: eth0\n  vlan:\n  bridge: {}\n")
    assert str(node.place("interfaces", 0, "bridge", "port", 3, "name")) == "node1.yaml:4:3"
    assert str(node.place("interfaces", 7)) == "node1.yaml:1:1"
    assert str(node.place("interfaces", 0, "vlan")) == "node1.yaml:3:3"  # a value that was left out


def test_a_part_of_a_node_keeps_its_path_its_places_and_the_interface_it_is_of() -> None:
    node = one("spec:\n  desiredState:\n    interfaces:\n    - name: eth0\n      mtu: 1\n")
    state = node.at("spec", "desiredState")
    error = state.error("no", "interfaces", 0, "mtu")
    assert error.path == "spec.desiredState.interfaces[0].mtu"
    assert error.subject == "eth0"
    assert str(error.where) == "node1.yaml:5:12"
    part = state.at("interfaces", 0)
    assert part.error("no", "mtu").subject == "eth0"
    assert str(part.replaced({"mtu": 2}).place("mtu")) == "node1.yaml:5:12"


def test_a_path_is_written_as_a_user_would_write_it() -> None:
    assert path_text("interfaces", 1, "vlan", "id") == "interfaces[1].vlan.id"
    assert path_text("metadata", "annotations", "k8s.io/name") == 'metadata.annotations["k8s.io/name"]'


def test_an_alias_repeats_the_anchored_value_and_has_its_place() -> None:
    node = one("a: &x {mtu: 1500}\nb: *x\nc: [*x]\n")
    assert node.value == {"a": {"mtu": 1500}, "b": {"mtu": 1500}, "c": [{"mtu": 1500}]}
    assert str(node.place("c", 0, "mtu")) == "node1.yaml:1:13"


def test_all_that_a_document_may_not_hold_is_told_at_once() -> None:
    text = (
        "interfaces:\n- name: eth0\n  mtu: 1500\n  mtu: 1400\n  <<: *gone\n  12: !own 4\n  x: !!int abc\n"
        "  des\xa0cription: foo\n  a: &a 1\n  b: &a 2\n  ~: nothing\n"
    )
    assert complaints(text) == [
        ("duplicate key mtu, first on line 3", 4, 3, "interfaces[0].mtu", ""),
        ("YAML 1.2 has no merge key <<", 5, 3, "interfaces[0]", "write the keys out"),
        ("alias *gone has no anchor before it", 5, 7, 'interfaces[0]["<<"]', ""),
        ("a key must be text, got 12", 6, 3, "interfaces[0]", 'quote it: "12"'),
        ("unknown tag !own", 6, 7, "interfaces[0].12", "write the value without a tag"),
        ("'abc' is not what its tag !!int says", 7, 6, "interfaces[0].x", ""),
        (
            "a no-break space (U+00A0) stands outside quotes",
            8,
            6,
            "interfaces[0]",
            "type a space in its place, or quote the text",
        ),
        ("anchor &a is written twice", 10, 6, "interfaces[0].b", "give each value an anchor of its own"),
        ("a key must be text, got ~", 11, 3, "interfaces[0]", 'quote it: "~"'),
    ]


def test_tabs_are_told_line_by_line_beside_what_was_wrong_before_them() -> None:
    assert complaints("a: 1\na: 2\n\tb: 3\n\t\tc: 4\n") == [
        ("duplicate key a, first on line 1", 2, 1, "a", ""),
        ("a tab cannot indent YAML", 3, 1, "", "indent with spaces"),
        ("a tab cannot indent YAML", 4, 1, "", "indent with spaces"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: b: c\n", "not YAML: mapping values are not allowed in this context", 1, 5),
        ("a: 1\n b: 2\n", "not YAML: mapping values are not allowed in this context", 2, 3),
        ("a:\n  b: 1\n c: 2\n", "not YAML: did not find expected key while parsing a block mapping", 3, 2),
        ("x: 1\ny: {a: 1\n", "not YAML: did not find expected ',' or '}' while parsing a flow mapping", 2, 4),
        ("x: 1\ny: 'abc\n", "not YAML: found unexpected end of stream while scanning a quoted scalar", 2, 4),
        ("a: 1\nb\nc: 2\n", "not YAML: could not find expected ':' while scanning a simple key", 2, 1),
        (
            "a: @b\n",
            "not YAML: found character that cannot start any token while scanning for the next token",
            1,
            4,
        ),
        ("? [a]\n: b\n", "a list or a mapping cannot be a key", 1, 3),
        ("a: &x [*x]\n", "alias *x stands inside the value that it repeats", 1, 8),
        ("a: 1\nb: \x01\n", "the control character U+0001 is not allowed in YAML", 2, 4),
        ("a: \ud800\n", "half a surrogate pair is not a character", 1, 4),
        ("a:\n\xa0\xa0b: 1\n", "a no-break space (U+00A0) stands outside quotes", 2, 1),
        ("a:\n  b: 1\n\xa0 c: 1\n", "a no-break space (U+00A0) stands outside quotes", 3, 1),
    ],
)
def test_a_broken_text_is_told_in_one_sentence_at_its_place(
    text: str, message: str, line: int, column: int
) -> None:
    assert [found[:3] for found in complaints(text)] == [(message, line, column)]


def test_no_break_spaces_within_quotes_are_text() -> None:
    assert one("a: '5\xa0MB' # \xa0\n").value == {"a": "5\xa0MB"}


def test_aliases_that_multiply_are_refused() -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    ((message, line, *_),) = complaints("\n".join(rows))
    assert (message, line) == ("aliases repeat more than 100000 values", 5)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5000, "- " * 50_000 + "a"])
def test_nesting_without_end_is_an_error_and_not_a_crash(text: str) -> None:
    message, *_ = complaints(text)[0]
    assert "stand in each other" in message or "exceeded maximum nesting depth" in message


def test_bytes_that_are_not_utf_8_are_told_by_their_place() -> None:
    assert decoded("ä: 1".encode(), file="x") == "ä: 1"
    with pytest.raises(Error, match="byte 0xff is not UTF-8") as caught:
        decoded(b"a: 1\nb: \xff\n", file="x")
    assert str(caught.value.where) == "x:2:4"


@given(st.text() | st.text("ab:- \n\t#'\"{}[],&*!|>?%\xa0<1"))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        nodes = load(text, file="x")
    except Error as error:
        refused = list(error)
    else:
        refused = []
        assert all(node.place().line >= 1 for node in nodes)
    assert all(error.where for error in refused)


def test_no_node_tree_is_composed_until_a_place_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = stream.composed
    monkeypatch.setattr(stream, "composed", lambda text: composed.append(1) or compose(text))
    node = one("a: {b: 1}")
    assert node.value == {"a": {"b": 1}}
    assert not composed
    node.place("a", "b")
    node.place("a")
    assert len(composed) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON) | st.dictionaries(st.text(), JSON), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_read_as_yaml_is_and_its_places_are_found(
    data: object, indent: object, escaped: bool
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=escaped)
    try:
        nodes = load(text, file="x")
    except Error:
        with pytest.raises(Error):  # half a surrogate pair, a character that YAML does not print
            stream.read(text, file="x")
        return
    assert [node.value for node in nodes] == stream.read(text, file="x")[1]
    for step in data if isinstance(data, dict) else range(len(data)):
        assert nodes[0].place(step).line >= 1


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[" * 65 + "]" * 65, '["\\ud800"]', '{"a": 1}\n---\n{"b": 2}']
)
def test_what_json_knows_and_yaml_does_not_is_left_to_yaml(text: str) -> None:
    try:
        expected: object = stream.read(text, file="x")[1]
    except Error as error:
        expected = [str(one) for one in error]
    try:
        found: object = [node.value for node in load(text, file="x")]
    except Error as error:
        found = [str(one) for one in error]
    assert found == expected


def test_json_needs_no_yaml() -> None:
    code = (
        "import sys; from nncp.document.source import load\n"
        'load(\'{"interfaces": [{"name": "eth1", "mtu": 1500}]}\', file="x")\n'
        "assert not {'yaml', 'nncp.document.values'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
