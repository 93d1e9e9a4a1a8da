"""Versions of the CNI specification, and which of them are of use."""

from __future__ import annotations

LEAST_VERSION = (0, 3, 0)
"""Older results tell of no interfaces (CNI 0.3.0 brought them), and no cniVersion at all means 0.1.0."""


def version(text: str) -> tuple[int, ...]:
    """Return a CNI version as numbers, to compare."""
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))


def version_fault(wanted: object) -> str:
    """Return why results in a configuration's version are of no use to us, or ""."""
    if wanted is not None and not isinstance(wanted, str):
        return "cniVersion is not text"
    if not wanted:
        return "it has no cniVersion, which CNI takes as 0.1.0: results tell of no interfaces before 0.3.0"
    if version(wanted) < LEAST_VERSION:
        return f"cniVersion {wanted} is too old: results tell of no interfaces before 0.3.0"
    return ""
