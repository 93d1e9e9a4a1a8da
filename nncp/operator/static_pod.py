"""The static Pod that brings back a node's network at its start, where the node's own Python cannot.

A kubelet runs what it finds in a folder of the node's, without an API server, from the image that is there.

    python -m nncp.operator.static_pod --image IMAGE

is what runs in it: `nncp restore`, once for each start of the node. A kubelet makes a Pod anew whenever its
manifest or its sandbox is another one, and what somebody has changed by hand since the start is not to be
undone by that: a policy may say that it is only told.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.journal import STATE_DIR, namespace_key
from nncp.render import render_error
from nncp.restore import restore
from nncp.state_folder import StateFolder, sync

NAME = "bridgehead-restore"
FILE = f"{NAME}.yaml"
DRAFT = f".{FILE}"
"""A kubelet takes no file whose name begins so (pkg/kubelet/config/file.go)."""
FOLDER, NOTE = "engine", "start.json"
USER = 65532
CRITICAL = {"priorityClassName": "system-node-critical", "priority": 2000001000}
"""Both: nobody fills in the number for a Pod that comes from no API server."""
LIES = "trap 'exit 0' TERM; sleep infinity & wait"


def manifest(image: str, state_dir: Path = STATE_DIR) -> dict[str, Any]:
    """Return the Pod. Pure.

    A Pod that may come to its end is not run again after a start: its end is known to the container runtime,
    whose memory outlives that. So this one never ends, and what is done at a start comes before the rest, as
    an init container does whenever a sandbox is new (pkg/kubelet/kuberuntime, computePodActions). It also
    keeps the image on the node.

    Args:
        image: the engine's own.
        state_dir: by the node's names.

    """
    command = ["python", "-m", "nncp.operator.static_pod", f"--image={image}", f"--state-dir={state_dir}"]
    mounts = [
        {"name": "state", "mountPath": str(state_dir)},
        {"name": "sysctls", "mountPath": "/host/proc/sys/net"},
        {
            "name": "networks",
            "mountPath": "/run/netns",
            "readOnly": True,
            "mountPropagation": "HostToContainer",
        },
    ]
    spec = {
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        **CRITICAL,
        "tolerations": [{"operator": "Exists"}],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [
            {
                **_container("restore", image, command, user=0, rights=("NET_ADMIN", "NET_RAW", "SYS_ADMIN")),
                "env": [{"name": "BRIDGEHEAD_SYSCTLS", "value": "/host/proc/sys"}],
                "volumeMounts": mounts,
            }
        ],
        "containers": [_container("rest", image, ["sh", "-c", LIES], user=USER)],
        "volumes": [
            _host("state", str(state_dir), "DirectoryOrCreate"),
            _host("sysctls", "/proc/sys/net", "Directory"),
            _host("networks", "/run/netns", "DirectoryOrCreate"),
        ],
    }
    about = {"name": NAME, "namespace": "kube-system", "labels": {"app.kubernetes.io/name": "bridgehead"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}


def _container(
    name: str, image: str, command: list[str], *, user: int, rights: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",  # what could be asked for it is behind the network that is to come back
        "command": command,
        "securityContext": {
            "runAsUser": user,
            "runAsGroup": user,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], **({"add": list(rights)} if rights else {})},
        },
    }


def _host(name: str, path: str, kind: str) -> dict[str, Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def put(folder: Path, image: str, state_dir: Path) -> None:
    """Have the manifest in a kubelet's folder; one that says the same is left alone.

    Raises:
        Error: it cannot be written.

    """
    text = "# Made by the node's engine, which also removes it.\n"
    text += yaml.safe_dump(manifest(image, state_dir), sort_keys=False)
    place, draft = folder / FILE, folder / DRAFT
    try:
        if place.is_file() and place.read_text(encoding="utf-8") == text:
            return
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
        sync(folder)
    except OSError as error:
        raise _told(place, error) from error


def remove(folder: Path) -> None:
    """Remove the manifest, if it is there; raises `Error` when it cannot be removed."""
    try:
        for name in (FILE, DRAFT):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise _told(folder / FILE, error) from error


def _told(place: Path, error: OSError) -> Error:
    return Error(f"{place} cannot be written: {error.strerror or error}", kind=ErrorKind.UNSUPPORTED)


class Start(Struct, frozen=True):
    """The last start of the node after which nothing is to be brought back any more.

    Args:
        key: of the start, and of its network namespace.
        image: of the static Pod that has run since; "" while none has.

    """

    key: str
    image: str = ""


def noted(state_dir: Path) -> Start | None:
    """Return what was noted last; None of what cannot be read: then it was not."""
    folder = StateFolder.find(state_dir, FOLDER)
    if folder is None:
        return None
    with folder, contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(folder.read(NOTE) or b"", type=Start)
    return None


def note(state_dir: Path, image: str = "") -> None:
    """Note that nothing is to be brought back until the node's next start; raises `Error`."""
    with StateFolder.make(state_dir, FOLDER) as folder:
        folder.write(NOTE, msgspec.json.encode(Start(namespace_key(), image)))


@click.command()
@click.option("--image", default="", help="What the Pod runs from.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE_DIR, show_default=True)
def main(image: str, state_dir: Path) -> None:
    """Bring back what was applied, unless that was done since the node's start."""
    try:
        last = noted(state_dir)
        if last is None or last.key != namespace_key():
            _restore(state_dir)
        note(state_dir, image)
    except Error as error:
        click.echo("\n".join(map(render_error, error)), err=True)
        sys.exit(error.kind.exit_code)


def _restore(state_dir: Path) -> None:
    """Bring it back; what cannot be is told, and not tried again: it would change what is right by then."""
    try:
        for each in restore(state_dir=state_dir):
            click.echo(f"{', '.join(each.names)}: {len(each.ops)} changes", err=True)
    except Error as error:
        click.echo("\n".join(map(render_error, error)), err=True)


if __name__ == "__main__":
    main()
