"""The document is pure, and its cost is paid only by those who need it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nncp.document

FILES = sorted(Path(nncp.document.__path__[0]).glob("*.py"))
READ = """
import sys
from nncp.document.policy import read_policies
from nncp.document.read import read_state
from nncp.document.emit import dump
from nncp.document.source import load
from nncp.known import KINDS

(policy,) = read_policies(load("interfaces: [{name: eth0.5, type: vlan, vlan: {id: 5}}]", file="x"))
read_state(policy.state, KINDS.by_type)
print(sorted({"jsonschema", "pyroute2", "rich"} & set(sys.modules)))
"""


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_document_is_read_without_the_host(file: Path) -> None:
    imported = set()
    for part in ast.walk(ast.parse(file.read_text())):
        if isinstance(part, ast.Import):
            imported |= {name.name.partition(".")[0] for name in part.names}
        elif isinstance(part, ast.ImportFrom):
            imported.add((part.module or "").partition(".")[0])
    assert not imported & {"os", "socket", "subprocess", "pathlib", "shutil", "sys", "threading"}


def test_a_good_document_never_imports_jsonschema() -> None:
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
