"""Whether the node can still be reached: asked between the verification of a change and its commit.

    probes = Probes(parsed(["ping:gw", "dns:example.org"]))
    left_out = probes.before()  # what fails already says nothing about the change
    ...
    probes.after(pulse)

One child keeps all attempts (keeper.py), and each attempt is a child of that one, in a session of its own
(attempt.py): a resolver that blocks, or a program that never ends, can be ended.
"""

from nncp.probes.around import Failed, Probes
from nncp.probes.written import Probe, parse, parsed

__all__ = ["Failed", "Probe", "Probes", "parse", "parsed"]
