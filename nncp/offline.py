"""What can be said of documents without a host: what differs, what undoes it, what a policy means.

Data in, data out. A document may be of types and properties that nncp does not make: it is compared all the
same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp import work
from nncp.desired import WRITTEN
from nncp.document import delta, revert
from nncp.document.policy import read_current
from nncp.document.read import by_place, read_together
from nncp.document.resolve import Resolved, resolve
from nncp.document.source import load
from nncp.document.tidy import joined, tidied, types_of
from nncp.errors import Error, ErrorKind, raise_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nncp.document.policy import Policy

    State = Mapping[str, Any]


def difference(
    found: Sequence[Policy], current: Policy | None = None, values: State | None = None
) -> dict[str, Any]:
    """Return the part of documents that differs from a state, as a state; empty when none does.

    Raises:
        Error: with all that is wrong with them.

    """
    return delta.difference(*_both(found, current, values))


def reverse(
    found: Sequence[Policy], current: Policy | None = None, values: State | None = None
) -> dict[str, Any]:
    """Return the state that undoes documents where they were applied to a state.

    Raises:
        Error: with all that is wrong with them.

    """
    return revert.reverse(*_both(found, current, values))


def meaning(
    found: Sequence[Policy],
    current: Policy | None = None,
    values: State | None = None,
    *,
    before: State | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what policies ask for beyond a state, and what their captures took of it.

    A policy without captures is returned as it stands, as by nmstate.

    Args:
        found: the policies.
        current: the state, that of this host by default.
        values: what their templates call values.
        before: what their captures took once, which is not taken again.

    Raises:
        Error: with all that is wrong with them.

    """
    have = _have(current)
    resolved = _resolved(found, have, values, before)
    desired = _desired(resolved, have)
    taken = {name: state for one in resolved for name, state in one.taken.states.items()}
    if not any(one.taken.captures for one in resolved):
        return desired, taken
    return delta.difference(desired, tidied(have, WRITTEN)), taken


def states_of(text: str, *, file: str) -> dict[str, Any]:
    """Return what captures took, as `nncp policy --output-captured` writes it.

    Raises:
        Error: it is something else.

    """
    nodes = load(text, file=file)
    found = nodes[0].value if len(nodes) == 1 else {}
    if not isinstance(found, dict) or not all(
        isinstance(one, dict) and "state" in one for one in found.values()
    ):
        raise Error(
            f"{file} does not hold what captures took", hint="nncp policy --output-captured writes it"
        )
    return {name: one["state"] for name, one in found.items()}


def _both(
    found: Sequence[Policy], current: Policy | None, values: State | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state that documents ask for, and the one that it is compared with."""
    have = _have(current)
    return _desired(_resolved(found, have, values), have), tidied(have, WRITTEN)


def _have(state: Policy | None) -> Policy:
    """Return a state that somebody has recorded, or this host's; raises `Error` with all that is wrong."""
    if state is None:
        return read_current(load(json.dumps(work.show()), file="this host"), file="this host")
    found = read_together([state], WRITTEN)
    raise_all(error for error in found.errors if error.kind is not ErrorKind.UNSUPPORTED)
    return state


def _resolved(
    found: Sequence[Policy], have: Policy, values: State | None, before: State | None = None
) -> list[Resolved]:
    resolved = [
        resolve(
            policy, lambda: have.state.value, values=values or {}, before=before, every=values is not None
        )
        for policy in found
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
