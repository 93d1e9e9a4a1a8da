"""How a plan is carried out so that nothing is left between, whatever is killed when.

Before the first write the touched rows as they were are on the disk, and a supervisor has been forked that
holds the journal's lock and one end of a pipe. A word on the pipe commits; its end without a word (failure,
Ctrl-C, `kill -9`) makes the supervisor roll back. If it is killed too, the next nncp in this namespace finds
the journal pending and rolls back first. Rolling back is planning, from the host as it is to the rows as
they were, so a rollback that was killed is simply started again.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Any

from nncp import sysctl
from nncp.difference import groups
from nncp.errors import Error, ErrorKind
from nncp.host import Cost, Host, Op, Row
from nncp.kinds.kind import Tie
from nncp.needs import closure
from nncp.netlink.carry import Carrier, Refused, sentence
from nncp.netlink.channel import Channel, Events
from nncp.netlink.others import losing, mentioned, with_others
from nncp.netlink.snapshot import indexes, snapshot
from nncp.netlink.taken import with_mentioned, with_taken
from nncp.pace import Limit
from nncp.plan import plan
from nncp.tables.address import is_kernels_own
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.host import Key
    from nncp.journal import Journal
    from nncp.listed import Listed
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows

COMMIT = b"c"
DEADLINE = 10.0
"""Seconds of a quiet machine from the last write, or the last that fell into place, until all must hold."""
PASSES = 3
"""How often a plan may be made anew: the kernel moves MACs and MTUs along when ports come and go."""


class Session:
    """One network namespace, for as long as one command works on it."""

    def __init__(self, channel: Channel, kinds: Kinds) -> None:
        self.channel = channel
        self.kinds = kinds

    def snapshot(self, want: Iterable[Row] = ()) -> Host:
        """Return the rows of the namespace, with the sysctls and the others' routes that `want` mentions."""
        want = list(want)
        host = self.with_sysctls(snapshot(self.channel, self.kinds), want)
        host = with_mentioned(self.channel, host, want, self.kinds)
        return with_others(self.channel, host, mentioned(want))

    @staticmethod
    def with_sysctls(host: Host, want: Iterable[Row]) -> Host:
        """Return `host` with the sysctls that `want` mentions and that a dump does not hold."""
        asked = [row.key for row in want if row.key[0] == "sysctl" and row.key not in host]
        read = [(key, sysctl.read(key[1])) for key in asked]
        found = [Row(key, {"value": value}) for key, value in read if value is not None]
        return host.with_rows(found) if found else host

    def plan(self, want: Sequence[Row], *, undoing: bool = False) -> list[Op]:
        """Return what is still between the namespace and `want`."""
        return plan(self.snapshot(want), want, self.kinds, undoing=undoing)

    def foresee(self, now: Host, want: Sequence[Row], *, undoing: bool = False) -> tuple[Host, list[Op]]:
        """Return `now` with the others' routes that a plan would take along, and the plan to `want`."""
        ops = plan(now, want, self.kinds, undoing=undoing)
        whole = with_others(self.channel, now, losing(now, ops))
        whole = with_taken(self.channel, whole, ops, self.kinds)
        return whole, ops if whole is now else plan(whole, want, self.kinds, undoing=undoing)

    def pin(self, bridges: Sequence[str]) -> None:
        """Set the MAC address that each bridge has, so that no port that comes or goes changes it."""
        now = snapshot(self.channel, self.kinds) if bridges else Host()
        rows = [row for name in bridges if (row := now.get("link", name))]
        ops = [Op("change", row.key, {"mac": row.attrs["mac"]}, type=row.attrs["type"]) for row in rows]
        if ops:
            Carrier(self.channel, self.kinds, indexes(now)).carry_out(ops)

    def carry_out(self, ops: Sequence[Op]) -> None:
        """Carry out `ops`.

        Raises:
            Refused: by the kernel.

        """
        Carrier(self.channel, self.kinds, indexes(snapshot(self.channel, self.kinds))).carry_out(ops)


