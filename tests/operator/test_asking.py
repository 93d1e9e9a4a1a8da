"""The commands that ask a cluster, where there is none to ask."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ["kubernetes", "aiohttp"])
def test_without_the_extra_it_is_said_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['status', '--cluster']\nfrom nncp.__main__ import main; main()"
    done = run(code)
    assert done.returncode == 69
    assert f"there is no {missing}\n  hint: pip install 'bridgehead[operator]'" in done.stderr


def test_who_asks_no_cluster_loads_no_client() -> None:
    """Nor does who only reads what there is to ask."""
    client = "{'kubernetes', 'aiohttp', 'asyncio'} & set(sys.modules)"
    code = f"import sys, nncp, nncp.cli, nncp.operator.cli; from nncp.terminal import run; run(nncp.cli.cli, 'nncp', ['--help'])\nassert not {client}"
    done = run(code)
    assert done.returncode == 0, done.stderr
    for name in ("adopt", "cluster", "rollout", "status"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    "words", ["'adopt'", "'adopt', '--all', 'x'", "'status'", "'plan', '-', '--cluster', '--force'"]
)
def test_what_cannot_be_meant_is_a_usage_error(words: str) -> None:
    assert (
        run(f"import sys; sys.argv[1:] = [{words}]\nfrom nncp.__main__ import main; main()").returncode == 64
    )
