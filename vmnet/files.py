"""The manifests that a command is given: VirtualMachines and NetworkAttachmentDefinitions, from any files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.document.source import load
from nncp.errors import Error, ErrorKind, raise_all
from nncp.terminal import read_text, shown
from vmnet.manifest import read_vm
from vmnet.model import VirtualMachine
from vmnet.nad import KIND, Nad, read_nad

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nncp.document.source import Node
    from vmnet.plumbing import Binding


class Manifests(Struct, frozen=True):
    """What the files held; documents of other kinds are other commands' business."""

    vms: tuple[VirtualMachine, ...]
    nads: tuple[Nad, ...]

    def vm(self, name: str = "") -> VirtualMachine:
        """Return the VM of this name, or the only one."""
        found = [vm for vm in self.vms if name in {"", vm.name}]
        if len(found) != 1:
            known = list(dict.fromkeys(vm.name for vm in self.vms))
            if len(found) > 1:
                message = (
                    f"there are {len(found)} VirtualMachines {name}" if name else "name one VirtualMachine"
                )
            else:
                message = f"there is no VirtualMachine {name}".rstrip()
            hint = f"in the files: {', '.join(known)}" if known else "the files hold none"
            raise Error(message, kind=ErrorKind.USAGE, hint=hint)
        return found[0]


def read_files(files: Iterable[str], *, bindings: Sequence[Binding]) -> Manifests:
    """Read files (`-` is standard input); raise every error of all of them at once."""
    return read_texts([(shown(file), read_text(file)) for file in files], bindings=bindings)


def read_texts(texts: Iterable[tuple[str, str]], *, bindings: Sequence[Binding]) -> Manifests:
    """Read manifests from (file name, text) pairs."""
    vms: list[VirtualMachine] = []
    nads: list[Nad] = []
    errors: list[Error] = []
    for file, text in texts:
        try:
            nodes = load(text, file=file)
        except Error as error:
            errors.append(error)
            continue
        for node in nodes:
            try:
                _sort(node, text, vms, nads, bindings)
            except Error as error:
                errors.append(error)
    raise_all(errors)
    return Manifests(tuple(vms), tuple(nads))


def _sort(
    node: Node, text: str, vms: list[VirtualMachine], nads: list[Nad], bindings: Sequence[Binding]
) -> None:
    kind = node.value.get("kind") if isinstance(node.value, dict) else None
    if kind == "VirtualMachine":
        vms.append(read_vm(node, bindings=bindings))
    elif kind == KIND:
        nad = read_nad(node, text=text)
        if any(other.full_name == nad.full_name for other in nads):
            raise node.error(f"there are two {KIND}s {nad.full_name}", "metadata", "name", subject=nad.name)
        nads.append(nad)
