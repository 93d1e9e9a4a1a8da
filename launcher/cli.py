"""The command line of `launcher`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nncp.render import printable
from nncp.terminal import Seconds, output, read_text, run, say, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.begin import Start

QEMU = "usr/bin/qemu-system-x86_64"
FOLDER = click.Path(path_type=Path, file_okay=False, readable=False)
POD = click.option("--pod", required=True, metavar="NAME", help="The Pod, as vmnet attach named it.")
RUN_DIR = click.option(
    "--run-dir",
    type=FOLDER,
    default=Path("/run/bridgehead"),
    show_default=True,
    help="Where the records of this node's Pods are.",
)
OUTPUT = output("table", "json")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="bridgehead", prog_name="launcher")
def app() -> None:
    """Start a KVM guest in its launcher Pod, and move it to another while it runs."""


def _beginning(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what start and prepare have in common."""
    options = (
        click.argument("file", metavar="VM.yaml"),
        POD,
        click.option(
            "--claims",
            type=FOLDER,
            default=Path("/var/lib/bridgehead/claims"),
            show_default=True,
            help="Where claims are: CLAIMS/NAME/disk.img.",
        ),
        click.option(
            "--images",
            type=FOLDER,
            default=Path("/var/lib/bridgehead/images"),
            show_default=True,
            help="Where the images of kernelBoot are: IMAGES/NAME/PATH.",
        ),
        click.option(
            "--qemu",
            type=FOLDER,
            default=None,
            help="A tree (usr/...) of another QEMU, laid over /usr; vmnet rack images qemu makes one.",
        ),
        click.option("--foreground", is_flag=True, help="Stay; the Pod ends with this process."),
        RUN_DIR,
        OUTPUT,
    )
    for option in reversed(options):
        command = option(command)
    return command


@app.command()
@_beginning
def start(output: str, foreground: bool, **words: Any) -> None:
    """Start the guest of VM.yaml (- is standard input) in its Pod; return when it has started."""
    _begin(words, output=output, foreground=foreground)


@app.command()
@_beginning
@click.option(
    "--from",
    "source",
    required=True,
    metavar="ADDRESS",
    callback=lambda _context, _option, text: _address(text),
    help="The Pod that the guest comes from.",
)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    show_default="credentials.json in the Pod's folder",
    help="The file to write that `migrate` needs at the source; carry it there by a way that you trust.",
)
def prepare(output: str, foreground: bool, **words: Any) -> None:
    """Make a Pod ready to take in the guest of VM.yaml by migration; return when it is."""
    _begin(words, output=output, foreground=foreground)


def _begin(words: Mapping[str, Any], *, output: str, foreground: bool) -> None:
    from launcher.begin import begin  # noqa: PLC0415 -- `launcher --version` does without

    def ready(status: Mapping[str, Any]) -> None:
        _show(status, output)
        sys.stdout.flush()

    begin(_asked(words, foreground=foreground), say=_progress, ready=ready)


def _asked(words: Mapping[str, Any], *, foreground: bool) -> Start:
    from launcher.begin import Start  # noqa: PLC0415 -- the same

    return Start(
        pod=words["pod"],
        manifest=(shown(words["file"]), read_text(words["file"])),
        claims=words["claims"].absolute(),
        images=words["images"].absolute(),
        qemu=None if words["qemu"] is None else _tree(words["qemu"].absolute()),
        source=words.get("source", ""),
        credentials=_writable(words.get("credentials"))
        or _folder(words["run_dir"], words["pod"]) / "credentials.json",
        lasting=not foreground,
        pods=words["run_dir"] / "pods",
    )


def _tree(folder: Path) -> Path:
    """Return the tree of a QEMU that is named, or that of an image of `vmnet rack images`."""
    for tree in (folder, folder / "tree"):
        if (tree / QEMU).exists():
            return tree
    raise click.BadParameter(f"there is no {QEMU} in {folder}", param_hint="--qemu")


