"""A rollback does all it can, whatever stands in its way.

The kernel is a model, since no real one refuses what is asked for here, nor does our planner fail at will.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model import after, host_of

from nncp.errors import Error, ErrorKind
from nncp.host import Op
from nncp.journal import Record
from nncp.known import KINDS
from nncp.plan import plan
from nncp.way_back import Rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nncp.host import Host, Key, Row

LINKS = {f"link eth{n}": {"type": "ethernet", "index": n, "mtu": 1500} for n in range(1, 5)}
ADDRESSES = {f"address eth{n} 10.0.{n}.{m}/24": {"family": "inet"} for n in range(1, 5) for m in range(1, 6)}
BEFORE = host_of({**LINKS, **ADDRESSES})


class Played:
    """A namespace whose kernel refuses some rows, and about some links of which planning fails."""

    kinds = KINDS

    def __init__(
        self, host: Host, *, refused: set[Key] = frozenset(), broken: set[str] = frozenset()
    ) -> None:  # type: ignore[assignment]
        self.host = host
        self.refused = refused
        self.broken = broken

    def snapshot(self, _want: Any = ()) -> Host:
        return self.host

    def foresee(self, now: Host, want: Sequence[Row], *, undoing: bool) -> tuple[Host, list[Op]]:
        if any(row.name in self.broken for row in want):
            raise KeyError("a fault of the planner")
        return now, plan(now, want, KINDS, undoing=undoing)

    def lower(self, rows: Sequence[Row]) -> None:
        self.host = after(self.host, plan(self.host, rows, KINDS))

    def carry_out(
        self, ops: Sequence[Op], _now: Host, _drawn: Any, *, refused: Callable[[Error], None]
    ) -> None:
        for op in ops:
            if op.key in self.refused:
                refused(Error("no", kind=ErrorKind.FAILED, subject=op.key[1]))
            else:
                self.host = after(self.host, [op])


def rolled_back(namespace: Played) -> Error | None:
    record = Record(tuple(BEFORE))
    try:
        Rollback(namespace, record, lambda _: None).run()  # type: ignore[arg-type]
    except Error as error:
        return error
    return None


def keys(host: Host) -> set[Key]:
    return {row.key for row in host}


@pytest.mark.parametrize("count", [1, 2, 19])
def test_a_refused_row_stops_no_other_and_each_that_is_left_is_told(count: int) -> None:
    refused = {row.key for row in list(BEFORE.table("address"))[:count]}
    namespace = Played(host_of(LINKS), refused=refused)
    error = rolled_back(namespace)
    assert keys(namespace.host) == keys(BEFORE) - refused
    assert error is not None
    assert error.kind is ErrorKind.ROLLBACK_FAILED
    assert len(error.others) == count
    for key in refused:
        assert any(key[2] in other.message for other in error.others)


@pytest.mark.parametrize("broken", [{"eth1"}, {"eth4"}, {"eth2", "eth3"}])
def test_what_cannot_even_be_planned_stops_nothing_else_and_is_told(broken: set[str]) -> None:
    namespace = Played(host_of(LINKS), broken=broken)
    error = rolled_back(namespace)
    assert keys(namespace.host) == {key for key in keys(BEFORE) if key[0] == "link" or key[1] not in broken}
    assert error is not None
    assert len(error.others) == len(broken)


def test_a_journal_that_cannot_be_written_stops_no_rollback() -> None:
    def full(_drawn: Any) -> None:
        raise Error("no space left", kind=ErrorKind.FAILED)

    namespace = Played(host_of(LINKS))
    Rollback(namespace, Record(tuple(BEFORE)), full).run()  # type: ignore[arg-type]
    assert keys(namespace.host) == keys(BEFORE)


def test_a_link_that_somebody_else_has_made_since_under_the_same_name_stays_as_it_is() -> None:
    stranger = {**LINKS, "link eth1": {"type": "dummy", "index": 99, "mtu": 1500}}
    namespace = Played(host_of(stranger))
    error = rolled_back(namespace)
    assert {key for key in keys(namespace.host) if key[1] == "eth1"} == {("link", "eth1")}
    assert keys(BEFORE) - keys(namespace.host) == {key for key in keys(BEFORE) if key[1] == "eth1"} - {
        ("link", "eth1")
    }
    assert error is not None
    assert [other.subject for other in error.others] == ["eth1"]


ABOVE = {
    "link eth1.5": {"type": "vlan", "base-iface": "eth1", "id": 5, "index": 9},
    "up eth1.5": {},
    "up eth1": {},
}
PLUGGED = {
    "link br0": {"type": "linux-bridge", "index": 7, "mtu": 1500},
    "port pod0": {"type": "linux-bridge", "controller": "br0"},
    "vlans pod0": {"vids": [[1, 1, "pvid untagged"]]},
}


@pytest.mark.parametrize(
    ("before", "now", "record", "back"),
    [
        # What was deleted since by somebody else stays away, with all that was on it.
        (PLUGGED, {"link br0": {"type": "linux-bridge", "index": 7, "mtu": 1400}}, {}, {"link br0"}),
        ({**LINKS, **ABOVE}, LINKS, {}, {*LINKS, "up eth1"}),
        ({**LINKS, **ABOVE}, {}, {}, set()),
        # What the apply has deleted, or was to make again, comes back.
        ({**LINKS, **ABOVE}, LINKS, {"gone": frozenset({"eth1.5"})}, {*LINKS, *ABOVE}),
        ({**LINKS, **ABOVE}, LINKS, {"made": {"eth1.5": (77,)}}, {*LINKS, *ABOVE}),
    ],
)
def test_what_somebody_else_has_deleted_since_stays_away(
    before: Any, now: Any, record: Any, back: set[str]
) -> None:
    namespace = Played(host_of(now))
    Rollback(namespace, Record(tuple(host_of(before)), **record), lambda _: None).run()  # type: ignore[arg-type]
    assert keys(namespace.host) == keys(host_of({key: {} for key in back}))
    assert all(row.attrs.get("mtu") in {None, 1500} for row in namespace.host.table("link"))


def test_what_was_down_is_taken_down_again_when_the_link_below_comes_back() -> None:
    def up_too(now: Host, ops: Sequence[Op]) -> Host:
        return after(now, [*ops, *(Op("create", ("up", "v")) for op in ops if op.key == ("up", "eth1"))])

    before = host_of(
        {**LINKS, "up eth1": {}, "link v": {"type": "vlan", "base-iface": "eth1", "index": 9, "id": 5}}
    )
    namespace = Played(host_of({**LINKS, "link v": before.rows["link", "v"].attrs}))
    namespace.carry_out = lambda ops, *_, **__: setattr(namespace, "host", up_too(namespace.host, ops))  # type: ignore[method-assign]
    Rollback(namespace, Record(tuple(before)), lambda _: None).run()  # type: ignore[arg-type]
    assert keys(namespace.host) == keys(before)
