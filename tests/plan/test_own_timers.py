"""Timers of a bridge whose root is another: what documents gave it is known, though the bridge does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model import host_of, wanted

from nncp.listed import Listed

if TYPE_CHECKING:
    from nncp.host import Host

HELLO, AGE = "stp.hello-time", "stp.max-age"
TOLD = {"stp.hello-time": 2, "stp.max-age": 20, "stp.forward-delay": 15}


def host(**more: Any) -> Host:
    lent = {"type": "linux-bridge", "index": 7, "stp.forward-delay": 15, "borrowed": [HELLO, AGE]}
    own = {"type": "linux-bridge", "index": 9, **TOLD}
    return host_of({"link br0": lent, "link br1": own, "link eth1": {"type": "ethernet", "index": 2}, **more})


def test_a_value_of_a_bridges_own_is_the_one_that_it_was_given_last() -> None:
    own = (
        ("br0", 7, HELLO, 5),
        ("br0", 8, AGE, 30),
        ("br0", 7, "stp.forward-delay", 9),
        ("br1", 9, HELLO, 6),
    )
    known = Listed(own=own).known_to(host())
    assert known.rows["link", "br0"].attrs == {
        "type": "linux-bridge", "index": 7, "stp.forward-delay": 15, HELLO: 5, "untold": (HELLO, AGE),
    }  # fmt: skip
    assert known.rows["link", "br1"] == host().rows["link", "br1"]
    assert len(known) == len(host())


def test_a_bond_that_has_its_active_ports_mac_tells_it_and_is_right_with_any() -> None:
    bond = {"type": "bond", "index": 5, "mac": "02:00:00:00:00:01", "borrowed": ("mac",)}
    known = Listed().known_to(host_of({"link bond0": bond}))
    assert known.rows["link", "bond0"].attrs == bond


def test_a_value_of_a_bridge_that_its_apply_has_made_is_known_before_its_index_is() -> None:
    known = Listed(own=(("br0", 0, AGE, 30),)).known_to(host())
    assert known.attr("link", "br0", name=AGE) == 30


def options(name: str, said: str) -> str:
    return f"interfaces: [{{name: {name}, type: linux-bridge, bridge: {{options: {{stp: {{{said}}}}}}}}}]"


def test_what_a_document_gives_a_bridge_is_kept_with_its_index_and_as_long_as_it_is_that_one() -> None:
    before = Listed(own=(("br0", 7, AGE, 30), ("br0", 7, HELLO, 4), ("br1", 8, HELLO, 5), ("br9", 7, HELLO, 6), ("br1", 0, AGE, 40)))  # fmt: skip
    now = host()
    want = wanted(options("br0", "hello-time: 3"), now)
    kept = (("br0", 7, HELLO, 3), ("br0", 7, AGE, 30), ("br1", 9, AGE, 40))
    assert before.after(now, want).own == kept
    assert before.same(now, want) == Listed(own=kept)
    assert before.same(now, []).own == (("br0", 7, HELLO, 4), *kept[1:])
    gone = wanted("interfaces: [{name: br1, type: linux-bridge, state: absent}]", now)
    assert Listed().after(now, gone).own == ()
    assert Listed().after(now, wanted(options("br5", "hello-time: 3"), now)).own == (("br5", 0, HELLO, 3),)
