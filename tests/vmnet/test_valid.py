"""Hostile text at every boundary: what is accepted stays in its folder and means itself; the rest is told."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher import storage
from launcher.domain import domain_xml
from launcher.guest import CLAIMS, IMAGES, read_guest
from launcher.seed import read_seed
from nncp.document.source import load
from nncp.errors import Error
from nncp.render import render_error
from vmnet import valid
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.manifest import read_vm
from vmnet.nad import read_nad
from vmnet.names import pod_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "manifests"
SCENARIO = ROOT / "vmnet" / "rack" / "scenario"
VM, NAD = (SCENARIO / "vm-tiny.yaml").read_text(), (HERE / "nad.yaml").read_text()
SPEC = ("spec", "template", "spec")
BOOT = (*SPEC, "domain", "firmware", "kernelBoot")
HARMLESS = re.compile(r"[A-Za-z0-9_.:@+=~/-]+")

HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "//",
    "/.",
    "/..",
    "../x",
    "x/..",
    "a/../../b",
    "/etc/shadow",
    "../../../../etc/shadow",
    "a\0b",
    "a\nb",
    "a\n",
    "\n",
    "\x1b[31m",
    "a b",
    " ",
    "a,b",
    "a,readonly=on",
    "x,/etc/shadow",
    "a;b",
    "a'b",
    'a"b',
    "a<b",
    "a>b",
    "a&b",
    "${x}",
    "$(x)",
    "`x`",
    "a\\b",
    "-a",
    "--a",
    "%s",
    "{",
    "}",
    "#",
    "\u00e9",
    "\u0430",
    "\uff11",
    "\u202ex",
    "\ufeffa",
    "\ud800",
    "a" * 64,
    "a" * 254,
    "a" * 5000,
    "A",
    "0",
    "null",
    "true",
    "file:/x",
    "nbd://x/y",
    "a/b/c",
    "a//b",
    "a/./b",
    "~",
    "*",
]  # fmt: skip -- a table of texts
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=12) | st.text(st.sampled_from("./-_a0,\n\0"), max_size=8)


def place(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at `path`."""
    spoiled = copy.deepcopy(document)
    inner = spoiled
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return spoiled


def document(text: str) -> Any:
    return load(text, file="x.yaml")[0].value


def read_all(value: Any) -> tuple[Any, Any, Any]:
    """Read a VirtualMachine as `vmnet attach` and `launcher start` do."""
    text = json.dumps(value)
    (node,) = load(text, file="vm.json")
    vm = read_vm(node, bindings=BINDINGS)
    return vm, read_guest(vm), read_seed(node, text=text, macs={"eth0": "", "eth1": ""})


def is_printed_whole(error: Error) -> None:
    assert all(line.isprintable() for line in render_error(error).splitlines())


def told(error: Error) -> None:
    """Whatever an error says is printable, and says where."""
    for one in error:
        is_printed_whole(one)
        assert one.where is not None or one.path


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


def nad(config: Any, **meta: Any) -> Any:
    value = document(NAD)
    value["spec"]["config"] = config if isinstance(config, str) else json.dumps(config)
    value["metadata"] |= meta
    text = json.dumps(value)
    return read_nad(load(text, file="nad.json")[0], text=text)


