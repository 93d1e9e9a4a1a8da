"""Carries operations out, batched, and tells which of them the kernel refused in which words."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from msgspec import structs

from nncp import sysctl, wire
from nncp.errors import Error, ErrorKind
from nncp.netlink import tap
from nncp.netlink.channel import Channel, Refusal
from nncp.netlink.indexes import Gone, Indexes
from nncp.netlink.usable import until_usable
from nncp.tables.link import IFLA_MASTER
from nncp.tables.sysctl import sysctl_link
from nncp.tables.table import Sysctl, Tap, Usable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nncp.host import Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Write

UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EAFNOSUPPORT})
GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL})
"""How the kernel says that what is to go is not there: no link, route, neighbour or address."""
NO_PORT = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
"""The same of the VLANs of a link that has left its bridge (rtnl_bridge_dellink, br_dellink)."""
TAKEN = frozenset({errno.EBUSY, errno.EEXIST})  # an index that has become another link's


class Refused(Error):
    """An operation that the kernel refused; `op` is what was asked of it."""

    def __init__(self, op: Op, refusal: Refusal, kinds: Kinds) -> None:
        words = refusal.words or os.strerror(refusal.errno or 0)
        lacking = refusal.errno in UNSUPPORTED and op.verb == "create"
        self._fill(
            f"the kernel refused to {sentence(op, kinds)}: {words}",
            kind=ErrorKind.UNSUPPORTED if lacking else _kind(refusal),
            hint=_hint(refusal.errno or 0, op, refusal.words),
            op=op,
            code=refusal.errno or 0,
        )

    @classmethod
    def again(cls, message: str, *, kind: ErrorKind, hint: str, op: Op, code: int) -> Refused:
        """Return a refusal that another process has met."""
        refused = cls.__new__(cls)
        refused._fill(message, kind=kind, hint=hint, op=op, code=code)  # noqa: SLF001
        return refused

    def _fill(self, message: str, *, kind: ErrorKind, hint: str, op: Op, code: int) -> None:
        super().__init__(message, kind=kind, subject=op.key[1], hint=hint)
        self.op = op
        self.errno = code


def _hint(code: int, op: Op, words: str) -> str:
    if code == errno.EINVAL and op.attrs.get("addr-gen-mode") == "stable-privacy":
        return f"it wants a secret: sysctl net.ipv6.conf.{op.key[1]}.stable_secret, or of default"
    if code == errno.EPERM and not words:  # or the kernel says itself what is wrong
        return "run it as root, or with CAP_NET_ADMIN in this network namespace"
    if code == errno.EEXIST and op.key[0] == "link":
        return f"a link has this name, perhaps as one more of its own: see `ip link show {op.key[1]}`"
    if code == errno.ENODEV and op.verb != "remove":
        return "a link has gone that stood when this was planned: somebody else changes this host too"
    if code in UNSUPPORTED and op.verb == "create":
        return f"this kernel was built without {op.type or op.key[0]}, or its module is not there"
    return ""


def _kind(refusal: Refusal) -> ErrorKind:
    """Return what a refusal is: bonds say EPERM to root too, of what they cannot."""
    is_right = refusal.errno in {errno.EPERM, errno.EACCES} and os.geteuid() != 0
    return ErrorKind.PRIVILEGE if is_right else ErrorKind.FAILED


def sentence(op: Op, kinds: Kinds) -> str:
    """Return an operation in plain words: `create bond bond0`, `set mtu of eth1 to 9000`."""
    return kinds.tables[op.key[0]].sentence(op)


class Carrier:
    """Carries operations out on one channel.

    Args:
        channel: to the network namespace meant.
        kinds: the interface types and tables.
        indexes: the index of each link by name, at the start.
        drawn: the indexes that new links are to get, where they were recorded before.
        refused: called with every refusal; what does not depend on it is carried out all the same.

    """

    def __init__(
        self,
        channel: Channel,
        kinds: Kinds,
        indexes: dict[str, int],
        *,
        drawn: Mapping[str, int] | None = None,
        refused: Callable[[Error], None] | None = None,
    ) -> None:
        self.channel = channel
        self.kinds = kinds
        self.refused = refused
        self.namespaces: dict[str, int] = {}
        self.indexes = Indexes(kinds, indexes, self.namespaces, drawn)
        self.usable: set[str] = set()
        self.queue: list[tuple[bytearray, Op]] = []

    def carry_out(self, ops: Sequence[Op], written: Callable[[Op], None] = lambda _: None) -> None:
        """Carry out `ops` in order; stop at the first that is refused, or else pass over it.

        Raises:
            Refused: by the kernel, with its own words.
            Error: a sysctl, a tap or a network namespace could not be had.

        """
        try:
            for op in ops:
                if not op.implied:
                    self._try(op, written)
            self._flush(written)
        finally:
            for descriptor in self.namespaces.values():
                os.close(descriptor)
            self.namespaces.clear()

    def _try(self, op: Op, written: Callable[[Op], None]) -> None:
        if self.refused is None:
            self._one(op, written)
            return
        try:
            self._one(op, written)
        except Error as error:
            self.refused(error)
        except Exception as error:  # noqa: BLE001  (one operation that cannot even be packed stops no other)
            what = f"{sentence(op, self.kinds)} could not be written: {error!r}"
            self.refused(Error(what, kind=ErrorKind.FAILED, subject=op.key[1]))

    def _one(self, op: Op, written: Callable[[Op], None]) -> None:
        namespace = op.attrs.get("peer-netns")
        if namespace and namespace not in self.namespaces:
            self.namespaces[namespace] = _opened(namespace, op)
        if op.verb == "create" and op.attrs.get("index"):
            self._make_again(op, written)
            return
        for write in self._writes(op):
            if isinstance(write, bytearray):
                self.queue.append((write, op))
            elif isinstance(write, Usable):
                self._flush(written)
                self._wait(write)
            else:
                self._flush(written)
                self._write(write, op)
                written(op)

    def _wait(self, write: Usable) -> None:
        if write.address not in self.usable:
            until_usable(self.channel, write.address)
            self.usable.add(write.address)

    def _make_again(self, op: Op, written: Callable[[Op], None]) -> None:
        """Make a link with the index that it had, if that is still nobody's; nothing follows in its batch."""
        self._flush(written)
        try:
            self._one_by_one(op, written)
        except Refused as refused:
            if refused.errno not in TAKEN:
                raise
            attrs = {name: value for name, value in op.attrs.items() if name not in {"index", "peer-index"}}
            self._one_by_one(structs.replace(op, attrs=attrs), written)

    def _one_by_one(self, op: Op, written: Callable[[Op], None]) -> None:
        for write in self._writes(op):
            if isinstance(write, bytearray):
                self._send([(write, op)], written, None)
            elif not isinstance(write, Usable):
                self._write(write, op)
                written(op)

    def _writes(self, op: Op) -> Iterator[Write]:
        try:
            yield from self.kinds.tables[op.key[0]].write(op, self.indexes)
        except Gone as gone:
            if op.verb == "remove":
                return  # with its link
            # Somebody has taken it away between two looks at the host.
            refusal = Refusal(errno.ENODEV, f"there is no interface {gone.args[0]} any more", 0)
            raise Refused(op, refusal, self.kinds) from gone

    def _flush(self, written: Callable[[Op], None]) -> None:
        queue, self.queue = self.queue, []
        self._send(queue, written, self.refused)

    def _send(
        self,
        queue: list[tuple[bytearray, Op]],
        written: Callable[[Op], None],
        refused: Callable[[Error], None] | None,
    ) -> None:
        def hear(refusal: Refusal) -> None:
            request, op = queue[refusal.index]
            if _is_gone(request, op, refusal):
                written(op)
                return
            told = Refused(op, self._for_want_of_a_port(op, refusal), self.kinds)
            if refused is None:
                raise told from refusal
            refused(told)

        requests = [request for request, _ in queue]
        self.channel.send(requests, lambda index: written(queue[index][1]), hear)

    def _for_want_of_a_port(self, op: Op, refusal: Refusal) -> Refusal:
        """Return a refusal, told apart from a kernel's without VLANs where the link has left its bridge."""
        if op.key[0] != "vlans" or refusal.errno != errno.EOPNOTSUPP or op.type != "port":
            return refusal
        index = self.indexes[op.key[1]]
        try:
            link = self.channel.ask(wire.RTM_GETLINK, wire.IFINFO.pack(0, 0, index, 0, 0))
        except Refusal as gone:
            return gone
        if IFLA_MASTER in wire.table(link, wire.IFINFO.size):
            return refusal
        return Refusal(errno.ENODEV, f"{op.key[1]} is no port any more", refusal.index)

    def _write(self, write: Sysctl | Tap, op: Op) -> None:
        if isinstance(write, Sysctl):
            self._see_whose(write.path)
            sysctl.write(write.path, write.value)
            return
        try:
            tap.make(write.name, write.index, write.attrs)
        except Refusal as refusal:
            raise Refused(op, refusal, self.kinds) from refusal

    def _see_whose(self, path: str) -> None:
        """Refuse a sysctl whose link, known to the kernel by its name alone, is not the one that is meant."""
        name = sysctl_link(path)
        if not name:
            return
        try:
            if socket.if_nametoindex(name) == self.indexes[name]:
                return
        except (OSError, KeyError):
            pass
        raise Error(
            f"sysctl {path} could not be set: {name} is not there, or has become another link",
            kind=ErrorKind.FAILED,
            subject=name,
        )


def _is_gone(request: bytearray, op: Op, refusal: Refusal) -> bool:
    """Whether what a request takes away has gone already: somebody else was quicker, or its time was over.

    Where something else is meant by it, the host differs afterwards from what is wanted, which is told.
    """
    if op.verb != "remove" and not wire.takes_away(request):
        return False
    return refusal.errno in GONE or (op.key[0] == "vlans" and refusal.errno in NO_PORT)


def _opened(namespace: str, op: Op) -> int:
    try:
        return os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Error(
            f"network namespace {namespace} cannot be opened: {error.strerror}",
            kind=ErrorKind.FAILED,
            subject=op.key[1],
        ) from error
