"""Rules on a real kernel: others' stay, each comes or goes alone, and what goes comes back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from outside import Namespace

pytestmark = pytest.mark.kernel

KERNELS = {"0: from all lookup local", "32766: from all lookup main", "32767: from all lookup default"}


def rules(ns: Namespace, family: str = "-4") -> list[str]:
    """Return the rules but for the kernel's own, as `ip rule` words them."""
    lines = (" ".join(line.split()) for line in ns.run("ip", family, "rule").stdout.splitlines())
    return [line for line in lines if line not in KERNELS]


@pytest.fixture
def apply(run: Callable[..., str]) -> Callable[..., str]:
    def applied(*entries: dict[str, Any], code: int = 0) -> str:
        document = {"interfaces": [], "route-rules": {"config": list(entries)}}
        said = run("apply", "-", document=document, code=code)
        if not code and all("state" not in entry for entry in entries):
            assert run("plan", "-", document=document) == "No changes.\n"
        return said

    return applied


def entry(**words: Any) -> dict[str, Any]:
    return {word.replace("_", "-"): value for word, value in words.items()}


def absent(**words: Any) -> dict[str, Any]:
    return entry(state="absent", **words)


def test_rules_come_in_both_families_and_are_shown_as_they_were_asked_for(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    apply(
        entry(ip_from="192.0.2.0/24", route_table=50, priority=1000),
        entry(ip_to="2001:db8::/32", route_table=50, priority=1000),
        entry(family="ipv4", fwmark=0x10, fwmask=0xF0, iif="eth1", suppress_prefix_length=8, priority=7),
    )
    assert rules(host) == [
        "7: from all fwmark 0x10/0xf0 iif eth1 lookup main suppress_prefixlength 8 proto static",
        "1000: from 192.0.2.0/24 lookup 50 proto static",
    ]
    assert rules(host, "-6") == ["1000: from all to 2001:db8::/32 lookup 50 proto static"]
    shown = run("show")
    assert run("diff", "-", document=_yaml(shown)) == ""


def _yaml(text: str) -> Any:
    from nncp.document.source import load

    return load(text, file="shown")[0].value


def test_a_rule_without_a_priority_gets_the_next_one_and_keeps_it(
    host: Namespace, apply: Callable[..., str]
) -> None:
    host.run("ip", "rule", "add", "from", "203.0.113.1", "lookup", "9", "pref", "30004")
    apply(entry(ip_from="192.0.2.1", route_table=50), entry(ip_from="192.0.2.2", route_table=50))
    expected = [
        "30004: from 203.0.113.1 lookup 9",
        "30005: from 192.0.2.1 lookup 50 proto static",
        "30006: from 192.0.2.2 lookup 50 proto static",
    ]
    assert rules(host) == expected
    apply(entry(ip_from="192.0.2.2", route_table=50))
    assert rules(host) == expected


def test_a_network_that_is_all_addresses_is_none_in_both_families(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    before = host.settled()
    apply(
        entry(ip_from="0.0.0.0/0", ip_to="192.0.2.9/24", route_table=50),
        entry(ip_to="10.0.0.1/0", iif="eth1", route_table=51),
        entry(ip_from="::/0", route_table=52),
    )
    assert rules(host) == [
        "30000: from all to 192.0.2.0/24 lookup 50 proto static",
        "30001: from all iif eth1 lookup 51 proto static",
    ]
    assert rules(host, "-6") == ["30002: from all lookup 52 proto static"]
    assert run("diff", "-", document=_yaml(run("show"))) == ""
    run("rollback")
    assert host.differs(before) == {}
    host.run("ip", "-6", "rule", "add", "from", "::/0", "lookup", "9", "pref", "9")
    apply(absent(ip_from="::/0"))
    assert rules(host, "-6") == []


def test_a_network_with_host_bits_that_stands_is_the_one_without(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    host.run("ip", "rule", "add", "from", "10.0.0.1/8", "lookup", "50", "pref", "9")
    before = host.settled()
    assert run("diff", "-", document=_yaml(run("show"))) == ""
    apply(entry(ip_from="10.0.0.0/8", route_table=50))
    assert rules(host) == ["9: from 10.0.0.1/8 lookup 50"]
    apply(absent(ip_from="10.9.9.9/8"))
    assert rules(host) == []
    run("rollback")
    assert host.differs(before) == {}


def test_a_rule_that_is_said_twice_is_one(host: Namespace, apply: Callable[..., str]) -> None:
    apply(
        entry(ip_from="192.0.2.1", route_table=50),
        entry(ip_from="192.0.2.1/32", route_table=50, priority=-1),
        entry(ip_from="192.0.2.2", route_table=50),
        entry(ip_from="192.0.2.2", route_table=50, priority=7),
    )
    assert rules(host) == [
        "7: from 192.0.2.2 lookup 50 proto static",
        "30000: from 192.0.2.1 lookup 50 proto static",
    ]


def test_one_that_somebody_else_has_made_is_taken_for_the_one_that_is_asked_for(
    host: Namespace, apply: Callable[..., str]
) -> None:
    host.run("ip", "rule", "add", "from", "192.0.2.1", "lookup", "50", "pref", "77", "proto", "bird")
    apply(entry(ip_from="192.0.2.1", route_table=50))
    assert rules(host) == ["77: from 192.0.2.1 lookup 50 proto bird"]


def test_an_absent_entry_takes_all_rules_that_have_what_it_says_and_no_others(
    host: Namespace, apply: Callable[..., str]
) -> None:
    for words in (
        "from 192.0.2.1 lookup 50 pref 1",
        "to 192.0.2.1 lookup 50 pref 2",
        "from 192.0.2.1 lookup 51 pref 3",
        "from 192.0.2.1 lookup 50 pref 4 proto bird",  # a routing daemon's
        "from 192.0.2.1 ipproto tcp lookup 50 pref 5",  # no document has a word for it
        "not from 192.0.2.1 lookup 50 pref 6",
    ):
        host.run("ip", "rule", "add", *words.split())
    apply(absent(route_table=50, ip_to=""))
    assert rules(host) == [
        "2: from all to 192.0.2.1 lookup 50",
        "3: from 192.0.2.1 lookup 51",
        "4: from 192.0.2.1 lookup 50 proto bird",
        "5: from 192.0.2.1 ipproto tcp lookup 50",
        "6: not from 192.0.2.1 lookup 50",
    ]
    apply(absent(family="ipv4"))
    assert rules(host)[0].startswith("4: ")


def test_what_is_both_absent_and_asked_for_stays(host: Namespace, apply: Callable[..., str]) -> None:
    host.run("ip", "rule", "add", "from", "192.0.2.1", "lookup", "50", "pref", "1")
    host.run("ip", "rule", "add", "from", "192.0.2.2", "lookup", "50", "pref", "2")
    said = apply(absent(route_table=50), entry(ip_from="192.0.2.1", route_table=50))
    assert rules(host) == ["1: from 192.0.2.1 lookup 50"]
    assert said.count("rule") == 1


def test_a_rollback_brings_rules_back_as_they_were_and_takes_those_that_came(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    host.run(*["ip", "rule", "add", "from", "192.0.2.1", "lookup", "50", "pref", "1", "proto", "boot"])
    host.run(*["ip", "-6", "rule", "add", "fwmark", "1/3", "iif", "lo", "blackhole", "pref", "2"])
    before = host.settled()
    apply(absent(family="ipv4"), absent(family="ipv6"), entry(ip_to="192.0.2.0/24", action="prohibit"))
    assert rules(host) == ["30000: from all to 192.0.2.0/24 prohibit proto static"]
    assert rules(host, "-6") == []
    run("rollback")
    assert host.differs(before) == {}


def test_a_thousand_rules_are_as_many_writes(host: Namespace, run: Callable[..., str]) -> None:
    entries = [entry(ip_from=f"10.{n >> 8}.{n & 255}.0/24", route_table=50) for n in range(1000)]
    document = {"interfaces": [], "route-rules": {"config": entries}}
    said = run("apply", "-", document=document)
    assert said.endswith("Plan: 1000 to add, 0 to change, 0 to remove.\n")
    assert run("plan", "-", document=document) == "No changes.\n"


def test_no_priority_left_is_told_at_the_entry(host: Namespace, apply: Callable[..., str]) -> None:
    host.run(*["ip", "rule", "add", "from", "192.0.2.1", "lookup", "50", "pref", "32765"])
    said = apply(entry(ip_from="192.0.2.2", route_table=50), code=65)
    assert "no priority is left between 30000 and 32766" in said
    assert "route-rules.config[0]" in said


UNSAID = ("oif lo", "ipproto tcp")
FRONTS = ("iif lo", "fwmark 7", *UNSAID)


@pytest.mark.parametrize("front", [*FRONTS, "to 192.0.2.0/24", "suppress_prefixlength 3"])
def test_a_rule_is_not_made_behind_one_that_would_go_in_its_place(
    host: Namespace, apply: Callable[..., str], front: str
) -> None:
    """The kernel removes the first rule that has all that is named (rule_find)."""
    host.batch(f"rule add from all {front} lookup 100 pref 1000 proto static")
    said = apply(entry(family="ipv4", route_table=100, priority=1000), code=65)
    assert "would take the one that stands before it" in said
    apply(entry(family="ipv4", route_table=101, priority=1000))


@pytest.mark.parametrize("front", FRONTS)
def test_a_rule_that_stands_behind_such_a_one_goes_with_it_or_not_at_all(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str], front: str
) -> None:
    host.batch(
        f"rule add from all {front} lookup 100 pref 1000 proto static",
        "rule add from all lookup 100 pref 1000 proto static",
    )
    before = rules(host)
    alone = absent(family="ipv4", route_table=100, priority=1000, ip_to="", fwmark=0)
    said = apply({**alone, "iif": ""} if front == "iif lo" else alone, code=69)
    assert "cannot be removed: the kernel would remove what stands before it" in said
    assert rules(host) == before
    if front not in UNSAID:
        apply(absent(family="ipv4", route_table=100, priority=1000))
        assert rules(host) == []
        run("rollback")
        assert sorted(rules(host)) == sorted(before)


def test_rules_of_one_priority_go_in_their_order_and_others_among_them_stay(
    host: Namespace, apply: Callable[..., str]
) -> None:
    kept = "rule add from 10.0.0.0/8 iif lo lookup 5 pref 100 proto static"
    words = ("fwmark 1", "fwmark 2", "")
    host.batch(kept, *(f"rule add iif eth1 {mark} lookup 5 pref 100 proto static" for mark in words))
    before = rules(host)
    first, second, wide = (absent(iif="eth1", fwmark=mark, priority=100) for mark in (1, 2, 0))
    assert "fwmark 0x2 iif eth1" in apply(first, wide, code=69)
    assert rules(host) == before
    apply(first, wide, second)
    assert rules(host) == ["100: from 10.0.0.0/8 iif lo lookup 5 proto static"]


def test_a_rule_that_suppresses_nothing_longer_than_0_is_no_wildcard(
    host: Namespace, apply: Callable[..., str]
) -> None:
    host.batch("rule add from all lookup main pref 100 proto static")
    apply(entry(family="ipv4", suppress_prefix_length=0, priority=100))
    apply(absent(family="ipv4", suppress_prefix_length=0, priority=100))
    assert rules(host) == ["100: from all lookup main proto static"]


def test_a_rule_takes_the_place_of_a_narrower_one_of_its_document(
    host: Namespace, apply: Callable[..., str]
) -> None:
    narrow, wide = (
        entry(ip_from="10.0.0.0/8", iif="eth1", priority=100),
        entry(ip_from="10.0.0.0/8", priority=100),
    )
    apply(narrow)
    apply(narrow, wide)
    apply({**narrow, "state": "absent"}, {**wide, "state": "absent"})
    apply(narrow)
    document = [{**narrow, "state": "absent"}, wide]
    apply(*document)
    assert rules(host) == ["100: from 10.0.0.0/8 lookup main proto static"]
