"""The interface types, one file each: what is not in this tuple does not exist for the rest of the code."""

from nncp.kinds.bond import BOND
from nncp.kinds.dummy import DUMMY
from nncp.kinds.ethernet import ETHERNET, LOOPBACK
from nncp.kinds.kind import Kinds
from nncp.kinds.linux_bridge import LINUX_BRIDGE
from nncp.kinds.mac_vlan import MAC_VLAN
from nncp.kinds.tap import TAP
from nncp.kinds.veth import VETH
from nncp.kinds.vlan import VLAN

KINDS = Kinds.of((ETHERNET, LOOPBACK, VETH, DUMMY, BOND, LINUX_BRIDGE, VLAN, MAC_VLAN, TAP))
