"""What a document is known by once it is applied, and how somebody calls it then."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nncp.desired import STDIN, Desired, chosen, documents, name_of
from nncp.errors import Error, ErrorKind
from nncp.host import Host
from nncp.terminal import path_of

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: uplink}
spec: {desiredState: {}}
"""
BARE = "interfaces: []\n---\ndesired: {}\n"


def names(text: str, file: str = "net.yaml", path: str = "/etc/a/net.yaml") -> list[str]:
    return [name_of(policy) for policy in documents([(file, text)], paths={file: path})]


def test_a_bare_state_is_known_by_the_whole_path_of_its_file_and_a_manifest_by_its_name() -> None:
    assert names(BARE) == 2 * ["/etc/a/net.yaml"]
    assert names(BARE, path="/etc/b/net.yaml") == 2 * ["/etc/b/net.yaml"]
    assert names(MANIFEST) == ["uplink"]
    assert [name_of(policy) for policy in documents([("a/net.yaml", BARE)])] == 2 * ["a/net.yaml"]


def test_what_comes_by_a_stream_is_known_by_what_it_says() -> None:
    (first,), (second,) = (names(json.dumps({"interfaces": [{"name": name}]}), STDIN, "") for name in "ab")
    assert first != second
    assert first.startswith("stdin-")
    assert names('{"interfaces": [{"name": "a"}]}', "/dev/fd/63", "") == [first]


def test_what_comes_by_a_stream_is_known_by_its_template_and_not_by_what_fills_it() -> None:
    found = documents(
        [(STDIN, '{"desired": {"interfaces": [{"name": "{{ values.name }}", "state": "ignore"}]}}')]
    )
    asked = Desired(found, values={"name": "eth1"})
    asked(Host())
    (meant,) = asked.meant()
    assert meant.name == name_of(found[0])


def test_a_path_is_whole_however_the_file_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (file := tmp_path / "a" / "net.yaml").touch()
    (link := tmp_path / "link.yaml").symlink_to(file)
    monkeypatch.chdir(tmp_path / "a")
    assert {path_of(name) for name in ("net.yaml", "./net.yaml", "../a/net.yaml", str(file))} == {str(file)}
    assert path_of("../link.yaml") == str(link), "a link that is turned to another version keeps its name"


def test_what_is_no_file_has_no_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert {path_of(name) for name in ("-", "", str(tmp_path / "pipe"), "/dev/stdin", "/proc/self/maps")} == {
        ""
    }


KNOWN = ["/etc/a/net.yaml", "/etc/b/net.yaml", "/etc/b/more.yaml", "uplink", "more.yaml"]


@pytest.mark.parametrize(
    ("called", "meant"),
    [
        ("uplink", "uplink"),
        ("/etc/a/net.yaml", "/etc/a/net.yaml"),
        ("a/net.yaml", "/etc/a/net.yaml"),
        ("more.yaml", "more.yaml"),
        ("b/more.yaml", "/etc/b/more.yaml"),
    ],
)
def test_a_document_is_called_by_its_name_or_by_the_end_of_its_path(called: str, meant: str) -> None:
    assert chosen([called], [*KNOWN, *KNOWN]) == [meant]


@pytest.mark.parametrize(
    ("called", "message", "hint"),
    [
        ("net.yaml", "net.yaml may be any of 2 documents", "there are /etc/a/net.yaml, /etc/b/net.yaml"),
        ("et.yaml", "no document et.yaml was applied here", "there are /etc/a/net.yaml,"),
        ("", "no document  was applied here", "there are"),
    ],
)
def test_what_none_or_several_have_is_refused(called: str, message: str, hint: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        chosen(["uplink", called], KNOWN)
    assert caught.value.hint.startswith(hint)
    assert caught.value.kind is ErrorKind.USAGE
    with pytest.raises(Error) as both:
        chosen(["x", "y"], [])
    assert [error.hint for error in both.value] == 2 * ["nothing was applied here"]
