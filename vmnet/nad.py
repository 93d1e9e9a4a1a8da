"""NetworkAttachmentDefinitions: a CNI configuration as text inside a manifest.

Errors inside that text are told at their place in the manifest, not at `spec.config` as a whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp.document.source import Node, load
from nncp.errors import Error, Place, raise_all
from vmnet.cniversion import version_fault
from vmnet.valid import LABEL, NETWORK, PLUGIN, SUBDOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

API = "k8s.cni.cncf.io/v1"
KIND = "NetworkAttachmentDefinition"
RESOURCE = "k8s.v1.cni.cncf.io/resourceName"
CONFIG = ("spec", "config")


class Nad(Struct, frozen=True):
    """A network that Pods can be attached to: its CNI plugins in order, and where each word stands."""

    name: str
    namespace: str
    cni_version: str
    plugins: tuple[dict[str, Any], ...]
    listed: bool
    resource: str
    conf: Node
    config: Embedded

    @property
    def full_name(self) -> str:
        """The name as Multus writes it in a network status."""
        return f"{self.namespace}/{self.name}"

    def path(self, plugin: int) -> tuple[str | int, ...]:
        """Return where the plugin stands inside the configuration."""
        return ("plugins", plugin) if self.listed else ()

    def errors(self, error: Error) -> Iterator[Error]:
        """Yield errors about the configuration at their places in the manifest."""
        for each in error:
            where = None if each.where is None else self.config.outer(each.where)
            yield _moved(each, where)


class Embedded(Struct, frozen=True):
    """A text inside a manifest: `start` is where its scalar begins, `lines` are the manifest's."""

    start: Place
    lines: tuple[str, ...]

    def outer(self, inner: Place) -> Place:
        """Return the place in the manifest of a place in the text; else the scalar's own."""
        mark = self.start.text[self.start.column - 1 : self.start.column]
        if mark == "|":
            return self._in_block(inner)
        if mark == "'" and inner.line == 1 and "''" not in self.start.text:
            return self._at(self.start.line, self.start.column + inner.column, inner.width)
        return self.start

    def _in_block(self, inner: Place) -> Place:
        body = self.lines[self.start.line :]
        first = next((line for line in body if line.strip()), "")
        indent = len(first) - len(first.lstrip(" "))
        return self._at(self.start.line + inner.line, indent + inner.column, inner.width)

    def _at(self, line: int, column: int, width: int) -> Place:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return Place(self.start.file, line, column, text, width)


def read_nad(node: Node, *, text: str) -> Nad:
    """Read a NetworkAttachmentDefinition; `text` is the whole file that `node` came from.

    Raises every error that its envelope and its JSON have. What the plugins make of it is theirs to say.
    """
    raise_all(_envelope(node))
    meta = node.value["metadata"]
    config = Embedded(start=node.place(*CONFIG), lines=tuple(text.splitlines()))
    conf = _conf(node, config)
    raise_all(_placed(config, _conf_errors(conf, meta["name"])))
    listed = "plugins" in conf.value
    nad = Nad(
        name=meta["name"],
        namespace=meta.get("namespace") or "default",
        cni_version=str(conf.value.get("cniVersion") or "0.1.0"),
        plugins=tuple(conf.value["plugins"]) if listed else (conf.value,),
        listed=listed,
        resource=(meta.get("annotations") or {}).get(RESOURCE, ""),
        conf=conf,
        config=config,
    )
    return structs.replace(nad, plugins=tuple(_with_name(nad, plugin) for plugin in nad.plugins))


def _with_name(nad: Nad, plugin: dict[str, Any]) -> dict[str, Any]:
    """Give a plugin the name and version of its network, as Multus does where the text has none."""
    name = nad.conf.value.get("name") or nad.name
    return {**plugin, "name": name, "cniVersion": nad.cni_version}


def _envelope(node: Node) -> Iterator[Error]:
    value = node.value
    if not isinstance(value, dict) or value.get("kind") != KIND:
        yield node.error(f"not a {KIND}", "kind")
        return
    if value.get("apiVersion") != API:
        yield node.error(f"apiVersion must be {API}, got {value.get('apiVersion')}", "apiVersion")
    yield from _metadata_errors(node, value.get("metadata"))
    spec = value.get("spec")
    config = spec.get("config") if isinstance(spec, dict) else None
    if not isinstance(config, str) or not config.strip():
        yield node.error("spec.config must be a CNI configuration as JSON text", *CONFIG)


