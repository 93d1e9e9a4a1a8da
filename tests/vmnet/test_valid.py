"""Hostile text at every boundary: what is accepted stays in its folder and means itself; the rest is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import example, given

from launcher.domain import domain_xml
from launcher.guest import CLAIMS, IMAGES
from nncp.errors import Error
from tests.vmnet.hostile import (
    BOOT,
    CONFIG,
    HARMLESS,
    HERE,
    NAD,
    ROOT,
    SPEC,
    TEXTS,
    VM,
    document,
    is_printed_whole,
    nad,
    place,
    read_all,
    told,
)
from vmnet import valid
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.names import pod_name

if TYPE_CHECKING:
    from collections.abc import Callable

# Which value of the manifest, and what it becomes: a name, a path below a folder, one word.
PLACES: list[tuple[Any, ...]] = [
    ("metadata", "name"),
    ("metadata", "namespace"),
    (*SPEC, "hostname"),
    (*SPEC, "networks", 0, "name"),
    (*SPEC, "networks", 1, "multus", "networkName"),
    (*SPEC, "domain", "devices", "interfaces", 1, "name"),
    (*SPEC, "domain", "devices", "interfaces", 1, "macAddress"),
    (*SPEC, "domain", "devices", "interfaces", 1, "model"),
    (*SPEC, "domain", "devices", "interfaces", 1, "pciAddress"),
    (*SPEC, "domain", "devices", "disks", 0, "name"),
    (*SPEC, "domain", "devices", "disks", 0, "serial"),
    (*SPEC, "domain", "devices", "disks", 0, "cache"),
    (*SPEC, "domain", "devices", "disks", 0, "disk", "bus"),
    (*SPEC, "domain", "machine"),
    (*SPEC, "volumes", 0, "name"),
    (*SPEC, "volumes", 0, "persistentVolumeClaim", "claimName"),
    (*BOOT, "container", "image"),
    (*BOOT, "container", "kernelPath"),
    (*BOOT, "container", "initrdPath"),
]


@pytest.mark.parametrize("path", PLACES, ids=[".".join(map(str, path)) for path in PLACES])
@given(text=TEXTS)
def test_what_a_vm_may_say_means_itself_wherever_it_goes(path: tuple[Any, ...], text: str) -> None:
    value: Any = {"type": text} if path[-1] == "machine" else text
    spoiled = place(document(VM), path, value)
    # What is named in two places is named alike in both.
    if path[-1] == "name" and path[-3:-2] in {("networks",), ("interfaces",)}:
        spoiled = place(spoiled, (*SPEC, "networks", path[-2], "name"), text)
        spoiled = place(spoiled, (*SPEC, "domain", "devices", "interfaces", path[-2], "name"), text)
    if path[-1] == "name" and path[-3:-2] in {("disks",), ("volumes",)}:
        spoiled = place(spoiled, (*SPEC, "volumes", 0, "name"), text)
        spoiled = place(spoiled, (*SPEC, "domain", "devices", "disks", 0, "name"), text)
    try:
        vm, guest, _ = read_all(spoiled)
    except Error as error:
        told(error)
        return
    words = [vm.name, vm.namespace, vm.hostname, guest.name, guest.machine]
    words += [nic.network.name for nic in vm.nics] + [disk.name for disk in guest.disks]
    words += [word for disk in guest.disks for word in (disk.serial, disk.cache) if word]
    assert all(HARMLESS.fullmatch(word) and "/" not in word for word in words)
    files = [disk.file for disk in guest.disks] + [guest.kernel.file, guest.kernel.initrd or IMAGES + "/x"]
    assert all(HARMLESS.fullmatch(file) for file in files)
    for file in files[:1]:
        assert Path(os.path.normpath(file)).parts[:5] == Path(file).parts[:5]
        assert file.startswith(f"{CLAIMS}/")
    for file in files[-2:]:
        assert os.path.normpath(file) == file.rstrip("/")
        assert file.startswith(f"{IMAGES}/")
    fromstring(domain_xml(guest, [], accelerator="tcg", caches={}))


@given(text=TEXTS)
@example(text="console=ttyS0 a=\"b c\" d='e' f=1,2")
def test_a_kernels_arguments_are_one_line_and_arrive_as_they_are(text: str) -> None:
    try:
        _, guest, _ = read_all(place(document(VM), (*BOOT, "kernelArgs"), text))
    except Error as error:
        told(error)
        return
    xml = fromstring(domain_xml(guest, [], accelerator="tcg", caches={}))
    assert (xml.findtext("os/cmdline") or "") == text
    assert text.isprintable()


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x1bb", "a" * 5000])
def test_kernel_arguments_of_more_than_a_line_are_refused_at_their_place(text: str) -> None:
    with pytest.raises(Error, match="is not a kernel's command line") as caught:
        read_all(place(document(VM), (*BOOT, "kernelArgs"), text))
    assert caught.value.path == "spec.template.spec.domain.firmware.kernelBoot.kernelArgs"


@pytest.mark.parametrize("key", ["image", "kernelPath", "initrdPath"])
@pytest.mark.parametrize("text", ["..", "../../../../etc/shadow", "a/../../b", "x,/etc/shadow", "a b", "a\0"])
def test_a_kernels_path_that_leads_out_is_refused_at_its_place(key: str, text: str) -> None:
    with pytest.raises(Error) as caught:
        read_all(place(document(VM), (*BOOT, "container", key), text))
    assert [error.path.rpartition(".")[2] for error in caught.value] == [key]


@pytest.mark.parametrize("text", ["..", ".", "a/b", "/etc", "a,b", "A", "a\n", "a" * 254])
def test_a_claim_that_is_none_of_kubernetes_is_refused_at_its_place(text: str) -> None:
    where = (*SPEC, "volumes", 0, "persistentVolumeClaim", "claimName")
    with pytest.raises(Error, match="is not the name of a claim") as caught:
        read_all(place(document(VM), where, text))
    assert caught.value.path == "spec.template.spec.volumes[0].persistentVolumeClaim.claimName"


@given(text=TEXTS)
def test_a_pods_name_is_a_folders_and_nothing_else(text: str) -> None:
    try:
        name = pod_name(text)
    except Error as error:
        is_printed_whole(error)
        return
    assert os.path.normpath(f"/pods/{name}/x") == f"/pods/{name}/x"
    assert HARMLESS.fullmatch(name)
    assert len(name) <= 253


@pytest.mark.parametrize("text", ["", "..", "../x", "/etc", "a\nb", "\u00e9", "a" * 254])
@pytest.mark.parametrize(
    "argv",
    [
        ("vmnet.cli", "detach", "--"),
        ("vmnet.cli", "attach", "--", "POD", str(HERE / "vm.yaml")),
        ("launcher", "status", "--pod"),
    ],
    ids=["detach", "attach", "status"],
)
def test_a_pods_name_is_told_on_every_command_line(argv: tuple[str, ...], text: str, tmp_path: Path) -> None:
    words = [text if word == "POD" else word for word in argv]
    words += [] if "POD" in argv else [text]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 64, done.stderr
    assert "is not the name of a Pod" in done.stderr


@pytest.mark.parametrize("text", ["10.0.0.1; flush ruleset", "fe80::1%x", "", "x", "10.0.0.1/24", "1e1"])
@pytest.mark.parametrize("argv", [("prepare", "vm.yaml", "--from")])
def test_an_address_of_another_pod_is_one(argv: tuple[str, ...], text: str) -> None:
    """The target lets the source's address in by a rule of nft."""
    words = [sys.executable, "-m", "launcher", *argv, text, "--pod", "x"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 64
    assert "is not an IP address" in done.stderr


@pytest.mark.parametrize("folder", ["file", "file/x", "x" * 300, "/dev/null", "/proc/nope", "link"])
def test_a_run_dir_that_is_none_is_told_in_words(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(".")
    words = [sys.executable, "-m", "vmnet.cli", "detach", "nobody", "--run-dir", folder]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode in {64, 69, 77}, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("module", ["vmnet.cli", "launcher"])
def test_both_commands_have_a_short_word_for_their_version(module: str) -> None:
    words = [sys.executable, "-m", module, "-V"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "version" in done.stdout


@pytest.mark.parametrize(
    ("text", "at"), [("kind: VirtualMachine\napiVersion: x\n", "<stdin>:2:13"), ("a: [", "<stdin>:2:1")]
)
def test_standard_input_has_the_name_that_nncp_gives_it(text: str, at: str) -> None:
    words = [sys.executable, "-m", "vmnet.cli", "attach", "x", "-"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 65
    assert at in done.stderr


def test_files_without_a_vm_are_said_to_hold_none() -> None:
    with pytest.raises(Error, match="there is no VirtualMachine") as caught:
        read_texts([("nad.yaml", NAD)], bindings=BINDINGS).vm()
    assert caught.value.hint == "the files hold none"


# NetworkAttachmentDefinitions


@given(text=TEXTS)
def test_what_a_nad_is_called_means_itself(text: str) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: nad(CONFIG, name=text),
        lambda: nad(CONFIG, namespace=text),
        lambda: nad(CONFIG | {"name": text}),
        lambda: nad(CONFIG | {"type": text}),
        lambda: nad({"name": "x", "plugins": [CONFIG | {"type": text}]}),
        lambda: nad(CONFIG | {"ipam": {"type": text}}),
    ]
    for ask in asked:
        try:
            found = ask()
        except Error as error:
            told(error)
            continue
        words = [found.name, found.namespace]
        for plugin in found.plugins:
            words += [plugin["name"], plugin["type"], plugin.get("ipam", {}).get("type") or "none"]
        assert all(HARMLESS.fullmatch(word) and "/" not in word and word not in {".", ".."} for word in words)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"type": "../../../bin/sh"}, "is not the name of a plugin"),
        (CONFIG | {"ipam": {"type": "../x"}}, "is not the name of a plugin"),
        (CONFIG | {"name": "../x"}, "is not the name of a network"),
        (CONFIG | {"ipam": 5}, "ipam must be an object"),
        ({"cniVersion": "1.0.0", "name": "x", "plugins": 5}, "plugins must be a list of objects"),
        ({"cniVersion": "1.0.0", "name": "x", "plugins": "abc"}, "plugins must be a list of objects"),
        (CONFIG | {"cniVersion": [1]}, "cniVersion is not text"),
        ('{"type": "bridge", "mtu": ' + "1" * 5000 + "}", "spec.config holds a number that is too long"),
    ],
)
def test_a_hostile_configuration_is_told_at_its_place(config: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        nad(config)
    assert caught.value.path.startswith("spec.config")
    assert caught.value.where is not None


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (valid.LABEL, ["a", "a-b", "0", "a" * 63], ["", "-a", "a-", "a.b", "A", "a" * 64, "a\n"]),
        (valid.SUBDOMAIN, ["a.b", "a" * 253], ["a..b", ".a", "a.", "a" * 254]),
        (valid.NAMESPACED, ["a", "a/b", "a/b.c"], ["/a", "a/", "a/b/c", "A/b", "a.b/c"]),
        (valid.INTERFACE, ["a_B-1", "-"], ["", "a.b", "a b", "a" * 64]),
        (valid.PORT_NAME, ["web", "a-1"], ["80", "a--b", "-a", "a-", "a" * 16]),
        (valid.DOMAIN, ["a.b", "_tcp.x"], ["", ".", "a..b", "a b", "-a.", "a.b.", "A", "a" * 64]),
        (valid.SERIAL, ["CVLY623300HK240D", "a.b+c"], ["", "a b", "a,b"]),
        (
            valid.INNER_PATH,
            ["/vmlinuz", "boot/x", "a.b/..c", "q.io/a:b@c"],
            ["", "/", "..", "a/../b", "a//b", "a,b"],
        ),
        (valid.NETWORK, ["a", "A_b.c"], ["", ".a", "a/b"]),
    ],
)  # fmt: skip -- a table of texts
def test_each_rule_is_its_readers(rule: valid.Rule, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not rule.allows(text)] == []
    assert [text for text in bad if rule.allows(text)] == []
    assert not rule.allows(5)


@pytest.mark.parametrize(
    ("text", "version", "holds"),
    [
        ("10.0.0.1", 0, True),
        ("10.0.0.1", 6, False),
        ("::1", 6, True),
        ("::1%x", 0, False),
        ("x", 0, False),
        (5, 0, False),
    ],
)
def test_an_address_has_no_zone(text: object, version: int, holds: bool) -> None:
    assert valid.is_address(text, version=version) is holds
