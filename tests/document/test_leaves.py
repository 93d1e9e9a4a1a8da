"""No leaf of the published schema is only decoded: it is seen by an outsider, refused by name, or asks nothing."""

from __future__ import annotations

from typing import Any

import pytest

from nncp.desired import WRITTEN
from nncp.document.emit import dump
from nncp.document.read import read_partly
from nncp.document.schema import schema_of
from nncp.document.source import load
from nncp.document.unsupported import DOCUMENT, INTERFACE, unsupported
from tests.leaves import MOOT, SEEN, leaves

LEAVES = leaves(schema_of(WRITTEN))
REFUSED = (*INTERFACE, *DOCUMENT)
SAMPLES: dict[str, Any] = {
    "identifier": "mac-address",
    "wait-ip": "ipv4",
    "ipv6.token": "::1",
    "hostname": {"config": "node1"},
    "dns-resolver.config": {"server": ["192.0.2.53"]},
    "alt-names": [{"name": "uplink"}],
    "ipv4.prefix-route-metric": 7,
    "ipv6.prefix-route-metric": 7,
}
OPAQUE = {"ethernet.sr-iov", "802.1x", "mptcp", "dispatch", "ovs-db", "ovn"}


def is_refused(path: str) -> bool:
    bare = path.replace("[]", "")
    return any(
        bare == name or bare.startswith(f"{name}.")
        for name in (*REFUSED, "link-aggregation.options.balance-slb")
    )


def is_query(path: str) -> bool:
    return bool(LEAVES[path].get("readOnly"))


def test_every_leaf_is_seen_or_refused_or_asks_for_nothing() -> None:
    told = {*SEEN, *MOOT}
    assert {
        path for path in LEAVES if path not in told and not is_refused(path) and not is_query(path)
    } == set()


def test_nothing_is_told_of_what_is_no_leaf() -> None:
    assert {*SEEN, *MOOT} - set(LEAVES) - {"ipv4.dhcp-duid", "ipv6.dhcp-client-id"} == set()


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_refused_is_refused_by_its_name_with_a_reason(path: str) -> None:
    value: Any = SAMPLES.get(path, {"a": {"b": 1}} if path in OPAQUE else True)
    for step in reversed(path.split(".") if path != "802.1x" else [path]):
        value = {step: value}
    data = value
    if path in INTERFACE:
        kind = "bond" if path.startswith("link") else "ethernet"
        data = {"interfaces": [{"name": "eth1", "type": kind, **value}]}
    found = read_partly(load(dump(data), file="x")[0], WRITTEN)
    assert [error.message for error in found.errors] == []
    (error,) = (error for part in found.parts for error in unsupported(part))
    assert error.message == f"{path} is not supported yet"
    assert error.hint
