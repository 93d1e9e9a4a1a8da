"""The NoCloud seed: what cloud-init in the guest is told, as a small ISO file system labelled cidata.

User data and network data pass through as they are written. What can be known to be wrong with them is said
before a guest starts: cloud-init would say it on a console that nobody reads, and go on without a network.

Format: cloud-init, reference/datasources/nocloud and reference/network-config-format-v2. Limits and words
are KubeVirt's (validating webhook, pkg/cloud-init).
"""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import json
import os
import re
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from nncp.document.source import load
from nncp.errors import Error, raise_all
from vmnet.nad import Embedded
from vmnet.names import hostname

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from nncp.document.source import Node, Step

    Where: TypeAlias = "tuple[Step, ...]"

LIMIT = 2048  # bytes of inline data: they travel in the VirtualMachine object itself
PADDED = 1 << 20  # bytes that the ISO has at least
PRIVATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
SPEC = ("spec", "template", "spec")
# pkg/virt-controller: the namespace in which a VM's name becomes its firmware UUID when it has none.
FIRMWARE_NAMESPACE = uuid.UUID("6a1a24a1-4061-4607-8bf4-a3963d0c5895")
SECRETS = ("secretRef", "networkDataSecretRef")
NETWORK_DATA = ("networkData", "networkDataBase64")
USER_DATA = ("userData", "userDataBase64")
KEYS = ("version", "renderer", "ethernets", "bonds", "bridges", "vlans", "wifis")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


class Seed(Struct, frozen=True):
    """What goes into the ISO."""

    instance_id: str
    hostname: str
    user_data: str = ""
    network_data: str = ""

    def files(self) -> dict[str, bytes]:
        """Return the ISO's files by name; without network data cloud-init makes up its own network-config."""
        meta = {"instance-id": self.instance_id, "local-hostname": self.hostname}
        files = {"meta-data": json.dumps(meta, indent=1) + "\n", "user-data": self.user_data}
        if self.network_data:
            files["network-config"] = self.network_data
        return {name: text.encode() for name, text in files.items()}


def firmware_uuid(manifest: Mapping[str, Any]) -> str:
    """Return the firmware UUID of a VirtualMachine: the one it states, or the one its name makes.

    It stays over restarts and migrations, so cloud-init takes the machine for the same instance.
    """
    firmware = _dig(manifest, *SPEC, "domain", "firmware")
    stated = firmware.get("uuid") if isinstance(firmware, dict) else None
    name = _dig(manifest, "metadata", "name")
    return str(stated or uuid.uuid5(FIRMWARE_NAMESPACE, name if isinstance(name, str) else ""))


def read_seed(node: Node, *, text: str, macs: Mapping[str, str]) -> Seed | None:
    """Read the `cloudInitNoCloud` volume of a VirtualMachine; None when it has none.

    Args:
        node: the manifest.
        text: the whole file that it came from.
        macs: the guest's NICs in order, with their MACs where they are known: {"eth0": "", "eth1": "02:..."}.

    Raises:
        Error: everything that is wrong with it, in networkData too, at its place in the file.

    """
    listed = _dig(node.value, *SPEC, "volumes")
    volumes = list(enumerate(listed)) if isinstance(listed, list) else []
    faults = list(_refused(node, volumes))
    found = [index for index, volume in volumes if isinstance(volume, dict) and "cloudInitNoCloud" in volume]
    faults += [
        node.error("a VM has one cloudInitNoCloud volume", *SPEC, "volumes", i, key=True) for i in found[1:]
    ]
    if not found:
        raise_all(faults)
        return None
    source = node.at(*SPEC, "volumes", found[0], "cloudInitNoCloud")
    faults += _source_faults(source)
    raise_all(faults)
    user, network = (_data(source, keys) for keys in (USER_DATA, NETWORK_DATA))
    raise_all(_network_faults(source, network, lines=text.splitlines(), macs=macs))
    name, wanted = (_dig(node.value, *path) for path in (("metadata", "name"), (*SPEC, "hostname")))
    return Seed(firmware_uuid(node.value), hostname(str(name), str(wanted or "")), user, network)


