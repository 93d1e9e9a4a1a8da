"""A host made of a document: what its state says is there, for plans without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.compile import compile_state
from nncp.desk import SAME_TYPE
from nncp.document.read import read_together
from nncp.errors import raise_all
from nncp.host import Host, Row
from nncp.kinds.flat import is_given

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.document.policy import Policy
    from nncp.document.state import Documented, Interface
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
    raise_all(found.errors)
    links = [row for number, one in enumerate(found.interfaces.values(), 1) for row in _link(one, number)]
    bare = Host(links)
    told = {number: one for number, one in found.interfaces.items() if one.state != "absent"}
    compiled = compile_state(found.state, told, bare, kinds)
    rows = {row.key: row for row in links}
    for key, row in compiled.rows.items():
        if row.absent:
            rows.pop(key, None)
            continue
        have = rows.get(key)
        rows[key] = Row(key, {**(have.attrs if have else {}), **row.attrs}, row.needs)
    return Host(rows.values())


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
