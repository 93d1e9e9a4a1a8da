"""Captures as a grammar: what a line means, and at which of its characters it means nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncp.document.capture import DEEPEST, Both, Comparison, Either, Path, Word, Wrong, capture_of
from nncp.document.template import pieces


def path(text: str, at: int) -> Path:
    return Path(tuple(text.split(".")), at)


def test_a_comparison_is_of_a_path_and_a_value() -> None:
    made = capture_of('routes.running.destination=="0.0.0.0/0"')
    assert made.condition == Comparison(
        path("routes.running.destination", 0), "==", (Word("0.0.0.0/0", 29, quoted=True),)
    )
    assert (made.source, made.replacement) == ("", None)


@pytest.mark.parametrize(
    "line", ["capture.up | interfaces.state == down", "capture.up.interfaces.state == down"]
)
def test_what_is_taken_from_is_named_before_a_pipe_or_at_the_start(line: str) -> None:
    made = capture_of(line)
    assert (made.source, made.source_at) == ("up", 8)
    assert isinstance(made.condition, Comparison)
    assert made.condition.path.steps == ("interfaces", "state")
    assert line[made.condition.path.at :].startswith("interfaces.state")


def test_a_replacement_names_what_each_entry_is_given() -> None:
    made = capture_of("capture.up | interfaces.mtu := 9000")
    assert (made.path, made.replacement) == (path("interfaces.mtu", 13), Word("9000", 31))
    assert capture_of("interfaces.description:=null").replacement == Word(None, 24)


@pytest.mark.parametrize("line", ["just all of it", "all", "override (it) me", ""])
def test_words_without_a_dot_are_the_whole_state(line: str) -> None:
    made = capture_of(line)
    assert (made.path, made.condition, made.replacement) == (None, None, None)


def test_a_path_alone_is_what_is_kept() -> None:
    assert capture_of(" dns-resolver.running").path == path("dns-resolver.running", 1)


def test_and_binds_more_than_or_and_brackets_more_than_both() -> None:
    a, b, c = (
        Comparison(path(f"i.{word}", at), "==", (Word("1", at + 7),))
        for word, at in zip("abc", (0, 12, 25), strict=True)
    )
    either = capture_of("i.a == 1 or i.b == 1 and i.c == 1").condition
    assert isinstance(either, Either)
    assert [type(part) for part in either.parts] == [Comparison, Both]
    both = capture_of("(i.a == 1 or i.b == 1) and i.c == 1").condition
    assert isinstance(both, Both)
    assert [type(part) for part in both.parts] == [Either, Comparison]
    assert either.parts[0] == a
    assert either.parts[1] == Both((b, c))


def test_all_comparisons_are_known() -> None:
    for compares in ("==", "!=", "<", "<=", ">", ">=", "glob"):
        condition = capture_of(f"interfaces.mtu {compares} 9").condition
        assert isinstance(condition, Comparison)
        assert condition.compares == compares
    choice = capture_of('interfaces.name in ("a", b)').condition
    assert isinstance(choice, Comparison)
    assert [word.text for word in choice.values if isinstance(word, Word)] == ["a", "b"]
    names = capture_of("interfaces.name in capture.x.interfaces.name")
    assert list(names.named()) == [("x", 27)]


WRONG = [
    # the line, its wrong character, a word of the sentence
    ('a.b=!"x"', 4, "=!"),
    ("a.b=", 3, "= is no comparison"),
    ('a.b::"x"', 4, "::"),
    ("a.b:", 3, ": is no comparison"),
    ('a.b=="x""', 8, "quote is not closed"),
    ('capture.x | capture.x | a.b=="y"', 22, "second |"),
    ("capture.x | a.b := c.d := e", 23, "second :="),
    ("a.b == c.d == e", 11, "== is one too many"),
    ('kapture.x | a.b == "y"', 0, "before the |"),
    ('capture.x.y | a.b == "y"', 0, "before the |"),
    ('x | a.b == "y"', 0, "before the |"),
    ("a.b ==", 4, "no value follows =="),
    ('a.b == "x" c.d', 8, "two values"),
    ('capture.x == "y"', 0, "no path follows"),
    ('capture == "y"', 0, "a path has to stand here"),
    ("a.b :=", 4, "no value follows :="),
    ('a.b := "x" c.d', 8, "two values"),
    ('capture.x := "y"', 0, "no path follows"),
    ("a.b == capture.x", 7, "no path follows"),
    ('capture.x | a.b==-"y"', 17, "two values"),
    ("capture.x |", 10, "nothing follows the |"),
    ('capture.x | "y"', 13, "a path has to follow"),
    ("| a.b", 0, "before the |"),
    ("a.b == ::/0", 8, "::"),
    ("(a.b == 1", 0, "bracket is not closed"),
    ("a.b == 1)", 8, ") is one too many"),
    ("a.b in c", 7, "in wants values in brackets"),
    ("a.b in (c", 7, "bracket is not closed"),
    ("a..b == 1", 2, "is empty"),
    ("a.b == 1 and", 9, "a path is missing"),
    ("a.b or c.d == 1", 0, "no comparison follows"),
    ("capture.x.a.b == 1 and a.c == 2", 23, "is not of capture x"),
    ("capture.x | capture.y.a.b == 1", 12, "names already"),
    (f"{'(' * (DEEPEST + 1)}a.b == 1{')' * (DEEPEST + 1)}", DEEPEST, "brackets stand in each other"),
]


@pytest.mark.parametrize(("line", "at", "words"), WRONG)
def test_what_means_nothing_is_told_with_its_character(line: str, at: int, words: str) -> None:
    with pytest.raises(Wrong) as caught:
        capture_of(line)
    assert (caught.value.at, words in caught.value.message) == (at, True), caught.value.message


@settings(max_examples=500)
@given(
    st.text(alphabet='ab.=!<>:|"(), \t0\u00e9{}', max_size=30)
    | st.lists(
        st.sampled_from(
            [
                "a.b",
                "capture.x",
                "capture.x.c",
                "==",
                "!=",
                ":=",
                "|",
                "and",
                "or",
                "in",
                "glob",
                "(",
                ")",
                '"q"',
                "w",
                ",",
            ]
        ),
        max_size=9,
    ).map(" ".join)
)
def test_any_line_is_read_or_refused_at_one_of_its_characters(line: str) -> None:
    wrong = refused(line)
    assert wrong is None or (0 <= wrong.at <= len(line) and wrong.message)


def refused(line: str) -> Wrong | None:
    try:
        capture_of(line)
    except Wrong as wrong:
        return wrong
    return None


def test_references_stand_in_texts() -> None:
    assert pieces("no reference") == ["no reference"]
    assert pieces("{{ capture.x.a }}") == [path("capture.x.a", 3)]
    assert pieces("a{{capture.x.a}}.{{ values.b }}z") == [
        "a",
        path("capture.x.a", 3),
        ".",
        path("values.b", 20),
        "z",
    ]
    assert pieces('{{ "{{ }}" }}!') == ["{{ }}", "!"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("{{ capture.x.a", 0),
        ("capture.x.a }}", 12),
        ("}} capture.x.a {{", 0),
        ("{{ {{ capture.x.a }} }}", 3),
        ("{{ }}", 2),
        ("{{ capture.x.a capture.x.b }}", 15),
        ("{{ interfaces.0.name }}", 3),
        ("{{ capture.x }}", 3),
        ("{{ values }}", 3),
        ("{{ capture.x..a }}", 13),
    ],
)
def test_what_is_no_reference_is_told_with_its_character(text: str, at: int) -> None:
    with pytest.raises(Wrong) as caught:
        pieces(text)
    assert caught.value.at == at
