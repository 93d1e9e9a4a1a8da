"""Nodes as tests/vmnet has them, and where the reference plugins are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vmnet.conftest import make_node  # noqa: F401 -- a fixture


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference plugins."""
    folder = os.environ.get("BRIDGEHEAD_PEERS")
    if not folder or not (Path(folder) / "bridge").exists():
        pytest.skip("needs the reference plugins: make test-peers builds them")
    return Path(folder)
