"""Images that no tool has made: what is in them, and that their digests are what they say."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any

from nncp.lab.cluster import oci

if TYPE_CHECKING:
    from pathlib import Path


def test_an_image_is_an_oci_layout_whose_digests_hold(tmp_path: Path) -> None:
    files = {"bin/busybox": b"program", "bin/sh": "busybox"}
    oci.layer(tmp_path / "layer.tar", files, folders=("bin",))
    oci.write(
        tmp_path / "image.tar", "localhost/x:1", tmp_path / "layer.tar", command=["/bin/sh"], env=["A=b"]
    )
    with tarfile.open(tmp_path / "image.tar") as archive:
        blobs = {name: _content(archive, name) for name in archive.getnames()}
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
