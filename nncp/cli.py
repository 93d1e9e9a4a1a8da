"""`nncp`: node networking from files.

Heavy imports live in the commands that need them: `nncp --version` and completion stay instant.
"""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nncp import __version__
from nncp.options import CURRENT, FILES, FORCE, LOSE, PROBE, PROBE_LIMIT, PRUNE, STATE_DIR, UNIT_DIR, VALUES
from nncp.terminal import Early, Seconds, output, path_of, read_text, run, say, shown

if TYPE_CHECKING:
    from nncp.document.policy import Policy
    from nncp.transaction import Proof


CLUSTER = ("adopt", "cluster", "rollout", "status")


class Lazy(click.Group):
    """A group of which `lab`, and what asks a cluster, are imported only when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, the lazy ones included."""
        return sorted([*super().list_commands(ctx), "lab", *CLUSTER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it if need be."""
        if cmd_name == "lab":
            from nncp.lab.cli import lab  # noqa: PLC0415

            return lab
        if cmd_name in CLUSTER:
            from nncp.operator import cli as asking  # noqa: PLC0415

            found: click.Command = getattr(asking, cmd_name)
            return found
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
@CURRENT
@VALUES
@PRUNE
@FORCE
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is something to do.")
@click.option("--cluster", is_flag=True, help="Ask the nodes of the cluster that the kubeconfig names.")
@click.option(
    "--wait",
    type=Seconds(1, 300),
    default=60,
    show_default=True,
    help="With --cluster, seconds in which the nodes are to answer.",
)
@output("table", "yaml", "json")
def plan(
    files: tuple[str, ...],
    state_dir: Path,
    current: str | None,
    values: str | None,
    prune: bool,
    force: bool,
    exit_code: bool,
    cluster: bool,
    wait: float,
    output: str,
) -> int:
    """Show what `apply` would do; nothing is changed.

    With --cluster it is what the nodes of a cluster say that they would do.
    """
    if cluster:
        from nncp.operator import cli as asking  # noqa: PLC0415

        if current is not None or values is not None or prune or force:
            raise click.UsageError(
                "the nodes of a cluster know none of --current, --values, --prune, --force."
            )
        return asking.plan(_named(files), wait, output, exit_code=exit_code)
    from nncp import answers, work  # noqa: PLC0415

    if prune and current is not None:
        raise click.UsageError("--prune is about what was applied here, and --current about another host.")
    asked = _asked(files, current, values)
    changes = work.plan(*asked, state_dir=state_dir, force=force, prune=prune)
    say(answers.changes(changes, output), nl=False)
    return int(exit_code and changes.differ)


@cli.command()
@FILES
@STATE_DIR
@CURRENT
@VALUES
@output("table", "yaml", "json")
def diff(
    files: tuple[str, ...], state_dir: Path, current: str | None, values: str | None, output: str
) -> int:
    """Show what differs from the documents; exit with 1 when something does.

    As YAML and JSON it is the part of the documents that differs, itself a document.
    """
    from nncp import answers, offline, work  # noqa: PLC0415

    asked = _asked(files, current, values)
    if output == "table":
        changes = work.plan(*asked, state_dir=state_dir, force=True)
        say(answers.changes(changes, output) if changes.ops else "", nl=False)
        return int(changes.differ)
    part = offline.difference(*asked, state_dir=state_dir)
    say(answers.state(part, output), nl=False)
    return int(bool(part))


@cli.command()
@FILES
@STATE_DIR
@CURRENT
@VALUES
@output("yaml", "json", "table")
def revert(
    files: tuple[str, ...], state_dir: Path, current: str | None, values: str | None, output: str
) -> None:
    """Print the document that undoes the documents, once they are applied to the host as it is now."""
    from nncp import answers, offline  # noqa: PLC0415

    part = offline.reverse(*_asked(files, current, values), state_dir=state_dir)
    say(answers.parts(part) if output == "table" else answers.state(part, output), nl=False)


@cli.command()
@FILES
@STATE_DIR
@CURRENT
@VALUES
@click.option("--captured", metavar="FILE", help="What the captures took once: it is not taken again.")
@click.option(
    "--output-captured",
    metavar="FILE",
    help="Write there what the captures take, by their names; of several policies a list with each one's.",
)
@output("yaml", "json")
def policy(
    files: tuple[str, ...],
    state_dir: Path,
    current: str | None,
    values: str | None,
    captured: str | None,
    output_captured: str | None,
    output: str,
) -> None:
    """Print what policies ask for, their captures taken and their templates filled.

    Of a policy with captures it is what differs from the host, as nmstate has it. Captures of a policy that
    was applied here mean what they took then.
    """
    from nncp import answers, offline  # noqa: PLC0415

    before = None if captured is None else offline.took_of(read_text(captured), file=shown(captured))
    asked = _asked(files, current, values)
    part, taken = offline.meaning(*asked, before=before, state_dir=state_dir)
    if output_captured is not None:
        _write(Path(output_captured), answers.captured(taken, output))
    say(answers.state(part, output), nl=False)


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
@PROBE
@PROBE_LIMIT
@VALUES
@PRUNE
@FORCE
@output("table", "json")
def apply(
    files: tuple[str, ...],
    state_dir: Path,
    timeout: float | None,
    probe: tuple[str, ...],
    probe_limit: float | None,
    values: str | None,
    prune: bool,
    force: bool,
    output: str,
) -> None:
    """Make this host what the documents say, verified; or leave it as it was."""
    from nncp import answers, work  # noqa: PLC0415
    from nncp.guard import Guard  # noqa: PLC0415
    from nncp.stopping import Stopping  # noqa: PLC0415
    from nncp.transaction import Terms  # noqa: PLC0415

    stopping = Stopping()
    terms = Terms(timeout, proof=_proof(probe, probe_limit), kept=stopping.for_good(Guard.commit))
    found, _, known = _asked(files, None, values)
    changes = work.apply(found, state_dir=state_dir, terms=terms, force=force, values=known, prune=prune)
    stopping.only_words_are_left()
    say(answers.changes(changes, output), nl=False)


@cli.command("try")
@FILES
@STATE_DIR
@click.option(
    "--timeout",
    type=Seconds(1, 86400),
    default=120,
    show_default=True,
    help="Seconds until it is undone unless somebody keeps it, once it holds.",
)
@PROBE
@PROBE_LIMIT
@VALUES
@PRUNE
@FORCE
@output("table", "json")
def try_(
    files: tuple[str, ...],
    state_dir: Path,
    timeout: float,
    probe: tuple[str, ...],
    probe_limit: float | None,
    values: str | None,
    prune: bool,
    force: bool,
    output: str,
) -> None:
    """Do as apply does, and undo it unless somebody keeps it in time.

    Enter keeps it, or `nncp commit` in another terminal. When this one goes away, by a lost connection say,
    it holds until its time is over.
    """
    from nncp import answers, work  # noqa: PLC0415
    from nncp.stopping import Stopping  # noqa: PLC0415
    from nncp.transaction import Terms  # noqa: PLC0415
    from nncp.trial import Trial  # noqa: PLC0415

    stopping = Stopping()
    terms = Terms(proof=_proof(probe, probe_limit), kept=stopping.for_good(Trial(timeout, _tell)))
    found, _, known = _asked(files, None, values)
    # A person decides by what is tried, so it is said before it is.
    early = Early(lambda changes: answers.changes(changes, output))
    planned = early if output == "table" else None
    changes = work.apply(
        found, state_dir=state_dir, terms=terms, force=force, values=known, prune=prune, planned=planned
    )
    stopping.only_words_are_left()
    if changes.ops:
        _tell("It is kept.")
    early.end()
    if not (changes.ops and planned):
        say(answers.changes(changes, output), nl=False)


@cli.command()
@STATE_DIR
@output("table", "json")
def commit(state_dir: Path, output: str) -> None:
    """Keep the change that `nncp try` tries in another terminal."""
    from nncp import answers, engine  # noqa: PLC0415

    say(answers.committed(engine.commit(state_dir=state_dir), output), nl=False)


@cli.command()
@STATE_DIR
@output("table", "json")
def history(state_dir: Path, output: str) -> None:
    """Show the applies that held since the host started and can be undone, the last one first.

    And which one is being tried. What an apply wrote are rows: a link that is made again counts with all that
    is on it.
    """
    from nncp import answers  # noqa: PLC0415
    from nncp.journal import Journal  # noqa: PLC0415

    journal = Journal(state_dir)
    tried, kept = journal.tried(), list(journal.kept())  # in this order: it may be kept in between
    if tried and any(one.number == tried.number for one in kept):
        tried = None
    say(answers.history(kept, tried, output), nl=False)


@cli.command()
@click.argument("number", type=click.IntRange(0), default=None, metavar="[ID]", required=False)
@STATE_DIR
@LOSE
@click.option(
    "--forget",
    is_flag=True,
    help="Give up what a killed apply left, or else all of the history; the host stays as it is.",
)
@output("table", "json")
def rollback(number: int | None, state_dir: Path, force: bool, forget: bool, output: str) -> None:
    """Undo the last apply, or finish what a killed one left.

    With an ID, as `nncp history` shows it, undo that apply alone: refused where later ones have built on it.
    """
    from nncp import answers, engine  # noqa: PLC0415

    if forget and number is not None:
        raise click.UsageError("--forget drops all ways back, and an ID names one.")
    if forget:
        say(answers.forgotten(engine.forget(state_dir=state_dir), output), nl=False)
    else:
        found = engine.rollback(state_dir=state_dir, force=force, number=number)
        say(answers.undone(found, output), nl=False)


@cli.command()
@STATE_DIR
@FORCE
@output("table", "json")
def restore(state_dir: Path, force: bool, output: str) -> None:
    """Apply again all that was applied and not forgotten, as a host does when it starts."""
    from nncp import answers  # noqa: PLC0415
    from nncp.restore import restore as bring_back  # noqa: PLC0415
    from nncp.stopping import Stopping  # noqa: PLC0415

    stopping = Stopping()
    found = bring_back(state_dir=state_dir, force=force)
    stopping.only_words_are_left()
    say(answers.restored(found, output), nl=False)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@STATE_DIR
def forget(names: tuple[str, ...], state_dir: Path) -> None:
    """Do not bring documents back when the host starts; it stays as it is now."""
    from nncp import restore  # noqa: PLC0415

    restore.forget(names, state_dir=state_dir)


@cli.command("install-unit")
@STATE_DIR
@UNIT_DIR
@click.option("--remove", is_flag=True, help="Take it away again.")
def install_unit(state_dir: Path, unit_dir: Path, remove: bool) -> None:
    """Have systemd run `nncp restore` when the host starts, before anything waits for the network."""
    from nncp import restore  # noqa: PLC0415

    if remove:
        say(f"{restore.remove_unit(unit_dir=unit_dir)} is gone")
    else:
        say(f"{restore.install_unit(state_dir=state_dir, unit_dir=unit_dir)} runs when the host starts")


@cli.command()
@FILES
@click.option("-w", "--write", is_flag=True, help="Write the files instead of standard output.")
def fmt(files: tuple[str, ...], write: bool) -> None:
    """Check documents and print them in their one form; comments are lost."""
    from nncp import answers, desired  # noqa: PLC0415

    between = ""
    for name, documents in desired.checked(_named(files)):
        text = answers.yaml(documents)
        if write and name != shown("-"):
            _write(Path(name), text)
        elif text:
            say(f"{between}{text}", nl=False)
            between = answers.BETWEEN


@cli.command()
@output("json", "yaml")
def schema(output: str) -> None:
    """Print the JSON Schema (2020-12) of a document, with what each property means."""
    from nncp import answers, desired  # noqa: PLC0415
    from nncp.document.schema import schema_of  # noqa: PLC0415

    say(answers.state(schema_of(desired.WRITTEN), output), nl=False)


@cli.command()
@click.argument("path", default="", metavar="[PATH]")
@output("table", "json", "yaml")
def explain(path: str, output: str) -> None:
    """Explain a property of a document, such as bond.options.miimon; without PATH a document itself.

    The default is what something new has of it when no document says it.
    """
    from nncp import answers, desired  # noqa: PLC0415
    from nncp.explain import explain  # noqa: PLC0415

    say(answers.explanation(explain(path, desired.WRITTEN), output), nl=False)


def _proof(probe: tuple[str, ...], limit: float | None) -> Proof | None:
    """Return what tries probes; None, and nothing is imported, where none is named."""
    if not probe:
        return None
    from nncp.probes import Probes, parsed  # noqa: PLC0415

    return Probes(parsed(probe), limit=limit, told=_tell)


def _tell(text: str) -> None:
    """Tell the person at the terminal something while a command goes on; nobody has to hear it."""
    with contextlib.suppress(OSError):
        click.echo(f"nncp: {text}", err=True)


def _write(file: Path, text: str) -> None:
    from nncp.errors import Error, ErrorKind  # noqa: PLC0415

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        is_ours = isinstance(error, PermissionError)
        raise Error(message, kind=ErrorKind.PRIVILEGE if is_ours else ErrorKind.UNSUPPORTED) from None


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


def _named(files: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return texts, each with what its file is called in errors."""
    return [(shown(name), text) for name, text in _texts(files)]


def _asked(
    files: tuple[str, ...], current: str | None, values: str | None
) -> tuple[list[Policy], Policy | None, dict[str, Any] | None]:
    """Return documents, the state that stands for the host, and values: each None where no file is named."""
    from nncp import desired  # noqa: PLC0415

    named_files = (*files, *filter(None, (current, values)))
    if named_files.count("-") > 1:
        raise click.UsageError("standard input can be read once, and - is named twice.")
    texts = dict(_texts(named_files))

    def named(*names: str) -> list[tuple[str, str]]:
        return [(shown(name), texts[name]) for name in names]

    found = desired.documents(named(*files), paths={shown(name): path_of(name) for name in files})
    state = None if current is None else desired.current(*named(current)[0])
    return found, state, None if values is None else desired.values(*named(values)[0])


def main() -> None:
    """Run the command line."""
    gc.disable()  # a life this short makes no cycles worth looking for
    code = run(cli, "nncp")
    os._exit(code)  # taking thousands of rows apart one by one helps nobody
