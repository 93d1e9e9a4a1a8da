"""Whether KVM works here: tried once, in a process of its own, with a deadline.

/dev/kvm being there proves nothing: in a nested machine it may refuse to make a guest, hang, or emulate each
instruction, a thousand times slower than TCG. libvirt would find out at 40 to 80 s a daemon. The trial counts
to four million: 3 ms on a processor that virtualizes, 6 s on one that only says so, and it is given one
second of the CPU. On a busy machine that takes longer; a trial that hangs computes nothing, and is given one
second of a quiet machine's clock.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import struct
from pathlib import Path

from nncp.pace import Limit, cpu_seconds

DEVICE = Path("/dev/kvm")
DEADLINE = 1.0
LOOK_EVERY = 0.1

# linux/kvm.h, x86: requests, the exit reason of HLT, and where the fields stand in their structures.
CREATE_VM, GET_VCPU_MMAP_SIZE, CREATE_VCPU = 0xAE01, 0xAE04, 0xAE41
SET_USER_MEMORY_REGION, RUN = 0x4020AE46, 0xAE80
GET_SREGS, SET_SREGS, SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
EXIT_HLT = 5
EXIT_REASON_AT = 8  # struct kvm_run
CS_BASE_AT, CS_SELECTOR_AT = 0, 12  # struct kvm_sregs begins with cs
RIP, RFLAGS, REGISTERS = 16, 17, 18  # struct kvm_regs, in eight bytes each

COUNT = 4_000_000
LOOP = b"\x66\xb9" + struct.pack("<I", COUNT) + b"\x66\x49\x75\xfc\xf4"
"""Real mode: mov ecx, COUNT; again: dec ecx; jnz again; hlt."""


def works(device: Path = DEVICE, *, deadline: float = DEADLINE) -> bool:
    """Return whether a guest counts to `COUNT` under KVM in `deadline` seconds of the CPU."""
    if not os.access(device, os.R_OK | os.W_OK):
        return False
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _try(device, writer)
    os.close(writer)
    try:
        return _is_answered(reader, child, deadline) and os.read(reader, 1) == b"y"
    finally:
        os.close(reader)
        _reap(child)


def _is_answered(reader: int, child: int, deadline: float) -> bool:
    limit = Limit(deadline)
    while not select.select([reader], [], [], min(LOOK_EVERY, limit.left))[0]:
        used = cpu_seconds(child)
        limit.sees(used)
        if used >= deadline or limit.is_over():
            return False
    return True


def _reap(child: int) -> None:
    """End the trial. One that hangs in the kernel may not die at once, and is not waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def _try(device: Path, writer: int) -> None:
    """The child: say y if the guest halted, and end, whatever happens."""
    with contextlib.suppress(BaseException):
        # One that hangs in the kernel outlives its caller, and holds nothing of his.
        os.closerange(0, writer)
        os.closerange(writer + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        if _run_the_loop(device) == EXIT_HLT:
            os.write(writer, b"y")
    os._exit(0)


def _run_the_loop(device: Path) -> int:
    """Make a machine with one page of memory and a loop in it, run it, and return the exit reason."""
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, CREATE_VM, 0)
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory[: len(LOOP)] = LOOP
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, mmap.PAGESIZE, address))
    cpu = fcntl.ioctl(machine, CREATE_VCPU, 0)
    state = mmap.mmap(cpu, fcntl.ioctl(kvm, GET_VCPU_MMAP_SIZE, 0))
    special = bytearray(312)
    fcntl.ioctl(cpu, GET_SREGS, special)
    struct.pack_into("=Q", special, CS_BASE_AT, 0)
    struct.pack_into("=H", special, CS_SELECTOR_AT, 0)
    fcntl.ioctl(cpu, SET_SREGS, special)
    registers = [0] * REGISTERS
    registers[RIP], registers[RFLAGS] = 0, 2  # bit 1 of RFLAGS is always set
    fcntl.ioctl(cpu, SET_REGS, struct.pack(f"={REGISTERS}Q", *registers))
    fcntl.ioctl(cpu, RUN, 0)
    return int(struct.unpack_from("=I", state, EXIT_REASON_AT)[0])
