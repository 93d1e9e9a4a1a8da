"""`nncp lab cluster`: a Kubernetes of two nodes in this machine, without Docker and without a registry.

It stands in a room of this machine or, where this kernel lacks bonds or VLANs, of a lab kernel. The commands
are the same, and run themselves again where it stands.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nncp import lab
from nncp.errors import Error, ErrorKind
from nncp.lab import cache, room
from nncp.lab.cgroups import OURS
from nncp.lab.cluster.addresses import CONTROL, NODES
from nncp.lab.standing import IN_ROOM, Standing, writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.lab.cluster.inside import Cluster

MEMORY = "4G"
NAME = "cluster"
NAMES = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
HOST, LAB = "host", "lab"
BESIDE = "-demo"
"""How the demo's cluster is called, beside one that stands."""


@click.group()
@click.option(
    "--name", default=NAME, show_default=True, envvar="BRIDGEHEAD_CLUSTER", help="Of several, which."
)
@click.option(
    "--kernel",
    type=click.Choice([HOST, LAB]),
    help="Where it stands: in this machine's own kernel or in a lab kernel. Without it, in the one that has "
    "bonds, VLANs and VRFs.",
)
@click.pass_context
def cluster(context: click.Context, name: str, kernel: str | None) -> None:
    """A Kubernetes of two nodes in this machine, and its nodes' network.

    It has an API server, controllers, a scheduler and two kubelets with containerd. Nothing of this machine
    is changed, and nothing is left when it is taken down.
    """
    context.obj = Place(name, kernel)


class Place:
    """Where the cluster of one name stands, or is to stand."""

    def __init__(self, name: str, kernel: str | None) -> None:
        """Take what was asked for."""
        if not NAMES.fullmatch(name):
            said = "it is made of up to 40 small letters, digits and hyphens, the first no hyphen"
            raise click.BadParameter(said, param_hint="--name")
        self.name = name
        self.kernel = kernel

    @property
    def standing(self) -> Standing:
        """What stands, or is to stand: where it was asked for, where it stands, or where a node finds all."""
        here, there = self._in(lab_kernel=False), self._in(lab_kernel=True)
        if lab.inside() or self.kernel == HOST:
            return here
        if self.kernel == LAB:
            return there
        if room.find(self.site) is not None:
            return here
        return there if lab.missing() or there.session() else here

    def _in(self, *, lab_kernel: bool) -> Standing:
        folder = cache.folder() / f"{self.name}.cluster"
        return Standing(self.site, "nncp.lab", in_lab=lab_kernel, folder=folder, memory=MEMORY)

    @property
    def site(self) -> room.Site:
        """What says that it stands."""
        note = Path("/run/bridgehead") / f"cluster-{self.name}"
        command = "nncp lab cluster" + (f" --name {self.name}" if self.name != NAME else "")
        return room.Site("cluster", note, command, groups=f"{OURS}{self.name}.")

    def words(self, *words: str) -> list[str]:
        """Return this command line with other words, for where the cluster stands."""
        return ["cluster", "--name", self.name, "--kernel", HOST, *words]

    def go_in(self, *words: str) -> Cluster:
        """Go on in the room; return the cluster there."""
        self.standing.go_in(*self.words(*words))
        from nncp.lab.cluster.inside import Cluster  # noqa: PLC0415  only in the room
        from nncp.lab.nodes import standing  # noqa: PLC0415

        return Cluster(standing(), group=self.site.groups)


@cluster.command(hidden=True)
def prepare() -> None:
    """Have in the cache what a cluster is made of."""
    _fetch()


def _fetch() -> None:
    """Build what is not in the cache; a lab kernel cannot."""
    from nncp.lab.cluster import program, runtime  # noqa: PLC0415

    runtime.folder()
    program.folder()


@cluster.command()
@click.pass_obj
def up(place: Place) -> None:
    """Put the cluster up and leave it standing."""
    place.site.needs_root()
    if not lab.inside():
        _fetch()
    standing = place.standing
    if not standing.in_lab and standing.session():  # asked for, beside the one in a lab kernel
        raise place.site.stands_already()
    standing.put_up(
        up=place.words("up"),
        furnish=place.words("furnish"),
        reason=f"this one lacks {', '.join(lab.missing())}" if lab.missing() else "it was asked for",
        say=_say,
    )


@cluster.command(hidden=True)
@click.pass_obj
def furnish(place: Place) -> None:
    """Make the machines and connect them: what runs first in a room that is kept."""
    from nncp.lab.cluster.inside import Cluster  # noqa: PLC0415
    from nncp.lab.nodes import Rack  # noqa: PLC0415

    Cluster(Rack({}), group=place.site.groups).furnish(click.echo)


@cluster.command()
@click.pass_obj
def down(place: Place) -> None:
    """Take the cluster down; nothing is left of it."""
    place.standing.take_down()


