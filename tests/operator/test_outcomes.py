"""What the engine knows of attempts, on the disk too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error, ErrorKind
from nncp.operator.outcomes import FILE, FOLDER, MOST, TRIES, Ledger, Outcomes
from nncp.operator.protocol import Document, Outcome, Phase, asked, told
from nncp.operator.ways import Step, Way, Ways, digest

if TYPE_CHECKING:
    from pathlib import Path


def test_an_attempt_that_nobody_ended_is_cut_and_given_up_in_the_end() -> None:
    ledger = Ledger()
    for number in range(1, TRIES + 1):
        ledger = ledger.begun("p", "a.0")
        assert ledger.of("p", "a.0").tries == number
        ledger = ledger.after_a_start()
        assert ledger.of("p", "a.0").phase is (Phase.FAILED if number == TRIES else Phase.CUT)
    assert ledger.begun("p", "a.1").of("p", "a.1").tries == 1


def test_only_the_last_attempt_of_a_policy_is_known_and_of_many_policies_the_newest() -> None:
    ledger = Ledger().ended("p", Outcome("a.0", Phase.DONE, desired={"x": 1}))
    assert ledger.of("p", "a.0").desired is None
    assert ledger.of("p", "b.0") == Outcome("b.0", Phase.NEVER)
    for number in range(MOST):
        ledger = ledger.begun(f"q{number}", "a.0")
    assert len(ledger.last) == MOST
    assert ledger.of("p", "a.0").phase is Phase.NEVER


def test_it_is_known_again_after_a_start(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path)
    outcomes.keep(outcomes.ledger.ended("p", Outcome("a.0", Phase.FAILED, "no")).begun("q", "b.0"))
    again = Outcomes(tmp_path).ledger
    assert again.of("p", "a.0").error == "no"
    assert again.of("q", "b.0").phase is Phase.CUT


@pytest.mark.parametrize("data", ["{", '{"version": 9}', '{"version": 1, "last": 7}'])
def test_what_cannot_be_read_is_told_by_its_place(tmp_path: Path, data: str) -> None:
    Outcomes(tmp_path).keep(Ledger())
    place = tmp_path.joinpath(FOLDER, FILE)
    place.write_text(data)
    with pytest.raises(Error, match=FILE):
        Outcomes(tmp_path)
    ways = Ways(tmp_path, {})
    ways.keep("p", Way())
    (tmp_path / "engine" / "ways" / "p.json").write_text(data.replace("last", 'back": 7, "step'))
    with pytest.raises(Error, match=r"p\.json"):
        ways.of("p")


def test_a_way_is_there_from_the_first_look_on_and_goes_when_it_was_gone(tmp_path: Path) -> None:
    ways = Ways(tmp_path, {"old": {}})
    for name in ("new", "old"):
        ways.begin(name)
    assert (ways.of("new"), ways.of("old")) == (Way(), None)
    ways.keep("new", Way("a", {}, Step("b", {}, {"hostname": {}})))
    ways.begin("new")
    assert ways.of("new") == Way("a", {})
    ways.forget("new")
    assert ways.of("new") is None
    with pytest.raises(Error, match="no policy's name"):
        ways.of("../new")


def test_a_digest_is_of_what_is_said_and_not_of_its_order() -> None:
    one = Document("p", {"a": 1, "b": 2}, {"x": "y"})
    assert (
        digest(one) == digest(Document("q", {"b": 2, "a": 1}, {"x": "y"})) != digest(Document("p", {"a": 1}))
    )


def test_what_is_no_request_is_refused() -> None:
    for data in (b"", b"{}", b"\xff", b'{"ask":"show","version":2}', b"[" * 100_000):
        with pytest.raises(Error) as caught:
            asked(data)
        assert caught.value.kind is ErrorKind.USAGE
    assert told(Error("a", path="x", others=(Error("b"),))) == "x: a; b"
