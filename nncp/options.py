"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from nncp.terminal import Seconds

FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...")
STATE_DIR = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    default=Path("/var/lib/nncp"),
    show_default=True,
    help="Where journals are kept.",
)
FORCE = click.option("--force", is_flag=True, help="Delete bridges although guests and Pods are on them.")
LOSE = click.option(
    "--force", is_flag=True, help="Undo it although guests, Pods or others lose what is theirs."
)
CURRENT = click.option(
    "--current",
    metavar="STATE",
    help="A state that stands for the host, as show prints it: neither root nor the kernel is asked.",
)
PRUNE = click.option(
    "--prune",
    is_flag=True,
    help="Take away what documents of these names asked for before, and no longer do.",
)
UNIT_DIR = click.option(
    "--unit-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/systemd/system"),
    show_default=True,
    help="Where systemd looks for units.",
)
VALUES = click.option("--values", metavar="FILE", help="A mapping of what {{ values.NAME }} stands for.")
PROBE = click.option(
    "--probe",
    multiple=True,
    metavar="PROBE",
    help="Keep it only if this succeeds: ping:gw, ping:ADDR, tcp:HOST:PORT, dns:NAME, exec:FILE. Repeatable. "
    "What fails before the change already is told and left out.",
)
PROBE_LIMIT = click.option(
    "--probe-limit",
    type=Seconds(0.1, 3600),
    default=None,
    show_default="10, of exec 60, on a quiet machine",
    help="Seconds that each probe is given.",
)
