"""`nncp cluster check`: whether kubernetes-nmstate runs in a cluster, and the way over."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from nncp.answers import in_form
from nncp.operator import administrator, api
from nncp.operator.adoption import MARKER, waiting
from nncp.operator.objects import GROUP, POLICIES
from nncp.render import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Object = Mapping[str, Any]

THEIRS = {"labelSelector": "app in (kubernetes-nmstate,kubernetes-nmstate-operator)"}
HOOKS = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"
KINDS = {
    "DaemonSet": api.Resource("/apis/apps/v1/daemonsets", THEIRS),
    "Deployment": api.Resource("/apis/apps/v1/deployments", THEIRS),
    "NMState": api.Resource(f"/apis/{GROUP}/v1/nmstates"),
    "MutatingWebhookConfiguration": api.Resource(HOOKS.format("mutating")),
    "ValidatingWebhookConfiguration": api.Resource(HOOKS.format("validating")),
    "NodeNetworkState": api.STATE,
}
UNSEEN = "which devices NetworkManager manages on a node (`nmcli device` says it there)"
WAY_OVER = (
    "Keep what there is: kubectl get nncp -o yaml > policies.yaml",
    # Neither kinds nor policies belong to it (kubernetes-nmstate, deploy/operator).
    "End kubernetes-nmstate, which leaves nodes and policies as they are: kubectl delete nmstate --all",
    "End its operator: kubectl delete deployment nmstate-operator, in its namespace",
    "On each node have NetworkManager leave the policies' devices alone: unmanaged-devices in its conf.d",
    "Look there whether their addresses are left: NetworkManager may take away what it gave",
    "Start this operator: kubectl apply -k deploy/",
    "See what the policies would change, for they are only planned so far: nncp status --cluster",
    "Let them be applied, one by one: nncp adopt POLICY",
)


class Found(Struct, frozen=True):
    """What a look has found.

    Args:
        theirs: objects of kubernetes-nmstate, as KIND NAME or KIND NAMESPACE/NAME.
        network_manager: nodes of which kubernetes-nmstate has written that NetworkManager runs there.
        ours: what is told of this operator.
        waits: policies that wait to be adopted.
        unseen: what was not looked at.

    """

    theirs: list[str]
    network_manager: list[str]
    ours: str
    waits: list[str]
    unseen: list[str]

    @property
    def is_in_the_way(self) -> bool:
        """Whether somebody else would write what this operator writes."""
        return bool(self.theirs)


async def look(server: api.Api, namespace: str) -> Found:
    """Look at a cluster; what may not be seen is told."""
    unseen: list[str] = [UNSEEN]
    seen = {kind: await _seen(server, kind, resource, unseen) for kind, resource in KINDS.items()}
    policies = await _seen(server, "NodeNetworkConfigurationPolicy", api.POLICY, unseen)
    markers = await _seen(server, "ConfigMap", api.markers(namespace), unseen)
    ours = [
        await _seen(server, kind, api.Resource(f"/apis/apps/v1/namespaces/{namespace}/{plural}"), unseen)
        for kind, plural in (("Deployment", "deployments"), ("DaemonSet", "daemonsets"))
    ]
    return Found(
        list(_theirs(seen)),
        _managed(seen["NodeNetworkState"]),
        _ours(*ours),
        _waits(markers, policies),
        unseen,
    )


async def _seen(
    server: api.Api, kind: str, resource: api.Resource, unseen: list[str]
) -> list[dict[str, Any]]:
    """Return the objects of a kind: none where this cluster does not have it."""
    try:
        return list((await administrator.patiently(server, resource)).get("items") or ())
    except api.Refusal as error:
        if error.status == HTTPStatus.FORBIDDEN:
            unseen.append(f"{kind}: {error}")
        elif error.status != HTTPStatus.NOT_FOUND:
            raise
        return []


def _theirs(seen: Mapping[str, Iterable[Object]]) -> Iterator[str]:
    """Yield the names of what is kubernetes-nmstate's."""
    for kind in ("DaemonSet", "Deployment", "NMState"):
        yield from (f"{kind} {_name(each)}" for each in seen[kind])
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        yield from (f"{kind} {_name(each)}" for each in seen[kind] if _is_about_policies(each))


def _name(body: Object) -> str:
    about = body["metadata"]
    return f"{about['namespace']}/{about['name']}" if about.get("namespace") else str(about["name"])


def _is_about_policies(body: Object) -> bool:
    """Whether webhooks are asked about policies by name; who is asked about everything is somebody else."""
    rules = (rule for hook in body.get("webhooks") or () for rule in hook.get("rules") or ())
    return any(part.partition("/")[0] == POLICIES for rule in rules for part in rule.get("resources") or ())


def _managed(states: Iterable[Object]) -> list[str]:
    """Return the nodes of which somebody has written which NetworkManager runs there."""
    return sorted(
        _name(each) for each in states if (each.get("status") or {}).get("hostNetworkManagerVersion")
    )


def _ours(deployments: Sequence[Object], agents: Sequence[Object]) -> str:
    controllers = sum((each.get("status") or {}).get("readyReplicas", 0) for each in deployments)
    ready, wanted = (
        sum((each.get("status") or {}).get(key, 0) for each in agents)
        for key in ("numberReady", "desiredNumberScheduled")
    )
    if not deployments and not agents:
        return "not deployed"
    return f"{controllers} controllers ready, agents ready on {ready} of {wanted} nodes"


def _waits(markers: Iterable[Object], policies: Iterable[Object]) -> list[str]:
    written = {
        name: uid for each in markers if _name(each).endswith(MARKER) for name, uid in waiting(each).items()
    }
    uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in policies}
    return sorted(name for name, uid in written.items() if uids.get(name) == uid)


def told(found: Found, output: str) -> str:
    """Return it as text."""
    way = list(WAY_OVER) if found.is_in_the_way else []
    if output != "table":
        return in_form({**to_builtins(found), "wayOver": way}, output)
    lines = [
        ("kubernetes-nmstate", ", ".join(found.theirs) or "does not run"),
        ("NetworkManager", f"runs on {', '.join(found.network_manager)}" if found.network_manager else ""),
        ("operator", found.ours),
        ("to be adopted", ", ".join(found.waits) or "none"),
        ("not looked at", "; ".join(found.unseen)),
    ]
    said = "".join(f"{name + ':':<20}{printable(text)}\n" for name, text in lines if text)
    steps = "".join(f"{number}. {step}\n" for number, step in enumerate(way, 1))
    return said + (f"\nThe way over:\n{steps}" if steps else "")
