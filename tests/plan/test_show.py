"""A host as a document, made up as far as somebody looks into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model import host_of

from nncp import show
from nncp.desired import Desired, documents
from nncp.known import KINDS
from nncp.show import OWN, looked_into, show_state

if TYPE_CHECKING:
    import pytest

ROWS: dict[str, dict[str, Any] | None] = {
    "link eth0": {"type": "ethernet", "mtu": 1500, "mac": "52:54:00:00:00:01", "alias": "to the switch"},
    "up eth0": None,
    "port eth0": {"controller": "br0", "type": "linux-bridge"},
    "link br0": {"type": "linux-bridge", "mtu": 1500, "mac": "52:54:00:00:00:01", "vlan-filtering": True},
    "vlans br0": {"vids": ((1, 1, "pvid untagged"),)},
    "up br0": None,
    "link br0.7": {"type": "vlan", "base-iface": "br0", "id": 7, "mtu": 1500, "mac": "52:54:00:00:00:01"},
    "link t0": {"type": "tun", "mtu": 1500},
    "link ip0": {"type": "ipip", "mtu": 1480, "mac": "c0:00:02:01"},
}


def test_a_property_is_the_same_whether_the_rest_is_made_up_or_not() -> None:
    host = host_of(ROWS)
    looked, shown = looked_into(host, KINDS)["interfaces"], show_state(host, KINDS)["interfaces"]
    assert [entry["name"] for entry in shown] == sorted(
        key.split()[1] for key in ROWS if key.startswith("link")
    )
    for entry, whole in zip(looked, shown, strict=True):
        own = {word: entry.get(word, "nothing") for word in OWN}
        assert own == {word: whole.get(word, "nothing") for word in OWN}
        assert dict(entry) == whole
    states = {entry["name"]: entry["state"] for entry in shown}
    assert states == {"br0": "up", "br0.7": "ignore", "eth0": "up", "ip0": "ignore", "t0": "ignore"}


def test_captures_make_up_what_they_take_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    whole = show._interface
    monkeypatch.setattr(show, "_interface", lambda row, *more: made.append(row.name) or whole(row, *more))
    many = {
        f"link d{n}": {"type": "dummy", "mtu": 1400 + n, "mac": f"02:00:00:00:00:{n:02x}"} for n in range(50)
    }
    text = """
        capture: {all: interfaces.type == dummy and interfaces.mtu >= 1400, one: interfaces.name == d7}
        desired: {interfaces: [{name: d1, mac-address: "{{ capture.one.interfaces.0.mac-address }}"}]}
        """
    desired = Desired(documents([("policy", text)]))
    (row,) = [row for row in desired(host_of(many)) if row.key == ("link", "d1")]
    assert row.attrs["mac"] == "02:00:00:00:00:07"
    assert made == ["d7"]
    (document,) = desired.meant()
    assert document.taken["one"]["interfaces"][0]["name"] == "d7"
    assert len(document.taken["all"]["interfaces"]) == len(many)
    assert sorted(made) == sorted(name.split()[1] for name in many), "each once"
