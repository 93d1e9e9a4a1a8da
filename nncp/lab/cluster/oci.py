"""Container images as archives that containerd imports: no registry, no daemon, no tool.

An OCI image layout in a tar (opencontainers/image-spec, image-layout.md), named for containerd as its own
exports are (annotation io.containerd.image.name). The same files make the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import IO, TYPE_CHECKING, Any

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TYPES = "application/vnd.oci.image"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURE = "amd64"
NAMED = "io.containerd.image.name"
FAST = 1
"""Of gzip's levels; a node unpacks a layer as quickly, and the others take seconds to save a tenth."""


def write(
    target: Path, name: str, *layers: Path, command: Sequence[str], env: Sequence[str] = (), user: str = ""
) -> None:
    """Write an image.

    Args:
        target: the archive.
        name: what Pods call the image: repository and tag.
        layers: tars of its files, the lowest first; a name that ends with .gz is of a packed one.
        command: what it runs.
        env: NAME=VALUE of its environment, beside PATH.
        user: who runs it, by number; root when nobody is named.

    """
    config = _json(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Env": [PATH, *env], "Cmd": list(command), **({"User": user} if user else {})},
            "rootfs": {"type": "layers", "diff_ids": [_digest_of_tar(layer) for layer in layers]},
        }
    )
    described = [_described_layer(layer) for layer in layers]
    manifest = _json(
        {"schemaVersion": 2, "mediaType": f"{TYPES}.manifest.v1+json", "layers": described}
        | {"config": _described(f"{TYPES}.config.v1+json", config)}
    )
    named = {"annotations": {NAMED: name, "org.opencontainers.image.ref.name": name}}
    index = {"schemaVersion": 2, "manifests": [_described(f"{TYPES}.manifest.v1+json", manifest) | named]}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json(index))
        for blob in (config, manifest):
            _add(archive, _place(f"sha256:{hashlib.sha256(blob).hexdigest()}"), blob)
        for each, path in {
            each["digest"]: path for each, path in zip(described, layers, strict=True)
        }.items():
            with path.open("rb") as file:
                info = tarfile.TarInfo(_place(each))
                info.size = path.stat().st_size
                archive.addfile(info, file)


def name_of(archive: Path) -> str:
    """Return what Pods call the image of an archive.

    Raises:
        Error: it is no archive of an image, or not one that has a name.

    """
    try:
        with tarfile.open(archive) as opened, _file(opened, "index.json") as file:
            name: str = json.load(file)["manifests"][0]["annotations"][NAMED]
    except OSError as error:
        raise Error(f"{archive} cannot be read: {error.strerror or error}", kind=ErrorKind.USAGE) from error
    except (tarfile.TarError, ValueError, LookupError, TypeError) as error:
        message = f"{archive} is no archive of an image that has a name"
        raise Error(message, kind=ErrorKind.USAGE, hint="`make image` writes one") from error
    return name


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


def pack(target: Path, tree: Path) -> None:
    """Write a packed layer of all that is below a folder: root's, of no time, in the order of the paths."""
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", FAST, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(tree.rglob("*")):
            _pack(archive, path, str(path.relative_to(tree)))


def _pack(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(info)
    elif path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    elif path.is_file():
        found = path.stat()
        info.size, info.mode = found.st_size, 0o755 if found.st_mode & 0o100 else 0o644
        with path.open("rb") as file:
            archive.addfile(info, file)


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file


def _described_layer(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kind = f"{TYPES}.layer.v1.tar" + ("+gzip" if path.suffix == ".gz" else "")
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": path.stat().st_size}


def _digest_of_tar(path: Path) -> str:
    """Return the digest of a layer as it is unpacked."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


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