CONFIG = json.loads(document(NAD)["spec"]["config"])


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
        ({"name": "x", "plugins": 5}, "plugins must be a list of objects"),
        ({"name": "x", "plugins": "abc"}, "plugins must be a list of objects"),
        (CONFIG | {"cniVersion": [1]}, "cniVersion must be text"),
        ('{"type": "bridge", "mtu": ' + "1" * 5000 + "}", "spec.config holds a number that is too long"),
    ],
)
def test_a_hostile_configuration_is_told_at_its_place(config: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        nad(config)
    assert caught.value.path.startswith("spec.config")
    assert caught.value.where is not None


# Anything anywhere

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def everything() -> Any:
    """A VM in which every field that is read is there."""
    value = document(VM)
    spec = value["spec"]["template"]["spec"]
    value["metadata"]["namespace"] = "default"
    spec |= {"hostname": "x", "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b"]}}
    domain = spec["domain"]
    domain["firmware"]["uuid"] = "00000000-0000-4000-8000-000000000001"
    domain |= {
        "cpu": {"cores": 1, "sockets": 1, "threads": 1},
        "machine": {"type": "q35"},
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    domain["devices"] |= {"rng": {}, "networkInterfaceMultiqueue": True}
    domain["devices"]["disks"][0] |= {"bootOrder": 1, "cache": "none", "serial": "x"}
    domain["devices"]["interfaces"][0] |= {
        "ports": [{"name": "web", "port": 80}],
        "dhcpOptions": {"ntpServers": ["10.0.0.1"], "privateOptions": [{"option": 224, "value": "x"}]},
        "bootOrder": 2,
        "acpiIndex": 1,
    }
    spec["networks"][0]["pod"] = {"vmNetworkCIDR": "10.0.2.0/24", "vmIPv6NetworkCIDR": "fd10:0:2::/120"}
    return value


WHOLE = everything()


def test_a_vm_with_every_field_is_read() -> None:
    vm, guest, seed = read_all(WHOLE)
    assert (vm.hostname, vm.dns.searches, guest.rng, guest.disks[0].serial) == ("x", ("a.b",), True, "x")
    assert seed is not None


@given(path=st.sampled_from([p for p in paths(WHOLE) if p]), value=ANYTHING)
@example(path=("spec", "template", "spec", "dnsConfig", "nameservers"), value=5)
@example(path=("spec", "template", "spec", "volumes"), value=5)
@example(path=("spec", "template", "spec", "domain", "memory", "guest"), value="1" * 5000)
def test_whatever_stands_anywhere_in_a_vm_is_read_or_told(path: tuple[Any, ...], value: Any) -> None:
    spoiled = place(WHOLE, path, value)
    text = json.dumps(spoiled)
    try:
        (node,) = load(text, file="vm.json")
    except Error:
        return
    with contextlib.suppress(Error):
        seed = read_seed(node, text=text, macs={"eth0": ""})
        assert seed is None or seed.files()
    try:
        vm = read_vm(node, bindings=BINDINGS)
        read_guest(vm)
    except Error as error:
        told(error)


NETWORK_DATA: dict[str, Any] = {
    "version": 2,
    "ethernets": {
        "eth1": {
            "addresses": ["10.0.0.2/24"],
            "gateway4": "10.0.0.1",
            "dhcp4": True,
            "match": {"macaddress": "x"},
        },
    },
}  # fmt: skip -- a document


@given(path=st.sampled_from(list(paths(NETWORK_DATA))), value=ANYTHING)
def test_whatever_stands_anywhere_in_network_data_is_read_or_told(path: tuple[Any, ...], value: Any) -> None:
    data = json.dumps(place(NETWORK_DATA, path, value) if path else value)
    where = (*SPEC, "volumes", 1, "cloudInitNoCloud", "networkData")
    text = json.dumps(place(document(VM), where, data))
    (node,) = load(text, file="vm.json")
    with contextlib.suppress(Error):
        read_seed(node, text=text, macs={"eth0": "", "eth1": "02:00:00:00:00:01"})


@given(data=st.data())
def test_whatever_stands_anywhere_in_a_nad_is_read_or_told(data: st.DataObject) -> None:
    value = document(NAD)
    path = data.draw(st.sampled_from([p for p in paths(value) if p]))
    spoiled = place(value, path, data.draw(ANYTHING))
    with contextlib.suppress(Error):
        read_texts([("nad.json", json.dumps(spoiled))], bindings=BINDINGS)
    config = CONFIG | {"ipam": {"type": "static"}, "plugins": [dict(CONFIG)]}
    path = data.draw(st.sampled_from([p for p in paths(config) if p]))
    with contextlib.suppress(Error):
        nad(place(config, path, data.draw(ANYTHING)))


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        (("metadata", "name"), 5, "metadata.name"),
        (("metadata",), [], "metadata"),
        (SPEC, "x", "spec.template.spec"),
        ((*SPEC, "networks"), {}, "spec.template.spec.networks"),
        ((*SPEC, "hostname"), ["x"], "spec.template.spec.hostname"),
        ((*SPEC, "hostname"), "a.b", "spec.template.spec.hostname"),
        ((*SPEC, "domain"), 5, "spec.template.spec.domain"),
        ((*SPEC, "dnsConfig", "nameservers"), 5, "spec.template.spec.dnsConfig.nameservers"),
        ((*SPEC, "dnsConfig", "nameservers"), [5], "spec.template.spec.dnsConfig.nameservers[0]"),
        ((*SPEC, "dnsConfig", "nameservers"), ["fe80::1%;x"], "spec.template.spec.dnsConfig.nameservers[0]"),
        ((*SPEC, "dnsConfig", "searches"), ["a b"], "spec.template.spec.dnsConfig.searches[0]"),
        (
            (*SPEC, "networks", 0, "pod", "vmNetworkCIDR"),
            5,
            "spec.template.spec.networks[0].pod.vmNetworkCIDR",
        ),
        ((*SPEC, "domain", "devices", "rng"), [], "spec.template.spec.domain.devices.rng"),
        ((*SPEC, "domain", "devices", "disks"), {}, "spec.template.spec.domain.devices.disks"),
        ((*SPEC, "domain", "devices", "disks", 0), 5, "spec.template.spec.domain.devices.disks[0]"),
        ((*SPEC, "domain", "firmware", "kernelBoot"), "x", "spec.template.spec.domain.firmware.kernelBoot"),
        ((*SPEC, "domain", "memory", "guest"), [], "spec.template.spec.domain.memory.guest"),
        ((*SPEC, "volumes", 0, "name"), 5, "spec.template.spec.volumes[0].name"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_at_its_place_once(
    path: tuple[Any, ...], value: Any, at: str
) -> None:
    with pytest.raises(Error) as caught:
        read_all(place(WHOLE, path, value))
    assert [error.path for error in caught.value].count(at) == 1, [str(e) for e in caught.value]


# Files


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    claims, images = tmp_path / "claims", tmp_path / "images"
    (claims / "vm-disk").mkdir(parents=True)
    (claims / "vm-disk" / "disk.img").write_bytes(bytes(4096))
    (images / "tiny").mkdir(parents=True)
    for name in ("vmlinuz-6", "initrd"):
        (images / "tiny" / name).touch()
    (images / "tiny" / "vmlinuz").symlink_to("vmlinuz-6")
    (tmp_path / "secret").touch()
    return claims, images


def missing(folders: tuple[Path, Path]) -> list[tuple[str, str]]:
    (node,) = load(VM, file="vm.yaml")
    guest = read_guest(read_vm(node, bindings=BINDINGS))
    found = storage.missing(guest, node, claims=folders[0], images=folders[1])
    return [(error.path.rpartition(".")[2], error.message) for error in found]


def test_a_link_to_a_file_beside_it_is_that_file(folders: tuple[Path, Path]) -> None:
    assert missing(folders) == []


@pytest.mark.parametrize("target", ["../../secret", "/etc/shadow", "../other/x", "loop"])
def test_a_link_that_leads_out_of_its_image_or_claim_is_refused(
    folders: tuple[Path, Path], target: str
) -> None:
    claims, images = folders
    (images / "other").mkdir()
    (images / "other" / "x").touch()
    for path in (images / "tiny" / "vmlinuz", images / "tiny" / "initrd", claims / "vm-disk" / "disk.img"):
        path.unlink()
        path.symlink_to(path.name if target == "loop" else target)
    found = missing(folders)
    assert [key for key, _ in found] == ["claimName", "kernelPath", "initrdPath"]
    assert all("leads out of" in said or "not" in said for _, said in found)


def test_what_is_no_file_is_refused(folders: tuple[Path, Path]) -> None:
    """QEMU would wait for ever at a pipe."""
    path = folders[1] / "tiny" / "initrd"
    path.unlink()
    os.mkfifo(path)
    assert missing(folders) == [("initrdPath", "initrd is not a file")]


def test_a_folder_of_images_may_be_a_link_itself(folders: tuple[Path, Path]) -> None:
    claims, images = folders
    (images / "tiny").rename(claims.parent / "built")
    (images / "tiny").symlink_to(claims.parent / "built")
    assert missing(folders) == []


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
