"""Declarative node networking: desired state, plan, apply, verify, commit or roll back."""

from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind, Place, raise_all, together
from nncp.host import Cost, Host, Key, Op, Row

if TYPE_CHECKING:
    from nncp.engine import apply_rows, plan_rows, rollback, snapshot

__version__ = "0.1.0"

__all__ = [
    "Cost",
    "Error",
    "ErrorKind",
    "Host",
    "Key",
    "Op",
    "Place",
    "Row",
    "__version__",
    "apply_rows",
    "plan_rows",
    "raise_all",
    "rollback",
    "snapshot",
    "together",
]


def __getattr__(name: str) -> object:
    """Import the engine only when somebody asks for it: `nncp --version` does not."""
    if name in __all__:
        from nncp import engine  # noqa: PLC0415

        return getattr(engine, name)
    raise AttributeError(name)
