"""`nncp`: node networking from files.

Heavy imports live in the commands that need them: `nncp --version` and completion stay instant.
"""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nncp import __version__
from nncp.terminal import Seconds, output, read_text, run, say, shown

if TYPE_CHECKING:
    from nncp.document.policy import Policy

OUTPUTS = ("table", "yaml", "json")
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


class Lazy(click.Group):
    """A group whose `lab` is imported only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, the lazy one included."""
        return sorted([*super().list_commands(ctx), "lab"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it if need be."""
        if cmd_name == "lab":
            from nncp.lab.cli import lab  # noqa: PLC0415

            return lab
        return super().get_command(ctx, cmd_name)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="nncp")
def cli() -> None:
    """Declarative node networking: desired state, plan, apply, verify, roll back.

    FILE is an nmstate document or a NodeNetworkConfigurationPolicy, in YAML or JSON; - is standard input.
    """


@cli.command()
@click.argument("names", nargs=-1, metavar="[INTERFACE]...")
@output("yaml", "json", "table")
def show(names: tuple[str, ...], output: str) -> None:
    """Show the network state of this host, as a document that, applied again, changes nothing."""
    from nncp import answers, work  # noqa: PLC0415

    say(answers.state(work.show(names), output), nl=False)


@cli.command()
@FILES
@STATE_DIR
@FORCE
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is something to do.")
@output("table", "json")
def plan(files: tuple[str, ...], state_dir: Path, force: bool, exit_code: bool, output: str) -> int:
    """Show what `apply` would do; nothing is changed."""
    from nncp import answers, work  # noqa: PLC0415

    changes = work.plan(_documents(files), state_dir=state_dir, force=force)
    say(answers.changes(changes, output), nl=False)
    return int(exit_code and changes.differ)


@cli.command()
@FILES
@STATE_DIR
@output("table", "json")
def diff(files: tuple[str, ...], state_dir: Path, output: str) -> int:
    """Show what differs from the documents; exit with 1 when something does."""
    from nncp import answers, work  # noqa: PLC0415

    changes = work.plan(_documents(files), state_dir=state_dir, force=True)
    say(answers.changes(changes, output) if changes.ops or output == "json" else "", nl=False)
    return int(changes.differ)


@cli.command()
@FILES
@STATE_DIR
@click.option(
    "--timeout",
    type=Seconds(0.1, 3600),
    default=None,
    show_default="10 on a quiet machine, more where everything takes longer",
    help="Seconds until it must hold.",
)
@FORCE
@output("table", "json")
def apply(files: tuple[str, ...], state_dir: Path, timeout: float | None, force: bool, output: str) -> None:
    """Make this host what the documents say, verified; or leave it as it was."""
    from nncp import answers, work  # noqa: PLC0415

    _stop_as_by_ctrl_c()
    changes = work.apply(_documents(files), state_dir=state_dir, timeout=timeout, force=force)
    say(answers.changes(changes, output), nl=False)


@cli.command()
@STATE_DIR
@LOSE
@click.option(
    "--forget", is_flag=True, help="Drop the way back instead of going it; the host stays as it is."
)
@output("table", "json")
def rollback(state_dir: Path, force: bool, forget: bool, output: str) -> None:
    """Undo the last apply, or finish what a killed one left."""
    from nncp import answers, engine  # noqa: PLC0415

    if forget:
        say(answers.forgotten(engine.forget(state_dir=state_dir), output), nl=False)
    else:
        say(answers.undone(*engine.rolled_back(state_dir=state_dir, force=force), output), nl=False)


@cli.command()
@FILES
@click.option("-w", "--write", is_flag=True, help="Write the files instead of standard output.")
def fmt(files: tuple[str, ...], write: bool) -> None:
    """Check documents and print them in their one form; comments are lost."""
    from nncp import answers, desired  # noqa: PLC0415

    between = ""
    for name, documents in desired.checked(_texts(files)):
        text = answers.yaml(documents)
        if write and name != "-":
            _rewrite(Path(name), text)
        elif text:
            say(f"{between}{text}", nl=False)
            between = answers.BETWEEN


def _rewrite(file: Path, text: str) -> None:
    from nncp.errors import Error, ErrorKind  # noqa: PLC0415

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise Error(message, kind=ErrorKind.UNSUPPORTED) from None


def _stop_as_by_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP raise what Ctrl-C does, where they would end this process.

    Behind nohup(1) they do not.
    """
    from nncp.guard import STOPPING  # noqa: PLC0415

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _texts(files: tuple[str, ...]) -> list[tuple[str, str]]:
    from nncp.errors import Error, raise_all  # noqa: PLC0415

    texts, errors = [], []
    for name in files:
        try:
            texts.append((name, read_text(name)))
        except Error as error:
            errors.append(error)
    raise_all(errors)
    return texts


def _documents(files: tuple[str, ...]) -> list[Policy]:
    from nncp import desired  # noqa: PLC0415

    return desired.documents([(shown(name), text) for name, text in _texts(files)])


def main() -> None:
    """Run the command line."""
    gc.disable()  # a life this short makes no cycles worth looking for
    code = run(cli, "nncp")
    os._exit(code)  # taking thousands of rows apart one by one helps nobody
