"""A folder below the state folder: ours alone, and never reached through somebody's symbolic link.

Its files are opened below its descriptor, so that nothing can be put in its place meanwhile (openat(2)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TRIES = 100
FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # whoever opens a FIFO would wait otherwise


class _Versioned(msgspec.Struct, frozen=True):
    version: int = 0


def version_of(data: bytes) -> int:
    """Return the version that a file is of; raises `msgspec.MsgspecError` of what is no file of ours."""
    return msgspec.json.decode(data, type=_Versioned).version


def decoded(data: bytes, kind: type[T], version: int, place: Path, hint: str) -> T:
    """Return what a file holds; raises `Error` of one of another version, or none of ours."""
    try:
        found = version_of(data)
        if found != version:
            message = f"{place} is of version {found}, and this nncp reads version {version}"
            raise Error(message, kind=ErrorKind.UNSUPPORTED, hint=hint)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Error(f"{place} cannot be read: {error}", kind=ErrorKind.UNSUPPORTED, hint=hint) from error


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk when this returns; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StateFolder:
    """An open folder of mode 0700, with files of mode 0600.

    Whatever goes wrong with a file is an `Error`, but for what is missing (`FileNotFoundError`). `option` is
    the one by which another folder is named.
    """

    def __init__(self, descriptor: int, path: Path, option: str = "--state-dir") -> None:
        self.descriptor = descriptor
        self.path = path
        self.option = option

    @classmethod
    def make(cls, state_dir: Path, *names: str, option: str = "--state-dir") -> Self:
        """Open the folder `names` below `state_dir`; what is missing of either is made.

        Raises:
            Error: it cannot be made, or somebody else could have put it there.

        """
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls._below(state_dir, names, option, make=True)
        except OSError as error:
            raise _unusable(state_dir, error, option) from error

    @classmethod
    def find(cls, state_dir: Path, *names: str, option: str = "--state-dir") -> Self | None:
        """Open the folder `names` below `state_dir`; None where there is none.

        Raises:
            Error: it may not be read, or somebody else could have put it there.

        """
        try:
            return cls._below(state_dir, names, option, make=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(state_dir, error, option) from error

    @classmethod
    def _below(cls, state_dir: Path, names: tuple[str, ...], option: str, *, make: bool) -> Self:
        descriptor = _ours(os.open(state_dir, FOLDER), state_dir, option)
        place = state_dir
        for name in names:
            parent, place = descriptor, place / name
            try:
                found = _made(name, parent) if make else os.open(name, FOLDER, dir_fd=parent)
                descriptor = _ours(found, state_dir, option)
            except OSError as error:
                error.filename = str(place)
                raise
            finally:
                os.close(parent)
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o700)
        return cls(descriptor, place, option)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def lock(self) -> bool:
        """Lock it until it is closed; False when somebody else has, or has removed it meanwhile."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return self.is_there()

    def is_there(self) -> bool:
        """Whether it still has its name."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def open(self, name: str, flags: int) -> int:
        """Return a descriptor of a file in it."""
        with self._told(name):
            descriptor = os.open(name, flags | FILE, 0o600, dir_fd=self.descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a file")

    def has(self, name: str) -> bool:
        """Whether it holds a file."""
        try:
            with self._told(name):
                os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """Return what is in it."""
        with os.scandir(self.descriptor) as entries:
            return [entry.name for entry in entries]

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None where there is none."""
        try:
            with self._told(name), os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Put `data` into a file, on the disk when this returns; the file is never seen in part."""
        draft = f"{name}.new"
        descriptor = self.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with self._told(name), os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.rename(draft, name)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, on the disk when this returns."""
        with self._told(new):
            os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            os.fsync(self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there, or whatever is there instead."""
        with contextlib.suppress(FileNotFoundError), self._told(name):
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except IsADirectoryError:
                _remove_tree(name, self.descriptor)

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise Error(
                f"{self.path / name} cannot be used: {why}",
                kind=ErrorKind.PRIVILEGE if error.errno in {errno.EPERM, errno.EACCES} else ErrorKind.FAILED,
                hint=f"make room, or name another folder with {self.option}"
                if error.errno in {errno.ENOSPC, errno.EDQUOT}
                else f"the folder is ours alone; remove it, or name another folder with {self.option}",
            ) from error


def _made(name: str, within: int) -> int:
    """Open a folder, which is made if need be: somebody may remove it between the two, also again."""
    for _ in range(TRIES):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=within)
        with contextlib.suppress(FileNotFoundError):
            return os.open(name, FOLDER, dir_fd=within)
    return os.open(name, FOLDER, dir_fd=within)


def _remove_tree(name: str, within: int) -> None:
    """Remove a folder with all that is in it, however deep somebody made it; follows no link.

    The program, since Python's own goes down by calling itself.
    """
    import subprocess  # noqa: PLC0415  (hardly ever wanted)

    argv = ["rm", "-rf", "--", f"/proc/self/fd/{within}/{name}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, pass_fds=(within,))
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["rm failed"])[-1]
        raise OSError(errno.EIO, last)


def _ours(descriptor: int, state_dir: Path, option: str) -> int:
    if os.fstat(descriptor).st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise Error(
        f"{state_dir}, or a folder of ours in it, belongs to somebody else",
        kind=ErrorKind.PRIVILEGE,
        hint=f"run it as the owner, or name a folder of yours with {option}",
    )


def _unusable(state_dir: Path, error: OSError, option: str) -> Error:
    place = Path(error.filename or state_dir)
    linked, is_right = place.is_symlink(), error.errno in {errno.EPERM, errno.EACCES}
    if linked and place != state_dir:
        hint = f"the folder is ours alone; remove the link, or name another folder with {option}"
    elif linked:
        hint = f"name the folder itself with {option}: {os.path.realpath(state_dir)}"
    elif is_right:
        hint = f"run it as root, or name a folder of yours with {option}"
    else:
        hint = f"mend it, or name another folder with {option}"
    why = "it is a symbolic link" if linked else error.strerror
    kind = ErrorKind.PRIVILEGE if is_right or linked else ErrorKind.UNSUPPORTED
    return Error(f"{place} cannot be used: {why}", kind=kind, hint=hint)
