"""Container images as archives that containerd imports: no registry, no daemon, no tool.

One layer, an OCI image layout in a tar (opencontainers/image-spec, image-layout.md), named for containerd as
its own exports are (annotation io.containerd.image.name).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TYPES = "application/vnd.oci.image"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURE = "amd64"


def write(target: Path, name: str, layer: Path, *, command: Sequence[str], env: Sequence[str] = ()) -> None:
    """Write an image of one layer.

    Args:
        target: the archive.
        name: what Pods call the image: repository and tag.
        layer: a tar of its files.
        command: what it runs.
        env: NAME=VALUE of its environment, beside PATH.

    """
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = _json(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Env": [PATH, *env], "Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    )
    layers = [
        {"mediaType": f"{TYPES}.layer.v1.tar", "digest": f"sha256:{digest}", "size": layer.stat().st_size}
    ]
    manifest = _json(
        {"schemaVersion": 2, "mediaType": f"{TYPES}.manifest.v1+json", "layers": layers}
        | {"config": _described(f"{TYPES}.config.v1+json", config)}
    )
    named = {"annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}
    index = {"schemaVersion": 2, "manifests": [_described(f"{TYPES}.manifest.v1+json", manifest) | named]}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json(index))
        for blob in (config, manifest):
            _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        with layer.open("rb") as file:
            info = tarfile.TarInfo(f"blobs/sha256/{digest}")
            info.size = layer.stat().st_size
            archive.addfile(info, file)


def layer(target: Path, files: Mapping[str, bytes | str], *, folders: Sequence[str] = ()) -> None:
    """Write a layer: path -> the content of a program, or where a symbolic link leads."""
    with tarfile.open(target, "w") as archive:
        for path in folders:
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.mode, info.size = 0o755, len(content)
                archive.addfile(info, io.BytesIO(content))


def _described(media_type: str, blob: bytes) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}",
        "size": len(blob),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
