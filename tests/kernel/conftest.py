"""Fixtures of the tests that need a whole kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import outside
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ns() -> Iterator[outside.Namespace]:
    """Yield a throw-away network namespace."""
    namespace = outside.make()
    try:
        yield namespace
    finally:
        outside.remove(namespace)
