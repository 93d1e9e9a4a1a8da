"""The way back: from the host as it is to the rows as they were.

It is planned and carried out as any other change is, so a rollback that was killed is simply started again.
It does all it can: what is refused is passed over and told in the end, with everything else that differs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import structs

from nncp.applied import without_call
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Op, Row, untold
from nncp.journal import GIVE_UP, Journal, decoded
from nncp.known import KINDS
from nncp.listed import TOLD, Listed, bereft
from nncp.namespace import Namespace
from nncp.needs import closure
from nncp.netlink.carry import Refused, sentence
from nncp.netlink.channel import Channel
from nncp.netlink.indexes import draw
from nncp.netlink.snapshot import indexes
from nncp.raised import raised
from nncp.tables.address import LOOPBACK4, is_advertised, is_kernels_own
from nncp.tables.sysctl import sysctl_link
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nncp.host import Key
    from nncp.journal import Record
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows

PASSES = 3
"""How often a plan may be made anew: the kernel moves MACs and MTUs along when ports come and go."""


def undo(namespace: Namespace, journal: Journal, *, kept: int | None = None, saved: bytes = b"") -> list[Op]:
    """Roll back what is pending, or else the apply `kept` that held, and mark it as undone.

    Args:
        namespace: to which the journal belongs.
        journal: locked by the caller.
        kept: the number of an apply.
        saved: what was pending, as somebody has it who began to undo it: the file may have been taken away.

    Returns:
        What was written.

    Raises:
        Error: it could not be undone in full (`ROLLBACK_FAILED`).

    """
    record = _claimed(journal, kept, saved)
    if record is None:
        return []
    with _sound(journal):
        ops = Rollback(namespace, record, journal.note_drawn).run()
    try:
        if record.listed is not None:
            journal.note_listed(journal.listed().without(record.listed, record.lists))
        if record.call:
            _out_of_force(record, journal)
        journal.done(record)
    except Error as error:
        raise Error(
            f"the state before is restored, and that could not be noted: {error.message}",
            kind=error.kind,
            hint="make room or mend the state folder, and run `nncp rollback` again",
        ) from error
    return ops


def _claimed(journal: Journal, kept: int | None, saved: bytes) -> Record | None:
    """Return what is to be undone: None where there is nothing, or it is kept by now."""
    try:
        record = journal.claim(kept=kept)
        if record or not saved:
            return record
        record = decoded(saved, journal.path)
        return None if journal.is_kept(record.number) else record
    except Error:
        if saved:
            return decoded(saved, journal.path)
        raise


def _out_of_force(record: Record, journal: Journal) -> None:
    """Let the documents count that counted before an apply."""
    file = journal.applied()
    found = file.read(journal.held)
    if any(document.call == record.call for document in found):
        file.write(without_call(found, record.call, record.replaced))
    file.drop()


@contextlib.contextmanager
def _sound(journal: Journal) -> Iterator[None]:
    """Tell of a journal that can be read and makes no sense."""
    try:
        yield
    except (Error, OSError):
        raise
    except Exception as error:
        raise Error(
            f"the journal in {journal.path} holds what nothing leads back to: {error!r}",
            kind=ErrorKind.ROLLBACK_FAILED,
            hint=f"put it back as it was, or {GIVE_UP}",
        ) from error


def bereaving(namespace: Namespace, record: Record, journal: Journal) -> list[Error]:
    """Return what others would lose by a way back: what they have put on its links since."""
    with _sound(journal):
        now = namespace.snapshot(record.before)
        ops = Rollback(namespace, record, lambda _: None).way(now)
        listed = (
            *(record.listed or Listed()).ports,
            *(row.name for row in record.before if row.key[0] == "port"),
        )
        guests = bereft(now.where(listed=listed, carried=()), ops, kind=ErrorKind.UNSUPPORTED)
        return [*guests, *_lost(ops, record, namespace.kinds)]


def built_on(record: Record, later: Iterable[Record], kinds: Kinds, journal: Journal) -> list[Error]:
    """Return which later applies ask for what an apply has touched: to undo it would take that from them."""
    with _sound(journal):
        own = subjects(record.before, kinds) | record.made.keys()
        return [error for other in later if (error := _built_on(record, own, other, kinds))]


def _built_on(record: Record, own: set[str], other: Record, kinds: Kinds) -> Error | None:
    shared = sorted(own & ({*other.asked} | subjects(other.before, kinds)))
    replaced = [one.name for one in other.replaced if record.call and one.call == record.call]
    if not shared and not replaced:
        return None
    links = {row.name for row in record.before if row.key[0] == "link"} | record.made.keys()
    # What is on a link goes without saying.
    said = [name for name in shared if name in links] or shared or replaced
    more = f" and {len(said) - TOLD} more" if len(said) > TOLD else ""
    what = f"{', '.join(said[:TOLD])}{more}"
    of = f" ({', '.join(other.documents)})" if other.documents else ""
    return Error(
        f"apply {record.number} is about {what}, and so is the later apply {other.number}{of}",
        kind=ErrorKind.UNSUPPORTED,
        hint=f"undo that first: nncp rollback {other.number}",
    )


def subjects(rows: Iterable[Row], kinds: Kinds) -> set[str]:
    """Return what rows are about and what they use: links by their names, addresses and networks."""
    found: set[str] = set()
    for row in rows:
        found |= _links(row, kinds)
        found |= {word for word in row.key[1:] if "." in word or ":" in word}
        if row.key[0] == "address":
            found.add(row.key[2].partition("/")[0])
    return found


def _lost(ops: Iterable[Op], record: Record, kinds: Kinds) -> Iterator[Error]:
    links, keys = {row.name for row in record.before} | record.made.keys(), {row.key for row in record.before}
    for op in ops:
        table = kinds.tables[op.key[0]]
        theirs = op.verb == "remove" and (op.key[1] not in links if table.about else op.key not in keys)
        why = table.cannot_be_made(op.old, kinds) if theirs else ""
        if why or (theirs and op.key[0] == "link" and not op.back):
            name = op.key[1] if table.about else table.what(op.key, op.old)
            yield Error(
                f"{name}, which is none of the apply's, would go with what is undone{why and f': {why}'}",
                kind=ErrorKind.UNSUPPORTED,
                subject=op.key[1],
                hint=f"delete or move {name} yourself first, or use --force to lose it",
            )


def finish(state_dir: Path, saved: bytes = b"") -> None:
    """Undo an apply that is pending, or was when it was `saved`; whoever called this has the lock.

    Raises:
        Error: the state before could not be restored.

    """
    with Channel() as channel:
        undo(Namespace(channel, KINDS), Journal(state_dir), saved=saved)


class Rollback:
    """One attempt to lead a namespace back to what a record holds.

    Args:
        namespace: as it is.
        record: what was before, and which links were made since.
        note: called with the indexes of links that are about to be made again.

    """

    def __init__(
        self, namespace: Namespace, record: Record, note: Callable[[Mapping[str, int]], None]
    ) -> None:
        self.namespace = namespace
        self.kinds = namespace.kinds
        self.record = record
        self.note = note
        self.done: list[Op] = []
        self.refused: dict[Key, Error] = {}
        self.others: list[Error] = []

    def run(self) -> list[Op]:
        """Lead it back; return what was written.

        What the kernel moves along by itself (a bridge's MAC follows its ports) is written only if it still
        differs when everything else is back.

        Raises:
            Error: with every difference that is left (`ROLLBACK_FAILED`).

        """
        for settled in (False, True):
            for number in range(PASSES):
                now = self.namespace.snapshot(self.record.before)
                now = now if settled or number else _untold(now)
                ops = self.way(now, settled=settled)
                if not ops:
                    break
                self._carry_out(ops, now)
        before = Host(row for row in self.record.before if not row.absent)
        self.namespace.lower(raised(self.done, before, (), self.kinds))
        self._tell()
        return self.done

    def way(self, now: Host, *, settled: bool = False) -> list[Op]:
        """Return the writes that lead back from `now`, with or without what the kernel moves along."""
        rows, _ = own(self.record, now, self.kinds)
        want = [*rows, *_late_comers(rows, now)] if settled else _without_followers(rows, now, self.kinds)
        return self._all_but_impossible(now, want)

    def _all_but_impossible(self, now: Host, want: Sequence[Row]) -> list[Op]:
        """Return the plan to as many rows as there is one to; what hinders the others is kept in mind."""
        self.others = []
        try:
            return self._plan(now, want)
        except Error:
            return self._plan(now, self._possible(now, want))

    def _plan(self, now: Host, want: Sequence[Row]) -> list[Op]:
        try:
            return self.namespace.foresee(now, want, undoing=True)[1]
        except (Error, OSError):
            raise
        except Exception as error:
            raise Error(f"a way back could not be planned: {error!r}", kind=ErrorKind.BUG) from error

    def _possible(self, now: Host, want: Sequence[Row]) -> list[Row]:
        """Return the rows of `want` to which a plan leads."""
        try:
            self._plan(now, want)
        except Error as error:
            names = list(dict.fromkeys(row.name for row in want))
            if len(names) < 2:
                self.others.append(error)
                return []
            first = set(names[: len(names) // 2])
            found = self._possible(now, [row for row in want if row.name in first])
            rest = self._possible(now, [row for row in want if row.name not in first])
            return self._both(now, found, rest)
        return list(want)

    def _both(self, now: Host, found: list[Row], rest: list[Row]) -> list[Row]:
        try:
            self._plan(now, [*found, *rest])
        except Error as error:
            self.others.append(error)
            return max(found, rest, key=len)
        return [*found, *rest]

    def _carry_out(self, ops: Sequence[Op], now: Host) -> None:
        drawn = draw(ops, indexes(now))
        self.record = self.record.noting(drawn)
        try:
            self.note(drawn)
        except Error as error:
            self.others.append(error)
        self.refused = {}
        try:
            self.namespace.carry_out(ops, now, drawn, refused=self._pass_over)
        except OSError as error:  # the socket's; the next pass goes on
            self.others.append(Error(f"not all could be sent: {error.strerror}", kind=ErrorKind.FAILED))
        self.done += ops

    def _pass_over(self, error: Error) -> None:
        key = error.op.key if isinstance(error, Refused) else ("link", error.subject)
        self.refused.setdefault(key, error)

    def _tell(self) -> None:
        now = self.namespace.snapshot(self.record.before)
        rows, lost = own(self.record, now, self.kinds)
        left = self._all_but_impossible(now, rows)
        found = [*(_left(op, self.refused.get(op.key), self.kinds) for op in left), *self.others]
        found += [_displaced(name) for name in lost]
        if found:
            many = "1 difference is" if len(found) == 1 else f"{len(found)} differences are"
            raise Error(
                f"the state before could not be restored in full; {many} left",
                kind=ErrorKind.ROLLBACK_FAILED,
                hint="`nncp rollback` tries again, `nncp rollback --forget` gives it up",
                others=tuple(found),
            )


def _untold(now: Host) -> Host:
    """Return a host whose links have none of what they do not tell: it is written once, and not compared."""
    rows = [row for row in now.table("link") if untold(row.attrs)]
    less = [{name: value for name, value in row.attrs.items() if name != "borrowed"} for row in rows]
    return now.with_rows(Row(row.key, attrs) for row, attrs in zip(rows, less, strict=True)) if rows else now


def _left(op: Op, refused: Error | None, kinds: Kinds) -> Error:
    return Error(
        f"left to do: {sentence(op, kinds)}",
        kind=ErrorKind.ROLLBACK_FAILED,
        subject=op.key[1],
        hint=refused.message if refused else "",
    )


def _displaced(name: str) -> Error:
    return Error(
        f"{name} could not be restored: another link has its name",
        kind=ErrorKind.ROLLBACK_FAILED,
        subject=name,
        hint="it was made by somebody else since, and stays; rename it and run `nncp rollback`",
    )


def own(record: Record, now: Host, kinds: Kinds) -> tuple[list[Row], list[str]]:
    """Return the rows of a record that are about its own links, and the links whose names others took.

    A link is known by its index, not by its name: what was made by somebody else since stays as it is, and
    so does all that would have to stand on it. What somebody else has deleted since stays away, with all
    that was on it: a Pod's end, say, that was a bridge's port.
    """
    links = [row for row in record.before if row.key[0] == "link"]
    strangers = {row.name for row in links if _is_strange(row, record, now)}
    strangers |= {name for name in record.made if _is_none_of(record.made[name], name, now)} - {
        row.name for row in links if not row.absent
    }
    there = {row.name for row in links if not row.absent and not _is_deleted(row, record, now)}
    there |= {row.name for row in now.table("link")}
    away = {name for row in record.before if not row.absent for name in _links(row, kinds)} - there
    out = _with_what_rests_on(strangers, record, kinds)
    lost = {row.name for row in record.before if row.key in out and row.key[0] == "link" and not row.absent}
    out |= _with_what_rests_on(away, record, kinds)
    return [row for row in record.before if row.key not in out], sorted(lost)


def _with_what_rests_on(names: set[str], record: Record, kinds: Kinds) -> set[Key]:
    """Return the rows of a record that are about links, and those of links above them."""
    if not names:
        return set()
    rows: Rows = {row.key: row.attrs for row in record.before if not row.absent}
    links: Rows = {("link", name): {"type": ""} for name in names}
    out = closure(links, {**rows, **links}, kinds)
    return out | {row.key for row in record.before if _is_about(row, names, kinds)}


def _is_deleted(row: Row, record: Record, now: Host) -> bool:
    """Whether somebody else has deleted a link since: nothing that was to be done to it could have."""
    if row.name in record.gone or row.name in record.made:
        return False
    return now.get(*row.key) is None and not (row.was and now.get("link", row.was))


def _is_strange(row: Row, record: Record, now: Host) -> bool:
    there = now.get(*row.key) or (now.get("link", row.was) if row.was else None)
    if there is None:
        return False
    known = (*record.made.get(there.name, ()), *record.made.get(row.name, ()), row.attrs.get("index"))
    if there.attrs["index"] in known:
        return False
    # A real card that was plugged in again has another index and is the same card.
    return row.absent or not (row.attrs["type"] == there.attrs["type"] == "ethernet")


def _is_none_of(made: Iterable[int], name: str, now: Host) -> bool:
    there = now.get("link", name)
    return there is not None and there.attrs["index"] not in made


def _is_about(row: Row, names: set[str], kinds: Kinds) -> bool:
    found = _links(row, kinds) | {other for _, other in references(row.key, row.attrs, kinds)}
    return not found.isdisjoint(names)


def _links(row: Row, kinds: Kinds) -> set[str]:
    """Return the links without which a row is about nothing."""
    table = kinds.tables[row.key[0]]
    found = {*table.links(row.key, row.attrs), row.name if table.about else sysctl_link(row.name)}
    return found - {""}


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
    return kind is not None and kind.imposes


def _less_followers(row: Row, now: Host, kinds: Kinds, *, bonded: bool) -> Row:
    kind = kinds.by_type.get(now.attr(*row.key, name="type", default="")) if row.key[0] == "link" else None
    if kind is None or row.absent or not (kind.port_attrs or "base-iface" in row.attrs or bonded):
        return row
    table = kinds.attrs("link", kind.type)
    attrs = {name: value for name, value in row.attrs.items() if name not in table or not table[name].follows}
    return structs.replace(row, attrs=attrs)


def _late_comers(rows: Iterable[Row], now: Host) -> Iterator[Row]:
    """Yield, as absent, addresses that touched links have got of the kernel since, as they went up."""
    known = {row.key for row in rows if not row.absent}
    for row in now.table("address"):
        # inetdev_event() gives 127.0.0.1 to a loopback that has no address.
        own = is_kernels_own(row.key, row.attrs) or row.key[1:] == LOOPBACK4
        came = own and not is_advertised(row.key, row.attrs)
        if came and row.key not in known and ("link", row.name) in known:
            yield Row(row.key, absent=True)
