"""The lab kernel: a user-mode Linux with all of networking built in, for hosts whose own kernel lacks it.

    with nncp.lab.start() as lab:
        lab.run(["ip", "link", "add", "b0", "type", "bond"])

Nothing heavy is imported here: asking whether a kernel has a feature must cost a millisecond.
"""

from nncp.lab.features import inside, missing
from nncp.lab.once import enter, once
from nncp.lab.session import Completed, Session, attach, start

__all__ = ["Completed", "Session", "attach", "enter", "inside", "missing", "once", "start"]
