"""What there is: the interface types and the tables. What is not named here does not exist for the rest."""

from nncp.kinds.bond import BOND
from nncp.kinds.dummy import DUMMY
from nncp.kinds.ethernet import ETHERNET, LOOPBACK
from nncp.kinds.linux_bridge import LINUX_BRIDGE
from nncp.kinds.mac_vlan import MAC_VLAN
from nncp.kinds.tap import TAP
from nncp.kinds.veth import VETH
from nncp.kinds.vlan import VLAN
from nncp.kinds.vrf import VRF
from nncp.tables.address import ADDRESS
from nncp.tables.altname import ALTNAME
from nncp.tables.elsewhere import ELSEWHERE
from nncp.tables.fdb import FDB
from nncp.tables.kinds import Kinds
from nncp.tables.link import LINK
from nncp.tables.mdb import MDB
from nncp.tables.neighbour import NEIGHBOUR
from nncp.tables.nexthop import NEXTHOP
from nncp.tables.port import PORT
from nncp.tables.route import ROUTE
from nncp.tables.rule import RULE, UNSAID
from nncp.tables.sysctl import SYSCTL
from nncp.tables.up import UP
from nncp.tables.vlans import VLANS

TABLES = (
    LINK, ALTNAME, PORT, VLANS, SYSCTL, UP, FDB, MDB, ADDRESS, NEIGHBOUR, NEXTHOP, ROUTE, RULE, UNSAID,
    ELSEWHERE,
)  # fmt: skip
"""Among rows that could be written now, the earlier table goes first: no link speaks before its sysctls."""

KINDS = Kinds.of((ETHERNET, LOOPBACK, VETH, DUMMY, BOND, LINUX_BRIDGE, VLAN, MAC_VLAN, VRF, TAP), TABLES)