def write_seed(seed: Seed, path: Path) -> None:
    """Write the ISO to `path`, whole or not at all, and for its owner alone: there may be passwords in it."""
    import pycdlib  # noqa: PLC0415  only when a seed is written

    iso = pycdlib.PyCdlib()
    # cloud-init looks for the label in either case; people look for it as it is documented.
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, data in seed.files().items():
        short = name.upper().replace("-", "_")
        iso.add_fp(io.BytesIO(data), len(data), f"/{short}.;1", rr_name=name, joliet_path=f"/{name}")
    staging = path.with_name(f".{path.name}.staging")
    with os.fdopen(os.open(staging, PRIVATE, 0o600), "w+b") as file:
        os.fchmod(file.fileno(), 0o600)
        iso.write_fp(file)
        file.flush()
        # Who looks for the label asks for every other file system too, and gives up at a read beyond the end.
        os.truncate(file.fileno(), max(os.fstat(file.fileno()).st_size, PADDED))
    iso.close()
    staging.rename(path)


def _dig(value: Any, *path: Step) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _refused(node: Node, volumes: Iterable[tuple[int, Any]]) -> Iterator[Error]:
    for index, volume in volumes:
        if isinstance(volume, dict) and "cloudInitConfigDrive" in volume:
            where = (*SPEC, "volumes", index, "cloudInitConfigDrive")
            yield node.error(
                "cloudInitConfigDrive is not supported here", *where, key=True, hint="use cloudInitNoCloud"
            )


def _source_faults(source: Node) -> Iterator[Error]:
    """What is wrong with the volume itself; the words are KubeVirt's."""
    value = source.value
    if not isinstance(value, dict):
        yield source.error("cloudInitNoCloud must be a mapping")
        return
    known = (*USER_DATA, *NETWORK_DATA, *SECRETS)
    for key in value:
        if key not in known:
            yield source.error(f"unknown field {key}", key, key=True, hint=f"known here: {', '.join(known)}")
        elif key in SECRETS:
            yield source.error(
                f"{key} needs a cluster that keeps the secret", key, key=True, hint="give the data inline"
            )
        elif not isinstance(value[key], str):
            yield source.error(f"{key} must be text", key)
    for keys, word, secret in (
        (USER_DATA, "userdata", "UserDataSecretRef"),
        (NETWORK_DATA, "networkdata", "NetworkDataSecretRef"),
    ):
        given = [key for key in keys if key in value]
        if len(given) > 1:
            yield source.error(f"cloudInitNoCloud must have only one {word} source set", given[1], key=True)
        for key in given:
            yield from _text_faults(source, key, word, secret)
    if not set(value) & set(known):
        yield source.error(
            "cloudInitNoCloud must have at least one userdatasource or one networkdatasource set"
        )


def _text_faults(source: Node, key: str, word: str, secret: str) -> Iterator[Error]:
    value = source.value[key]
    if not isinstance(value, str):
        return
    if key.endswith("Base64"):
        try:
            value = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            yield source.error(f"{key} is not base64 of UTF-8 text", key)
            return
    size = len(value.encode())
    if size > LIMIT:
        message = f"cloudInitNoCloud {word} exceeds {LIMIT} byte limit: it has {size}"
        yield source.error(message, key, key=True, hint=f"Should use {secret} for larger data.")


def _data(source: Node, keys: tuple[str, str]) -> str:
    plain, encoded = keys
    if encoded in source.value:
        return base64.b64decode(source.value[encoded]).decode()
    return str(source.value.get(plain, ""))


def _network_faults(source: Node, data: str, *, lines: list[str], macs: Mapping[str, str]) -> Iterator[Error]:
    """Yield what is wrong with network data, at its place in the manifest where that can be known."""
    if not data:
        return
    key = next(key for key in NETWORK_DATA if key in source.value)
    embedded = Embedded(start=source.place(key), lines=tuple(lines))
    path = f"{_path(source)}.{key}"
    for fault in _network_config_faults(data, file=embedded.start.file, macs=macs):
        where = embedded.outer(fault.where) if fault.where and key == "networkData" else embedded.start
        inner = f"{path}: {fault.path}" if fault.path else path
        yield Error(fault.message, path=inner, subject=fault.subject, hint=fault.hint, where=where)


