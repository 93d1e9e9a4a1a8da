"""What a plugin answers in place of a result, by the specification's codes (CNI 1.1.0, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from vmnet.reading import Fault

BAD_VERSION, BAD_ENVIRONMENT, IO_FAILURE, BAD_CONTENT, BAD_CONFIG, BAD_NETNS = 1, 4, 5, 6, 7, 8
TRY_LATER, NOT_AVAILABLE, INTERNAL, DRIFTED = 11, 50, 999, 100
"""8 is libcni's for a namespace that is none; from 100 on they are the plugin's own."""


class Refusal(Exception):
    """What the plugin answers in place of a result."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def told(self, version: str) -> dict[str, Any]:
        """Return the error object in a version of the specification."""
        error = {"cniVersion": version, "code": self.code, "msg": self.message}
        return {**error, "details": self.details} if self.details else error


class Said(Error):
    """What a plugin that was run said no with: its own words, and its code."""

    code: int = 0


def of_error(error: Error) -> Refusal:
    """Return an error of ours as a runtime reads it; another plugin's keeps its code."""
    message = "; ".join(each.message for each in error)
    if isinstance(error, Said) and error.code:
        return Refusal(error.code, message, error.hint)
    blamed = error.kind in {ErrorKind.DOCUMENT, ErrorKind.USAGE}
    return Refusal(BAD_CONFIG if blamed else IO_FAILURE, message, error.hint)


def of_faults(faults: list[Fault], code: int = BAD_CONFIG) -> Refusal:
    """Return all of `faults` in one sentence, each with its key."""
    return Refusal(code, "; ".join(_told(fault) for fault in faults), faults[0].hint)


def _told(fault: Fault) -> str:
    key = ".".join(str(step) for step in fault.path)
    return fault.message if not key or fault.key else f"{key}: {fault.message}"
