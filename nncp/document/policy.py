"""What a file may hold besides a bare state: NodeNetworkConfigurationPolicy manifests and lists of them.

apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: vm-bridge}
spec:
  nodeSelector: {node-role.kubernetes.io/virt: ''}
  desiredState: {interfaces: [...]}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from nncp.document.complaints import did_you_mean, quoted, shown
from nncp.document.lax import given, read_lax
from nncp.document.port_vlan import PortVlan
from nncp.document.source import Node, Text
from nncp.document.spec import SHARE, WORDS, PolicySpec
from nncp.errors import Error, raise_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.document.state import Interface

KIND = "NodeNetworkConfigurationPolicy"
STATE_KIND = "NodeNetworkState"
VERSIONS = ("nmstate.io/v1", "nmstate.io/v1beta1")
MANIFEST_KEYS = ("apiVersion", "kind", "metadata", "spec", "status")
READ_HERE = ("capture", "desiredState", "nodeSelector", "maxUnavailable")
"""What of a spec this module reads; the rest is a cluster's."""
BARE_KEYS = ("capture", "current", "desired", "desiredState")
LONGEST_NAME = 63  # a label's value: kubernetes-nmstate labels its enactments with the policy's name

PORT_VLAN = convert(
    {"mode": "trunk", "trunk-tags": [{"id-range": {"min": 2, "max": 4094}}]}, PortVlan, dec_hook=read_lax
)
"""What kubernetes-nmstate gives a bridge port that says nothing of VLANs; VID 1 stays untagged beside it."""


class Policy(Struct, frozen=True):
    """A desired state, and what its manifest says of it.

    Args:
        state: the desired state, for `read_state`.
        name: the manifest's name; "" for a bare state.
        node_selector: labels of the nodes that the manifest is for.
        for_cluster: what its manifest says that only a cluster reads, by name.
        is_manifest: whether it came in a manifest, with a manifest's defaults.
        capture: its captures; None where it has none.
        current: the state that they look into, where the document holds one.
        is_template: whether its texts may refer to captures and values; those of a bare state may not.
        known_as: what it is known by once it is applied, where it has no name.
        unknown: the paths of texts that refer to what is not known: what is wrong there is not their fault.

    """

    state: Node
    name: str = ""
    node_selector: dict[str, str] = {}
    for_cluster: tuple[str, ...] = ()
    is_manifest: bool = False
    capture: Node | None = None
    current: Node | None = None
    is_template: bool = False
    known_as: str = ""
    unknown: frozenset[str] = frozenset()

    def excuses(self, error: Error) -> bool:
        """Whether an error is about a text that refers to what is not known."""
        return any(
            error.path.startswith(path) and error.path[len(path) : len(path) + 1] in {"", ".", "["}
            for path in self.unknown
            if error.where and error.where.file == self.state.file
        )


def read_policies(nodes: Iterable[Node]) -> list[Policy]:
    """Return the policies of all documents; documents without content are none.

    Raises:
        Error: with all that is wrong with the manifests; the states within are for `read_state`.

    """
    errors: list[Error] = []
    found = [policy for node in nodes if node.value is not None for policy in _policies(node, errors)]
    raise_all(errors)
    return found


def read_current(nodes: Iterable[Node], *, file: str) -> Policy:
    """Return the state that stands for a host: a bare one, that of a NodeNetworkState, or none at all.

    Raises:
        Error: it is neither, or not alone.

    """
    found = [node for node in nodes if node.value is not None]
    if len(found) > 1:
        raise found[1].error("a host has one state, and this is the second document", hint="give it alone")
    if not found:
        return Policy(Node({}, text=Text("", file=file), index=0))
    node = found[0]
    if isinstance(node.value, dict) and node.value.get("kind") == STATE_KIND:
        try:
            return Policy(node.at("status", "currentState"))
        except (KeyError, TypeError):
            raise node.error(f"the {STATE_KIND} has no status.currentState") from None
    if isinstance(node.value, dict) and "kind" in node.value:
        hint = f"give a bare state, as nncp show prints it, or a {STATE_KIND}"
        raise node.error(f"a {shown(node.value['kind'])} is no state of a host", "kind", hint=hint)
    return Policy(node)


def _policies(node: Node, errors: list[Error]) -> Iterator[Policy]:
    data = node.value
    if not isinstance(data, dict):
        errors.append(node.error(f"a document must be a mapping, got {shown(data)}"))
    elif data.get("kind") == "List" and isinstance(data.get("items"), list):
        for at in range(len(data["items"])):
            yield from _policies(node.at("items", at), errors)
    elif "kind" in data or "apiVersion" in data:
        yield from _manifest(node, errors)
    elif "desired" in data or "desiredState" in data or "capture" in data:
        yield from _bare(node, errors)
    else:
        yield Policy(node)


