"""A host made of a document: what its state says is there, for plans without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.compile import compile_state
from nncp.document.read import read_together
from nncp.document.state import SAME_TYPE, USERSPACE_TYPES
from nncp.errors import ErrorKind, raise_all
from nncp.future import Future
from nncp.host import Host, Row
from nncp.kinds.flat import is_given

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.desk import Compiled
    from nncp.document.policy import Policy
    from nncp.document.state import Documented, Interface
    from nncp.document.together import Partly
    from nncp.errors import Error
    from nncp.host import Key
    from nncp.tables.kinds import Kinds

MTU = 1500
"""What a link has of which none is told (linux/if_ether.h, ETH_DATA_LEN)."""


def host_of(state: Policy, written: Mapping[str, Documented], kinds: Kinds) -> Host:
    """Return the host that a state describes, as `nncp show` or nmstate does.

    Of what it does not tell, a link has an index and its usual MTU; it has no addresses, routes and ports but
    those told. Interfaces of types that nncp does not make are links all the same.

    Args:
        state: the state.
        written: the interface types that documents name.
        kinds: the interface types and the tables.

    Raises:
        Error: with all that is wrong with it.

    """
    found = read_together([state], written)
    # What nncp does not make is there all the same.
    raise_all(error for error in found.errors if error.kind is not ErrorKind.UNSUPPORTED)
    links = [row for number, one in enumerate(found.interfaces.values(), 1) for row in _link(one, number)]
    links += _others(state, {row.name for row in links}, len(found.interfaces) + 1)
    bare = Host(links)
    told = {number: one for number, one in found.interfaces.items() if one.state != "absent"}
    compiled = compile_state(found.state, told, bare, kinds)
    raise_all(_circles(found, compiled, bare, kinds))
    rows = {row.key: row for row in links}
    for key, row in compiled.rows.items():
        if row.absent:
            rows.pop(key, None)
            continue
        have = rows.get(key)
        rows[key] = Row(key, {**(have.attrs if have else {}), **row.attrs}, row.needs)
    rows |= {row.key: row for row in _untold(rows)}
    return Host(_typed(row, rows) for row in rows.values())


def _circles(found: Partly, compiled: Compiled, bare: Host, kinds: Kinds) -> Iterator[Error]:
    """Yield that links rest on each other in a circle: no host is so."""
    stacks = Future(compiled.rows, bare, kinds).impossible()
    circles = {stack.names[0] for stack in stacks if stack.circle}
    for subject, fault in compiled.faults:
        if subject in circles:
            yield found.error(fault.message, *fault.path, subject=subject, hint=fault.hint)


def _untold(rows: Mapping[Key, Row]) -> Iterator[Row]:
    """Yield the links of which a state tells only whose ports they are."""
    ports = (key[1] for key in rows if key[0] == "port")
    for index, name in enumerate((name for name in ports if ("link", name) not in rows), len(rows) + 1):
        yield Row(("link", name), {"type": "ethernet", "index": index, "mtu": MTU})


def _typed(row: Row, rows: Mapping[Key, Row]) -> Row:
    """Return a row; of a port with the type of its controller, as the kernel tells it."""
    controller = rows.get(("link", str(row.attrs.get("controller"))))
    if row.key[0] != "port" or controller is None:
        return row
    return Row(row.key, {**row.attrs, "type": controller.attrs["type"]}, row.needs)


def _others(state: Policy, known: set[str], number: int) -> Iterator[Row]:
    """Yield the links of types that could not be read, by their names alone."""
    interfaces = state.state.value.get("interfaces") or []
    for index, one in enumerate(interfaces, number):
        name, kind = str(one.get("name")), str(one.get("type"))
        if name not in known and kind not in USERSPACE_TYPES and one.get("state") != "absent":
            yield Row(("link", name), {"type": kind, "index": index, "mtu": one.get("mtu") or MTU})


def _link(interface: Interface, number: int) -> Iterator[Row]:
    """Yield the row of a link, with what is told of it whatever its type is."""
    if interface.state == "absent" or interface.scope != "link":
        return
    kind = str(interface.type) if is_given(interface.type) else "ethernet"
    attrs: dict[str, Any] = {
        "type": kind,
        "index": number,
        "mtu": interface.mtu if is_given(interface.mtu) else MTU,
    }
    if is_given(interface.mac_address):
        attrs["mac"] = interface.mac_address
        attrs |= {"permanent-mac": interface.mac_address} if kind in SAME_TYPE else {}
    yield Row(("link", interface.name), attrs)
    yield Row(("sysctl", f"net/ipv6/conf/{interface.name}/disable_ipv6"), {"value": "1"})
