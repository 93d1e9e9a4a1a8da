"""Where a lab cluster stands, and what it may be called."""

from __future__ import annotations

import click
import pytest

from nncp.errors import Error
from nncp.lab import nodes
from nncp.lab.cluster.cli import HOST, Place


@pytest.mark.parametrize("name", ["", "-x", "A", "a/b", "a b", "é", "½", "a.b", "a\n", "x" * 41])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(click.BadParameter):
        Place(name, HOST)


def test_no_ones_groups_begin_as_anothers() -> None:
    names = ("x", "x-2", "x-2-node-1", "cluster", "cluster-2")
    prefixes = [Place(name, HOST).site.groups for name in names]
    groups = [f"{prefix}node-1" for prefix in prefixes]
    for at, prefix in enumerate(prefixes):
        assert [number for number, group in enumerate(groups) if group.startswith(prefix)] == [at]


def test_nothing_that_is_needed_is_hidden_by_the_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGEHEAD_CACHE", "/srv/cache")
    monkeypatch.setattr(nodes.cache, "folder", lambda: nodes.DISKS / "cache")
    with pytest.raises(Error, match="/srv/cache would be hidden"):
        nodes.prepare()
