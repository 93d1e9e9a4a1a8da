"""A node's resolv.conf as its resolver reads it, with nothing in it that could stop an attach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nncp.document.source import load
from vmnet.lease import Lease, service
from vmnet.model import Dns, VirtualMachine
from vmnet.node.plumb import resolver
from vmnet.node.resolv_conf import read_resolv_conf
from vmnet.plumbing import Resolver

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "plain": (b"nameserver 8.8.8.8\nnameserver 8.8.4.4\n", Resolver(("8.8.8.8", "8.8.4.4"))),
    "no address": (b"search example.com\nnameserver ns1\n", Resolver((), ("example.com",))),
    "tabs": (b"search\tcluster.local\t a.b  \nnameserver\t1.1.1.1\t# x\r\n", Resolver(("1.1.1.1",), ("cluster.local", "a.b"))),
    "capitals": (b"search LoCaL Example.COM.\n", Resolver((), ("local", "example.com"))),
    "the last search": (b"search a\nsearch b c\n", Resolver((), ("b", "c"))),
    "the last domain": (b"search a b\ndomain c d\n", Resolver((), ("c",))),
    "a search after a domain": (b"domain c\nsearch a b\n", Resolver((), ("a", "b"))),
    "the root": (b"search .\n", Resolver()),
    "comments": (b"#nameserver 1.1.1.1\n;search a\n nameserver 2.2.2.2\n", Resolver()),
    "options": (b"options ndots:5 edns0\nsortlist 1.2.3.4\nnameserver\nsearch\n", Resolver()),
    "the node's own": (b"nameserver 127.0.0.53\nnameserver ::1\nnameserver 0.0.0.0\n", Resolver()),
    "of one link": (b"nameserver fe80::1%eth0\nnameserver fd00::10\n", Resolver(("fd00::10",))),
    "four": (b"nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n", Resolver(("1.1.1.1", "1.1.1.2", "1.1.1.3"))),
    "no text": (b"\xff\xfenameserver 1.1.1.1\nsearch \xe4.example ok.example\n", Resolver((), ("ok.example",))),
    "no names": (b"search a..b -a.b a_b.c " + b"x" * 64 + b" good\n", Resolver((), ("a_b.c", "good"))),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CASES.values(), ids=CASES)
def test_a_resolv_conf_says(text: bytes, wanted: Resolver, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(text)
    assert read_resolv_conf(path) == wanted


def test_as_many_domains_are_searched_as_one_option_holds(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search " + " ".join(f"{i:02}.{'x' * 60}.example" for i in range(9)))
    searches = read_resolv_conf(path).searches
    assert len(searches) == 3
    assert sum(len(name) + 2 for name in searches) <= 255


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert read_resolv_conf(tmp_path / "folder") == read_resolv_conf(tmp_path / "none") == Resolver()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([b"nameserver ", b"search ", b"domain ", b"\t", b"\n", b"1.1.1.1"])
        | st.binary(max_size=9)
    )
)
def test_whatever_a_resolv_conf_says_can_be_served(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"".join(pieces))
    found = read_resolv_conf(path)
    service(
        Lease(
            interface="k6t-eth0",
            server="10.0.2.1",
            address="10.0.2.2/24",
            nameservers=found.nameservers,
            searches=found.searches,
        )
    )


@pytest.mark.parametrize(
    ("dns", "wanted"),
    [
        (Dns(), Resolver(("1.1.1.1",), ("node.example",))),
        (Dns(("10.96.0.10",)), Resolver(("10.96.0.10",))),
        (Dns((), ("vm.example",)), Resolver(("1.1.1.1",), ("vm.example",))),
    ],
)
def test_a_vms_own_dns_config_comes_first(dns: Dns, wanted: Resolver, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 1.1.1.1\nsearch node.example\n")
    node = load("{}", file="vm.yaml")[0]
    vm = VirtualMachine(name="vm", namespace="default", nics=(), hostname="vm", node=node, dns=dns)
    assert resolver(vm, path) == wanted


SUBDOMAINS = {
    "the longest of a service": (("default.svc.cluster.local", "svc.cluster.local", "cluster.local"), "sub.default.svc.cluster.local"),
    "not the first": (("cluster.local", "default.svc.cluster.local"), "sub.default.svc.cluster.local"),
    "there already": (("svc.cluster.local", "sub.default.svc.cluster.local"), ""),
    "not the longest of all": (("default.svc.cluster.local", "a.very.very.very.long.entry"), "sub.default.svc.cluster.local"),
    "no service": (("example.com",), ""),
}  # fmt: skip


@pytest.mark.parametrize(("searches", "added"), SUBDOMAINS.values(), ids=SUBDOMAINS)
def test_a_subdomain_is_searched_first(searches: tuple[str, ...], added: str, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search " + " ".join(searches))
    node = load("{}", file="vm.yaml")[0]
    vm = VirtualMachine(name="vm", namespace="default", nics=(), hostname="vm", node=node, subdomain="sub")
    assert resolver(vm, path).searches == ((added, *searches) if added else searches)
