"""What every command line of the house shares: errors as a person reads them, and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import shell_complete

from nncp.errors import Error, ErrorKind
from nncp.render import printable, render_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRACEBACK = "BRIDGEHEAD_TRACEBACK"


LONGEST = 1e9
"""Seconds that anybody may ask for."""


class Seconds(click.FloatRange):
    """A span of time: a finite number of seconds within a range (`nan` is within every range of click's)."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds, or fail with one sentence."""
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds) or seconds > LONGEST:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return float(seconds)


def output(*words: str) -> Callable[[Any], Any]:
    """Return the option that says in which form to answer: the first of these unless another is named."""
    help_ = "The form of the answer; json is for programs."
    choice = click.Choice(words)
    return click.option("-o", "--output", type=choice, default=words[0], show_default=True, help=help_)


def memory(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    """Check an option that is an amount of memory as the kernel's `mem=` has it, from 64M on."""
    told = re.fullmatch(r"([0-9]{1,6})([MG])", value, re.IGNORECASE)
    mebibytes = int(told[1]) * (1024 if told[2] in "gG" else 1) if told else 0
    if mebibytes < 64:
        raise click.BadParameter(f"{value!r} is not an amount of memory from 64M on, such as 512M or 3G.")
    if mebibytes > (most := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20):
        raise click.BadParameter(f"{value!r} is more than the {most}M that this machine has.")
    return value


def run(command: click.Command, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; whatever goes wrong is told in words, never as a traceback."""
    _open_streams()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # until now it was to end us without a word
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(command, name, sys.argv[1:] if argv is None else list(argv))
    except Error as error:
        for one in error:
            _complain(render_error(one))
        return error.kind.exit_code
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain(f"{name}: interrupted")
        return ErrorKind.INTERRUPTED.exit_code
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return ErrorKind.USAGE.exit_code
    except BrokenPipeError:
        # The reader has gone (`nncp show | head`); nothing more can be said, not even at exit.
        _silence()
        return 0
    except OSError as error:
        return _refused(name, error)
    except Exception as error:  # noqa: BLE001  (the last line of defence: no traceback reaches a user)
        return _bug(name, error)


def _run(command: click.Command, name: str, argv: list[str]) -> int:
    """Do as click's own `main`, but for what it makes of a reader that has gone: an exit with 1."""
    if asked := os.environ.get(variable := f"_{name.upper()}_COMPLETE"):
        return shell_complete(command, {}, name, variable, asked)
    with command.make_context(name, argv) as context:
        code = command.invoke(context)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Untold(error) from error
    return code if isinstance(code, int) else 0


class Untold(Error):
    """Standard output cannot take what is said; what the command does has been done."""

    def __init__(self, error: OSError) -> None:
        _silence()
        super().__init__(
            f"standard output cannot be written: {error.strerror}",
            kind=ErrorKind.UNTOLD,
            hint="the command has done its work, only its words are lost",
        )


def say(text: str, *, nl: bool = True) -> None:
    """Print what a command has to say when it is done.

    Raises:
        Untold: it could not be written; not when its reader has gone, which is no fault.

    """
    try:
        click.echo(text, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Untold(error) from error


class Early:
    """Says something before a command is done, which goes on whether that can be written or not."""

    def __init__(self, text: Callable[[Any], str]) -> None:
        self.text = text
        self.untold: Untold | None = None

    def __call__(self, what: Any) -> None:
        """Say it."""
        try:
            say(self.text(what), nl=False)
        except Untold as error:
            self.untold = error
        except BrokenPipeError:  # its reader has gone, which is no fault
            _silence()

    def end(self) -> None:
        """Raise `Untold`, now that the command is done, if it could not be written."""
        if self.untold:
            raise self.untold


def _open_streams() -> None:
    """Put /dev/null where there is no standard stream: what is opened next would take its place."""
    for number, stream, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, hence this one
        if getattr(sys, stream) is None:
            setattr(sys, stream, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale may lack a character, which is no fault
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    """Say on standard error what is wrong; where that cannot be written the exit code says it alone."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _silence() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


MOST = 16 << 20
"""So many bytes of a file are read; no document comes near it, and /dev/zero never ends."""


def shown(file: str) -> str:
    """Return what a file that somebody named is called in errors."""
    return "<stdin>" if file == "-" else file


def path_of(file: str) -> str:
    """Return the whole path of a file that somebody named, or "" where it is none that keeps its name.

    Links are not followed: a name whose link is turned to the next version of a file is still that name.
    """
    path = os.path.abspath(file)  # noqa: PTH100  (`resolve` follows links)
    kept = file not in {"", "-"} and Path(file).is_file() and not path.startswith(("/dev/", "/proc/"))
    return os.fsencode(path).decode(errors="backslashreplace") if kept else ""


def read_text(file: str) -> str:
    """Return the text of a file that somebody named; `-` is standard input.

    Raises:
        Error: it cannot be read, is too large, or is no text.

    """
    from nncp.document.source import decoded  # noqa: PLC0415 -- --version does without

    try:
        if file == "-":
            raw = sys.stdin.buffer.read(MOST + 1)
        else:
            with open(file, "rb") as source:  # noqa: PTH123  an empty name is no folder
                raw = source.read(MOST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Error(f"{printable(file) or repr(file)} cannot be read: {why}", kind=ErrorKind.USAGE) from None
    if len(raw) > MOST:
        message = f"{printable(file)} is larger than {MOST >> 20} MiB"
        raise Error(message, kind=ErrorKind.USAGE, hint="no document is; is it the right file?")
    return decoded(raw, file=shown(file))


def _refused(name: str, error: OSError) -> int:
    """Tell what the host would not do."""
    if isinstance(error, PermissionError) and os.geteuid():
        return _forbidden(name, error)
    if error.errno not in REFUSALS:
        return _bug(name, error)
    what = f"{printable(str(error.filename))}: " if error.filename else ""
    told = Error(f"this host does not let {name} go on: {what}{error.strerror}", kind=ErrorKind.UNSUPPORTED)
    _complain(render_error(told))
    return told.kind.exit_code


def _forbidden(name: str, error: PermissionError) -> int:
    what = f" to {error.filename}" if error.filename else ""
    told = Error(
        f"{name} lacks the right{what}: {error.strerror}", kind=ErrorKind.PRIVILEGE, hint="run it as root"
    )
    _complain(render_error(told))
    return told.kind.exit_code


REFUSALS = frozenset(
    {
        errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE,
        errno.ENAMETOOLONG, errno.ENFILE, errno.ENODEV, errno.ENOENT, errno.ENOMEM, errno.ENOSPC,
        errno.ENOTDIR, errno.EPERM, errno.EROFS,
    }
)  # fmt: skip
"""What a host says when a file, a folder or a program is not as it must be; anything else is our fault."""


def _bug(name: str, error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    told = Error(
        f"{name} has a bug: {type(error).__name__}: {error}",
        kind=ErrorKind.BUG,
        hint=f"run it again with {TRACEBACK}=1 and report what it prints",
    )
    _complain(render_error(told))
    return told.kind.exit_code
