"""Policies with what their templates refer to: taken from a host's state, or as it was taken once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp.document.captured import Captured, captured, template_filled
from nncp.document.policy import Policy
from nncp.document.source import path_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nncp.errors import Error


class Resolved(Struct, frozen=True):
    """A policy whose desired state is plain, what its captures took, and what is wrong with either."""

    policy: Policy
    taken: Captured

    @property
    def errors(self) -> list[Error]:
        """What is wrong with captures and references."""
        return self.taken.errors


def _whole(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state with its routes: those that a document asks for stand on the host that it means."""
    routes = state.get("routes")
    if not isinstance(routes, dict) or "running" in routes or "config" not in routes:
        return state
    return {**state, "routes": {**routes, "running": routes["config"]}}


def resolve(
    policy: Policy,
    current: Callable[[], Mapping[str, Any]] | None,
    *,
    values: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    every: bool = False,
) -> Resolved:
    """Return a policy with what its templates refer to.

    Args:
        policy: the policy; one that is no template is returned as it is.
        current: returns the state of the host, as `nncp.show` does; see `nncp.document.captured.captured`.
        values: what `{{ values.NAME }}` stands for; None where they are not known yet.
        before: what its captures took once.
        every: whether a bare state is a template too, as where somebody hands in values for it.

    """
    if not policy.is_template and not every:
        return Resolved(policy, Captured())
    given = policy.current
    source = current if given is None else lambda: given.value
    looked = None if source is None else lambda: _whole(source())
    taken = captured(policy.capture, looked, before=before)
    state, stay = template_filled(policy.state, taken, values)
    # By its whole path: that is how an error names it.
    unknown = frozenset(path_text(*policy.state.path, *path) for path in stay)
    return Resolved(structs.replace(policy, state=state, unknown=unknown), taken)
