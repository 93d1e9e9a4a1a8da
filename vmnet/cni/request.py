"""What a container runtime asks: CNI_* in the environment, a configuration on standard input (CNI, part 2).

Everything is checked here, before anything is made: a name, a type, a version. A DEL is not kept from its
work by what is wrong with its configuration: it goes by what ADD was given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from vmnet.cni import runtime
from vmnet.cni.conf import BridgeConf, mac_fault, read_conf
from vmnet.cni.ports import PodPorts
from vmnet.cni.refusal import BAD_CONFIG, BAD_CONTENT, BAD_ENVIRONMENT, BAD_VERSION, Refusal, of_faults
from vmnet.cniversion import version
from vmnet.names import host_veth, is_launcher_interface, plain_mac
from vmnet.reading import Fault
from vmnet.valid import CONTAINER, LINK, NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEEDS = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}
SINCE = {"CHECK": (0, 4, 0), "GC": (1, 1, 0), "STATUS": (1, 1, 0)}
RULES = {"CNI_CONTAINERID": CONTAINER, "CNI_IFNAME": LINK}


class Request(Struct, frozen=True):
    """One call: the configuration, and for which interface of which container."""

    verb: str
    raw: dict[str, Any]
    conf: BridgeConf
    container: str
    netns: str
    interface: str
    args: dict[str, str]
    paths: tuple[str, ...]
    ports: PodPorts

    @property
    def network(self) -> str:
        """The network's name."""
        return str(self.raw.get("name", ""))

    @property
    def version(self) -> tuple[int, ...]:
        """The version of the specification that the runtime speaks."""
        return version(str(self.raw.get("cniVersion", "")))

    @property
    def veth(self) -> str:
        """The node's end of the pair."""
        return host_veth(self.container, self.interface)

    @property
    def mac(self) -> str:
        """The MAC that is asked for: runtimeConfig before args.cni before CNI_ARGS, as upstream has it."""
        args = self.conf.args.cni.mac if self.conf.args.cni else None
        return plain_mac(self.conf.runtime_config.mac or args or self.args.get("MAC", ""))

    @property
    def stays_down(self) -> bool:
        """Whether the container's interface is left down, for a launcher to take."""
        return self.conf.disable_container_interface or is_launcher_interface(self.interface)

    def call(self) -> runtime.Call:
        """Return for whom an IPAM plugin is called."""
        return runtime.Call(
            container=self.container,
            netns=self.netns,
            interface=self.interface,
            args=self.args,
            paths=self.paths,
        )


def read_request(verb: str, text: str, environment: Mapping[str, str]) -> Request:
    """Return the request in `text` and the environment, or raise why it is none."""
    _check_environment(verb, environment)
    raw = decoded(text)
    conf, faults = read_conf(raw)
    pairs = [part.partition("=") for part in environment.get("CNI_ARGS", "").split(";") if part]
    if verb != "DEL":
        _check_version(verb, raw)
        _refuse([*_own_faults(verb, raw, conf), *faults])
        _check_args(pairs)
    return Request(
        verb=verb,
        raw=raw,
        conf=conf,
        container=environment.get("CNI_CONTAINERID", ""),
        netns=environment.get("CNI_NETNS", ""),
        interface=environment.get("CNI_IFNAME", ""),
        args={key: value for key, equals, value in pairs if equals},
        paths=tuple(p for p in environment.get("CNI_PATH", "").split(":") if p.startswith("/")),
        ports=PodPorts(Path(environment.get("BRIDGEHEAD_RUN", "/run/bridgehead")) / "cni"),
    )


def _check_environment(verb: str, environment: Mapping[str, str]) -> None:
    missing = [name for name in NEEDS[verb] if not environment.get(name)]
    if missing:
        raise Refusal(BAD_ENVIRONMENT, f"required env variables missing: {', '.join(missing)}")
    wrong = [(name, environment[name]) for name in NEEDS[verb] if name in RULES]
    said = [
        f"{name}: {value!r}: {RULES[name].words}" for name, value in wrong if not RULES[name].allows(value)
    ]
    if said:
        raise Refusal(BAD_ENVIRONMENT, "; ".join(said))


