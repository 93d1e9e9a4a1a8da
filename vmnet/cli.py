"""The command `vmnet`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nncp import __version__
from nncp.render import printable
from nncp.terminal import output, say
from vmnet.names import NOBODY, OWNER, pod_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vmnet.pod import Environment
    from vmnet.preflight.verdict import Ask, Verdict
    from vmnet.record import Record

FOLDER = click.Path(path_type=Path, file_okay=False, readable=False)
POD = click.argument("pod", callback=lambda _context, _argument, name: pod_name(name))


class Lazy(click.Group):
    """A group whose `rack` lives in a package of its own, imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), "rack"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name."""
        if cmd_name != "rack":
            return super().get_command(ctx, cmd_name)
        from vmnet.rack import cli  # noqa: PLC0415 -- the rest of vmnet starts without it

        command: click.Command = cli.rack
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="vmnet")
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
    )  # fmt: skip -- a table of options
    for option in reversed(options):
        command = option(command)
    return command


def _environment(run_dir: Path, cni_conf_dir: Path, cni_path: str, owner: int = OWNER) -> Environment:
    from vmnet.pod import Environment  # noqa: PLC0415 -- `vmnet --version` does without the engine
    from vmnet.record import Store  # noqa: PLC0415

    return Environment(
        store=Store(run_dir / "pods"),
        conf_dir=cni_conf_dir,
        paths=tuple(filter(None, cni_path.split(":"))),  # an empty one would be wherever we are
        owner=owner,
    )


@app.command()
@POD
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--vm", default="", help="Which VirtualMachine of the files; not needed for one.")
@click.option(
    "--owner",
    type=click.IntRange(1, 2**32 - 2),
    default=OWNER,
    show_default=True,
    help="User and group id that QEMU runs as, and that may open the taps; the same on all nodes.",
)
@output("table", "json")
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
    if owner == NOBODY:
        raise click.BadParameter(f"{NOBODY} is nobody, as whom the node's handlers run", param_hint="--owner")
    environment = _environment(**where, owner=owner)
    record = pods.attach(pod, manifests.vm(vm), manifests.nads, environment=environment, bindings=BINDINGS)
    say(_json(record) if output == "json" else _table(record))


@app.command()
@POD
@click.option(
    "--force", is_flag=True, help="From under a running guest too, and with links of others in the Pod."
)
@node_options
def detach(pod: str, force: bool, **where: Any) -> None:
    """Take launcher Pod POD's network away; what is gone already is done."""
    from vmnet import pod as pods  # noqa: PLC0415 -- `vmnet --version` does without the engine

    said = pods.detach(pod, environment=_environment(**where), force=force)
    if said:
        say(printable(said))


@app.group(invoke_without_command=True)
@click.pass_context
def cni(ctx: click.Context) -> None:
    """Answer a container runtime, as the bridge plugin (CNI_COMMAND and its like in the environment)."""
    if ctx.invoked_subcommand is not None:
        return
    from vmnet.cni.plugin import main as answer  # noqa: PLC0415 -- `vmnet --version` does without the engine

    ctx.exit(answer())


@cni.command()
@click.option(
    "--dir",
    "folder",
    type=FOLDER,
    default=Path("/opt/cni/bin"),
    show_default=True,
    help="Where the container runtime looks for plugins.",
)
def install(folder: Path) -> None:
    """Put the bridge plugin where container runtimes find it, as cnv-bridge; nobody else's file goes.

    It runs by this very Python: with that environment the plugin goes too.
    """
    from vmnet.cni.install import install as put  # noqa: PLC0415 -- `vmnet --version` does without it

    say(printable(str(put(folder))))


