"""What a socket hears: the kernel drops all else before it is queued, so that no stranger fills the queue.

Classic filters, whose attaching takes no rights (socket(7); Documentation/networking/filter.rst).
"""

from __future__ import annotations

import ctypes
import socket
import struct

LOAD_WORD, LOAD_HALF, EQUAL, GIVE = 0x20, 0x28, 0x15, 0x06
"""linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_LD|BPF_H|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K."""
ALL, NOTHING = (GIVE, 0, 0, 0xFFFFFFFF), (GIVE, 0, 0, 0)
SO_ATTACH_FILTER = 26


def hear_only(line: socket.socket, *steps: tuple[int, int, int, int]) -> None:
    """Attach a filter: each step a code, where to go on when true and when false, and a number.

    Raises:
        OSError: the kernel does not take it.

    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    which = struct.pack("@HP", len(steps), ctypes.addressof(program))  # linux/filter.h, sock_fprog
    line.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, which)