def _manifest(node: Node, errors: list[Error]) -> Iterator[Policy]:
    wrong = [*_wrong_kind(node)] or [*_wrong_shape(node)]
    errors += wrong
    if wrong:
        return
    spec, selector = node.at("spec"), node.value["spec"].get("nodeSelector") or {}
    name = node.value["metadata"]["name"]
    yield Policy(
        _part(spec, "desiredState") or spec.replaced({}),
        name=name,
        node_selector=selector,
        for_cluster=tuple(key for key in WORDS if key in spec.value and key not in READ_HERE),
        is_manifest=True,
        capture=_part(spec, "capture"),
        is_template=True,
    )


def _bare(node: Node, errors: list[Error]) -> Iterator[Policy]:
    """Yield the policy of a document that is one without a manifest, as nmstate's are."""
    errors += _unknown_keys(node, BARE_KEYS)
    key = "desired" if "desired" in node.value else "desiredState"
    if key == "desired" and "desiredState" in node.value:
        errors.append(node.error("desired and desiredState are one thing", "desiredState", key=True))
    current = node.value.get("current")
    if current is not None and not isinstance(current, dict):
        errors.append(node.error(f"current must be a mapping, got {shown(current)}", "current"))
    yield Policy(
        _part(node, key) or node.replaced({}),
        capture=_part(node, "capture"),
        current=_part(node, "current"),
        is_template=True,
    )


def _part(node: Node, key: str) -> Node | None:
    return node.at(key) if node.value.get(key) is not None else None


def _wrong_kind(node: Node) -> Iterator[Error]:
    version, kind = node.value.get("apiVersion"), node.value.get("kind")
    if kind != KIND:
        hint = did_you_mean(str(kind), [KIND]) or f"give a {KIND}, a List of them, or a bare state"
        yield node.error(f"kind must be {KIND}, got {shown(kind)}", "kind", hint=hint)
    elif version not in VERSIONS:
        message = f"apiVersion must be {VERSIONS[0]}, got {shown(version)}"
        yield node.error(message, "apiVersion", hint=f"write apiVersion: {VERSIONS[0]}")


def _wrong_shape(node: Node) -> Iterator[Error]:
    yield from _unknown_keys(node, MANIFEST_KEYS)
    metadata, spec = node.value.get("metadata"), node.value.get("spec")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        yield node.error("metadata.name is missing", "metadata", "name", key=True)
    elif len(name) > LONGEST_NAME:
        message = f"metadata.name must have at most {LONGEST_NAME} characters, got {len(name)}"
        yield node.error(message, "metadata", "name")
    if not isinstance(spec, dict):
        yield node.error("spec is missing" if spec is None else "spec must be a mapping", "spec", key=True)
        return
    yield from _unknown_keys(node.at("spec"), WORDS)
    yield from _wrong_selector(node.at("spec"))
    yield from _wrong_limit(node.at("spec"))
    yield from _wrong_for_cluster(node.at("spec"))


def _wrong_limit(spec: Node) -> Iterator[Error]:
    limit = spec.value.get("maxUnavailable")
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    if limit is None or is_number or (isinstance(limit, str) and re.fullmatch(SHARE, limit)):
        return
    message = f"maxUnavailable must be a number of nodes or a share of them like 50%, got {shown(limit)}"
    yield spec.error(message, "maxUnavailable")


def _wrong_for_cluster(spec: Node) -> Iterator[Error]:
    """Yield what is wrong with what a cluster reads."""
    rest = {key: value for key, value in spec.value.items() if key in WORDS and key not in READ_HERE}
    try:
        convert(rest, PolicySpec)
    except ValidationError:
        from nncp.document.schema import errors_of, struct_schema  # noqa: PLC0415  (few are wrong)

        yield from errors_of(spec.replaced(rest), struct_schema(PolicySpec))


def _unknown_keys(node: Node, known: tuple[str, ...]) -> Iterator[Error]:
    for key in node.value:
        if key not in known:
            where = f" in {node.path[-1]}" if node.path else ""
            yield node.error(f"unknown key {key}{where}", key, key=True, hint=did_you_mean(key, known))


def _wrong_selector(spec: Node) -> Iterator[Error]:
    selector = spec.value.get("nodeSelector")
    if selector is not None and not isinstance(selector, dict):
        yield spec.error(f"nodeSelector must be a mapping, got {shown(selector)}", "nodeSelector")
        return
    for label, value in (selector or {}).items():
        if isinstance(value, str):
            continue
        error = spec.error(f"label {label} must be text, got {shown(value)}", "nodeSelector", label)
        nothing = "quote it: ''" if value is None else "only equality is known: write label: 'value'"
        error.hint = quoted(value, spec.place("nodeSelector", label)) or nothing
        yield error


def with_port_vlans(interface: Interface) -> Interface:
    """Give the ports of a bridge that is up the VLANs that a manifest gives them by default."""
    bridge: Any = given(interface.config)
    if interface.form != "linux-bridge" or not interface.is_up or not given(getattr(bridge, "port", None)):
        return interface
    ports = tuple(port if given(port.vlan) else replace(port, vlan=PORT_VLAN) for port in bridge.port)
    return replace(interface, **{interface.section: replace(bridge, port=ports)})