def _metadata_errors(node: Node, meta: object) -> Iterator[Error]:
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        yield node.error(f"a {KIND} needs metadata.name", "metadata")
        return
    if not SUBDOMAIN.allows(meta["name"]):
        message = f"{meta['name']!r} is not the name of a {KIND}"
        yield node.error(message, "metadata", "name", hint=SUBDOMAIN.words)
    namespace, notes = meta.get("namespace"), meta.get("annotations")
    if namespace and not LABEL.allows(namespace):
        message = f"{namespace!r} is not the name of a namespace"
        yield node.error(message, "metadata", "namespace", hint=LABEL.words)
    if notes is not None and not isinstance(notes, dict):
        yield node.error("annotations must be a mapping", "metadata", "annotations")
    elif notes and not isinstance(notes.get(RESOURCE, ""), str):
        yield node.error(f"{RESOURCE} must be text", "metadata", "annotations", RESOURCE)


def _conf(node: Node, config: Embedded) -> Node:
    """Parse the JSON strictly, then once more by the reader that knows places and duplicate keys."""
    text, file, name = node.value["spec"]["config"], config.start.file, node.value["metadata"]["name"]
    try:
        value = json.loads(text)
    except RecursionError:
        raise node.error("spec.config is nested too deeply", *CONFIG, subject=name) from None
    except json.JSONDecodeError as error:
        where = config.outer(Place(file, error.lineno, error.colno))
        message = f"spec.config is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise Error(message, path="spec.config", subject=name, where=where) from None
    except ValueError:  # Python makes no number of so many digits
        raise node.error("spec.config holds a number that is too long", *CONFIG, subject=name) from None
    if not isinstance(value, dict):
        raise node.error("spec.config must be a JSON object", *CONFIG, subject=name)
    try:
        return load(text, file=file)[0]
    except Error as error:
        raise_all(_moved(each, each.where and config.outer(each.where)) for each in error)
        raise


def _placed(config: Embedded, errors: Iterable[Error]) -> Iterator[Error]:
    """Move errors about the configuration to their places in the manifest."""
    return (_moved(error, error.where and config.outer(error.where)) for error in errors)


def _conf_errors(conf: Node, name: str) -> Iterator[Error]:
    """What is wrong with the network configuration itself; the rest is for its plugins to say."""
    value = conf.value
    if "name" in value and value["name"] != "" and not NETWORK.allows(value["name"]):
        message = f"{value['name']!r} is not the name of a network"
        yield conf.error(message, "name", subject=name, hint=NETWORK.words)
    if why := version_fault(value.get("cniVersion")):
        yield conf.error(why, "cniVersion", subject=name, hint='say "cniVersion": "0.3.1" or newer')
    plugins = value.get("plugins", [value])
    if not isinstance(plugins, list) or not plugins or not all(isinstance(one, dict) for one in plugins):
        yield conf.error("plugins must be a list of objects", "plugins", subject=name)
        return
    for index, plugin in enumerate(plugins):
        where = ("plugins", index) if "plugins" in value else ()
        yield from _plugin_errors(conf, plugin, where, name)


def _plugin_errors(
    conf: Node, plugin: dict[str, Any], where: tuple[str | int, ...], name: str
) -> Iterator[Error]:
    if not isinstance(plugin.get("type"), str):
        yield conf.error('a CNI plugin needs a "type"', *where, subject=name)
    elif not PLUGIN.allows(plugin["type"]):
        message = f"{plugin['type']!r} is not the name of a plugin"
        yield conf.error(message, *where, "type", subject=name, hint=PLUGIN.words)
    ipam = plugin.get("ipam")
    if ipam is not None and not isinstance(ipam, dict):
        yield conf.error("ipam must be an object", *where, "ipam", subject=name)
    elif ipam and ipam.get("type") and not PLUGIN.allows(ipam["type"]):
        message = f"{ipam['type']!r} is not the name of a plugin"
        yield conf.error(message, *where, "ipam", "type", subject=name, hint=PLUGIN.words)


def _moved(error: Error, where: Place | None) -> Error:
    path = f"spec.config: {error.path}" if error.path else "spec.config"
    return Error(
        error.message, path=path, subject=error.subject, hint=error.hint, where=where, kind=error.kind
    )
