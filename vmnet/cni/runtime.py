"""Running CNI plugins, as a container runtime does (CNI specification, sections 2 to 4)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit, communicate
from vmnet.cni.given import read_given
from vmnet.cni.refusal import BAD_CONFIG, Said, of_faults
from vmnet.cniversion import version_fault
from vmnet.valid import NETWORK, PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATHS = ("/opt/cni/bin", "/usr/lib/cni")
PATIENCE, IN_ALL = 60.0, 600.0
"""Seconds of a quiet machine that a plugin may do nothing, half of what runtimes allow, and in all."""


class Call(Struct, frozen=True):
    """For whom a network is attached: one interface of one Pod.

    `own` maps plugin types to the command line of a plugin of ours, which goes before the search path.
    `environment` is what they are told beside CNI's own words. `holds` are descriptors that each inherits: a
    lock that is theirs is held until the last has ended.
    """

    container: str
    netns: str
    interface: str
    args: Mapping[str, str] = {}
    mac: str = ""
    paths: tuple[str, ...] = PATHS
    own: Mapping[str, tuple[str, ...]] = {}
    environment: Mapping[str, str] = {}
    holds: tuple[int, ...] = ()


def add(conf: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Attach a network: ADD of every plugin in order, each given the result of the one before.

    Raises what the failing plugin says, after DEL of all of them.
    """
    result: dict[str, Any] | None = None
    for plugin in _plugins(conf):
        try:
            result = _run("ADD", plugin, conf, call, result) or result
        except Error as error:
            left = delete(conf, call, result)
            error.others += tuple(e for e in left if e.kind is not ErrorKind.UNSUPPORTED)
            raise
    return result or {}


def delete(conf: Mapping[str, Any], call: Call, result: Mapping[str, Any] | None) -> list[Error]:
    """Detach a network: DEL of every plugin, last first. What fails is returned, and stops nothing."""
    errors = []
    for plugin in reversed(_plugins(conf)):
        try:
            _run("DEL", plugin, conf, call, result)
        except Error as error:
            errors.append(error)
    return errors


