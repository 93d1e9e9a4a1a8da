"""Images that no tool has made: what is in them, and that their digests are what they say."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from nncp.errors import Error
from nncp.lab.cluster import oci

if TYPE_CHECKING:
    from pathlib import Path


def test_an_image_is_an_oci_layout_whose_digests_hold(tmp_path: Path) -> None:
    files = {"bin/busybox": b"program", "bin/sh": "busybox"}
    oci.layer(tmp_path / "layer.tar", files, folders=("bin",))
    oci.write(
        tmp_path / "image.tar", "localhost/x:1", tmp_path / "layer.tar", command=["/bin/sh"], env=["A=b"]
    )
    blobs = _blobs(tmp_path / "image.tar")
    assert json.loads(blobs.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    (described,) = json.loads(blobs.pop("index.json"))["manifests"]
    assert described["annotations"]["io.containerd.image.name"] == "localhost/x:1"
    for name, content in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    manifest = _read(blobs, described)
    config = _read(blobs, manifest["config"])
    assert config["config"] == {"Env": [oci.PATH, "A=b"], "Cmd": ["/bin/sh"]}
    (layer,) = manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    assert blobs[_path(layer)] == (tmp_path / "layer.tar").read_bytes()
    with tarfile.open(tmp_path / "layer.tar") as inner:
        assert inner.getnames() == ["bin", "bin/busybox", "bin/sh"]
        assert inner.getmember("bin/sh").linkname == "busybox"
        assert inner.getmember("bin/busybox").mode == 0o755


def test_layers_lie_in_their_order_and_are_known_by_what_they_unpack_to(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    oci.layer(tmp_path / "below.tar", {"bin/sh": b"program"})
    oci.pack(tmp_path / "above.tar.gz", tree)
    layers = (tmp_path / "below.tar", tmp_path / "above.tar.gz")
    oci.write(tmp_path / "image.tar", "localhost/x:1", *layers, command=["a"], user="65532")
    assert oci.name_of(tmp_path / "image.tar") == "localhost/x:1"
    blobs = _blobs(tmp_path / "image.tar")
    (described,) = json.loads(blobs["index.json"])["manifests"]
    manifest = _read(blobs, described)
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]] == ["tar", "tar+gzip"]
    below, above = (blobs[_path(layer)] for layer in manifest["layers"])
    unpacked = [hashlib.sha256(each).hexdigest() for each in (below, gzip.decompress(above))]
    config = _read(blobs, manifest["config"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in unpacked]
    assert config["config"]["User"] == "65532"


def test_the_same_files_make_the_same_bytes_whoever_has_them_and_since_when(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tree = _tree(tmp_path / name)
        os.utime(tree / "bin" / "run", (len(name), ord(name)))
        oci.pack(tmp_path / f"{name}.tar.gz", tree)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        found = {each.name: (each.mode, each.uid, each.mtime) for each in archive}
    assert found == {
        "bin": (0o755, 0, 0),
        "bin/run": (0o755, 0, 0),
        "bin/short": (0o777, 0, 0),
        "etc": (0o755, 0, 0),
        "etc/text": (0o644, 0, 0),
    }


def _tree(tree: Path) -> Path:
    for path, mode in (("bin/run", 0o700), ("etc/text", 0o600)):
        (tree / path).parent.mkdir(parents=True)
        (tree / path).write_text(path)
        (tree / path).chmod(mode)
    (tree / "bin" / "short").symlink_to("run")
    return tree


def test_what_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    oci.layer(tmp_path / "layer.tar", {"a": b"b"})
    for name in ("text", "layer.tar"):
        with pytest.raises(Error, match=f"{name} is no archive of an image"):
            oci.name_of(tmp_path / name)
    with pytest.raises(Error, match="missing cannot be read: No such file"):
        oci.name_of(tmp_path / "missing")


def _blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {name: _content(opened, name) for name in opened.getnames()}


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file
    return file.read()


def _path(described: dict[str, Any]) -> str:
    return f"blobs/{described['digest'].replace(':', '/')}"


def _read(blobs: dict[str, bytes], described: dict[str, Any]) -> Any:
    content = blobs[_path(described)]
    assert len(content) == described["size"]
    return json.loads(content)
