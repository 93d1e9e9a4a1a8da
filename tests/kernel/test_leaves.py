"""Every leaf of the published schema on a real kernel: what a document says is what an outsider sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nncp import answers, engine, netns, work
from tests.leaves import SEEN

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("path", SEEN)
def test_what_a_document_says_is_seen_from_outside(host: Namespace, tmp_path: Path, path: str) -> None:
    """In this process, for the sake of the many: what the command line adds is tried elsewhere."""
    leaf = SEEN[path]
    for value in leaf.values:
        document: Any = leaf.document(value)
        with netns.entered(host.path):
            work.apply(work.documents([("leaf", json.dumps(document))]), state_dir=tmp_path)
        assert leaf.look(host) == leaf.sees(value), f"{path}: {value!r}"
        with netns.entered(host.path):
            changes = work.plan(work.documents([("leaf", json.dumps(document))]), state_dir=tmp_path)
            assert not changes.ops, f"{path}: {value!r}: {answers.changes(changes, 'table')}"
            engine.rollback(state_dir=tmp_path)  # each value is tried on the same host
