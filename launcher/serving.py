"""What a Pod's main process does: set the launcher up, report, and serve until the end."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from launcher import control
from launcher.lifecycle import Launcher
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    import socket

    from launcher.lifecycle import Job


def serve(job: Job, listener: socket.socket, report: int) -> int:
    """Run a Pod's launcher; tell `report` (a descriptor) when it is ready, or why it will not be."""
    try:
        launcher_ = Launcher(job, listener)
        launcher_.start()
        answer: dict[str, Any] = {"ready": launcher_.status()}
    except Error as error:
        answer = {"error": control.packed(error)}
    except OSError as error:
        answer = {
            "error": control.packed(Error(f"the Pod could not be set up: {error}", kind=ErrorKind.FAILED))
        }
    try:
        os.write(report, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        return ErrorKind.INTERRUPTED.exit_code  # whoever started the Pod has gone, and nobody knows of it
    os.close(report)
    return ErrorKind[answer["error"]["kind"]].exit_code if "error" in answer else launcher_.run()
