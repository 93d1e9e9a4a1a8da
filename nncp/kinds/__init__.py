"""The interface types, one file each."""

from nncp.kinds import bond, linux_bridge, mac_vlan, veth, vlan
from nncp.kinds.kind import Kind, Kinds
from nncp.kinds.tap import TAP
from nncp.host import Cost
KINDS = Kinds.of((Kind("bond","bond",attrs=bond.ATTRS,port_attrs=bond.PORT_ATTRS,port_cost=Cost.DOWN),
 Kind("linux-bridge","bridge",attrs=linux_bridge.ATTRS,port_attrs=linux_bridge.PORT_ATTRS),Kind("vlan","vlan",attrs=vlan.ATTRS),
 Kind("mac-vlan","macvlan",attrs=mac_vlan.ATTRS),Kind("veth","veth",attrs=veth.ATTRS),Kind("dummy","dummy"),TAP))
