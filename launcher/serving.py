"""What a Pod's main process does: set the launcher up, report, and serve until the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from launcher import control
from launcher.lifecycle import Launcher
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    import socket

    from launcher.lifecycle import Job


def serve(job: Job, listener: socket.socket, handler: socket.socket, report: int) -> int:
    """Run a Pod's launcher; tell `report` (a descriptor) when it is ready, or why it will not be."""
    answer: dict[str, Any] | Error
    try:
        launcher = Launcher(job, listener, handler)
        launcher.start()
        answer = launcher.status()
    except Error as error:
        answer = error
    except OSError as error:
        answer = Error(f"the Pod could not be set up: {error}", kind=ErrorKind.FAILED)
    try:
        os.write(report, control.packed(answer))
    except BrokenPipeError:
        return ErrorKind.INTERRUPTED.exit_code  # whoever started the Pod has gone, and nobody knows of it
    os.close(report)
    return answer.kind.exit_code if isinstance(answer, Error) else launcher.run()
