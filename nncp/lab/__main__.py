"""`python -m nncp.lab`: the same as `nncp lab`, for set-up, before the commands are installed."""

from __future__ import annotations

import sys

from nncp.lab.cli import lab
from nncp.terminal import run


def main() -> None:
    """Run the command line."""
    sys.exit(run(lab, "nncp lab"))


if __name__ == "__main__":
    main()