def find_conf(folder: Path) -> dict[str, Any]:
    """Return the node's Pod network: the first configuration in `folder` by name, as runtimes choose it."""
    files = sorted(path for path in folder.glob("*") if path.suffix in {".conflist", ".conf", ".json"})
    if not files:
        hint = "put a CNI conflist there; bridge with host-local will do"
        raise Error(f"there is no Pod network in {folder}", kind=ErrorKind.UNSUPPORTED, hint=hint)
    try:
        conf = json.loads(files[0].read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{files[0]} cannot be read: {error.strerror}"
        raise Error(message, kind=ErrorKind.UNSUPPORTED) from None
    except (ValueError, RecursionError):
        raise Error(f"{files[0]} is not JSON", hint="see the CNI specification, section 1") from None
    found = conf if isinstance(conf, dict) and "plugins" in conf else {"plugins": [conf]}
    if fault := _fault(found):
        raise Error(
            f"{files[0]} is no CNI configuration: {fault}", hint="see the CNI specification, section 1"
        )
    return found if found is conf else {**conf, **found}


def _fault(conf: Mapping[str, Any]) -> str:
    """Return what a network configuration lacks (CNI specification, section 1), or ""."""
    plugins = conf["plugins"]
    if not isinstance(plugins, list) or not plugins or not all(isinstance(one, dict) for one in plugins):
        return "plugins is not a list of objects"
    for name in (plugin.get("type") for plugin in plugins):
        if not PLUGIN.allows(name):
            return f"{name!r} is not the name of a plugin"  # which is looked for in folders
    name = conf.get("name", plugins[0].get("name"))
    if not isinstance(name, str):
        return "it has no name"
    if not NETWORK.allows(name):
        return f"{name!r} is not the name of a network: {NETWORK.words}"
    return version_fault(conf.get("cniVersion", plugins[0].get("cniVersion")))


def _plugins(conf: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(conf["plugins"])


def delegate(verb: str, given: Mapping[str, Any], kind: str, call: Call) -> dict[str, Any]:
    """Hand a plugin's own configuration on to its IPAM plugin (CNI specification, section 4)."""
    return _execute(verb, kind, given, call)


def _run(
    verb: str,
    plugin: Mapping[str, Any],
    conf: Mapping[str, Any],
    call: Call,
    result: Mapping[str, Any] | None,
) -> dict[str, Any]:
    answer = _execute(verb, plugin["type"], _input(plugin, conf, call, result), call)
    faults = read_given(answer)[1] if verb == "ADD" else []
    if faults:
        message = (
            f"CNI plugin {plugin['type']} answered ADD with what is no result: {of_faults(faults).message}"
        )
        raise Error(message, kind=ErrorKind.FAILED, subject=call.interface)
    return answer


def _execute(verb: str, kind: str, given: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Carry out one verb of one plugin and return its result, empty for verbs that have none."""
    argv = _command(kind, call)
    limit = Limit(PATIENCE, in_all=IN_ALL)
    with _started(argv, given, _environment(verb, call), kind, call.holds) as process:
        try:
            out, errors = communicate(process, limit)
        except subprocess.TimeoutExpired:
            message = f"CNI plugin {kind} did not answer {verb} {limit.story}"
            raise Error(message, kind=ErrorKind.FAILED, subject=call.interface) from None
        finally:
            process.kill()
    if process.returncode:
        raise _refusal(verb, kind, call, out, errors)
    return _answer(verb, kind, out)


def _answer(verb: str, kind: str, out: str) -> dict[str, Any]:
    try:
        answer = json.loads(out) if out.strip() else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        message = f"CNI plugin {kind} answered {verb} with what is no JSON object"
        raise Error(message, kind=ErrorKind.FAILED)
    return answer


def _started(
    argv: Sequence[str],
    given: Mapping[str, Any],
    environment: Mapping[str, str],
    kind: str,
    holds: Sequence[int],
) -> subprocess.Popen[str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        json.dump(given, file)
        file.seek(0)
        try:
            return subprocess.Popen(
                argv,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
                errors="replace",
                pass_fds=holds,
            )
        except OSError as error:
            message = f"CNI plugin {kind} cannot be run: {error.strerror}"
            raise Error(message, kind=ErrorKind.UNSUPPORTED) from None


def _command(kind: str, call: Call) -> tuple[str, ...]:
    if kind in call.own:
        return tuple(call.own[kind])
    for folder in call.paths:
        path = Path(folder) / kind
        if os.access(path, os.X_OK):
            return (str(path),)
    looked = ", ".join(call.paths) or "no folder: CNI_PATH is empty"
    hint = f"looked in {looked}; on Debian: apt install containernetworking-plugins"
    raise Error(f"CNI plugin {kind} is not installed", kind=ErrorKind.UNSUPPORTED, hint=hint)


def _environment(verb: str, call: Call) -> dict[str, str]:
    args = {"IgnoreUnknown": "1", **call.args, **({"MAC": call.mac} if call.mac else {})}
    return {
        **os.environ,
        **call.environment,
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": call.container,
        "CNI_NETNS": call.netns,
        "CNI_IFNAME": call.interface,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items()),
        "CNI_PATH": ":".join(call.paths),
    }


def _input(
    plugin: Mapping[str, Any], conf: Mapping[str, Any], call: Call, result: Mapping[str, Any] | None
) -> dict[str, Any]:
    given = dict(plugin)
    given["name"], given["cniVersion"] = conf["name"], conf.get("cniVersion", "0.1.0")
    if call.mac and (plugin.get("capabilities") or {}).get("mac"):
        given["runtimeConfig"] = {**(plugin.get("runtimeConfig") or {}), "mac": call.mac}
    if result is not None:
        given["prevResult"] = result
    return given


def _refusal(verb: str, kind: str, call: Call, out: str, err: str) -> Error:
    """What a plugin said of itself: an error object on standard output, else its last words."""
    try:
        said = json.loads(out)
        message, details, code = str(said["msg"]), str(said.get("details") or ""), int(said["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        last: Iterable[str] = (err or out).strip().splitlines()[-1:]
        message, details, code = "".join(last) or "it failed and said nothing", "", 0
    blame = ErrorKind.DOCUMENT if code == BAD_CONFIG else ErrorKind.FAILED
    text = f"failed to {verb} network through CNI plugin {kind}: {message}"
    refusal = Said(text, kind=blame, subject=call.interface, hint=details)
    refusal.code = code
    return refusal
