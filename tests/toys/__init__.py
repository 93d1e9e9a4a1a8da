"""An interface type and a table of rows that nncp does not have, one file each: all else derives from them."""

from nncp.known import KINDS
from nncp.tables.kinds import Kinds
from tests.toys.hsr import HSR
from tests.toys.proxy import PROXY

WITH_TOYS = Kinds.of([*KINDS.by_type.values(), HSR], [*KINDS.tables.values(), PROXY])
