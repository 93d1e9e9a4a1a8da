"""Carries operations out, batched, and tells which of them the kernel refused in which words."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from nncp import sysctl
from nncp.errors import Error, ErrorKind
from nncp.host import Op
from nncp.netlink import tap
from nncp.netlink.channel import Channel, Refusal
from nncp.netlink.encode import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nncp.kinds.kind import Kinds

UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EAFNOSUPPORT, errno.ENODEV})


class Refused(Error):
    """An operation that the kernel refused; `op` is what was asked of it."""

    def __init__(self, op: Op, refusal: Refusal) -> None:
        words = refusal.words or os.strerror(refusal.errno or 0)
        lacking = refusal.errno in UNSUPPORTED and op.verb == "create"
        super().__init__(
            f"the kernel refused to {sentence(op)}: {words}",
            kind=ErrorKind.UNSUPPORTED if lacking else ErrorKind.FAILED,
            subject=op.key[1],
            hint=_hint(refusal.errno or 0, op),
        )
        self.op = op
        self.errno = refusal.errno or 0


def _hint(code: int, op: Op) -> str:
    if code == errno.EPERM:
        return "run it as root, or with CAP_NET_ADMIN in this network namespace"
    if code in UNSUPPORTED and op.verb == "create":
        return f"this kernel was built without {op.type or op.key[0]}, or its module is not there"
    return ""


def sentence(op: Op) -> str:
    """Return an operation in plain words: `create bond bond0`, `set mtu of eth1 to 9000`."""
    table, name = op.key[0], op.key[1]
    if op.verb == "rename":
        return f"rename {op.old['name']} to {name}"
    if table == "up":
        return f"bring {name} {'down' if op.verb == 'remove' else 'up'}"
    if table == "port":
        controller = op.attrs.get("controller") or op.old.get("controller")
        if op.verb == "remove":
            return f"detach {name} from {controller}"
        if op.verb == "create":
            return f"attach {name} to {controller}"
    if table == "sysctl":
        return f"set {name} to {op.attrs.get('value')}"
    if op.verb == "change":
        return f"set {', '.join(f'{word} of {name} to {value}' for word, value in op.attrs.items())}"
    what = {"link": op.type, "vlans": "VLANs of", "address": f"address {op.key[-1]} on"}.get(table, table)
    return f"{op.verb} {what} {name if table != 'route' else op.key[3]}"


class Carrier:
    """Carries operations out on one channel.

    Args:
        channel: to the network namespace meant.
        kinds: the interface types.
        indexes: the index of each link by name, at the start.

    """

    def __init__(self, channel: Channel, kinds: Kinds, indexes: dict[str, int]) -> None:
        self.channel = channel
        self.namespaces: dict[str, int] = {}
        self.encoder = Encoder(kinds, indexes, self.namespaces)
        self.queue: list[tuple[bytearray, Op]] = []

    def carry_out(self, ops: Sequence[Op], written: Callable[[Op], None] = lambda _: None) -> None:
        """Carry out `ops` in order; stop at the first that is refused.

        Raises:
            Refused: by the kernel, with its own words.
            Error: a sysctl or a tap could not be had.

        """
        try:
            for op in ops:
                if not op.implied:
                    self._one(op, written)
            self._flush(written)
        finally:
            for descriptor in self.namespaces.values():
                os.close(descriptor)
            self.namespaces.clear()

    def _one(self, op: Op, written: Callable[[Op], None]) -> None:
        if op.key[0] == "sysctl":
            self._flush(written)
            sysctl.write(op.key[1], op.attrs["value"])
            written(op)
        elif op.verb == "create" and op.type == "tap":
            self._flush(written)
            tap.make(op.key[1], op.attrs)
            self.encoder.learn(op.key[1], socket.if_nametoindex(op.key[1]))
            written(op)
            rest = {
                name: value
                for name, value in op.attrs.items()
                if name in {"mac", "mtu", "txqlen", "addr-gen-mode"}
            }
            if rest:
                self._queue(Op("change", op.key, rest, type=op.type))
        else:
            self._queue(op)

    def _queue(self, op: Op) -> None:
        namespace = op.attrs.get("peer-netns")
        if namespace and namespace not in self.namespaces:
            self.namespaces[namespace] = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        self.queue += [(request, op) for request in self.encoder.requests(op)]

    def _flush(self, written: Callable[[Op], None]) -> None:
        queue, self.queue = self.queue, []
        try:
            self.channel.send([request for request, _ in queue], lambda index: written(queue[index][1]))
        except Refusal as refusal:
            raise Refused(queue[refusal.index][1], refusal) from refusal
