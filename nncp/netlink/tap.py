"""Taps: the one link that netlink cannot make (drivers/net/tun.c; linux/if_tun.h)."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING, Any

from nncp.errors import Error, ErrorKind
from nncp.netlink.channel import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

TUN = "/dev/net/tun"
TUNSETIFF, TUNSETPERSIST, TUNSETOWNER, TUNSETGROUP = 0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE
TUNSETIFINDEX = 0x400454DA
IFF_TUN, IFF_TAP, IFF_MULTI_QUEUE = 0x0001, 0x0002, 0x0100
IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL = 0x1000, 0x4000, 0x8000


def make(name: str, index: int, attrs: Mapping[str, Any]) -> None:
    """Make a persistent tap.

    Args:
        name: of at most 15 bytes.
        index: what it is to be known by.
        attrs: `owner` and `group` (ids), `multi-queue`; `layer`, `packet-information` and `virtio-header`
            where it is not to be what a hypervisor wants: a tap without the one and with the other.

    Raises:
        Error: there is no /dev/net/tun.
        Refusal: by the kernel.

    """
    flags = IFF_TUN_EXCL | (IFF_TUN if attrs.get("layer") == "tun" else IFF_TAP)
    flags |= 0 if attrs.get("packet-information") else IFF_NO_PI
    flags |= IFF_VNET_HDR if attrs.get("virtio-header", True) else 0
    flags |= IFF_MULTI_QUEUE if attrs.get("multi-queue") else 0
    try:
        descriptor = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Error(
            f"{TUN} cannot be opened: {error.strerror}",
            kind=ErrorKind.UNSUPPORTED,
            subject=name,
            hint="load the module tun, or give the container that device",
        ) from error
    try:
        fcntl.ioctl(descriptor, TUNSETIFINDEX, struct.pack("=i", index))
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        for request, attr in ((TUNSETOWNER, "owner"), (TUNSETGROUP, "group")):
            if attrs.get(attr) is not None:
                fcntl.ioctl(descriptor, request, attrs[attr])
        fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
    except OSError as error:
        raise Refusal(error.errno or 0, "", 0) from error
    finally:
        os.close(descriptor)
