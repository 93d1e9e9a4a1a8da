"""Where what is dear to make is made: a folder and its processes, which end with the maker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab import cache
from nncp.lab.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nncp.lab.progress import Progress

# Not ours: started by make, that has flags and variables in it which mean something to a kernel's make.
ENVIRONMENT = MappingProxyType({"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"})


class Bench:
    """The folder of one build and its processes; neither outlives this process."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.sweeper = Sweeper(work)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        what: str,
        each: Callable[[str], object] = str,
        env: Mapping[str, str] = ENVIRONMENT,
    ) -> None:
        """Run a program to its end and hand on what it prints, line by line.

        Args:
            argv: the program.
            cwd: where it runs.
            what: what it does, for the error.
            each: takes each line.
            env: what it finds in its environment, beside a folder for temporary files.

        Raises:
            Error: it fails; what it printed as errors is the reason, else what it printed last.

        """
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**env, "TMPDIR": str(self.work)},  # a compiler that is killed leaves files there
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=self.sweeper.join,  # noqa: PLW1509  a build has one thread
        )
        last: deque[str] = deque(maxlen=5)
        errors: deque[str] = deque(maxlen=5)
        assert process.stdout is not None
        for line in process.stdout:
            (errors if re.search(r"error:|undefined reference", line) else last).append(line)
            each(line)
        status = process.wait()
        self.sweeper.release(process.pid)
        if status:
            raise Error(f"{what} failed: {''.join(errors or last).strip()}", kind=ErrorKind.UNSUPPORTED)


@contextmanager
def bench(home: Path, told: Progress) -> Iterator[Bench]:
    """Have a bench in a folder of the cache, alone: whoever wants to build the same thing waits."""
    with cache.locked(home / "lock", waiting=lambda: told.say("waits for another build of it")):
        for stale in home.glob("work-*"):  # of a build that was killed
            shutil.rmtree(stale)
        made = Bench(Path(tempfile.mkdtemp(prefix="work-", dir=home)))
        try:
            yield made
        finally:
            made.sweeper.sweep()
