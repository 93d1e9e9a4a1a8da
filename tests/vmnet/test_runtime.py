"""The Pod network's configuration as a node has it: anybody may have written it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error
from vmnet.cni import plugin
from vmnet.cni.runtime import find_conf
from vmnet.preflight.member import Member

if TYPE_CHECKING:
    from pathlib import Path

BRIDGE = {"cniVersion": "1.0.0", "type": "bridge"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{}", "None is not the name of a plugin"),
        (b"[]", "plugins is not a list of objects"),
        (b"3", "plugins is not a list of objects"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"name": "n", "plugins": []}', "plugins is not a list of objects"),
        (b'{"name": "n", "plugins": [3]}', "plugins is not a list of objects"),
        (b'{"name": "n", "plugins": {"type": "bridge"}}', "plugins is not a list of objects"),
        (
            b'{"name": "n", "plugins": [{"type": "../../bin/sh"}]}',
            "'../../bin/sh' is not the name of a plugin",
        ),
        (b'{"name": "n", "plugins": [{"type": 3}]}', "3 is not the name of a plugin"),
        (b'{"plugins": [{"type": "bridge"}]}', "it has no name"),
        (b'{"name": 3, "type": "bridge"}', "it has no name"),
        (b'{"name": "../..", "type": "bridge"}', "'../..' is not the name of a network"),
        (b'{"name": "n", "type": "bridge"}', "it has no cniVersion, which CNI takes as 0.1.0"),
        (b'{"name": "n", "cniVersion": "0.2.0", "type": "bridge"}', "cniVersion 0.2.0 is too old"),
        (b'{"name": "n", "cniVersion": 1, "type": "bridge"}', "cniVersion is not text"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_file(tmp_path: Path, text: bytes, why: str) -> None:
    file = tmp_path / "10.conflist"
    file.write_bytes(text)
    with pytest.raises(Error) as refused:
        find_conf(tmp_path)
    assert str(file) in refused.value.message
    assert why in refused.value.message


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "10.conflist").mkdir()
    with pytest.raises(Error, match="cannot be read: Is a directory"):
        find_conf(tmp_path)


def test_a_list_and_a_single_plugin_are_both_read(tmp_path: Path) -> None:
    (tmp_path / "20.conflist").write_text(json.dumps({"name": "n", "plugins": [BRIDGE]}))
    assert find_conf(tmp_path) == {"name": "n", "plugins": [BRIDGE]}
    (tmp_path / "10.conf").write_text(json.dumps({"name": "m", **BRIDGE}))
    found = find_conf(tmp_path)
    assert (found["name"], found["cniVersion"], [one["type"] for one in found["plugins"]]) == (
        "m",
        "1.0.0",
        ["bridge"],
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "3", "", "\0", '{"name": 3}'])
@pytest.mark.parametrize("verb", ["ADD", "VERSION"])
def test_a_runtime_that_sends_no_configuration_gets_json_back(
    text: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNI_COMMAND", verb)
    sink = io.StringIO()
    code = plugin.main(io.StringIO(text), sink)
    answer = json.loads(sink.getvalue())
    assert (code == 1) == ("code" in answer)
    assert code == 1 or verb == "VERSION"


@pytest.mark.parametrize("line", ["3", "[[", "[" * 100_000, "", "\ufffd", '{"do": 3}', '{"do": "send"}'])
def test_a_member_answers_what_is_no_question(line: str) -> None:
    assert "error" in Member().answer(line)
