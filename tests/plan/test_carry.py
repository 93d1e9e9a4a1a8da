"""What is carried out on a link that somebody has taken away meanwhile is refused, not a fault of ours."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from nncp.errors import ErrorKind
from nncp.host import Op
from nncp.known import KINDS
from nncp.netlink.carry import Carrier, Refused

HOP = {"nexthops": (("eth9", "192.0.2.1", 1, False),)}


@pytest.mark.parametrize(
    "op",
    [
        Op("change", ("link", "eth9"), {"mtu": 1400}, type="ethernet"),
        Op("create", ("port", "eth1"), {"controller": "eth9"}, type="linux-bridge"),
        Op("create", ("route", "ipv4", "254", "198.51.100.0/24", "0"), HOP),
    ],
)
def test_a_link_that_has_gone_meanwhile_is_told(op: Op) -> None:
    channel: Any = None  # nothing is sent
    with pytest.raises(Refused, match="there is no interface eth9 any more") as refused:
        Carrier(channel, KINDS, {"eth1": 2}).carry_out([op])
    assert (refused.value.errno, refused.value.kind) == (errno.ENODEV, ErrorKind.FAILED)
    assert "somebody else" in refused.value.hint
    assert refused.value.op == op
