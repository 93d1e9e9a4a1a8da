"""Images in the cache, which several checkouts with different recipes share."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nncp.lab import images
from nncp.lab.images import KEPT_S, Image

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def made(recipe: bytes) -> Image:
    """An image of no packages."""
    return Image(
        "t", ("bookworm",), (), lambda: recipe, lambda _archive, folder, _say: (folder / "x").touch()
    )


def build(image: Image) -> Path:
    folder = images._root() / f"{image.name}-{images._digest(image.recipe())}-0"
    images._build(image, folder, "", lambda _text: None)
    return folder


def test_one_that_another_checkout_has_used_today_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGEHEAD_CACHE", str(tmp_path))
    ours, theirs, newest = made(b"ours"), made(b"theirs"), made(b"newest")
    before = time.time() - 2 * KEPT_S
    for image in (ours, theirs):
        os.utime(build(image), (before, before))
    assert images.find(theirs)  # somebody asks for it
    build(newest)
    assert images.find(ours) is None
    assert images.find(theirs)
    assert images.find(newest)