def run(
    session: Session,
    now: Host,
    ops: Sequence[Op],
    want: Sequence[Row],
    journal: Journal,
    listed: Listed,
    *,
    deadline: float | None,
    pin: Sequence[str] = (),
) -> None:
    """Carry out `ops`, which `plan` found between `now` and `want`, and see that they hold.

    Args:
        session: the namespace.
        now: its rows before.
        ops: not empty.
        want: what must hold in the end.
        journal: locked by the caller.
        listed: what documents have listed once `want` holds.
        deadline: seconds to wait until `want` holds; when None, as long as this machine needs.
        pin: the bridges that are to keep the MAC address which they have then.

    Raises:
        Error: it did not hold and was rolled back (`FAILED`), or could not be (`ROLLBACK_FAILED`).

    """
    journal.write(before(now, ops, session.kinds))
    supervisor = Supervisor.start(session, journal)
    try:
        _carry_and_verify(session, now, ops, want, deadline)
        session.pin(pin)
        journal.note(listed)
    except BaseException as error:
        supervisor.abandon(error)
        raise
    journal.keep()
    supervisor.commit()


def _carry_and_verify(
    session: Session, now: Host, ops: Sequence[Op], want: Sequence[Row], deadline: float | None
) -> None:
    limit = Limit(DEADLINE) if deadline is None else Limit(deadline, most=1)
    with Events() as events:
        Carrier(session.channel, session.kinds, indexes(now)).carry_out(ops)
        left = session.plan(want)
        for _ in range(PASSES - 1):
            if not left:
                return
            session.carry_out(left)
            left = session.plan(want)
        if deadline is None:
            limit.progress()  # it was written until now
        fewest = len(left)
        while left and not limit.is_over():
            events.wait(limit.left)
            left = session.plan(want)
            if deadline is None and len(left) < fewest:
                fewest = len(left)
                limit.progress()
    if left:
        raise _unheld(left, limit, session.kinds)


def _unheld(left: Sequence[Op], limit: Limit, kinds: Kinds) -> Error:
    listed = "; ".join(sentence(op, kinds) for op in left[:5])
    return Error(
        f"what was asked for did not hold {limit.story}; it still takes this: {listed}",
        kind=ErrorKind.FAILED,
        subject=left[0].key[1],
        hint="the kernel accepted it and then changed it, or something else on this host does",
    )


def before(now: Host, ops: Iterable[Op], kinds: Kinds) -> list[Row]:
    """Return the touched rows as they are, and the rows that `ops` will make as absent."""
    ops = list(ops)
    state = {row.key: row.attrs for row in now}
    names = {name for op in ops for name in _names(op, state, kinds)}
    links: list[Key] = [("link", name) for name in names]
    touched = closure(links, state, kinds) | {op.key for op in ops if op.key in state}
    touched.update(*(keys for keys in groups(state, kinds).values() if not touched.isdisjoint(keys)))
    former = {op.key: op.old["name"] for op in ops if op.verb == "rename"}
    kept = [_as_it_was(key, state[key], former, kinds) for key in state if key in touched]
    made = {op.key for op in ops if op.verb != "remove"} - state.keys()
    down = {("up", key[1]) for key in touched if key[0] == "link"} - state.keys()
    return kept + [Row(key, absent=True) for key in sorted(made | down)]


def _names(op: Op, state: Rows, kinds: Kinds) -> Iterator[str]:
    """Yield the links whose rows an operation can move: its own, its controller's, its peer's."""
    table, name = kinds.tables[op.key[0]], op.key[1]
    yield from table.links(op.key, op.attrs)
    if not table.about:
        return
    yield name
    if op.verb == "rename":
        yield op.old["name"]
    found: list[tuple[Key, Mapping[str, Any]]] = [
        (op.key, {"type": op.type, **attrs}) for attrs in (op.attrs, op.old)
    ]
    found += [(key, state[key]) for key in (("port", name), ("link", name)) if key in state]
    for key, attrs in found:
        yield from (
            other for attr, other in references(key, attrs, kinds) if key[0] == "port" or attr.tie is Tie.PAIR
        )


def _as_it_was(key: Key, attrs: Mapping[str, Any], former: dict[Key, str], kinds: Kinds) -> Row:
    new = next((new for new, old in former.items() if ("link", old) == key), None)
    table = kinds.attrs(key[0], attrs.get("type", ""))
    lasting = {name: value for name, value in attrs.items() if name not in table or not table[name].volatile}
    return Row(key, lasting, was=new[1] if new else "")


