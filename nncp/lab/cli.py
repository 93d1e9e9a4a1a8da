"""`nncp lab`: the lab kernel from the command line."""

from __future__ import annotations

import os
import sys

import click

from nncp.errors import Error
from nncp.lab.build import build as newest
from nncp.lab.build import kernel
from nncp.lab.cluster.cli import cluster
from nncp.lab.features import TRIALS, missing
from nncp.lab.once import once
from nncp.lab.progress import Progress
from nncp.terminal import Seconds, memory


@click.group()
def lab() -> None:
    """Run commands in a kernel that has all of networking, whatever this host's kernel has."""


lab.add_command(cluster)


@lab.command()
def build() -> None:
    """Build the newest lab kernel, unless that has been done, and print where it is."""
    click.echo(newest())


@lab.command(hidden=True)
def prepare() -> None:
    """Have a lab kernel ready if this host needs one; if there can be none, say why and go on."""
    lacks = missing()
    told = Progress("kernel", name="lab kernel")
    if not lacks:
        told.finish(f"none is built, this machine's own kernel has everything: {', '.join(TRIALS)}")
        return
    try:
        kernel()
        told.end()
    except Error as error:
        told.end()
        for each in error:
            click.echo(f"lab kernel: {each.message}", err=True)
        click.echo(
            f"lab kernel: none, and this one lacks {', '.join(lacks)}: no demo, no kernel tests", err=True
        )


_memory = click.option(
    "--memory", callback=memory, default="3G", show_default=True, help="What the kernel may take."
)
_lifetime = click.option(
    "--lifetime", type=Seconds(0, min_open=True), metavar="SECONDS", help="End the kernel after so long."
)


@lab.command(context_settings={"allow_interspersed_args": False})
@_memory
@_lifetime
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], memory: str, lifetime: float | None) -> None:
    """Run COMMAND in a fresh lab kernel: its output, exit status and signals are passed through.

    It sees this host's files. What it writes goes away with the kernel, but for the folder it starts in.
    """
    sys.exit(once(command, memory=memory, lifetime=lifetime))


@lab.command()
@_memory
@_lifetime
def shell(memory: str, lifetime: float | None) -> None:
    """Open a shell in a fresh lab kernel."""
    sys.exit(once([os.environ.get("SHELL", "/bin/sh")], memory=memory, lifetime=lifetime))