@cluster.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}, add_help_option=False
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def kubectl(place: Place, words: tuple[str, ...]) -> None:
    """Run kubectl in the cluster, as its administrator."""
    from nncp.lab.cluster import inside, program  # noqa: PLC0415

    _run(place, "kubectl", CONTROL, lambda: inside.kubectl(program.folder() / "kubectl", *words), words)


@cluster.command(context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def node(place: Place, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in node NAME: node-1 or node-2; or in control-plane, or tor, the switch."""
    command = command[1:] if command[0] == "--" else command
    _run(place, "node", name, lambda: list(command), (name, "--", *command))


@cluster.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def admin(place: Place, command: tuple[str, ...]) -> None:
    """Run COMMAND, or else a shell, where kubectl and nncp reach the cluster as its administrator."""
    from nncp.lab.cluster import inside, program  # noqa: PLC0415

    words = command[1:] if command[:1] == ("--",) else command
    shell = os.environ.get("SHELL", "/bin/sh")
    _run(place, "admin", CONTROL, lambda: inside.as_admin(program.folder(), *(words or (shell,))), words)


def _run(
    place: Place, verb: str, machine: str, argv: Callable[[], list[str]], words: tuple[str, ...]
) -> None:
    """Run a command in a machine, in place of this process."""
    from nncp.lab import nodes  # noqa: PLC0415

    kept = place.standing.find(*place.words(verb, *words))
    command = kept.command(nodes.standing(kept.root)[machine].command(argv()))
    os.execvp(command[0], command)  # noqa: S606


@cluster.command()
@click.pass_obj
def status(place: Place) -> None:
    """Show the nodes, their Pods and their links."""
    here = place.go_in("status")
    for what in (("nodes", "-o", "wide"), ("pods", "-A", "-o", "wide")):
        try:
            click.echo(here.kubectl("get", *what).rstrip() or "no Pods")
        except Error as error:
            click.echo(f"the API server does not answer: {error.message}")
            break
    for name in NODES:
        if name not in here.rack.nodes:
            click.echo(f"{name} is off")
            continue
        click.echo(f"{name}:")
        click.echo(here.rack[name].run("ip", "-br", "link").rstrip())


_what = click.argument("name", metavar="NODE|kube-apiserver")


@cluster.command()
@_what
@click.pass_obj
def off(place: Place, name: str) -> None:
    """Take the power from a node, or kill the API server."""
    cluster = place.go_in("off", name)
    with cluster.alone():
        cluster.turn_off(name)


@cluster.command()
@_what
@click.pass_obj
def on(place: Place, name: str) -> None:
    """Turn it on again; a node that runs is taken the power from first."""
    cluster = place.go_in("on", name)
    with cluster.alone():
        cluster.turn_on(name)


@cluster.command()
@click.argument("name", metavar="NODE")
@click.pass_obj
def cut(place: Place, name: str) -> None:
    """Cut a node off from the API server."""
    place.go_in("cut", name).link(name, up=False)


@cluster.command()
@click.argument("name", metavar="NODE")
@click.pass_obj
def mend(place: Place, name: str) -> None:
    """Connect it again."""
    place.go_in("mend", name).link(name, up=True)


@cluster.command()
@click.argument(
    "archives",
    metavar="ARCHIVE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.pass_obj
def load(place: Place, archives: tuple[Path, ...]) -> None:
    """Give the nodes images, from archives as `make image` writes them.

    Pods find them by their names, without a registry; so they do on nodes that are turned on later.
    """
    cluster = place.go_in("load", *(str(path.absolute()) for path in archives))
    with cluster.alone():
        for name in cluster.load(archives):
            click.echo(name)


@cluster.command()
@click.pass_obj
def demo(place: Place) -> None:
    """One policy for two nodes, a plan, a repair, a bad node, a way back, a power cycle; then all is gone.

    It ends 0 when all of it was shown.
    """
    if os.environ.pop(IN_ROOM, ""):
        from nncp.lab.cluster import demo as course  # noqa: PLC0415  only in the room

        sys.exit(course.show(place.site.groups, _image()))
    place.site.needs_root()
    if not place.name.endswith(BESIDE):
        place = Place(f"{place.name}{BESIDE}", place.kernel)
    if not lab.inside():
        _fetch()
        _image()
    again = place.standing.again(*place.words("demo"))
    if lab.inside() or not lab.missing():
        sys.exit(room.run(place.site, again, {**os.environ, IN_ROOM: "1"}))
    _say(f"starts a lab kernel: this one lacks {', '.join(lab.missing())}")
    with lab.start(name="cluster demo", memory=MEMORY, writable=writable()) as session:
        sys.exit(session.run(again, stdin=0, forward=True, terminal=os.isatty(0) and os.isatty(1)))


def _image() -> Path:
    """Return the operator's image of this checkout."""
    from nncp.lab.cluster import image  # noqa: PLC0415

    checkout = Path(__file__).parents[3]
    if not (checkout / "deploy").is_dir():
        raise Error("the demo applies deploy/", kind=ErrorKind.USAGE, hint="it runs in a checkout")
    return image.ensure(checkout)


def _say(text: str) -> None:
    click.echo(f"cluster: {text}", err=True)
