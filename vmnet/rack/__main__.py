"""`python -m vmnet.rack`: how the rack runs its own commands again, in a lab kernel and in its room."""

import sys

from nncp.terminal import run
from vmnet.rack.cli import rack

if __name__ == "__main__":
    sys.exit(run(rack, "vmnet rack"))