def _path(node: Node) -> str:
    from nncp.document.source import path_text  # noqa: PLC0415  an error is being told

    return path_text(*node.path)


def _network_config_faults(data: str, *, file: str, macs: Mapping[str, str]) -> Iterator[Error]:
    try:
        nodes = load(data, file=file)
    except Error as error:
        yield from error
        return
    node = nodes[0] if nodes else None
    if node is None or not isinstance(node.value, dict):
        yield Error("networkData must be a mapping", hint="version: 2, ethernets: ...")
        return
    if isinstance(node.value.get("network"), dict):  # netplan's own envelope
        node = node.at("network")
    if node.value.get("version") == 1:  # read by cloud-init; nothing of it is checked here
        return
    if node.value.get("version") != 2:
        yield node.error("networkData needs version: 2", "version", hint="cloud-init's network-config format")
    for unknown in (key for key in node.value if key not in KEYS):
        yield node.error(f"unknown field {unknown}", unknown, key=True, hint=f"known here: {', '.join(KEYS)}")
    ethernets = node.value.get("ethernets", {})
    if not isinstance(ethernets, dict):
        yield node.error("ethernets must be a mapping of NICs", "ethernets")
        return
    for name in ethernets:
        yield from _ethernet_faults(node.at("ethernets"), name, macs)


def _ethernet_faults(ethernets: Node, name: str, macs: Mapping[str, str]) -> Iterator[Error]:
    value = ethernets.value[name]
    if value is None:
        value = {}
    if not isinstance(value, dict):
        yield ethernets.error(f"{name} must be a mapping", name)
        return
    yield from _identity_faults(ethernets, name, value, macs)
    addresses = value.get("addresses") or []
    if not isinstance(addresses, list):
        yield ethernets.error("addresses must be a list", name, "addresses")
        addresses = []
    for index, address in enumerate(addresses):
        text = next(iter(address), "") if isinstance(address, dict) else address
        yield from _address_faults(ethernets, (name, "addresses", index), text)
    for family, key in ((4, "gateway4"), (6, "gateway6")):
        if key in value and not _is_address(value[key], family):
            yield ethernets.error(f"{key} must be an IPv{family} address, got {value[key]}", name, key)
    for key in ("dhcp4", "dhcp6"):
        if key in value and str(value[key]).lower() not in {"true", "false", "yes", "no", "on", "off"}:
            yield ethernets.error(f"{key} must be true or false, got {value[key]}", name, key)


def _identity_faults(
    ethernets: Node, name: str, value: Mapping[str, Any], macs: Mapping[str, str]
) -> Iterator[Error]:
    """Say when no NIC of the VM is meant: cloud-init configures nothing then, or stops at the missing MAC."""
    nics = ", ".join(f"{nic} ({mac})" if mac else nic for nic, mac in macs.items()) or "none"
    match = value.get("match")
    mac = match.get("macaddress") if isinstance(match, dict) else None
    hint = f"the VM's NICs: {nics}"
    if mac is None:
        known = not match and name in macs
        if not match and not known:
            yield ethernets.error(f"the VM has no NIC {name}", name, key=True, subject=name, hint=hint)
        return
    where: Where = (name, "match", "macaddress")
    if not isinstance(mac, str) or not _MAC.match(mac.lower()):
        yield ethernets.error(f"{mac} is not a MAC address", *where, subject=name)
    elif all(macs.values()) and mac.lower() not in macs.values():
        yield ethernets.error(f"the VM has no NIC with the MAC {mac}", *where, subject=name, hint=hint)


def _address_faults(ethernets: Node, where: Where, text: Any) -> Iterator[Error]:
    try:
        interface = ipaddress.ip_interface(str(text))
    except ValueError:
        yield ethernets.error(
            f"{text} is not an address with its prefix length", *where, hint="172.17.33.250/24"
        )
        return
    if "/" not in str(text):
        width = interface.network.max_prefixlen
        yield ethernets.error(
            f"{text} has no prefix length", *where, hint=f"{text}/24, or /{width} for it alone"
        )


def _is_address(text: Any, family: int) -> bool:
    try:
        return ipaddress.ip_address(str(text)).version == family
    except ValueError:
        return False
