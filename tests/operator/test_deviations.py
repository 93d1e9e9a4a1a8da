"""The table of what the operator does otherwise than kubernetes-nmstate is complete, and shown line by line."""

from __future__ import annotations

import ast
from pathlib import Path

import nncp.operator
from nncp.document.source import load

TABLE = Path(nncp.operator.__file__).with_name("deviations.yaml")
TESTS = Path(__file__).parents[1]


def shown() -> set[str]:
    """The lines that tests name."""
    files = [*TESTS.glob("cluster/test_*.py"), *TESTS.glob("operator/test_*.py")]
    calls = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    named = (
        node
        for node in calls
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.deviates"
    )
    return {ast.literal_eval(word) for call in named for word in call.args}


def test_each_line_says_what_others_do_what_we_do_and_why_and_is_shown_by_a_test() -> None:
    (table,) = (node.value for node in load(TABLE.read_text(encoding="utf-8"), file=TABLE.name))
    assert shown() == table.keys()
    for line in table.values():
        assert list(line) == ["theirs", "ours", "why"]
        assert all(text.endswith(".") for text in line.values())
