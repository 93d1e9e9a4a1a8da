"""Every leaf of the published schema on a real kernel: what a document says is what an outsider sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.leaves import SEEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from outside import Namespace

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("path", SEEN)
def test_what_a_document_says_is_seen_from_outside(
    host: Namespace, run: Callable[..., str], path: str
) -> None:
    leaf = SEEN[path]
    for value in leaf.values:
        document: Any = leaf.document(value)
        run("apply", "-", document=document)
        assert leaf.look(host) == leaf.sees(value), f"{path}: {value!r}"
        assert run("diff", "-", document=document) == "", f"{path}: {value!r}"
        run("rollback")  # each value is tried on the same host
