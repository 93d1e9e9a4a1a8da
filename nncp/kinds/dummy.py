"""Dummies: `type: dummy`, a link that leads nowhere (drivers/net/dummy.c).

interfaces:
- name: dummy0
  type: dummy
"""

from __future__ import annotations

from nncp.kinds.kind import Kind

DUMMY = Kind(type="dummy", link="dummy", mtu=(0, 0))
