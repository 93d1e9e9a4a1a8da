"""What a person is told when something fails that nobody foresaw: never a traceback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import pytest

from nncp.terminal import run

if TYPE_CHECKING:
    from collections.abc import Callable


def failing(error: Exception) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("fail", callback=fail)


@pytest.mark.parametrize(
    ("user", "error", "code", "said"),
    [
        (65534, PermissionError(13, "Permission denied", "/run/x"), 77, "lacks the right to /run/x"),
        (
            65534,
            PermissionError(1, "Operation not permitted"),
            77,
            "lacks the right: Operation not permitted",
        ),
        (0, PermissionError(13, "Permission denied", "/run/x"), 70, "has a bug: PermissionError"),
        (0, KeyError("name"), 70, "has a bug: KeyError"),
    ],
)
def test_what_goes_wrong_is_told_in_words(
    user: int,
    error: Exception,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The suite runs as root and has to stay so: who asks is all that is pretended.
    effective: Callable[[], int] = lambda: user  # noqa: E731
    monkeypatch.setattr(os, "geteuid", effective)
    assert run(failing(error), "tool", []) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