def decoded(text: str) -> dict[str, Any]:
    """Return a configuration's JSON object."""
    try:
        raw = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refusal(BAD_CONTENT, f"the configuration is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise Refusal(BAD_CONTENT, "the configuration is nested too deeply") from None
    except ValueError:  # a number of thousands of digits (sys.set_int_max_str_digits)
        raise Refusal(BAD_CONTENT, "the configuration has a number that is none of JSON's") from None
    if not isinstance(raw, dict):
        raise Refusal(BAD_CONTENT, "a network configuration is a JSON object")
    return raw


def _no_number(word: str) -> float:
    raise ValueError(word)  # NaN and Infinity are JavaScript's, not JSON's (RFC 8259, section 6)


def _check_args(pairs: Sequence[tuple[str, str, str]]) -> None:
    """Refuse what upstream refuses (libcni, LoadArgs): no pair, or a key that nobody knows or may ignore."""
    for key, equals, _ in pairs:
        if not equals:
            raise Refusal(BAD_ENVIRONMENT, f"CNI_ARGS: {key!r} is no pair of a key and a value")
    args = {key: value for key, _, value in pairs}
    if args.get("MAC") and (why := mac_fault(args["MAC"])):
        raise Refusal(BAD_ENVIRONMENT, f"CNI_ARGS: MAC: {why}")
    unknown = sorted(args.keys() - {"MAC", "IgnoreUnknown"})
    if unknown and args.get("IgnoreUnknown", "").lower() not in {"1", "t", "true"}:
        raise Refusal(BAD_ENVIRONMENT, f"CNI_ARGS: unknown args {', '.join(unknown)}", "or IgnoreUnknown=1")


def _own_faults(verb: str, raw: Mapping[str, Any], conf: BridgeConf) -> Iterator[Fault]:
    """Yield what a call lacks of what the specification wants of it."""
    name = raw.get("name")
    if not name:
        yield Fault('a network configuration needs a "name"', ("name",), key=True)
    elif isinstance(name, str) and not NETWORK.allows(name):
        yield Fault(f"{name!r} is not the name of a network", ("name",), NETWORK.words)
    if verb == "CHECK" and conf.prev_result is None and raw.get("prevResult") is None:
        yield Fault("CHECK needs the prevResult of the ADD", ("prevResult",), key=True)
    keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
    if verb == "GC" and all(raw.get(key) is None for key in keys):
        message = f"GC needs {keys[0]}, an empty list too when nothing is to stay"
        yield Fault(message, (keys[0],), "without it nothing is known, and nothing was taken away", key=True)


def _refuse(faults: list[Fault]) -> None:
    if faults:
        refusal = of_faults(faults)
        raise Refusal(BAD_CONFIG, f"invalid configuration: {refusal.message}", refusal.details)


def _check_version(verb: str, raw: Mapping[str, Any]) -> None:
    """Refuse a version that we do not speak; none at all is 0.1.0 (CNI 0.2.0, which brought the key)."""
    wanted = raw.get("cniVersion")
    supported = ", ".join(VERSIONS)
    if not isinstance(wanted, str | None):
        raise Refusal(BAD_CONFIG, "invalid configuration: cniVersion: expected text")
    if not wanted:
        message = "incompatible CNI versions: config has no cniVersion, which means 0.1.0"
        raise Refusal(
            BAD_VERSION, f"{message}, plugin supports {supported}", f'say "cniVersion": "{VERSIONS[-1]}"'
        )
    if wanted not in VERSIONS:
        message = f"incompatible CNI versions: config is {wanted}, plugin supports {supported}"
        raise Refusal(BAD_VERSION, message)
    if verb in SINCE and version(wanted) < SINCE[verb]:
        least = ".".join(map(str, SINCE[verb]))
        raise Refusal(BAD_VERSION, f"{verb} needs cniVersion {least} or later, got {wanted}")


def spoken(text: str) -> str:
    """Return the version in which to answer: the one that was asked in, when it is one of ours."""
    try:
        asked = json.loads(text).get("cniVersion")
    except (ValueError, AttributeError, RecursionError):
        return VERSIONS[-1]
    return asked if asked in VERSIONS else VERSIONS[-1]
