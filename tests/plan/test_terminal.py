"""What a person is told when something fails that nobody foresaw: never a traceback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import pytest

from launcher.__main__ import app as launcher
from nncp.cli import cli as nncp
from nncp.lab.cli import lab
from nncp.terminal import Seconds, memory, run
from vmnet.cli import app as vmnet
from vmnet.rack.cli import rack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.mark.parametrize(
    "words", [["--for", "nan"], ["--for", "inf"], ["--for", "-3"], ["--for", "0"], ["--for", "x"]]
)
def test_a_time_is_a_finite_number_of_seconds(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    option = click.Option(["--for", "seconds"], type=Seconds(0, min_open=True))
    assert run(click.Command("wait", params=[option], callback=lambda **_: None), "tool", words) == 64
    assert "--for" in capsys.readouterr().err


def test_a_time_within_its_range_is_taken() -> None:
    option = click.Option(["--for", "seconds"], type=Seconds(0, min_open=True))
    assert (
        run(
            click.Command("wait", params=[option], callback=lambda **words: int(words["seconds"] * 2)),
            "tool",
            ["--for", "2.5"],
        )
        == 5
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("64M", 0),
        ("3G", 0),
        ("1g", 0),
        *((word, 64) for word in ("foo", "", "3", "-3G", "63M", "0G", "3 G", "3T")),
    ],
)
def test_memory_is_told_as_the_kernel_has_it(
    text: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    option = click.Option(["--memory"], callback=memory)
    command = click.Command("boot", params=[option], callback=lambda **_: None)
    assert run(command, "tool", ["--memory", text]) == code
    assert ("such as 512M or 3G" in capsys.readouterr().err) == bool(code)


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (sub := command.get_command(context, name)) is not None:
                yield from parameters(sub)


@pytest.mark.parametrize("command", [nncp, lab, vmnet, rack, launcher], ids=lambda command: str(command.name))
def test_every_number_of_a_command_line_has_its_range(command: click.Command) -> None:
    """A number without one lets -3, nan or 10**30 through to code that thinks of none of them."""
    found = list(parameters(command))
    assert found
    assert [each.name for each in found if each.type in (click.INT, click.FLOAT)] == []
    ranges = [each for each in found if isinstance(each.type, click.FloatRange)]
    assert [each.name for each in ranges if not isinstance(each.type, Seconds)] == []
