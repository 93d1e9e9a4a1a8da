"""What can be said of documents without a host: what differs, what undoes it, what a policy means.

Data in, data out. A document may be of types and properties that nncp does not make: it is compared all the
same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp import work
from nncp.desired import WRITTEN, name_of, taken_before
from nncp.document import delta, revert
from nncp.document.policy import read_current
from nncp.document.read import by_place, read_together
from nncp.document.resolve import Resolved, resolve
from nncp.document.source import load
from nncp.document.tidy import joined, tidied, types_of
from nncp.errors import Error, ErrorKind, raise_all
from nncp.journal import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nncp.document.policy import Policy

    State = Mapping[str, Any]
    Took = Sequence[tuple[str, State]]
    """What captures took: each policy's name, and by its captures' names the states."""


def difference(
    found: Sequence[Policy],
    current: Policy | None = None,
    values: State | None = None,
    *,
    state_dir: Path = STATE_DIR,
) -> dict[str, Any]:
    """Return the part of documents that differs from a state, as a state; empty when none does.

    Args:
        found: the documents.
        current: the state, that of this host by default.
        values: what their templates call values.
        state_dir: where this host keeps what captures of documents took that are in force here.

    Raises:
        Error: with all that is wrong with them.

    """
    return delta.difference(*_both(found, current, values, state_dir))


def reverse(
    found: Sequence[Policy],
    current: Policy | None = None,
    values: State | None = None,
    *,
    state_dir: Path = STATE_DIR,
) -> dict[str, Any]:
    """Return the state that undoes documents where they were applied to a state; see `difference`.

    Raises:
        Error: with all that is wrong with them.

    """
    return revert.reverse(*_both(found, current, values, state_dir))


def meaning(
    found: Sequence[Policy],
    current: Policy | None = None,
    values: State | None = None,
    *,
    before: Took | None = None,
    state_dir: Path = STATE_DIR,
) -> tuple[dict[str, Any], Took]:
    """Return what policies ask for beyond a state, and what the captures of each that has some took of it.

    A policy without captures is returned as it stands, as by nmstate.

    Args:
        found: the policies.
        current: the state, that of this host by default.
        values: what their templates call values.
        before: what their captures took once, which is not taken again.
        state_dir: see `difference`.

    Raises:
        Error: with all that is wrong with them.

    """
    have = _have(current)
    known = _in_force(found, current, state_dir) if before is None else _handed_in(found, before)
    resolved = _resolved(found, have, values, known)
    desired = _desired(resolved, have)
    taken = [(name_of(one.policy), one.taken.states) for one in resolved if one.taken.captures]
    if not taken:
        return desired, taken
    return delta.difference(desired, tidied(have, WRITTEN)), taken


def took_of(text: str, *, file: str) -> Took:
    """Return what captures took, as `nncp policy --output-captured` writes it.

    Raises:
        Error: it is something else.

    """
    nodes = load(text, file=file)
    found = nodes[0].value if len(nodes) == 1 else {}
    listed: list[Any] = found if isinstance(found, list) else [{"policy": "", "captures": found}]
    try:
        return [(str(one["policy"]), _states(one["captures"])) for one in listed]
    except (AttributeError, KeyError, TypeError):
        raise Error(
            f"{file} does not hold what captures took", hint="nncp policy --output-captured writes it"
        ) from None


def _states(captures: State) -> State:
    return {name: one["state"] for name, one in captures.items()}


def _handed_in(found: Sequence[Policy], before: Took) -> list[State | None]:
    """Return for each policy what its captures took once; what has no policy's name is any one's."""
    left = list(before)
    known: list[State | None] = []
    for policy in found:
        names = (name_of(policy), "") if policy.capture else ()
        at = next((at for at, (name, _) in enumerate(left) if name in names), None)
        known.append({} if at is None else left[at][1])
        if at is not None and left[at][0]:
            del left[at]  # the next of this name has the next
    _raise_shared(found, before)
    return known


def _raise_shared(found: Sequence[Policy], before: Took) -> None:
    """Refuse what two policies would take for their own, where what was captured says no policy's name."""
    shared: dict[str, list[str]] = {
        name: [name_of(one) for one in found if one.capture and name in _mapping(one.capture.value)]
        for owner, states in before
        for name in states
        if not owner
    }
    message = "capture {} is of several policies, and what was captured does not say of which: {}"
    raise_all(
        Error(
            message.format(name, ", ".join(policies)),
            kind=ErrorKind.USAGE,
            hint="hand it in for one policy at a time",
        )
        for name, policies in shared.items()
        if len(policies) > 1
    )


def _mapping(value: Any) -> State:
    return value if isinstance(value, dict) else {}


def _in_force(found: Sequence[Policy], current: Policy | None, state_dir: Path) -> list[State | None]:
    """Return for each policy what its captures took when it was applied here, None where it was not."""
    before = () if current else work.in_force(found, state_dir)
    return [taken_before(policy, before) for policy in found]


def _both(
    found: Sequence[Policy], current: Policy | None, values: State | None, state_dir: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state that documents ask for, and the one that it is compared with."""
    have = _have(current)
    resolved = _resolved(found, have, values, _in_force(found, current, state_dir))
    return _desired(resolved, have), tidied(have, WRITTEN)


def _have(state: Policy | None) -> Policy:
    """Return a state that somebody has recorded, or this host's; raises `Error` with all that is wrong."""
    if state is None:
        return read_current(load(json.dumps(work.show()), file="this host"), file="this host")
    found = read_together([state], WRITTEN)
    raise_all(error for error in found.errors if error.kind is not ErrorKind.UNSUPPORTED)
    return state


def _resolved(
    found: Sequence[Policy], have: Policy, values: State | None, before: Sequence[State | None]
) -> list[Resolved]:
    resolved = [
        resolve(policy, lambda: have.state.value, values=values or {}, before=taken, every=values is not None)
        for policy, taken in zip(found, before, strict=True)
    ]
    errors = [error for one in resolved for error in one.errors]
    read = read_together([one.policy for one in resolved], WRITTEN, types=types_of(have.state.value))
    # What nothing here makes can be compared all the same.
    errors += [error for error in read.errors if error.kind is not ErrorKind.UNSUPPORTED]
    raise_all(by_place(errors))
    return resolved


def _desired(resolved: Sequence[Resolved], have: Policy) -> dict[str, Any]:
    types = types_of(have.state.value)
    return joined([tidied(one.policy, WRITTEN, types) for one in resolved])
