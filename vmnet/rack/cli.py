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
from nncp.errors import Error, ErrorKind
from nncp.lab import cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.rack.nodes import Node
    from vmnet.rack.room import Kept

IN_ROOM = "BRIDGEHEAD_ROOM"
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
    from vmnet.rack import room  # noqa: PLC0415

    if not _needs_lab():
        room.keep(_again("furnish"), say=_say)
        return
    if _session() is not None:
        raise room.stands_already()
    _say(f"starts a lab kernel: this one lacks {', '.join(lab.missing())}")
    session = lab.start(folder=_folder(), name="rack", detached=True, writable=_writable())
    status = session.run(_again("up"), forward=True)
    if status:
        session.stop()
        sys.exit(status)


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
    if _needs_lab():
        terminal = os.isatty(0) and os.isatty(1)
        session = _standing()
        sys.exit(session.run(_again("exec", node, "--", *command), stdin=0, forward=True, terminal=terminal))
    from vmnet.rack import nodes  # noqa: PLC0415

    argv = _room().command(nodes.standing(_room().root)[node].command(command))
    os.execvp(argv[0], argv)  # noqa: S606  the command takes this process's place


@rack.command()
def status() -> None:
    """Show what stands in the rack and how its links are."""
    if _needs_lab():
        sys.exit(_standing().run(_again("status")))
    if IN_ROOM not in os.environ:
        os.environ[IN_ROOM] = "1"
        argv = _room().command(_again("status"))
        os.execvp(argv[0], argv)  # noqa: S606
    from vmnet.rack import nodes  # noqa: PLC0415

    for node in nodes.standing().nodes.values():
        for line in _told(node):
            click.echo(line)


@rack.command()
def down() -> None:
    """Take the rack down; nothing is left of it."""
    from vmnet.rack import room  # noqa: PLC0415

    if _needs_lab():
        if session := _session():  # what is down already is down
            session.stop()
        return
    room.clear()


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
    if IN_ROOM in os.environ:
        from vmnet.rack.demo import show  # noqa: PLC0415

        sys.exit(show(guest=guest, file=file))
    if not lab.inside():
        _fetch(guest)
    again = _again("demo", "--guest", guest, *(["--report", str(file)] if file else []))
    if not _needs_lab():
        from vmnet.rack import room  # noqa: PLC0415

        os.environ[IN_ROOM] = "1"
        room.enter(again)
    _say(f"starts a lab kernel: this one lacks {', '.join(lab.missing())}")
    with lab.start(name="demo", writable=_writable(*([file.parent] if file else []))) as session:
        sys.exit(session.run(again, stdin=0, forward=True, terminal=os.isatty(0) and os.isatty(1)))


def _fetch(guest: str) -> None:
    """Have what the demo needs in the cache before it starts: the lab kernel cannot build it."""
    from vmnet.rack.images import ensure  # noqa: PLC0415

    for name in (guest, "qemu"):
        ensure(name)


def _needs_lab() -> bool:
    return not lab.inside() and bool(lab.missing())


def _folder() -> Path:
    return cache.folder() / "rack"


def _session() -> lab.Session | None:
    """Return the lab kernel that a rack stands in, if one does."""
    try:
        return lab.attach(_folder())
    except Error:
        return None


def _standing() -> lab.Session:
    session = _session()
    if session is None:
        raise _no_rack()
    return session


def _no_rack() -> Error:
    return Error("no rack stands here", kind=ErrorKind.FAILED, hint="vmnet rack up")


def _writable(*more: Path) -> list[Path]:
    return [path for path in dict.fromkeys([Path.cwd(), *more]) if path != Path("/")]


def _again(*words: str) -> list[str]:
    """Return this command line's own command with other words."""
    return [sys.executable, "-P", "-m", "vmnet.rack", *words]


def _say(text: str) -> None:
    click.echo(f"rack: {text}", err=True)


def _room() -> Kept:
    from vmnet.rack import room  # noqa: PLC0415

    kept = room.find()
    if kept is None:
        raise _no_rack()
    return kept


def _told(node: Node) -> Iterator[str]:
    from vmnet.rack.telling import told  # noqa: PLC0415

    return told(node)
