"""`python -m nncp.lab`: the same as `nncp lab`, for set-up, before the commands are installed."""

from __future__ import annotations

import sys

import click

from nncp.errors import Error
from nncp.lab.cli import lab


def main() -> None:
    """Run the command line."""
    try:
        lab(prog_name="nncp lab")
    except Error as error:
        for each in error:
            click.echo(f"error: {each.message}", err=True)
            if each.hint:
                click.echo(f"  hint: {each.hint}", err=True)
        sys.exit(error.kind.exit_code)


if __name__ == "__main__":
    main()
