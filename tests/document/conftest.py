"""Interface types that are enough to write documents with, and the two ends of reading one."""

from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import ClassVar

import pytest
from msgspec import UNSET, Struct

from nncp.document.lax import U32, LaxBool, LaxEnum, Maybe, VlanId, VlanProtocol
from nncp.document.policy import read_policies
from nncp.document.port_vlan import PortVlan
from nncp.document.read import read_state
from nncp.document.section import Section
from nncp.document.source import Node, load
from nncp.document.state import Documented, State
from nncp.errors import Error
from nncp.render import render_error


class BondMode(LaxEnum, words={"balance-rr": 0, "active-backup": 1, "802.3ad": 4}):
    pass


class BondOptions(Section, frozen=True, rename="lower"):
    miimon: Maybe[U32] = UNSET
    use_carrier: Maybe[LaxBool] = UNSET


class BondConfig(Section, frozen=True):
    aliases: ClassVar[Mapping[str, str]] = {"ports": "port"}

    mode: Maybe[BondMode] = UNSET
    port: Maybe[tuple[str, ...]] = UNSET
    ports: Maybe[tuple[str, ...]] = UNSET
    options: Maybe[BondOptions] = UNSET


class BridgePort(Section, frozen=True):
    name: str
    stp_hairpin_mode: Maybe[LaxBool] = UNSET
    vlan: Maybe[PortVlan] = UNSET


class BridgeConfig(Section, frozen=True):
    aliases: ClassVar[Mapping[str, str]] = {"ports": "port"}

    port: Maybe[tuple[BridgePort, ...]] = UNSET
    ports: Maybe[tuple[BridgePort, ...]] = UNSET


class VlanConfig(Section, frozen=True):
    base_iface: Maybe[str] = UNSET
    id: Maybe[VlanId] = UNSET
    protocol: Maybe[VlanProtocol] = UNSET
    loose_binding: Maybe[LaxBool] = UNSET


class Toy(Struct, frozen=True):
    section: str = ""
    config: type[Struct] | None = None
    also: Mapping[str, type[Struct]] = {}


KINDS: Mapping[str, Documented] = {
    "bond": Toy("link-aggregation", BondConfig),
    "linux-bridge": Toy("bridge", BridgeConfig),
    "vlan": Toy("vlan", VlanConfig),
    "dummy": Toy(),
    "ethernet": Toy(),
}


@pytest.fixture(scope="session")
def kinds() -> Mapping[str, Documented]:
    return KINDS


@pytest.fixture(scope="session")
def node() -> Callable[[str], Node]:
    def one(text: str) -> Node:
        (found,) = load(dedent(text), file="node1.yaml")
        return found

    return one


@pytest.fixture(scope="session")
def read(node: Callable[[str], Node]) -> Callable[[str], State]:
    def state(text: str) -> State:
        (policy,) = read_policies([node(text)])
        return read_state(policy.state, KINDS)

    return state


@pytest.fixture(scope="session")
def refusal(read: Callable[[str], State]) -> Callable[[str], str]:
    """What a person is told of a document that is refused."""

    def told(text: str) -> str:
        with pytest.raises(Error) as caught:
            read(text)
        return "\n".join(render_error(error) for error in caught.value)

    return told
