"""What every command line of the house shares: errors as a person reads them, and exit codes."""

from __future__ import annotations

import math
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from nncp.errors import Error, ErrorKind
from nncp.render import render_error

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACEBACK = "BRIDGEHEAD_TRACEBACK"


class Seconds(click.FloatRange):
    """A span of time: a finite number of seconds within a range (`nan` is within every range of click's)."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds, or fail with one sentence."""
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return float(seconds)


def memory(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    """Check an option that is an amount of memory as the kernel's `mem=` has it, from 64M on."""
    told = re.fullmatch(r"([0-9]{1,6})([MG])", value, re.IGNORECASE)
    if not told or int(told[1]) * (1024 if told[2] in "gG" else 1) < 64:
        raise click.BadParameter(f"{value!r} is not an amount of memory from 64M on, such as 512M or 3G.")
    return value


def run(command: click.Command, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; whatever goes wrong is told in words, never as a traceback."""
    try:
        code = command.main(
            args=list(argv) if argv is not None else None, prog_name=name, standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except Error as error:
        for one in error:
            click.echo(render_error(one), err=True)
        return error.kind.exit_code
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return ErrorKind.INTERRUPTED.exit_code
    except click.ClickException as error:
        error.show()
        return ErrorKind.USAGE.exit_code
    except BrokenPipeError:
        # The reader has gone (`nncp show | head`); nothing more can be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as error:
        return _forbidden(name, error) if os.geteuid() else _bug(name, error)
    except Exception as error:  # noqa: BLE001  (the last line of defence: no traceback reaches a user)
        return _bug(name, error)


def _forbidden(name: str, error: PermissionError) -> int:
    what = f" to {error.filename}" if error.filename else ""
    told = Error(
        f"{name} lacks the right{what}: {error.strerror}", kind=ErrorKind.PRIVILEGE, hint="run it as root"
    )
    click.echo(render_error(told), err=True)
    return told.kind.exit_code


def _bug(name: str, error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    told = Error(
        f"{name} has a bug: {type(error).__name__}: {error}",
        kind=ErrorKind.BUG,
        hint=f"run it again with {TRACEBACK}=1 and report what it prints",
    )
    click.echo(render_error(told), err=True)
    return told.kind.exit_code