@app.command()
@click.argument("files", nargs=-1, metavar="[NAD]...")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="NAME[:INTERFACE]=COMMAND",
    help="A member and the command that starts a program there (none: here); repeat it. With INTERFACE it is"
    " a third place on the segment, without a bridge.",
)
@click.option("--bridge", default="", help="The bridge, in place of NADs.")
@click.option("--vlan", type=click.IntRange(0, 4094), default=0, help="The VLAN; 0 for untagged frames.")
@click.option(
    "--mtu", type=click.IntRange(0, 65535), default=0, help="The MTU to carry; 0: what the uplinks have."
)
@click.option("--serve", is_flag=True, help="Be a member: answer JSON lines on standard input.")
@output("table", "json")
def preflight(
    files: Sequence[str], members: Sequence[str], bridge: str, vlan: int, mtu: int, serve: bool, output: str
) -> None:
    """Check a bridge between its members before a VM lands there. Writes nothing.

    Raw frames pass between the uplinks of each pair of members, both ways, at the full MTU. Ends 0 when all
    is well and 1 when it is not, with the reason in one sentence.
    """  # fmt: skip -- a table of options above
    if serve:
        from vmnet.preflight.member import serve as answer  # noqa: PLC0415 -- the heavy half of vmnet

        answer()
        return
    if files and bridge:
        raise click.UsageError("name a bridge or files with NADs, not both")
    from vmnet.preflight.exchange import parse_places, run  # noqa: PLC0415
    from vmnet.preflight.verdict import Ask, merge  # noqa: PLC0415 -- the heavy half of vmnet

    asks = [Ask(bridge, vlan, mtu)] if bridge else _asks(files, mtu)
    if not members:
        raise click.UsageError("name the members: --member 'node-1=ip netns exec node-1'")
    if sys.stderr.isatty():
        click.echo(f"lets {len(members)} members exchange frames", err=True)
    verdict = merge(run(parse_places(members), asks))
    say(_json(verdict) if output == "json" else _matrix(verdict))
    click.get_current_context().exit(0 if verdict.verdict == "ok" else 1)


def _asks(files: Sequence[str], mtu: int) -> list[Ask]:
    """What the NADs in the files ask of their bridges."""
    from vmnet.bindings import BINDINGS  # noqa: PLC0415 -- the heavy half of vmnet
    from vmnet.files import read_files  # noqa: PLC0415
    from vmnet.preflight.asks import asks  # noqa: PLC0415

    found = [ask for nad in read_files(files, bindings=BINDINGS).nads for ask in asks(nad, mtu)]
    if not found:
        raise click.UsageError("name a bridge, or files with NetworkAttachmentDefinitions of bridges")
    return list(dict.fromkeys(found))


def _matrix(verdict: Verdict) -> str:
    """The pairs as a table, and the verdict under it."""
    rows: list[tuple[str, ...]] = [("BRIDGE", "VLAN", "FROM", "TO", "MTU", "SMALL", "FULL", "MTU+1")]
    for pair in verdict.pairs:
        for way in (pair.there, pair.back):
            head = (pair.bridge, str(pair.vlan or "-"), way.sender, way.receiver, str(pair.mtu))
            rows.append((*head, *(_word(heard.arrived) for heard in (way.small, way.full, way.over))))
    reasons = verdict.reasons or (verdict.reason,)
    return "\n".join([_columns(rows), "", *(printable(f"{verdict.verdict}: {reason}") for reason in reasons)])


def _word(arrived: bool | None) -> str:
    return {True: "passes", False: "lost", None: "-"}[arrived]


def _json(value: Any) -> str:
    import msgspec  # noqa: PLC0415 -- only here

    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _table(record: Record) -> str:
    rows: list[tuple[str, ...]] = [
        ("INTERFACE", "NETWORK", "BINDING", "MAC", "MTU", "TAP", "POD INTERFACE", "ADDRESS")
    ]
    for nic in record.interfaces:
        place = (nic.devices.tap, nic.devices.pod, nic.address or "-")
        rows.append((nic.name, nic.network, nic.binding, nic.mac, str(nic.link.mtu), *place))
    own = f"Pod {record.name} has the address {record.address or 'none'} on the Pod network"
    return f"{own}; its guest's interfaces:\n{_columns(rows)}"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    """Run the command line."""
    from nncp.terminal import run  # noqa: PLC0415 -- what all our commands share

    sys.exit(run(app, "vmnet"))


if __name__ == "__main__":
    main()
