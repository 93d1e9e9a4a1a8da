"""Which policies nobody has asked this operator for yet, and which a command has left behind. Pure.

A cluster may hold policies that another operator has applied. Those that are there when a controller starts
in it for the first time are only planned, until somebody adopts them. They are written down once, each with
its uid: a policy that is made again under the name is a new wish, and waits for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from nncp.operator.conditions import Said

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nncp.operator.seen import Policy, Seen

MARKER = "adoption"
"""The ConfigMap that is there once a controller has started: policies that wait, each with its uid."""
WAITS = "AwaitsAdoption"
"""The reason of what is said of a policy that waits."""
PLAN_OF = "nmstate.io/plan-of"
"""The label of a policy that a command has made to ask what another one would do: that one's name."""
OUTLIVED = 300.0
"""Seconds after which such a policy has no command any more that would remove it."""


def found_first(seen: Seen) -> dict[str, str]:
    """Return the uids of the policies that wait, by name, as seen by the first controller in a cluster.

    One that nodes hold already because of this operator does not wait: only its marker was lost.
    """
    ours = {each.policy for each in seen.enactments.values() if each.is_named and not each.is_plan}
    return {
        policy.name: policy.uid
        for policy in seen.policies.values()
        if not policy.is_plan and policy.name not in ours
    }


def marker(namespace: str, waiting: Mapping[str, str]) -> dict[str, Any]:
    """Return the object that says which policies wait."""
    about = {"name": MARKER, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": dict(waiting)}


def waiting(body: Mapping[str, Any]) -> dict[str, str]:
    """Return what such an object says."""
    return dict(body.get("data") or {})


def only_planned(seen: Seen) -> Seen:
    """Return what is seen, with the policies that wait as such that only plan."""
    policies = {name: _planned(policy, seen.waiting) for name, policy in seen.policies.items()}
    return replace(seen, policies=policies)


def _planned(policy: Policy, waiting: Mapping[str, str]) -> Policy:
    if policy.spec is None or policy.is_plan or waiting.get(policy.name) != policy.uid:
        return policy
    return replace(policy, spec=replace(policy.spec, mode="Plan"), waits=True)


def until_adopted(name: str, planned: Said) -> Said:
    """Return what is to be said of a policy that waits.

    Args:
        name: the policy's.
        planned: what would be said of it if it were one that only plans.

    """
    told = f"found at the first start: planned, not applied, until `nncp adopt {name}`; {planned.message}"
    if planned.holds == "Progressing":
        return replace(planned, message=told)
    return Said("Ignored", WAITS, told)


def outlived(policies: Collection[Policy], ages: Mapping[str, float]) -> list[Policy]:
    """Return the policies that commands have left behind.

    Args:
        policies: all there are.
        ages: for how many seconds each has been seen, by uid, by the controller's own clock.

    """
    return [
        each for each in policies if each.plan_of and each.is_plan and ages.get(each.uid, 0.0) >= OUTLIVED
    ]
