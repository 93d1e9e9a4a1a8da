"""Members that take their time: a late frame is not a lost one, and a slow answer not a missing one.

The members are toys that pass frames on through a folder, since a real one could not be made slow at will.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nncp import pace
from nncp.errors import Error, ErrorKind
from vmnet.preflight import exchange
from vmnet.preflight.exchange import Place, parse_place, parse_places
from vmnet.preflight.verdict import Ask, Verdict

if TYPE_CHECKING:
    from pathlib import Path

ASK = Ask("br1", 33)

# $1 is the folder, $2 the name, $3 what it does: a frame is told at the nth question after it was sent to it.
TOY = """
import json, os, sys, time
folder, name, late, lost, nap = sys.argv[1], sys.argv[2], *json.loads(sys.argv[3])
asked, waiting = 0, {}
uplink = {"name": "eth0", "mac": name}
for line in sys.stdin:
    question = json.loads(line)
    answer = {}
    if question["do"] == "facts":
        answer = {"facts": {"member": name, "filters": True, "uplink": uplink}}
    elif question["do"] == "send":
        for frame in question["frames"]:
            if lost or frame["size"] > 1500:
                continue
            with open(f"{folder}/{frame['to']}", "a") as file:
                print(frame["token"], file=file)
        answer = {"refused": []}
    elif question["do"] == "heard":
        asked += 1
        time.sleep(nap)
        path = f"{folder}/{name}"
        if os.path.exists(path):
            os.rename(path, path + ".read")
            waiting.update({int(token): asked for token in open(path + ".read")})
        due = [token for token, since in waiting.items() if asked >= since + late]
        answer = {"heard": [[waiting.pop(token) and token, 33] for token in due]}
    print(json.dumps({"version": 1, **answer}), flush=True)
"""
SLOW_START = "import time\ntime.sleep(1.5)\n"


def place(
    folder: Path, name: str, *, late: int = 0, lost: bool = False, nap: float = 0.0, first: str = ""
) -> Place:
    (folder / "frames").mkdir(exist_ok=True)
    toy = folder / f"{name}.py"
    toy.write_text(first + TOY)
    told = json.dumps([late, lost, nap])
    return Place(name, (sys.executable, str(toy), str(folder / "frames"), name, told))


def verdict(folder: Path, **one: Any) -> Verdict:
    (found,) = exchange.run([place(folder, "node-1"), place(folder, "node-2", **one)], [ASK])
    return found


def test_members_that_pass_everything_are_well_in_the_first_round(tmp_path: Path) -> None:
    found = verdict(tmp_path)
    assert found.verdict == "ok", found.reasons
    assert {way.small.copies for pair in found.pairs for way in (pair.there, pair.back)} == {1}


def test_a_frame_that_a_slow_member_tells_late_is_not_lost(tmp_path: Path) -> None:
    """Each answer takes as long as a whole round on a quiet machine, and the frame is in the sixth."""
    found = verdict(tmp_path, late=5, nap=exchange.ROUND_SECONDS)
    assert found.verdict == "ok", found.reasons


def test_what_does_not_arrive_is_lost_on_a_slow_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 3.0)
    found = verdict(tmp_path, lost=True)
    assert found.verdict == "failed"
    assert "does not carry VLAN 33" in found.reason


def test_a_member_that_works_on_its_answer_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CPU time is played: a busy machine may give it none for a while."""
    computed = itertools.count()
    monkeypatch.setattr(exchange, "PATIENCE", 0.5)
    monkeypatch.setattr(exchange, "cpu_seconds", lambda _: next(computed))
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    assert verdict(tmp_path, first=SLOW_START).verdict == "ok"


SILENCE = "import time\ntime.sleep(1000)\n"
HALF_A_LINE = "import sys, time\nprint('{\"fac', end='', flush=True)\ntime.sleep(1000)\n"


@pytest.mark.parametrize("first", [SILENCE, HALF_A_LINE], ids=["at once", "within a line"])
def test_a_member_that_falls_silent_is_named_with_how_long_it_was_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 3.0)
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    monkeypatch.setattr(exchange, "cpu_seconds", lambda _: 0.0)
    found = verdict(tmp_path, first=first)
    assert found.verdict == "failed"
    assert "node-2 could not be asked: no answer in " in found.reason


def test_answers_are_told_apart_however_the_pipe_cuts_them(tmp_path: Path) -> None:
    toy = tmp_path / "toy.py"
    toy.write_text(
        "import sys, time\n"
        "sys.stdin.readline()\n"
        'for piece in (\'{"version": 1, "refused"\', \': [1]}\\n{"version": 1, "refused": [2\', \']}\\n\'):\n'
        "    print(piece, end='', flush=True)\n"
        "    time.sleep(0.1)\n"
        "sys.stdin.read()\n"
    )
    talk = exchange.MemberProcess(Place("node-1", (sys.executable, str(toy))))
    talk.ask("facts")
    assert [talk.hear().refused, talk.hear().refused] == [(1,), (2,)]
    talk.close()


def test_what_is_no_answer_is_quoted(tmp_path: Path) -> None:
    found = verdict(tmp_path, first="print('Welcome to node-2', flush=True)\n")
    assert "node-2 could not be asked: its answer is not one: Welcome to node-2" in found.reason


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"version": 2}', "its vmnet speaks version 2 and this program version 1: it is newer"),
        ('{"version": 1, "facts": 5}', "its answer is not one"),
        ('{"version": 1, "heard": [["x", 1]]}', "its answer is not one"),
        ("[" * 9999, "its answer is not one"),
        ('{"version": 1, "error": "no such bridge here"}', "no such bridge here"),
    ],
)
def test_a_member_that_says_something_odd_is_told_and_ends_nothing(
    tmp_path: Path, answer: str, said: str
) -> None:
    found = verdict(tmp_path, first=f"import sys; sys.stdin.readline(); print({answer!r}, flush=True)\n")
    assert f"node-2 could not be asked: {said}" in found.reason


def test_a_frame_that_nobody_sent_is_refused_in_vain(tmp_path: Path) -> None:
    both = [place(tmp_path, name) for name in ("node-1", "node-2")]
    (tmp_path / "node-2.py").write_text(TOY.replace('"refused": []', '"refused": [5]'))
    (found,) = exchange.run(both, [ASK])
    assert found.verdict == "ok", found.reasons


@pytest.mark.parametrize("text", ["a=sh -c 'x", "a=b\\", 'a="', "a", "=true", ":eth1=true", ""])
def test_a_member_that_cannot_be_read_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(Error) as refused:
        parse_place(text)
    assert refused.value.kind is ErrorKind.USAGE


def test_a_member_has_a_name_and_a_command_or_is_here() -> None:
    there = Place(name="a", command=("ip", "netns", "exec", "n 1"))
    assert parse_place("a=ip netns exec 'n 1'") == there
    assert parse_place("a:eth1=") == Place(name="a", command=(), interface="eth1")
    with pytest.raises(Error, match="named twice"):
        parse_places(["a=x", "a:eth1=y"])
