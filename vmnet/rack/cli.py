"""`vmnet rack`: two nodes, a switch and a prober in this machine.

Where this kernel lacks bonds or VLANs, all of it stands in a lab kernel: the commands are the same, and run
themselves again in there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nncp import lab
from nncp.lab import cache, room
from nncp.lab.standing import IN_ROOM, Standing, writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.nodes import Node

GUESTS = ("tiny", "debian")


@click.group()
def rack() -> None:
    """Two nodes, a switch and a prober in this machine, and the demo on them."""


@rack.command()
@click.argument("names", nargs=-1, metavar="[tiny] [debian] [qemu]")
@click.option("--newest", is_flag=True, help="Build again where Debian has newer packages.")
def images(names: tuple[str, ...], newest: bool) -> None:
    """Build the guest images, and the QEMU they need without KVM, from Debian packages; print where they are.

    What has been built is kept until its recipe changes; all of it when nothing is named.
    """
    from nncp.lab.progress import Progress  # noqa: PLC0415  the other commands do without
    from vmnet.rack.images import IMAGES, ensure, refresh  # noqa: PLC0415

    for name in names:
        if name not in IMAGES:
            raise click.UsageError(f"there is no image {name}: {', '.join(IMAGES)}")
    for name in names or IMAGES:
        told = Progress(name, name=name)
        click.echo((refresh if newest else ensure)(name, say=told.say))
        told.end()


@rack.command()
def up() -> None:
    """Put the rack up and leave it standing."""
    _standing().put_up(up=["up"], furnish=["furnish"], reason=_reason(), say=_say)


@rack.command(hidden=True)
def furnish() -> None:
    """Make the machines and connect them: what runs first in a room that is kept."""
    from vmnet.rack import cabling  # noqa: PLC0415

    cabling.build(click.echo)


@rack.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in NODE: node-1, node-2, tor or prober."""
    command = command[1:] if command[0] == "--" else command
    kept = _standing().find("exec", node, "--", *command)
    from nncp.lab import nodes  # noqa: PLC0415

    argv = kept.command(nodes.standing(kept.root)[node].command(command))
    os.execvp(argv[0], argv)  # noqa: S606  the command takes this process's place


@rack.command()
def status() -> None:
    """Show what stands in the rack and how its links are."""
    _standing().go_in("status")
    from nncp.lab import nodes  # noqa: PLC0415

    for node in nodes.standing().nodes.values():
        for line in _told(node):
            click.echo(line)


@rack.command()
def down() -> None:
    """Take the rack down; nothing is left of it."""
    _standing().take_down()


@rack.command()
@click.option(
    "--guest", type=click.Choice(GUESTS), default="tiny", show_default=True, help="The image that it starts."
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report there, as JSON.",
)
def demo(guest: str, report_file: Path | None) -> None:
    """From two policies to a guest that keeps answering while it moves; ends 0 when all of it was shown."""
    file = None if report_file is None else report_file.absolute()
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.parent}", param_hint="--report")
    if os.environ.pop(IN_ROOM, ""):
        from vmnet.rack.demo import show  # noqa: PLC0415

        sys.exit(show(guest=guest, file=file))
    if not lab.inside():
        _fetch(guest)
    again = _standing().again("demo", "--guest", guest, *(["--report", str(file)] if file else []))
    if not _needs_lab():
        os.environ[IN_ROOM] = "1"
        room.enter(again)
    _say(f"starts a lab kernel: {_reason()}")
    with lab.start(name="demo", writable=writable(*([file.parent] if file else []))) as session:
        sys.exit(session.run(again, stdin=0, forward=True, terminal=os.isatty(0) and os.isatty(1)))


def _fetch(guest: str) -> None:
    """Have what the demo needs in the cache before it starts: the lab kernel cannot build it."""
    from vmnet.rack.images import ensure  # noqa: PLC0415

    for name in (guest, "qemu"):
        ensure(name)


def _needs_lab() -> bool:
    return not lab.inside() and bool(lab.missing())


def _standing() -> Standing:
    return Standing(site(), "vmnet.rack", in_lab=_needs_lab(), folder=cache.folder() / "rack")


def site() -> room.Site:
    """Return where the rack of this machine stands; BRIDGEHEAD_RACK names another."""
    note = Path(os.environ.get("BRIDGEHEAD_RACK", "/run/bridgehead/rack"))
    return room.Site("rack", note, "vmnet rack")


def _reason() -> str:
    return f"this one lacks {', '.join(lab.missing())}"


def _say(text: str) -> None:
    click.echo(f"rack: {text}", err=True)


def _told(node: Node) -> Iterator[str]:
    from vmnet.rack.telling import told  # noqa: PLC0415

    return told(node)
