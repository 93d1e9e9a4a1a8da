"""The operator's image: what it is made of, and that the same checkout makes the same one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from nncp.lab.cluster import image, rootfs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PINNED = re.compile(r"^(\S+)==(\S+)", re.MULTILINE)


def pins(file: Path) -> dict[str, str]:
    return dict(PINNED.findall(file.read_text(encoding="utf-8")))


def test_it_has_the_versions_that_are_tested() -> None:
    ours, theirs = pins(ROOT / "requirements.txt"), pins(DEPLOY / "images" / "requirements.txt")
    assert theirs.items() <= ours.items()
    assert {"msgspec", "pyyaml", "click", "kubernetes"} <= theirs.keys()


def test_all_pods_run_it() -> None:
    files = [
        DEPLOY / name for name in yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    ]
    found = [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    pods = [each["spec"]["template"]["spec"] for each in found if each["kind"] in {"DaemonSet", "Deployment"}]
    assert {each["image"] for pod in pods for each in pod["containers"]} == {image.NAME}
    assert len(pods) == 2


def test_a_recipes_comments_and_empty_lines_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# of all\n\na\nb  # why\n")
    assert rootfs.lines(tmp_path / "list.txt") == ["a", "b"]


@pytest.mark.slow
def test_the_same_checkout_makes_the_same_image_whose_python_finds_our_programs(tmp_path: Path) -> None:
    base = rootfs.ensure(DEPLOY / "images")
    for name in ("a", "b"):
        image._build(ROOT, base, tmp_path / f"{name}.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    image._fill(tmp_path / "tree", ROOT)
    argv = [*rootfs.python(base / "tree"), "-m", "nncp", "--version"]
    argv.insert(argv.index("env") + 2, f"PYTHONPATH={tmp_path}/tree/{rootfs.SITE}")
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nncp, version")
