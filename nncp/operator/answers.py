"""What the commands on a cluster answer, as text: YAML, JSON or a table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.answers import in_form, lined
from nncp.operator.views import PolicyView
from nncp.render import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncp.operator.views import NodeView

HEAD = ("POLICY", "NODE", "STATUS", "REASON", "MESSAGE")


class Plan(Struct, frozen=True):
    """What the nodes say to a plan.

    Args:
        of: the policy that it is about.
        view: the policy that was made to ask.

    """

    of: str
    view: PolicyView

    @property
    def differ(self) -> bool:
        """Whether some node would change."""
        return any(each.word.holds == "Pending" for each in self.view.nodes)

    @property
    def refusing(self) -> list[str]:
        """The nodes that cannot be made so."""
        return [each.node for each in self.view.nodes if each.word.holds == "Failing"]

    @property
    def silent(self) -> list[str]:
        """The nodes that have not answered."""
        return [each.node for each in self.view.nodes if not each.word.holds]


def plans(found: Sequence[Plan], output: str) -> str:
    """Return what `plan --cluster` answers."""
    if output != "table":
        return in_form([_plan_data(each) for each in found], output)
    heads = len(found) > 1
    parts = [(f"policy {each.of}:\n" if heads else "") + _plan_text(each) for each in found]
    return "\n".join(parts)


def _plan_text(plan: Plan) -> str:
    """Return what the nodes say: what several say alike is told once."""
    same: dict[str, list[str]] = {}
    for node in plan.view.nodes:
        same.setdefault(_node_text(node), []).append(node.node)
    parts = [f"{', '.join(nodes)}:\n{text}" for text, nodes in same.items()]
    return "\n".join([*parts, f"{printable(plan.view.word.message)}\n" if plan.view.word.message else ""])


def _node_text(node: NodeView) -> str:
    if node.word.holds == "Failing":
        return f"refuses: {printable(node.word.message)}\n"
    if not node.word.holds:
        return "has not answered\n"
    return "".join(f"{printable(line)}\n" for line in node.diff or ("No changes.",))


def _plan_data(plan: Plan) -> dict[str, Any]:
    nodes = [_answer_data(each) for each in plan.view.nodes]
    return {"policy": plan.of, "message": plan.view.word.message, "nodes": nodes}


def _answer_data(node: NodeView) -> dict[str, Any]:
    answers = {"Pending": "changes", "Failing": "refusal", "": "silence"}
    answer = answers.get(node.word.holds, "nothing")
    told = {"error": node.word.message} if answer == "refusal" else {}
    return {"node": node.node, "answer": answer, "diff": list(node.diff), "flaps": list(node.flaps), **told}


def status(found: Sequence[PolicyView], output: str) -> str:
    """Return what `status --cluster` answers."""
    if output != "table":
        return in_form([policy_data(each) for each in found], output)
    rows = [row for each in found for row in rows_of(each)]
    return lined([HEAD, *rows]) if rows else "There are no policies.\n"


def rows_of(policy: PolicyView) -> list[tuple[str, ...]]:
    """Return a table's rows of one policy: its own, and one for each node."""
    nodes = ((policy.name, each.node, *_node_words(each)) for each in policy.nodes)
    word = policy.word
    return [(policy.name, "-", word.holds or "-", word.reason or "-", printable(word.message)), *nodes]


def _node_words(node: NodeView) -> tuple[str, str, str]:
    word = node.word
    holds = f"{word.holds},Drifted" if node.has_drifted else word.holds or "-"
    return holds, word.reason or "-", printable(word.message)


def policy_data(policy: PolicyView) -> dict[str, Any]:
    """Return a policy with its nodes as data."""
    word = policy.word
    own = {"policy": policy.name, "status": word.holds, "reason": word.reason, "message": word.message}
    return {**own, "nodes": [node_data(each) for each in policy.nodes]}


def node_data(node: NodeView) -> dict[str, Any]:
    """Return a node's part as data."""
    word = node.word
    own = {"node": node.node, "status": word.holds, "reason": word.reason, "message": word.message}
    return {**own, "drifted": node.has_drifted}


def events(before: PolicyView | None, now: PolicyView) -> list[dict[str, Any]]:
    """Return what is new of a policy, an entry for each node that says something else, and then its own."""
    had = {each.node: each for each in before.nodes} if before else {}
    nodes = [node_data(each) for each in now.nodes if _says_more(had.get(each.node), each)]
    gone = [{"node": name, "status": "Gone"} for name in had.keys() - {each.node for each in now.nodes}]
    own = [] if before and before.word == now.word else [{**policy_data(now), "nodes": len(now.nodes)}]
    return [*nodes, *gone, *own]


def _says_more(before: NodeView | None, now: NodeView) -> bool:
    return before is None or (before.word, before.has_drifted) != (now.word, now.has_drifted)


def event_line(event: dict[str, Any]) -> str:
    """Return such an entry for a person."""
    who = event.get("node") or event["policy"]
    drifted = ",Drifted" if event.get("drifted") else ""
    return f"{who}  {event['status'] or 'Asked'}{drifted}  {printable(event.get('message', ''))}".rstrip()
