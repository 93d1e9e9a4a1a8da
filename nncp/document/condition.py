"""Whether an entry of a state's list fulfils a condition, and what a path leads to in a state."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nncp.document.capture import ORDERS, Both, Either, Path, Wrong
from nncp.document.complaints import did_you_mean, shown
from nncp.document.source import LONGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nncp.document.capture import Comparison, Condition, Value

LISTS = {
    ("interfaces",): "interface",
    ("routes", "running"): "route",
    ("routes", "config"): "route",
    ("route-rules", "config"): "rule",
}
"""The lists whose entries a capture may compare, and what an entry is."""
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+", re.IGNORECASE)
MISSING = object()
NUMBER = re.compile(rf"-?[0-9]{{1,{LONGEST_NUMBER}}}")


def looked_up(path: Path, data: Any) -> Any:
    """Return what a path leads to; of a list without a number, that of each entry that has it.

    Raises:
        Wrong: it leads to nothing.

    """
    for number, step in enumerate(path.steps):
        before = ".".join(path.steps[:number]) or "it"
        if isinstance(data, list) and step.isdecimal():
            if int(step) >= len(data):
                count = f"{len(data)} entries" if len(data) != 1 else "one entry"
                raise Wrong(f"{before} has {count}, and no number {step}", path.place(number))
            data = data[int(step)]
        elif isinstance(data, list):
            return _of_each(path.beyond(number), data, before)
        elif not isinstance(data, Mapping):
            raise Wrong(f"{before} is {shown(data)}, and no mapping", path.place(number))
        elif step not in data:
            hint = did_you_mean(step, data) or f"it has {', '.join(map(str, data)) or 'nothing'}"
            raise Wrong(f"{before} has no {step}", path.place(number), hint)
        else:
            data = data[step]
    return data


def _of_each(path: Path, entries: Sequence[Any], before: str) -> list[Any]:
    found = []
    for entry in entries:
        try:
            found.append(looked_up(path, entry))
        except Wrong:
            continue
    if not found:
        raise Wrong(f"no entry of {before} has {path}", path.at)
    return found


def root_of(path: Path) -> tuple[str, ...]:
    """Return the list at a path's start."""
    root = next((root for root in LISTS if path.steps[: len(root)] == root), None)
    if root is None:
        lists = ", ".join(".".join(root) for root in LISTS)
        raise Wrong(f"{path} is no property of an entry of a list", path.at, f"the lists are {lists}")
    if len(path.steps) == len(root):
        raise Wrong(f"a property has to follow {path}", path.at)
    return root


def entries_at(state: Any, root: tuple[str, ...]) -> list[Any]:
    """Return the entries of a list of a state; none where it has no such list."""
    for step in root:
        state = state.get(step) if isinstance(state, dict) else None
    return [entry for entry in state if isinstance(entry, Mapping)] if isinstance(state, list) else []


def judge_of(
    condition: Condition | None, root: tuple[str, ...], resolved: Callable[[Value], Any]
) -> Callable[[Any], bool]:
    """Return what tells whether an entry fulfils a condition."""
    if isinstance(condition, Both | Either):
        judges = [judge_of(part, root, resolved) for part in condition.parts]
        joined = all if isinstance(condition, Both) else any
        return lambda entry: joined(judge(entry) for judge in judges)
    assert condition is not None
    return _comparison_of(condition, root, resolved)


def _comparison_of(
    test: Comparison, root: tuple[str, ...], resolved: Callable[[Value], Any]
) -> Callable[[Any], bool]:
    if root_of(test.path) != root:
        message = f"{test.path} is of another list than {'.'.join(root)}"
        raise Wrong(message, test.path.at, "make a capture for each list")
    steps = test.path.steps[len(root) :]
    values = [resolved(value) for value in test.values]
    if any(isinstance(value, list) for value in values):
        if test.compares not in {"in", "!="}:
            what = f"{test.compares} compares one value, and this is a list"
            raise Wrong(what, test.values[0].at, "write in, which takes any of several")
        values = [one for value in values for one in (value if isinstance(value, list) else [value])]
    if test.compares in ORDERS:
        return _ordered(test, steps, values[0])
    read = _reader(steps)
    if test.compares == "glob":
        pattern = _text(values[0])
        return lambda entry: any(fnmatch.fnmatchcase(_text(one), pattern) for one in read(entry))
    equal = _equal(values)

    def holds(entry: Any) -> bool:
        return any(map(equal, read(entry) or (None,)))

    return (lambda entry: not holds(entry)) if test.compares == "!=" else holds


def _equal(values: Sequence[Any]) -> Callable[[Any], bool]:
    """Return what tells whether a value is one of these.

    That is, whether they are written alike, as nmstate compares them; MAC addresses in whatever case.
    """
    whole = [value for value in values if value is None or isinstance(value, dict | list)]
    texts = {_text(value) for value in values if value not in whole}
    macs = {text.lower() for text in texts if MAC.fullmatch(text)}

    def equal(value: Any) -> bool:
        if value is None or isinstance(value, dict | list):
            return value in whole
        text = value if isinstance(value, str) else _text(value)
        return text in texts or (bool(macs) and text.lower() in macs)

    return equal


def _ordered(test: Comparison, steps: Sequence[str], limit: Any) -> Callable[[Any], bool]:
    number = _number(limit)
    if number is None:
        raise Wrong(f"{test.compares} compares numbers, and {shown(limit)} is none", test.values[0].at)
    read = _reader(steps)
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[test.compares]

    def holds(entry: Any) -> bool:
        numbers = (_number(one) for one in read(entry))
        return any(one is not None and compare(one, number) for one in numbers)

    return holds


def _reader(steps: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    """Return what reads the values at a path of an entry; that of one step is written out, as most are."""

    def first(entry: Any) -> Sequence[Any]:
        value = entry.get(steps[0], MISSING)
        return () if value is MISSING else tuple(_at(value, ())) if isinstance(value, list) else (value,)

    return first if len(steps) == 1 else lambda entry: tuple(_at(entry, steps))


def _at(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Yield what an entry has at a path, of a list each of its entries'."""
    if isinstance(value, list) and not (steps and steps[0].isdecimal()):
        for item in value:
            yield from _at(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, list):
        if int(steps[0]) < len(value):
            yield from _at(value[int(steps[0])], steps[1:])
    elif isinstance(value, Mapping) and steps[0] in value:
        yield from _at(value[steps[0]], steps[1:])


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    text = _text(value)
    return int(text) if NUMBER.fullmatch(text) else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
