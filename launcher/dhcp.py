"""The Pod's DHCP server as a process of its own: it answers while the launcher waits for libvirt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vmnet import dhcp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmnet.plumbing import Lease


def serve(leases: Sequence[Lease]) -> None:
    """Serve these leases from a child process, in the caller's network namespace; return when it listens.

    Call it before there are threads. The child ends with the Pod.
    """
    if not leases:
        return
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        code = 1
        try:
            dhcp.serve(leases, ready=lambda: os.close(writer))
        finally:
            os._exit(code)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
