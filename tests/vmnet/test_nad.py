from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error
from vmnet.bindings import BINDINGS
from vmnet.cni.conf import read_conf
from vmnet.files import read_texts
from vmnet.preflight.asks import asks
from vmnet.preflight.verdict import Ask

if TYPE_CHECKING:
    from vmnet.nad import Nad

NAD = (Path(__file__).parent / "manifests" / "nad.yaml").read_text()


def read(text: str) -> Nad:
    (nad,) = read_texts([("nad.yaml", text)], bindings=BINDINGS).nads
    return nad


def errors(text: str) -> list[Error]:
    with pytest.raises(Error) as caught:
        asks(read(text), 0)
    return list(caught.value)


def test_the_slides_nad_is_read() -> None:
    nad = read(NAD)
    assert (nad.full_name, nad.cni_version, nad.resource) == (
        "default/virt-bridge",
        "0.3.1",
        "bridge.network.kubevirt.io/br1",
    )
    conf, faults = read_conf(nad.plugins[0])
    assert (conf.bridge, conf.vlans, faults) == ("br1", ((33, 33, "pvid untagged"),), [])
    assert asks(nad, 0) == [Ask("br1", 33, 0)]


def test_a_list_of_plugins_is_read() -> None:
    nad = read(NAD.replace('"type": "cnv-bridge",', '"plugins": [{"type": "cnv-bridge", "bridge": "br2"}],'))
    assert [p["bridge"] for p in nad.plugins] == ["br2"]
    assert nad.plugins[0]["name"] == "virt-bridge"


def test_broken_json_is_told_at_its_line_of_the_manifest() -> None:
    text = NAD.replace('"bridge": "br1",', '"bridge": "br1"')
    (error,) = errors(text)
    assert error.message.startswith("spec.config is not JSON: expecting ',' delimiter")
    assert error.where is not None
    assert '"macspoofchk"' in text.splitlines()[error.where.line - 1]
    assert error.where.text == text.splitlines()[error.where.line - 1]
    assert error.where.text[error.where.column - 1 :].startswith('"macspoofchk"')


def test_a_wrong_value_is_told_at_its_place_inside_the_json() -> None:
    text = NAD.replace('"vlan": 33', '"vlan": 5000')
    (error,) = errors(text)
    assert error.message == "invalid VLAN ID 5000 (must be between 0 and 4094)"
    assert error.where is not None
    assert error.where.text[error.where.column - 1 :].startswith("5000")
    assert error.path == "spec.config: vlan"


def test_a_misspelt_key_inside_the_json_gets_a_proposal() -> None:
    (error,) = errors(NAD.replace('"vlan"', '"vlans"'))
    assert (error.message, error.hint) == ("unknown field vlans", "did you mean vlan?")


def test_a_duplicate_key_inside_the_json_is_told() -> None:
    text = NAD.replace('"bridge": "br1",', '"bridge": "br1",\n      "bridge": "br2",')
    found = errors(text)
    assert any("bridge" in error.message and error.where and "br2" in error.where.text for error in found)


def test_one_line_of_json_in_quotes_keeps_its_columns() -> None:
    text = (
        NAD[: NAD.index("  config")]
        + """  config: '{"cniVersion": "1.0.0", "type": "bridge", "bridge": "br1", "vlan": 5000}'\n"""
    )
    (error,) = errors(text)
    assert error.where is not None
    assert error.where.text[error.where.column - 1 :].startswith("5000")


@pytest.mark.parametrize(
    ("trunk", "message"),
    [
        ('[{"minID": 10}]', "minID and maxID should be configured simultaneously, maxID is missing"),
        ('[{"maxID": 10}]', "minID and maxID should be configured simultaneously, minID is missing"),
        ('[{"minID": 20, "maxID": 10}]', "minID is greater than maxID in trunk parameter"),
        ('[{"id": 5000}]', "incorrect trunk id parameter"),
        ('[{"minID": 0, "maxID": 10}]', "incorrect trunk minID parameter"),
    ],
)
def test_a_bad_trunk_is_refused_in_the_plugins_words(trunk: str, message: str) -> None:
    (error,) = errors(NAD.replace('"vlan": 33', f'"vlanTrunk": {trunk}'))
    assert error.message == message


def test_a_gateway_without_addresses_is_refused_by_name() -> None:
    (error,) = errors(NAD.replace('"vlan": 33', '"isGateway": true'))
    assert error.message == "isGateway means nothing without ipam: there are no addresses"
    assert not read_conf({"bridge": "br1", "isGateway": False})[1]


@pytest.mark.parametrize(
    ("conf", "vids"),
    [
        ({}, ()),
        ({"vlan": 33}, ((33, 33, "pvid untagged"),)),
        (
            {"vlanTrunk": [{"minID": 100, "maxID": 103}, {"id": 104}, {"id": 7}]},
            ((7, 7, ""), (100, 104, "")),
        ),
        (
            {"vlan": 5, "vlanTrunk": [{"minID": 4, "maxID": 6}]},
            ((4, 4, ""), (5, 5, "pvid untagged"), (6, 6, "")),
        ),
        ({"vlanTrunk": [{"id": 7}], "preserveDefaultVlan": True}, ((1, 1, "pvid untagged"), (7, 7, ""))),
        ({"vlan": 2, "preserveDefaultVlan": True}, ((1, 1, "untagged"), (2, 2, "pvid untagged"))),
    ],
)
def test_the_ports_vlans_are_what_was_asked_and_no_more(
    conf: dict[str, object], vids: tuple[object, ...]
) -> None:
    assert read_conf(conf)[0].vlans == vids


def test_json_that_is_nested_too_deeply_is_told_at_its_place() -> None:
    head, _, _ = NAD.partition("  config:")
    (error,) = errors(f"{head}  config: '{'[' * 20000}'\n")
    assert error.message == "spec.config is nested too deeply"
    assert error.where is not None


def test_two_of_one_name_are_told_in_place_of_taking_the_last() -> None:
    with pytest.raises(
        Error, match="there are two NetworkAttachmentDefinitions default/virt-bridge"
    ) as caught:
        read_texts([("a.yaml", NAD), ("b.yaml", NAD)], bindings=BINDINGS)
    assert caught.value.where is not None
    assert caught.value.where.file == "b.yaml"
