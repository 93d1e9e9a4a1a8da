"""The shape of a VirtualMachine around its networks: what must be a mapping, a list or a text.

Lists of what has readers of its own are lists of anything here.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Metadata(Struct, frozen=True):
    """What a VirtualMachine is called."""

    name: str = ""
    namespace: str | None = None


class Devices(Struct, frozen=True, rename="camel"):
    """A domain's devices."""

    interfaces: list[Any] | None = None
    network_interface_multiqueue: bool | None = None


class Domain(Struct, frozen=True):
    """A domain, as far as its networks go."""

    devices: Devices | None = None
    cpu: dict[str, Any] | None = None


class PodSpec(Struct, frozen=True, rename="camel"):
    """The spec of a VM's Pod."""

    domain: Domain | None = None
    networks: list[Any] | None = None
    hostname: str | None = None
    subdomain: str | None = None
    dns_config: Any = None


class Template(Struct, frozen=True):
    """A VirtualMachine's template."""

    spec: PodSpec | None = None


class VmSpec(Struct, frozen=True):
    """A VirtualMachine's spec."""

    template: Template | None = None


class Manifest(Struct, frozen=True):
    """A whole VirtualMachine."""

    metadata: Metadata = Metadata()
    spec: VmSpec | None = None

    @property
    def pod(self) -> PodSpec:
        """The spec of its Pod, empty when there is none."""
        template = self.spec.template if self.spec else None
        return (template.spec if template else None) or PodSpec()
