"""The command `vmnet`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vmnet.pod import Environment
    from vmnet.record import Record

FOLDER = click.Path(path_type=Path, file_okay=False)


class Lazy(click.Group):
    """A group whose `rack` lives in a package of its own, imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), "rack"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name."""
        if cmd_name != "rack":
            return super().get_command(ctx, cmd_name)
        from vmnet.rack.cli import rack  # noqa: PLC0415 -- the rest of vmnet starts without it

        return rack


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bridgehead", prog_name="vmnet")
def app() -> None:
    """VM networking: launcher Pods on node bridges, checked before a guest lands there."""


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where this node keeps what."""
    options = (
        click.option(
            "--run-dir",
            type=FOLDER,
            default=Path("/run/bridgehead"),
            show_default=True,
            help="Where the records of this node's Pods are.",
        ),
        click.option(
            "--cni-conf-dir",
            type=FOLDER,
            default=Path("/etc/cni/net.d"),
            show_default=True,
            help="Where the conflist of the Pod network is.",
        ),
        click.option(
            "--cni-path",
            default="/opt/cni/bin:/usr/lib/cni",
            show_default=True,
            help="Where CNI plugins are looked for.",
        ),
        click.option(
            "--state-dir",
            type=FOLDER,
            default=Path("/var/lib/nncp"),
            show_default=True,
            help="Where nncp keeps its journal.",
        ),
    )  # fmt: skip -- a table of options
    for option in reversed(options):
        command = option(command)
    return command


def _environment(
    run_dir: Path, cni_conf_dir: Path, cni_path: str, state_dir: Path, owner: int = 0
) -> Environment:
    from vmnet.pod import Environment  # noqa: PLC0415 -- `vmnet --version` does without the engine
    from vmnet.record import Store  # noqa: PLC0415

    return Environment(
        store=Store(run_dir / "pods"),
        conf_dir=cni_conf_dir,
        paths=tuple(cni_path.split(":")),
        nncp_state=state_dir,
        owner=owner,
        group=owner,
    )


@app.command()
@click.argument("pod")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--vm", default="", help="Which VirtualMachine of the files; not needed for one.")
@click.option("--owner", default=0, help="User and group id that may open the taps.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@node_options
def attach(pod: str, files: Sequence[str], vm: str, output: str, owner: int, **where: Any) -> None:
    """Attach launcher Pod POD to the networks of a VM.

    FILE... hold the VirtualMachine and its NetworkAttachmentDefinitions; - is standard input. Run again, it
    finishes what was cut short and changes nothing that is right.
    """
    from vmnet import pod as pods  # noqa: PLC0415 -- `vmnet --version` does without the engine
    from vmnet.bindings import BINDINGS  # noqa: PLC0415
    from vmnet.files import read_files  # noqa: PLC0415

    manifests = read_files(files, bindings=BINDINGS)
    environment = _environment(**where, owner=owner)
    record = pods.attach(pod, manifests.vm(vm), manifests.nads, environment=environment, bindings=BINDINGS)
    click.echo(_json(record) if output == "json" else _table(record))


@app.command()
@click.argument("pod")
@node_options
def detach(pod: str, **where: Any) -> None:
    """Take launcher Pod POD's network away; what is gone already is done."""
    from vmnet import pod as pods  # noqa: PLC0415 -- `vmnet --version` does without the engine

    pods.detach(pod, environment=_environment(**where))


@app.command()
def cni() -> None:
    """Answer a container runtime, as the bridge plugin (CNI_COMMAND and its like in the environment)."""
    from vmnet.cni import main as answer  # noqa: PLC0415 -- `vmnet --version` does without the engine

    sys.exit(answer())


def _json(record: Record) -> str:
    import msgspec  # noqa: PLC0415 -- only here

    return msgspec.json.format(msgspec.json.encode(record)).decode()


def _table(record: Record) -> str:
    rows = [("INTERFACE", "NETWORK", "BINDING", "MAC", "MTU", "TAP", "POD INTERFACE", "ADDRESS")]
    for nic in record.interfaces:
        address = nic.lease.address if nic.lease else "-"
        place = (nic.devices.tap, nic.devices.pod, address)
        rows.append((nic.name, nic.network, nic.binding, nic.mac, str(nic.link.mtu), *place))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    """Run the command line; errors are told, never traced."""
    from nncp.errors import Error, ErrorKind  # noqa: PLC0415 -- 10 ms sooner for `--version`

    try:
        app.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(ErrorKind.USAGE.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ErrorKind.INTERRUPTED.exit_code)
    except Error as error:
        from vmnet.telling import told  # noqa: PLC0415 -- only when there is something to tell

        click.echo(told(error), err=True)
        sys.exit(error.kind.exit_code)


if __name__ == "__main__":
    main()
