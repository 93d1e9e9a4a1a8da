from __future__ import annotations

import pytest

from nncp.errors import Error
from nncp.lab.debian import BACKPORTS, STABLE, pick_sources

MIRROR, SECURITY = "http://mirror.test/debian/", "http://mirror.test/debian-security/"
TARGETS = [
    "https://other.test/apt stable main",
    f"{MIRROR} bookworm main",
    f"{MIRROR} bookworm-updates main",
    f"{SECURITY} bookworm-security main",
]


def test_every_suite_comes_from_the_mirror_that_the_system_uses() -> None:
    lines = pick_sources(TARGETS, STABLE)
    assert [line.split()[2:] for line in lines] == [
        [MIRROR, "bookworm", "main"],
        [MIRROR, "bookworm-updates", "main"],
        [SECURITY, "bookworm-security", "main"],
    ]
    assert all("signed-by=/usr/share/keyrings/debian-archive-keyring.gpg" in line for line in lines)


def test_backports_come_from_there_too_although_the_system_does_not_use_them() -> None:
    (line,) = pick_sources(TARGETS, BACKPORTS)
    assert line.endswith(f"{MIRROR} bookworm-backports main")


def test_a_system_without_a_security_mirror_goes_without() -> None:
    assert len(pick_sources(TARGETS[:3], STABLE)) == 2


def test_the_mirror_of_the_release_is_known_whatever_its_address() -> None:
    (line,) = pick_sources(["http://proxy.test/cache bookworm main", TARGETS[1]], BACKPORTS)
    assert line.endswith("http://proxy.test/cache bookworm-backports main")


def test_a_system_without_debian_is_told() -> None:
    with pytest.raises(Error, match="no Debian mirror"):
        pick_sources(TARGETS[:1], STABLE)
