"""The state folder: ours alone, and reached through nobody's link."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from nncp.errors import Error, ErrorKind
from nncp.host import Row
from nncp.journal import Journal, Record
from nncp.listed import Listed
from nncp.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORD = Record((Row(("link", "eth1"), {"type": "ethernet"}),), Listed(("eth1",)))


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """Let files be made as openly as they are asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


def written(state_dir: Path) -> Journal:
    journal = Journal(state_dir)
    with journal.locked(patience=1):
        journal.write(RECORD)
        journal.note_listed(Listed(("eth1",)))
    return journal


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    journal = written(tmp_path / "state")
    assert {mode(path) for path in (journal.state_dir, journal.path.parent, journal.path)} == {0o700}
    files = {path.name: mode(path) for path in journal.path.iterdir()}
    assert files == {"lock": 0o600, "pending.json": 0o600, "listed.json": 0o600}


def test_folders_that_others_could_read_are_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.path.mkdir(parents=True)
    written(tmp_path)
    assert mode(journal.path.parent) == mode(journal.path) == 0o700


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert journal.read() == RECORD
    assert journal.listed() == Listed(("eth1",))


@pytest.mark.parametrize("which", ["the state folder", "the journals", "the journal"])
def test_a_folder_that_is_a_link_is_refused_and_nothing_is_written_behind_it(
    which: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    journal = Journal(tmp_path / "state")
    path = {
        "the state folder": journal.state_dir,
        "the journals": journal.path.parent,
        "the journal": journal.path,
    }[which]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    with pytest.raises(Error, match="cannot be used"):
        written(journal.state_dir)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "pending.json.new", "listed.json.new"])
def test_a_file_that_is_a_link_is_refused_and_what_it_leads_to_stays(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    journal = Journal(tmp_path / "state")
    journal.path.mkdir(parents=True)
    (journal.path / name).symlink_to(victim)
    with pytest.raises(Error, match=f"{name}.* cannot be used: it is a symbolic link"):
        written(journal.state_dir)
    assert victim.read_text() == "as it was"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.path.parent.mkdir()
    os.chown(journal.path.parent, 65534, 65534)
    with pytest.raises(Error, match="belongs to somebody else") as told:
        written(tmp_path)
    assert told.value.kind is ErrorKind.PRIVILEGE


DEEP = b'{"version": 2, "before": [' + 5000 * b"[" + 5000 * b"]" + b"]}"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"version": 2}', b'{"before": []}', DEEP])
def test_a_journal_that_cannot_be_read_is_told_with_what_to_do(data: bytes, tmp_path: Path) -> None:
    journal = written(tmp_path)
    (journal.path / "pending.json").write_bytes(data)
    with pytest.raises(Error, match=r"the journal in .*(cannot be read|is of version)") as told:
        journal.read()
    assert told.value.kind is ErrorKind.ROLLBACK_FAILED
    assert "--forget" in told.value.hint


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"ports": 5}', DEEP])
def test_a_list_that_cannot_be_read_is_told_with_what_to_do(data: bytes, tmp_path: Path) -> None:
    journal = written(tmp_path)
    (journal.path / "listed.json").write_bytes(data)
    with pytest.raises(Error, match=r"listed.json in .* cannot be read") as told:
        journal.listed()
    assert "remove it" in told.value.hint


def _lock(journal: Journal) -> None:
    with journal.locked(patience=1):
        pass


@pytest.mark.parametrize(
    ("name", "use"), [("lock", _lock), ("pending.json", Journal.read), ("listed.json", Journal.listed)]
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_told_and_nobody_waits_for_it(
    name: str, use: Callable[[Journal], Any], make: Callable[[Path], None], tmp_path: Path
) -> None:
    journal = written(tmp_path)
    (journal.path / name).unlink()
    make(journal.path / name)
    with pytest.raises(Error, match=rf"{name} cannot be used: (it is not a file|Is a directory)"):
        use(journal)


def test_a_folder_in_the_place_of_a_journal_is_forgotten_with_what_is_in_it(tmp_path: Path) -> None:
    journal = written(tmp_path)
    (journal.path / "pending.json").unlink()
    (journal.path / "pending.json" / "in" / "it").mkdir(parents=True)
    journal.forget()
    assert journal.read() is None


def test_a_folder_that_somebody_removes_as_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, left = os.mkdir, [3]

    def made(name: str, mode: int, *, dir_fd: int | None = None) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        if dir_fd is not None and left[0]:
            left[0] -= 1
            os.rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", made)
    with StateFolder.make(tmp_path, "pod") as folder:
        assert folder.is_there()
    assert left == [0]


def test_what_has_begun_to_be_undone_is_no_longer_kept(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert journal.claim() == RECORD
    assert not journal.keep(1)
    assert journal.is_pending()
    journal.forget()
    assert not journal.is_pending()


def test_indexes_that_are_drawn_are_in_the_journal(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.note_drawn({"br0": 5})
    journal.note_drawn({"br0": 6, "br1": 7})
    record = journal.read()
    assert record is not None
    assert record.made == {"br0": (5, 6), "br1": (7,)}