def roll_back(session: Session, rows: Sequence[Row]) -> list[Op]:
    """Lead the namespace back to `rows`; return what was written.

    What the kernel moves along by itself (a bridge's MAC follows its ports) is written only if it still
    differs when everything else is back.

    Raises:
        Error: it could not be led back (`ROLLBACK_FAILED`).

    """
    done: list[Op] = []
    refused: Error | None = None
    for settled in (False, True):
        for _ in range(PASSES):
            now = session.snapshot(rows)
            want = (
                [*rows, *_late_comers(rows, now)] if settled else _without_followers(rows, now, session.kinds)
            )
            _, ops = session.foresee(now, want, undoing=True)
            if not ops:
                break
            try:
                session.carry_out(ops)
            except Refused as error:
                refused = error
            done += ops
    left = session.plan(list(rows), undoing=True)
    if left:
        listed = "; ".join(sentence(op, session.kinds) for op in left)
        raise Error(
            f"the state before could not be restored; left to do: {listed}",
            kind=ErrorKind.ROLLBACK_FAILED,
            hint=f"{refused.message}; run `nncp rollback` to try again" if refused else "run `nncp rollback`",
        )
    return done


def _without_followers(rows: Sequence[Row], now: Host, kinds: Kinds) -> list[Row]:
    """Return rows that leave alone what the kernel moves along or makes by itself.

    A bridge's, a bond's and a VLAN's MAC and MTU follow what is attached or below, a bond's port has the
    bond's MAC, and a link that goes up gets its link-local address.
    """
    bonded = {
        row.name for row in rows if row.key[0] == "port" and not row.absent and _imposes_mac(row, kinds)
    }
    return [
        _less_followers(row, now, kinds, bonded=row.name in bonded)
        for row in rows
        if row.absent or not is_kernels_own(row.key, row.attrs)
    ]


def _imposes_mac(port: Row, kinds: Kinds) -> bool:
    kind = kinds.by_type.get(port.attrs.get("type", ""))
    return kind is not None and kind.port_cost >= Cost.DOWN


def _less_followers(row: Row, now: Host, kinds: Kinds, *, bonded: bool) -> Row:
    kind = kinds.by_type.get(now.attr(*row.key, name="type", default="")) if row.key[0] == "link" else None
    if kind is None or row.absent or not (kind.port_attrs or "base-iface" in row.attrs or bonded):
        return row
    table = kinds.attrs("link", kind.type)
    attrs = {name: value for name, value in row.attrs.items() if name not in table or not table[name].follows}
    return Row(row.key, attrs, row.needs, row.absent, row.was)


def _late_comers(rows: Iterable[Row], now: Host) -> Iterator[Row]:
    """Yield, as absent, link-local addresses that touched links have got since."""
    known = {row.key for row in rows if not row.absent}
    for row in now.table("address"):
        if is_kernels_own(row.key, row.attrs) and row.key not in known and ("link", row.name) in known:
            yield Row(row.key, absent=True)


class Supervisor:
    """The process that rolls back when the one that writes goes away without a word."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe

    @classmethod
    def start(cls, session: Session, journal: Journal) -> Supervisor:
        """Fork the supervisor; it inherits the journal's lock."""
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os._exit(_supervise(read, session.kinds, journal))
        os.close(read)
        return cls(pid, write)

    def commit(self) -> None:
        """Tell it that all is well, and wait for its end."""
        os.write(self.pipe, COMMIT)
        os.close(self.pipe)
        os.waitpid(self.pid, 0)

    def abandon(self, error: BaseException) -> None:
        """Let it roll back, and wait.

        Raises:
            Error: it could not (`ROLLBACK_FAILED`), with the reason for rolling back among its `others`.

        """
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            first = error if isinstance(error, Error) else None
            raise Error(
                "the change was undone only in part",
                kind=ErrorKind.ROLLBACK_FAILED,
                hint="run `nncp rollback` to go on with it",
                others=(first,) if first else (),
            ) from error


def _supervise(pipe: int, kinds: Kinds, journal: Journal) -> int:
    """Wait for the word or for the pipe's end; return the exit code."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    select.select([pipe], [], [])
    if os.read(pipe, 1) == COMMIT or not journal.is_pending():
        return 0
    try:
        with Channel() as channel:
            undo(Session(channel, kinds), journal)
    except BaseException as error:  # noqa: BLE001  (the last line of defence says so and keeps the journal)
        print(f"nncp: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def undo(session: Session, journal: Journal) -> list[Op]:
    """Roll back what the journal holds, and forget it; return what was written."""
    record = journal.read()
    if record is None:
        return []
    ops = roll_back(session, record.before)
    if record.listed is not None:
        journal.note(record.listed)
    journal.forget()
    return ops
