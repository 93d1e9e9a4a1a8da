"""Probes as they are written: each is read or refused with what is wrong and what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error, ErrorKind
from nncp.probes import Probe, Probes, parse, parsed
from nncp.probes.attempt import ASK
from nncp.probes.written import KINDS
from nncp.render import render_error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "kind", "target", "port"),
    [
        ("ping:gw", "ping", "gw", 0),
        ("ping:192.0.2.1", "ping", "192.0.2.1", 0),
        ("ping:2001:DB8:0::1", "ping", "2001:db8::1", 0),
        ("ping:fe80::1%eth1", "ping", "fe80::1%eth1", 0),
        ("tcp:192.0.2.1:1", "tcp", "192.0.2.1", 1),
        ("tcp:[2001:db8::1]:65535", "tcp", "2001:db8::1", 65535),
        ("tcp:[fe80::1%eth1]:22", "tcp", "fe80::1%eth1", 22),
        ("tcp:api.example.org:6443", "tcp", "api.example.org", 6443),
        ("dns:example.org.", "dns", "example.org.", 0),
        ("exec:/bin/sh", "exec", "/bin/sh", 0),
    ],
)
def test_a_probe_is_read(text: str, kind: str, target: str, port: int) -> None:
    assert parse(text) == Probe(kind, target, text, port)


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("", "names no kind", "write ping:gw or"),
        ("pin:gw", "no kind of probe pin", "did you mean ping?"),
        ("http://example.org", "no kind of probe http", "write ping:gw or"),
        ("ping", "'' is no address", "write ping:gw or ping:192.0.2.1"),
        ("ping:example.org", "example.org is no address", "write ping:gw or ping:192.0.2.1"),
        ("ping:192.0.2.01", "192.0.2.01 is no address", "write"),
        ("ping:0.0.0.0", "no address of one host", "write"),
        ("ping:255.255.255.255", "no address of one host", "write"),
        ("ping:ff02::1%eth1", "no address of one host", "write"),
        ("ping:fe80::1", "fe80::1 lacks the link after it, as fe80::1%eth1", "write"),
        ("ping:2001:db8::1%eth1", "takes no link after it", "write"),
        ("ping:192.0.2.1%eth1", "is no address", "write"),
        ("tcp:example.org", "names no port", "write tcp:192.0.2.1:443"),
        ("tcp:192.0.2.1:0", "0 is no port", "write"),
        ("tcp:192.0.2.1:65536", "65536 is no port", "write"),
        ("tcp:192.0.2.1:+80", "+80 is no port", "write"),
        ("tcp:192.0.2.1:٨٠", "is no port", "write"),
        ("tcp:192.0.2.1:", "'' is no port", "write"),
        ("tcp:2001:db8::1:80", "as in tcp:[2001:db8::1]:80", "write"),
        ("tcp:[192.0.2.1]:80", "only an IPv6 address stands in brackets", "write"),
        ("tcp:[fe80::1]:80", "lacks the link", "write"),
        ("tcp::80", "'' is no name", "write"),
        ("tcp:0.0.0.0:80", "no address of one host", "write"),
        ("tcp:127.1:80", "127.1 is no address", "write"),
        ("dns:", "'' is no name", "write dns:example.org"),
        ("dns:192.0.2.1", "no name server is asked for an address", "write"),
        ("dns:127.1", "no name server is asked for an address", "write"),
        ("dns:::1", "no name server is asked for an address", "write"),
        ("dns:a..org", "a..org is no name", "write"),
        ("dns:..", ".. is no name", "write"),
        ("dns:" + "a" * 64, "is no name", "write"),
        ("dns:a b", "a b is no name", "write"),
        ("exec:", "names no program", "write exec:/usr/local/bin/check"),
        ("exec:/nowhere/at/all", "/nowhere/at/all is not there", "write"),
        ("exec:/", "/ is no program", "write"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(text: str, told: str, hint: str) -> None:
    with pytest.raises(Error) as raised:
        parse(text)
    assert raised.value.kind is ErrorKind.USAGE
    assert raised.value.message.startswith(f"probe {text or repr('')}: ")
    assert told in raised.value.message
    assert raised.value.hint.startswith(hint)


def test_a_program_is_where_it_was_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "check"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(Error, match=f"{program} may not be executed"):
        parse("exec:check")
    program.chmod(0o755)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(Error, match=f"{elsewhere}/check is not there"):
        parse("exec:check")
    monkeypatch.chdir(tmp_path)
    assert parse("exec:./check").target == str(program)


def test_all_that_is_wrong_is_told_at_once_and_once() -> None:
    with pytest.raises(Error) as raised:
        parsed(["ping:gw", "pin:gw", "tcp:a:0", "pin:gw"])
    assert [error.message.partition(": ")[0] for error in raised.value] == ["probe pin:gw", "probe tcp:a:0"]


def test_what_is_asked_twice_is_asked_once_as_it_was_first_written() -> None:
    texts = ["ping:2001:db8::1", "ping:gw", "ping:2001:db8:0::1", "ping:gw", "tcp:a:1", "tcp:a:2"]
    assert [probe.text for probe in parsed(texts)] == ["ping:2001:db8::1", "ping:gw", "tcp:a:1", "tcp:a:2"]


def test_a_probe_moves_no_cursor() -> None:
    with pytest.raises(Error) as raised:
        parse("ping:\x1b[2J\udcff")
    assert "ping:\\x1b[2J\\udcff" in render_error(raised.value)


def test_every_kind_that_is_read_is_asked() -> None:
    assert ASK.keys() == KINDS.keys()


def test_without_a_probe_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork")
    probes = Probes([])
    assert probes.before() == []
    probes.after(lambda: pytest.fail("nothing is waited for"))
