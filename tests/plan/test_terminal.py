"""What a person is told when something fails that nobody foresaw: never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

from launcher.cli import app as launcher
from nncp.cli import cli as nncp
from nncp.document.source import load
from nncp.errors import Error
from nncp.lab.cli import lab
from nncp.render import render_error
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
        (0, PermissionError(13, "Permission denied", "/run/x"), 69, "not let tool go on: /run/x: Permission"),
        (0, OSError(errno.ENOSPC, "No space left on device"), 69, "not let tool go on: No space left"),
        (0, OSError(errno.EINVAL, "Invalid argument"), 70, "has a bug: OSError"),
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


ROOT = Path(__file__).parents[2]
SOUND = "interfaces:\n- {name: d0, type: dummy}\n"


def nncp_fmt(how: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run `nncp fmt` on a sound document as a shell would, with its streams as `how` says."""
    (tmp_path / "sound.yaml").write_text(SOUND)
    command = f"{sys.executable} -m nncp fmt {how}"
    argv = ["bash", "-c", command, "bash", str(tmp_path / "sound.yaml")]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("$1 >/dev/full", 74, "standard output cannot be written"),
        ("$1 >&-", 0, ""),
        ("$1 2>&-", 0, ""),
        ("- <&-", 0, ""),
        ("- <<<'interfaces: 1'", 65, "--> <stdin>:1:1"),
        ("$1 | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("/dev/full", 64, "is larger than 16 MiB"),
        ("''", 64, "'' cannot be read"),
    ],
)
def test_a_stream_that_is_closed_full_or_endless_is_no_bug(
    how: str, code: int, said: str, tmp_path: Path
) -> None:
    done = nncp_fmt(how, tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert bool(said) or not done.stderr


def test_what_several_files_are_formatted_to_is_one_stream_that_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    done = nncp_fmt(f"$1 {tmp_path}/empty.yaml $1", tmp_path)
    assert done.stderr == ""
    assert [node.value for node in load(done.stdout, file="x")] == 2 * [yaml.safe_load(SOUND)]


def test_ctrl_c_while_a_command_is_still_starting_ends_it_without_a_word() -> None:
    main = "import signal, nncp.cli; nncp.cli.main = lambda: signal.raise_signal(signal.SIGINT)"
    argv = [sys.executable, "-c", f"{main}; from nncp.__main__ import main; main()"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (-2, "")


def test_what_would_move_a_terminals_cursor_is_escaped() -> None:
    told = render_error(Error("not \x1b[31m", subject="a\nb", hint="one\ntwo\x07", path="x\x9b"))
    assert told.splitlines() == ["error: not \\x1b[31m", "  --> x\\x9b  (a\\nb)", "  hint: one", "two\\x07"]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_an_apply_is_deaf_to_what_it_was_started_deaf_to(name: str) -> None:
    """As behind nohup: a terminal that closes is no reason to undo."""
    deaf = f"import signal; signal.signal(signal.{name}, signal.SIG_IGN)"
    asked = f"stopping.Stopping(); print(signal.getsignal(signal.{name}) is signal.SIG_IGN)"
    argv = [sys.executable, "-c", f"{deaf}; from nncp import stopping; {asked}"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "True\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("plan", "-", "--current", "-"),
        ("diff", "-", "-"),
        ("plan", "-", "--current", "/dev/null", "--prune"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(argv: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nncp", *argv], capture_output=True, text=True, check=False, cwd=ROOT, input=""
    )
    assert done.returncode == 64
    assert "Error: " in done.stderr


ODD = (
    "[]",
    "3",
    "text",
    "interfaces: 3",
    "interfaces: [3, {}]",
    "routes: 3",
    "routes: {config: 3}",
    "route-rules: []",
)


@pytest.mark.parametrize("verb", ["plan", "diff", "revert", "policy"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_documents_and_odd_states_are_told_of_and_end_nothing(
    verb: str, odd: str, tmp_path: Path
) -> None:
    file, sound = tmp_path / "odd.yaml", tmp_path / "sound.yaml"
    file.write_text(odd)
    sound.write_text("interfaces: []\nroutes: {config: [{state: absent, destination: 0.0.0.0/0}]}\n")
    for document, state in ((file, sound), (sound, file)):
        argv = [sys.executable, "-m", "nncp", verb, str(document), "--current", str(state), "-o", "yaml"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 65, done.stdout + done.stderr
        assert "odd.yaml:1:" in done.stderr
