"""What captures take out of a state, and what a template gets of it: nmpolicy's results.

A capture that finds nothing is an error, as in nmstate; one that finds several entries where a template means
the first is told of. What was taken once may be handed in again: a policy then means what it meant before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from nncp.document.capture import CAPTURE, Capture, Path, Word, Wrong, capture_of
from nncp.document.complaints import did_you_mean, shown
from nncp.document.condition import LISTS, NUMBER, entries_at, judge_of, looked_up, root_of
from nncp.document.template import VALUES, filled
from nncp.errors import Error, raise_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nncp.document.capture import Value
    from nncp.document.source import Node, Step

MOST_NAMES = 5
"""So many entries are named where a capture found too much."""


class Untaken(Wrong):
    """A reference leads to what is not known yet, which is nothing wrong."""

    def __init__(self) -> None:
        super().__init__("not taken", 0)


class Captured(Struct):
    """What captures took, each as a part of a state; and what is to be said of it.

    Args:
        states: what each took, by its name; those that found nothing are missing.
        captures: all that are sound, in the order in which they are taken.
        errors: what is wrong with the others.
        choices: by a capture's name, that a template takes one of several entries.

    """

    states: dict[str, Any] = field(default_factory=dict)
    captures: dict[str, Capture] = field(default_factory=dict)
    errors: list[Error] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)


def captured(
    node: Node | None,
    current: Callable[[], Mapping[str, Any]] | None,
    *,
    before: Mapping[str, Any] | None = None,
) -> Captured:
    """Return what the captures of a policy take, and all that is wrong with them, each at its character.

    Args:
        node: the mapping of names to lines, None where there is none.
        current: returns the state that they look into, and is called at most once; without it they take
            nothing.
        before: what they took once, which is taken again without a look at the state.

    """
    taken = Captured()
    if node is None:
        return taken
    try:
        taken.captures = captures_of(node)
    except Error as error:
        taken.errors += list(error)
        return taken
    if before is not None:
        missing = [name for name in taken.captures if name not in before]
        taken.errors += [node.error(f"capture {name} is not among what was taken", name) for name in missing]
        taken.states = {name: before[name] for name in taken.captures if name in before}
    elif current is not None and taken.captures:
        _take_all(node, taken, current())
    return taken


def captures_of(node: Node | None) -> dict[str, Capture]:
    """Return the captures of a policy in the order in which they can be taken.

    Raises:
        Error: with all that is wrong with them, as far as no state is needed to tell.

    """
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(f"capture must be a mapping of names to lines, got {shown(node.value)}")
    errors: list[Error] = []
    found: dict[str, Capture] = {}
    for name, line in node.value.items():
        if not isinstance(line, str):
            errors.append(node.error(f"a capture is a line of text, got {shown(line)}", name))
        elif "." in name or not name.strip():
            errors.append(node.error("a capture's name has no dot and no blank", name, key=True))
        else:
            try:
                found[name] = capture_of(line)
            except Wrong as wrong:
                errors.append(node.wrong(wrong.message, name, at=wrong.at, hint=wrong.hint))
    errors += _unknown(node, found, node.value)
    raise_all(errors)
    return dict(_in_order(node, found))


def _unknown(node: Node, captures: Mapping[str, Capture], names: Mapping[str, Any]) -> Iterator[Error]:
    for name, capture in captures.items():
        for other, at in capture.named():
            if other not in names:
                hint = did_you_mean(other, names)
                yield node.wrong(f"there is no capture {other}", name, at=at, hint=hint)


def _in_order(node: Node, captures: Mapping[str, Capture]) -> Iterator[tuple[str, Capture]]:
    """Yield captures after those that they need; raise where they need each other."""
    done: set[str] = set()
    for start in captures:
        way = [start] if start not in done else []
        while way:
            name = way[-1]
            waits = [(other, at) for other, at in captures[name].named() if other not in done]
            if not waits:
                done.add(way.pop())
                yield name, captures[name]
                continue
            other, at = waits[0]
            if other in way:
                circle = " → ".join((*way[way.index(other) :], other))
                raise node.wrong(f"captures need each other in a circle: {circle}", name, at=at)
            way.append(other)


def _take_all(node: Node, taken: Captured, state: Mapping[str, Any]) -> None:
    for name, capture in taken.captures.items():
        if any(other not in taken.states for other, _ in capture.named()):
            continue  # what is wrong with that one has been told
        try:
            taken.states[name] = _taken(capture, state, taken.states)
        except Wrong as wrong:
            taken.errors.append(node.wrong(wrong.message, name, at=wrong.at, hint=wrong.hint))


def _taken(capture: Capture, state: Mapping[str, Any], taken: Mapping[str, Any]) -> Any:
    """Return the part of a state that one capture takes; `Wrong` where it finds nothing."""
    source = taken[capture.source] if capture.source else state

    def resolved(value: Value) -> Any:
        if isinstance(value, Word):
            return value.text
        if value.steps[0] == CAPTURE:
            return looked_up(value.beyond(2), taken[value.steps[1]])
        return looked_up(value, state)

    if capture.path is None:
        return source
    if capture.condition is None and capture.replacement is None:
        return _kept(source, capture.path.steps)
    root = root_of(capture.path)
    entries = entries_at(source, root)
    if capture.replacement is not None:
        value = capture.replacement
        new = _typed(value) if isinstance(value, Word) else resolved(value)
        path = capture.path.beyond(len(root))
        return _under(root, [_replaced(entry, path, new) for entry in entries])
    holds = judge_of(capture.condition, root, resolved)
    found = [entry for entry in entries if holds(entry)]
    if not found:
        message = f"no {LISTS[root]} fulfils this"
        raise Wrong(
            message, capture.path.at, f"{len(entries)} were looked at" if entries else "there are none"
        )
    return _under(root, found)


def _kept(data: Any, steps: Sequence[str]) -> Any:
    """Return data with nothing but what is on the way of a path."""
    if not steps or not isinstance(data, dict):
        return data
    return {steps[0]: _kept(data[steps[0]], steps[1:])} if steps[0] in data else {}


def as_data(data: Any) -> Any:
    """Return what a capture took as plain data: an entry may be one that is made up when somebody looks."""
    if isinstance(data, list):
        return [as_data(each) for each in data]
    return {word: as_data(value) for word, value in data.items()} if isinstance(data, Mapping) else data


def _under(root: tuple[str, ...], entries: list[Any]) -> Any:
    return {root[0]: _under(root[1:], entries)} if root else entries


def _replaced(entry: Any, path: Path, new: Any) -> Any:
    """Return an entry with another property; None takes it away. Mappings on the way are made."""
    if not isinstance(entry, Mapping):
        raise Wrong(f"{path} is not within a mapping", path.at)
    step = path.steps[0]
    if len(path.steps) > 1:
        within = entry.get(step)
        return {**entry, step: _replaced({} if within is None else within, path.beyond(1), new)}
    rest = {key: value for key, value in entry.items() if key != step}
    return rest if new is None else {**rest, step: new}


def _typed(word: Word) -> Any:
    """Return what a word means: a number or a boolean unless it is quoted."""
    if word.quoted or word.text is None:
        return word.text
    if NUMBER.fullmatch(word.text):
        return int(word.text)
    return {"true": True, "false": False}.get(word.text.lower(), word.text)


def template_filled(
    node: Node, taken: Captured, values: Mapping[str, Any] | None
) -> tuple[Node, list[tuple[Step, ...]]]:
    """Return a desired state with what its texts refer to, and the paths of those that stay as they are.

    What is wrong with the references is added to `taken.errors`, each at its character. One to a capture that
    was not taken stays, and one to a value where None are known.
    """
    stay: list[tuple[Step, ...]] = []

    def referred(path: Path) -> Any:
        if path.steps[0] == VALUES:
            return _value_of(path, values)
        if path.steps[1] not in taken.captures and not taken.errors:
            hint = did_you_mean(path.steps[1], taken.captures)
            raise Wrong(f"there is no capture {path.steps[1]}", path.place(1), hint)
        if path.steps[1] not in taken.states:
            raise Untaken
        _note_choice(path, taken)
        return as_data(looked_up(path.beyond(2), taken.states[path.steps[1]]))

    def failed(path: tuple[Step, ...], wrong: Wrong) -> None:
        stay.append(path)
        if not isinstance(wrong, Untaken):
            errors.append(node.wrong(wrong.message, *path, at=wrong.at, hint=wrong.hint))

    errors: list[Error] = []
    made = node.replaced(filled(node.value, referred, failed))
    taken.errors += errors
    return made, stay


def _value_of(path: Path, values: Mapping[str, Any] | None) -> Any:
    if values is None:
        raise Untaken
    if path.steps[1] not in values:
        hint = did_you_mean(path.steps[1], values) or "hand it in: --values FILE"
        raise Wrong(f"there is no value {path.steps[1]}", path.place(1), hint)
    return looked_up(path.beyond(2), values[path.steps[1]])


def _note_choice(path: Path, taken: Captured) -> None:
    """Note where one entry is meant of several that a condition has found."""
    name, rest = path.steps[1], path.steps[2:]
    capture = taken.captures.get(name)
    if capture is None or capture.condition is None or name in taken.choices:
        return
    root = next((root for root in LISTS if rest[: len(root)] == root), None)
    if root is None or len(rest) <= len(root) or not rest[len(root)].isdecimal():
        return
    entries = entries_at(taken.states[name], root)
    if len(entries) > 1:
        names = [str(entry.get("name", entry.get("next-hop-interface", "?"))) for entry in entries]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        said = f"{', '.join(names[:MOST_NAMES])}{more}"
        number = int(rest[len(root)])
        taken.choices[name] = (
            f"capture {name} finds {len(entries)} {LISTS[root]}s ({said}); number {number} is used"
        )
