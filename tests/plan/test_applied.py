"""What is in force, in the order in which it counts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp import restore
from nncp.applied import Applied, with_new, without_call
from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence


def names(documents: Sequence[Applied]) -> list[str]:
    return [document.name for document in documents]


def test_what_an_undone_apply_replaced_has_its_place_again_whatever_the_clock_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([300.0, 200.0, 100.0, 50.0])
    monkeypatch.setattr("time.time", lambda: next(clock))
    found: tuple[Applied, ...] = ()
    for call in "abc":
        found = with_new(found, [Applied(call, {})], call)
    later = with_new(found, [Applied("a", {"more": 1})], "later")
    assert names(later) == ["b", "c", "a"]
    assert without_call(later, "later", found[:1]) == found


def test_the_unit_names_what_it_starts_as_systemd_takes_it() -> None:
    """Quotes, specifiers and variables: systemd.service(5), "Command lines"."""

    def command(folder: str) -> str:
        lines = restore.unit(Path(folder)).splitlines()
        (found,) = (line.partition("=")[2] for line in lines if line.startswith("ExecStart="))
        return found

    odd = '/a b/50% of $HOME/"it\'s"'
    said = command(odd)
    assert shlex.split(said.replace("%%", "%").replace("$$", "$"))[-1] == odd
    assert said.count("%") == 2
    assert said.count("$") == 2
    assert command("here").endswith(f" --state-dir {shlex.quote(str(Path.cwd() / 'here'))}")
    with pytest.raises(Error, match="a unit cannot name"):
        command("/a\nExecStartPre=/bin/evil")
