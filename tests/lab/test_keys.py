"""The certificates of a lab cluster, read by OpenSSL and not by what made them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from nncp.lab.cluster import keys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "made"
    keys.make(folder, server="https://10.0.0.1:443", addresses=["10.0.0.1", "127.0.0.1"], nodes=["node-1"])
    return folder


def told(made: Path, name: str, *what: str) -> str:
    argv = ["openssl", "x509", "-in", str(made / f"{name}.crt"), "-noout", *what]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_one_authority_signs_all_of_them_and_they_sign_nothing(made: Path) -> None:
    for path in made.glob("*.crt"):
        subprocess.run(
            ["openssl", "verify", "-CAfile", made / "ca.crt", path], check=True, capture_output=True
        )
        constraints = told(made, path.stem, "-ext", "basicConstraints")
        assert ("CA:TRUE" in constraints) == (path.stem == "ca")


def test_users_are_what_the_api_server_takes_them_for(made: Path) -> None:
    assert "O = system:masters, CN = admin" in told(made, "admin", "-subject")
    assert "O = system:nodes, CN = system:node:node-1" in told(made, "node-1", "-subject")
    config = json.loads((made / "node-1.kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:443"


def test_the_server_answers_by_its_addresses(made: Path) -> None:
    names = told(made, "apiserver", "-ext", "subjectAltName")
    assert "IP Address:10.0.0.1, IP Address:127.0.0.1" in names


def test_nobody_else_reads_a_key(made: Path) -> None:
    assert made.stat().st_mode & 0o077 == 0
