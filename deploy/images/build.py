"""Build the operator's image and say where it is: an archive that `ctr images import` takes.

python deploy/images/build.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from nncp.errors import Error
from nncp.lab.cluster import image
from nncp.lab.progress import Progress


def main() -> int:
    """Print the archive's path, and its name and size for people; a set-up is told that it is there."""
    try:
        archive = image.ensure(Path(__file__).parents[2])
    except Error as error:
        for each in error:
            print(f"error: {each.message}", file=sys.stderr)
        return error.kind.exit_code
    told = Progress("image", name="image")
    if told.set_up:
        told.end()
        return 0
    print(f"{image.NAME}, {archive.stat().st_size / 1e6:.0f} MB", file=sys.stderr)
    print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
