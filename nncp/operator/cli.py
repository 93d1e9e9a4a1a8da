"""The commands that ask a cluster: each is loaded by who asks for it, and the client with it."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from nncp.errors import Error, ErrorKind, raise_all
from nncp.terminal import Seconds, output, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncp.operator.answers import Plan
    from nncp.operator.views import PolicyView

NAMESPACE = click.option(
    "--namespace", default="bridgehead", show_default=True, help="Where the operator runs."
)
WIPE = "\x1b[{}F\x1b[J"
"""Goes back so many lines and clears the screen from there (ECMA-48, CPL and ED)."""


def plan(texts: Sequence[tuple[str, str]], seconds: float, output: str, *, exit_code: bool) -> int:
    """Answer `nncp plan --cluster`.

    Args:
        texts: policies, each with its file's name.
        seconds: to wait for nodes.
        output: the form of the answer.
        exit_code: whether a difference is told by it.

    """
    from nncp.operator import administrator, answers, planning  # noqa: PLC0415

    asked = planning.asked(texts)
    found = administrator.ask(lambda server: planning.planned(server, asked, seconds))
    say(answers.plans(found, output), nl=False)
    raise_all(_unplanned(found))
    return int(exit_code and any(each.differ for each in found))


def _unplanned(found: Sequence[Plan]) -> list[Error]:
    """Return why a plan is not whole."""
    silent = [
        Error(f"{', '.join(each.silent)} did not answer", kind=ErrorKind.FAILED, subject=each.of)
        for each in found
        if each.silent
    ]
    refusing = [
        Error(f"{', '.join(each.refusing)} cannot be made so", subject=each.of)
        for each in found
        if each.refusing
    ]
    return [*refusing, *silent]


@click.command()
@click.option("--cluster", is_flag=True, required=True, help="Of the cluster that the kubeconfig names.")
@click.option("--check", is_flag=True, help="Exit with 1 unless all policies are Available on all nodes.")
@output("table", "yaml", "json")
def status(cluster: bool, check: bool, output: str) -> int:
    """Show all policies of a cluster, and how far each node is with them."""
    from nncp.operator import administrator, answers, progress  # noqa: PLC0415

    assert cluster
    found = administrator.ask(progress.status)
    say(answers.status(found, output), nl=False)
    return int(check and not all(each.is_available for each in found))


@click.group()
def rollout() -> None:
    """What becomes of a policy in a cluster."""


@rollout.command()
@click.argument("policy")
@click.option("--timeout", type=Seconds(1), default=None, help="Seconds after which it is given up.")
@output("table", "json")
def watch(policy: str, timeout: float | None, output: str) -> int:
    """Show how a policy goes from node to node, until it has come to an end.

    On a terminal it is a table that changes, elsewhere a line an event. It exits with 0 when the policy is
    Available, with 75 when it is Degraded, and with 1 when no node is changed by it.
    """
    from nncp.operator import administrator, progress  # noqa: PLC0415

    screen = Screen() if output == "table" and sys.stdout.isatty() else Lines(output)
    seen = administrator.ask(lambda server: progress.watch(server, policy, timeout, screen.show))
    if seen.word.holds == "Degraded":
        raise Error(f"policy {policy}: {seen.word.message}", kind=ErrorKind.FAILED)
    return int(seen.word.holds != "Available")


class Screen:
    """A table on a terminal, in the place of the one before."""

    def __init__(self) -> None:
        self.height = 0

    def show(self, seen: PolicyView) -> None:
        """Show a policy as it is now."""
        from nncp.operator import answers  # noqa: PLC0415

        width = shutil.get_terminal_size().columns
        lines = [line[: width - 1] for line in answers.status([seen], "table").splitlines()]
        wipe = WIPE.format(self.height) if self.height else ""
        self.height = len(lines)
        say(wipe + "\n".join(lines))


class Lines:
    """A line for each event."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.before: PolicyView | None = None

    def show(self, seen: PolicyView) -> None:
        """Tell what is new."""
        from nncp.operator import answers  # noqa: PLC0415

        for event in answers.events(self.before, seen):
            say(json.dumps(event) if self.output == "json" else answers.event_line(event))
        sys.stdout.flush()
        self.before = seen


@click.command()
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@click.option("--all", "everything", is_flag=True, help="All that wait.")
@NAMESPACE
def adopt(policies: tuple[str, ...], everything: bool, namespace: str) -> None:
    """Have policies applied that a cluster held before the operator came.

    Until then they are only planned: nncp status --cluster shows what they would change.
    """
    from nncp.operator import administrator, progress  # noqa: PLC0415

    if bool(policies) == everything:
        raise click.UsageError("name policies, or all that wait by --all.")
    adopted: list[str] = administrator.ask(
        lambda server: progress.adopt(server, namespace, policies, everything=everything)
    )
    say("".join(f"{name} is adopted\n" for name in adopted) or "No policy waits to be adopted.\n", nl=False)


@click.group()
def cluster() -> None:
    """What else runs in a cluster."""


@cluster.command()
@NAMESPACE
@output("table", "yaml", "json")
def check(namespace: str, output: str) -> int:
    """Say what stands in the operator's way in a cluster, and the way over; exit with 1 if something does."""
    from nncp.operator import administrator, checkup  # noqa: PLC0415

    found: Any = administrator.ask(lambda server: checkup.look(server, namespace))
    say(checkup.told(found, output), nl=False)
    return int(found.is_in_the_way)
