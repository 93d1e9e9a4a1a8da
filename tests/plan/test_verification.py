"""What an apply waits for before it is held: that everything asked for stands, and is not only accepted.

The kernel is a model, since no real one takes a write and drops it when a test likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pytest
from model import after, host_of

from nncp import transaction
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Op, Row
from nncp.known import KINDS
from nncp.listed import Listed
from nncp.pace import Limit
from nncp.plan import plan
from nncp.raised import raised
from nncp.transaction import PASSES, Change, _interrupted, _kept, _Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


NEIGHBOUR = "neighbour eth1 192.0.2.9"
NOW = host_of({
    **{f"link eth{n}": {"type": "ethernet", "mtu": 1500, "index": n} for n in range(1, 8)},
    NEIGHBOUR: {"mac": "02:00:00:00:00:09"},
})  # fmt: skip
ALL = [Row(row.key, {"type": "ethernet", "mtu": 1400}) for row in NOW.table("link")]
WANT = ALL[:1]


class Namespace:
    """A namespace, and a socket that wakes at once, in which `meddle` has its way after every batch and look."""

    def __init__(
        self, meddle: Callable[[Namespace], None] = lambda _: None, want: Sequence[Row] = WANT
    ) -> None:
        self.host = NOW
        self.want = want
        self.meddle = meddle
        self.batches: list[list[str]] = []
        self.looks = 0
        self.waits = 0
        self.pinned: Sequence[str] | None = None
        self.back: Sequence[Row] = ()
        self.lowered: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def wait(self, most: float) -> None:
        assert most <= transaction.LOOK_EVERY, "somebody must hear that the writer goes on"
        self.waits += 1

    def snapshot(self, want: Sequence[Row]) -> Host:
        assert want == self.want
        return self.host

    def foresee(self, now: Host, want: Sequence[Row]) -> tuple[Host, list[Op]]:
        return now, plan(now, want, KINDS)

    def plan(self, want: Sequence[Row]) -> list[Op]:
        self.looks += 1
        self.meddle(self)
        return plan(self.host, want, KINDS)

    def carry_out(
        self, ops: Sequence[Op], now: Host, drawn: object, *, written: Callable[[Any], None]
    ) -> None:
        assert now == self.host
        assert drawn == {op.key[1]: 77 for op in ops}
        self.host = after(self.host, ops)
        self.batches.append([op.key[1] for op in ops])
        self.meddle(self)
        written(ops)

    def pin(self, bridges: Sequence[str]) -> None:
        self.pinned = bridges

    def lower(self, rows: Sequence[Row]) -> None:
        self.lowered = [row.name for row in rows]

    def bring_back(self, rows: Sequence[Row]) -> None:
        self.back = rows

    def put(self, *rows: Row) -> None:
        self.host = self.host.with_rows(rows)


class Journal:
    """What of a journal the writer uses."""

    def __init__(self) -> None:
        self.noted: list[object] = []

    def note_drawn(self, drawn: object) -> None:
        self.noted.append(drawn)


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[str], Journal]]:
    def written(
        namespace: Namespace, *, deadline: float | None = 0.2, now: Host = NOW
    ) -> tuple[list[str], Journal]:
        monkeypatch.setattr(transaction, "DEADLINE", 0.2)
        monkeypatch.setattr(transaction, "Channel", lambda: namespace)
        monkeypatch.setattr(transaction, "Events", lambda: namespace)
        monkeypatch.setattr(transaction, "Namespace", lambda channel, kinds: _same(namespace, channel, kinds))
        monkeypatch.setattr(transaction, "indexes", lambda host: {row.name for row in host.table("link")})
        monkeypatch.setattr(transaction, "draw", _drawn)
        journal, pulses = Journal(), ["pulse"] * 0
        ops = plan(now, namespace.want, KINDS)
        change = Change(now, ops, namespace.want, Listed(), ["br1"])
        drawn = {op.key[1]: 77 for op in ops}
        writer = _Writer(change, journal, drawn, deadline, KINDS)  # type: ignore[arg-type]
        writer.write(lambda: pulses.append("pulse"))
        return pulses, journal

    return written


def _same(namespace: Namespace, channel: object, kinds: object) -> Namespace:
    assert (channel, kinds) == (namespace, KINDS)
    return namespace


def _drawn(ops: Sequence[Op], taken: set[str]) -> dict[str, int]:
    assert taken == {row.name for row in NOW.table("link")}
    return {op.key[1]: 77 for op in ops}


def set_back(namespace: Namespace) -> None:
    namespace.put(*NOW)


@pytest.mark.parametrize("deadline", [None, 0.2])
def test_what_does_not_hold_fails_and_says_what_is_left(write: Any, deadline: float | None) -> None:
    namespace = Namespace(set_back)
    with pytest.raises(
        Error, match=r"^what was asked for did not hold in .*; it still takes this: set mtu of eth1 to 1400$"
    ) as caught:
        write(namespace, deadline=deadline)
    assert (caught.value.kind, caught.value.subject) == (ErrorKind.FAILED, "eth1")
    assert len(namespace.batches) == PASSES
    assert namespace.looks > 1
    assert namespace.pinned is None


def test_no_more_than_five_of_what_is_left_are_told(write: Any) -> None:
    with pytest.raises(Error) as caught:
        write(Namespace(set_back, ALL))
    assert [name for name in ("eth1", "eth5", "eth6") if name in caught.value.message] == ["eth1", "eth5"]


def test_what_holds_at_once_is_written_once_and_pins_what_is_to_be(write: Any) -> None:
    namespace = Namespace()
    pulses, journal = write(namespace)
    assert (namespace.batches, namespace.looks, namespace.pinned) == ([["eth1"]], 0, ["br1"])
    assert (pulses, journal.noted) == (["pulse"], [])
    assert [" ".join(row.key) for row in namespace.back] == [NEIGHBOUR]


def test_what_the_kernel_moves_along_is_written_again_and_its_indexes_are_noted(write: Any) -> None:
    def once(namespace: Namespace) -> None:
        if len(namespace.batches) == 1:
            set_back(namespace)

    namespace = Namespace(once)
    pulses, journal = write(namespace)
    assert (namespace.batches, namespace.looks) == ([["eth1"], ["eth1"]], 0)
    assert (pulses, journal.noted) == (["pulse"] * 2, [{"eth1": 77}])


@pytest.mark.parametrize("deadline", [None, 60])
def test_what_falls_into_place_in_time_holds(write: Any, deadline: float | None) -> None:
    def slowly(namespace: Namespace) -> None:
        namespace.put(*WANT if namespace.looks > 3 else NOW)

    namespace = Namespace(slowly)
    pulses, _ = write(namespace, deadline=deadline)
    assert (len(namespace.batches), namespace.looks, namespace.pinned) == (PASSES, 4, ["br1"])
    assert namespace.waits == namespace.looks - 1
    assert len(pulses) == PASSES + 3, "each batch and each look is a sign of life"


@pytest.mark.parametrize("deadline", [None, 60])
def test_seconds_that_somebody_asked_for_are_kept_and_not_stretched(
    write: Any, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    asked: list[Any] = []

    def limit(seconds: float, **more: Any) -> Limit:
        asked.append((seconds, more))
        return Limit(seconds, **more)

    monkeypatch.setattr(transaction, "Limit", limit)
    write(Namespace(), deadline=deadline)
    assert asked == ([(0.2, {})] if deadline is None else [(60, {"most": 1})])


def test_neighbours_that_a_new_mac_address_takes_are_brought_back_unless_they_are_to_go(write: Any) -> None:
    keys = [("neighbour", "eth1", f"192.0.2.{n}") for n in (1, 2, 3)]
    rows = [Row(key, {"mac": "02:00:00:00:00:01"}) for key in keys]
    again = {"head": "", "mac": "02:00:00:00:00:02"}
    ops = [
        Op("remove", keys[0]),
        Op("remove", keys[1]),
        Op("create", keys[1], again),
        Op("change", keys[2], again),
    ]
    change = Change(NOW.with_rows(rows), ops, WANT, Listed(), ())
    assert _kept(change, KINDS)[1:] == rows[1:]


def test_who_ended_an_apply_is_told() -> None:
    assert "by SIGTERM" in str(_interrupted(KeyboardInterrupt("SIGTERM")))
    assert " by " not in str(_interrupted(KeyboardInterrupt()))


@pytest.mark.parametrize("deadline", [None, 0.01])
def test_every_step_nearer_is_waited_for_unless_somebody_said_how_long(
    write: Any, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(transaction.Limit, "progress", lambda _: counted.append(1))
    monkeypatch.setattr(transaction.Limit, "is_over", lambda _: False)

    def one_by_one(namespace: Namespace) -> None:
        namespace.put(*NOW)
        namespace.put(*ALL[: namespace.looks // 2])

    write(Namespace(one_by_one, ALL), deadline=deadline)
    assert len(counted) == (1 + len(ALL) if deadline is None else 0)


def test_a_vlan_that_was_down_is_taken_down_again_once_all_else_holds(write: Callable[..., Any]) -> None:
    namespace = Namespace(want=[Row(("up", "d1"))])
    stands = host_of({"link d1": {"type": "dummy"}, "link v": {"type": "vlan", "base-iface": "d1", "id": 5}})
    namespace.host = stands.with_rows(NOW)
    write(namespace, now=namespace.host)
    assert namespace.lowered == ["v"]


VLAN = {"type": "vlan", "id": 5}
STACK = {
    "link eth1": {"type": "ethernet"}, "link v": {**VLAN, "base-iface": "eth1"}, "link w": {**VLAN, "base-iface": "v"},
    "link x": {**VLAN, "base-iface": "w"}, "up x": {}, "link loose": {**VLAN, "base-iface": "eth1", "loose-binding": True},
    "link m": {"type": "mac-vlan", "base-iface": "eth1"}, "link far": {**VLAN, "base-iface": "eth2"},
    "link y": {**VLAN, "base-iface": "eth1", "id": 6}, "link yy": {**VLAN, "base-iface": "y"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "wanted", "found"),
    [
        (Op("create", ("up", "eth1")), (), ["v", "w", "y", "yy"]), (Op("create", ("up", "v")), (), ["w"]),
        (Op("create", ("up", "eth1")), {("up", "w")}, ["v", "y", "yy"]), (Op("create", ("up", "eth1")), {("up", "v")}, ["y", "yy"]),
        (Op("remove", ("up", "eth1")), (), []), (Op("create", ("link", "eth1")), (), []),
    ],
)  # fmt: skip
def test_what_the_kernel_brings_up_with_a_link_is_known(op: Op, wanted: Any, found: list[str]) -> None:
    assert raised([op], host_of(STACK), wanted, KINDS) == [Row(("up", name), absent=True) for name in found]
