"""The steps of an apply, in their order: nothing is written before it can be undone, nothing ends without a word.

The supervisor is played, since no real one refuses or dies at each step; tests/kernel/test_transaction.py and
test_rollback.py have the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model import host_of
from msgspec.structs import replace

from nncp import transaction
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Row
from nncp.journal import Journal, Record
from nncp.known import KINDS
from nncp.listed import Listed
from nncp.plan import plan
from nncp.transaction import Change, run

if TYPE_CHECKING:
    from pathlib import Path

NOW = host_of(
    {"link eth1": {"type": "ethernet", "mtu": 1500, "index": 2}, "link d": {"type": "dummy", "index": 3}}
)
WANT = [
    Row(("link", "eth1"), {"mtu": 1400}),
    Row(("link", "d"), absent=True),
    Row(("link", "e"), {"type": "dummy"}),
]
FORMER, LISTED = Listed(("eth8",)), Listed(("eth9",))
ABOUT = Record((), number=7, lists=LISTED)
LOCK, DEADLINE, SILENCE = 7, 11.0, 13.0
BROKEN = Error("broken", kind=ErrorKind.FAILED)
UNDONE = Error("it was undone", kind=ErrorKind.FAILED)


class Guard:
    """A supervisor that does as it is told, but for what goes wrong at one step."""

    def __init__(self, journal: Journal, wrong: dict[str, BaseException], *, committed: bool = True) -> None:
        self.journal = journal
        self.wrong = wrong
        self.committed = committed
        self.steps: list[str] = []
        self.writer: Any = None

    def start(self, journal: Journal, lock: int, silence: float) -> Guard:
        assert (journal, lock, silence) == (self.journal, LOCK, SILENCE)
        self._step("start")
        return self

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.wrong:
            raise self.wrong[name]

    def await_ready(self) -> None:
        assert self.journal.read() is None, "nothing is pending before somebody watches"
        self._step("ready")

    def dismiss(self) -> None:
        self._step("dismiss")

    def write(self, record: Record) -> None:
        self.journal.write(record)

    def write_in_child(self, write: Any) -> None:
        self.writer = write.__self__
        self._step("write")

    def commit(self, record: Record) -> bool:
        assert record.lists == LISTED
        self._step("commit")
        return self.committed

    def undo(self, error: BaseException) -> None:
        assert error in self.wrong.values()
        self._step("undo")

    def undone(self) -> Error:
        return UNDONE


def applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str, wrong: dict[str, BaseException], **more: Any
) -> Journal:
    journal = Journal(tmp_path)
    with journal.locked(patience=1):
        journal.note_listed(FORMER)
    guard = Guard(journal, wrong, **more)
    monkeypatch.setattr(transaction, "Guard", guard)
    monkeypatch.setattr(
        transaction, "draw", lambda ops, taken: {"e": 77 if (len(ops), taken["d"]) == (3, 3) else 0}
    )
    change = Change(NOW, plan(NOW, WANT, KINDS), WANT, ABOUT, ("br1",))
    try:
        run(change, journal, LOCK, KINDS, transaction.Terms(DEADLINE, SILENCE))
    finally:
        assert guard.steps == steps.split()
        if guard.writer:
            writer = guard.writer
            assert (writer.change, writer.journal, writer.drawn) == (change, journal, {"e": 77})
            assert (writer.deadline, writer.kinds) == (DEADLINE, KINDS)
    return journal


def test_what_is_written_can_be_undone_by_a_journal_that_says_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = applied(tmp_path, monkeypatch, "start ready write commit", {}).read()
    assert record is not None
    way = Record(record.before, FORMER, {"e": (77,)}, gone=frozenset({"d"}), pinned=("br1",), changes=3)
    assert record == replace(way, number=ABOUT.number, lists=LISTED)
    kept = Host(row for row in record.before if not row.absent)
    assert {row.key: row.attrs for row in kept if row.key[0] == "link"} == {row.key: row.attrs for row in NOW}
    assert ("link", "e") in {row.key for row in record.before if row.absent}


@pytest.mark.parametrize("wrong", [BROKEN, KeyboardInterrupt("SIGTERM"), KeyError("a fault of ours")])
def test_before_the_first_write_the_supervisor_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: BaseException
) -> None:
    with pytest.raises(type(wrong)) as raised:
        applied(tmp_path, monkeypatch, "start ready dismiss", {"ready": wrong})
    assert raised.value is wrong
    assert Journal(tmp_path).read() is None


def test_what_could_not_be_undone_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_way(*about: Any) -> None:
        now, ops, rows, kinds = about
        assert (now, [op.key[1] for op in ops], kinds) == (
            NOW,
            [op.key[1] for op in plan(NOW, WANT, KINDS)],
            KINDS,
        )
        assert {row.name for row in rows} == {"eth1", "d", "e"}
        raise BROKEN

    monkeypatch.setattr(transaction, "see_the_way_back", no_way)
    with pytest.raises(Error) as raised:
        applied(tmp_path, monkeypatch, "start dismiss", {})
    assert raised.value is BROKEN
    assert Journal(tmp_path).read() is None


STEPS = {"write": "start ready write undo", "commit": "start ready write commit undo"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wrong", [BROKEN, KeyError("a fault of ours")])
def test_what_goes_wrong_from_then_on_is_undone_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, wrong: Exception
) -> None:
    with pytest.raises(type(wrong)) as raised:
        applied(tmp_path, monkeypatch, STEPS[step], {step: wrong})
    assert raised.value is wrong


@pytest.mark.parametrize("step", STEPS)
def test_who_stops_an_apply_hears_that_it_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with pytest.raises(Error, match="stopped by SIGTERM; what had been written is undone") as raised:
        applied(tmp_path, monkeypatch, STEPS[step], {step: KeyboardInterrupt("SIGTERM")})
    assert raised.value.kind is ErrorKind.INTERRUPTED


def test_who_comes_too_late_to_keep_a_change_is_told_that_it_was_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Error) as raised:
        applied(tmp_path, monkeypatch, "start ready write commit", {}, committed=False)
    assert raised.value is UNDONE