@app.command()
@POD
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="What `launcher prepare` wrote: where the guest is to go, and what opens the door there.",
)
@click.option(
    "--max-downtime",
    type=click.IntRange(1, 2_000_000),  # QEMU's MAX_MIGRATE_DOWNTIME, migration/options.c
    default=50,
    show_default=True,
    metavar="MS",
    help="How long the guest may be paused.",
)
@click.option(
    "--timeout",
    type=Seconds(0, min_open=True),
    default=None,
    show_default="while less and less is left to copy",
    metavar="S",
    help="When to give up.",
)
@RUN_DIR
@OUTPUT
def migrate(
    pod: str, credentials: Path, max_downtime: int, timeout: float | None, run_dir: Path, output: str
) -> None:
    """Move the running guest to a prepared Pod; its own Pod ends when it has gone."""
    from launcher import control  # noqa: PLC0415 -- the same
    from launcher.migration.credentials import load  # noqa: PLC0415

    request = control.Leave(load(credentials), max_downtime, timeout)
    _show(control.ask(_folder(run_dir, pod), request), output)


@app.command()
@POD
@click.option(
    "--grace",
    type=Seconds(0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Time for the guest to shut down.",
)
@RUN_DIR
@OUTPUT
def stop(pod: str, grace: float, run_dir: Path, output: str) -> None:
    """End the guest and everything in its Pod. A Pod that has ended already is no error."""
    from launcher import control  # noqa: PLC0415 -- the same

    folder = _folder(run_dir, pod)
    answer = control.stop(folder, grace)
    if output == "table" and not answer["stopped"]:
        say(f"{control.absent(folder).message}: nothing to stop")
        return
    _show(answer, output)


@app.command()
@POD
@RUN_DIR
@OUTPUT
def status(pod: str, run_dir: Path, output: str) -> None:
    """Say how a Pod's guest is."""
    from launcher import control  # noqa: PLC0415 -- the same

    folder = _folder(run_dir, pod)
    _show(control.ask(folder, control.Status(), in_all=control.PATIENCE), output)


@app.command()
@click.argument("address")
@click.option(
    "--seconds", type=Seconds(0, min_open=True), default=None, help="How long; until a signal without it."
)
@click.option(
    "--events",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write there, as JSON, when each ping and echo was sent and answered.",
)
@OUTPUT
def probe(address: str, seconds: float | None, events: Path | None, output: str) -> None:
    """Ping ADDRESS every 10 ms and hold a TCP session to its port 7; report when a signal ends it.

    With -o json there is a line when it begins, and the report in another.
    """
    from launcher.prober import measure  # noqa: PLC0415 -- the same
    from vmnet.valid import is_address  # noqa: PLC0415

    if not is_address(address, version=4):
        raise click.BadParameter(f"{address!r} is not an IPv4 address.", param_hint="ADDRESS")

    def began() -> None:
        if output == "json":
            say(json.dumps({"event": "probing", "address": address}))
            sys.stdout.flush()

    _show(measure(address, began=began, seconds=seconds, events=events), output)


def _writable(path: Path | None) -> Path | None:
    """Return where a file can be written, made absolute."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}", param_hint="--credentials")
    return None if path is None else path.absolute()


def _address(text: str) -> str:
    """Return an address that a rule of nft may hold."""
    from vmnet.valid import is_address  # noqa: PLC0415 -- the same

    if not is_address(text):
        raise click.BadParameter(f"{text!r} is not an IP address.")
    return text


def _folder(run_dir: Path, pod: str) -> Path:
    """Return a Pod's folder on the node."""
    from vmnet.names import pod_name  # noqa: PLC0415 -- the same

    return run_dir / "pods" / pod_name(pod)


def _show(answer: Mapping[str, Any], output: str) -> None:
    if output == "json":
        say(json.dumps(answer))
        return
    width = max((len(key) for key in answer), default=0)
    for key, value in answer.items():
        shown = ", ".join(_words(one) for one in value) if isinstance(value, list) else _words(value)
        say(printable(f"{key:{width}}  {shown}"))  # a guest may have taken its launcher over


def _words(value: Any) -> str:
    return " ".join(str(one) for one in value.values()) if isinstance(value, dict) else str(value)


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{what} ...", err=True)


def main() -> None:
    """Run the command line."""
    sys.exit(run(app, "launcher"))
