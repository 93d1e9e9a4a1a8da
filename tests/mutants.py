"""Changes what decides in nncp a little, one place at a time, and tells which changes no pure test notices.

    make mutants        goes on where it was stopped; what lived the last time is tried anew

Everything happens on a copy in the cache. A changed function is tried anew; so is all after
`rm -r` of that copy, whose path is told. Mutants that live are compared with MUTANTS.md beside this file: it
says of each why it may. What to change, and by which tests it is judged, is in pyproject.toml (tool.mutmut).
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libcst as cst
from msgspec import Struct
from mutmut.mutation import diff_apply, mutators
from mutmut.stats import status_by_exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "tests" / "MUTANTS.md"
COPIED = ("nncp", "vmnet", "launcher", "tests", "policies", "README.md", "pyproject.toml")
LIVES = {"survived", "no tests", "suspicious"}
MOST = 3600
"""Seconds after which a run stops by itself, as by Ctrl-C."""


class Living(Struct, frozen=True, order=True):
    """A mutant that no test noticed: where, and what it makes of which text."""

    file: str
    line: int
    function: str
    old: str
    new: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is known by in MUTANTS.md, which knows no line numbers: these move."""
        return self.file, self.function, self.old, self.new


# ── what is changed ──


def condition(node: cst.If | cst.CompIf) -> Iterator[cst.CSTNode]:
    """Change a condition to never and to always; what it calls is still called."""
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    for operator, word in ((cst.And(), "False"), (cst.Or(), "True")):
        yield node.with_changes(test=cst.BooleanOperation(test, operator, cst.Name(word)))


def statement(node: cst.Expr | cst.Raise) -> Iterator[cst.CSTNode]:
    """Leave a statement out; a docstring is none."""
    if not isinstance(getattr(node, "value", None), cst.SimpleString):
        yield cst.Pass()


def word(node: cst.SimpleString) -> Iterator[cst.CSTNode]:
    """Change a key; sentences are for people."""
    if node.quote == '"' and re.fullmatch(r"[\w/.-]+", node.raw_value):
        yield node.with_changes(value=f'"XX{node.raw_value}"')


def argument(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Make an argument None, and leave one out that others do not follow.

    Those of an error are sentences again; in a look-up only what is there by default is more than a key.
    """
    called = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    name = called.value if isinstance(called, cst.Name) else ""
    if name in {"Error", "Misfit", "cast", "attr"} or (name in {"get", "pop"} and len(node.args) < 2):
        return
    for at, each in enumerate(node.args):
        others = [*node.args[:at], *node.args[at + 1 :]]
        if each.star or (name in {"get", "pop"} and not at):
            continue
        if name not in {"get", "pop"} and not cst.Name("None").deep_equals(each.value):
            nothing = each.with_changes(value=cst.Name("None"))
            yield node.with_changes(args=[*node.args[:at], nothing, *node.args[at + 1 :]])
        if at and (each.keyword or at == len(node.args) - 1):
            yield node.with_changes(args=others)


def ours() -> list[tuple[type, Callable[[Any], Iterable[cst.CSTNode]]]]:
    """Return mutmut's operators with these in place of its own for strings and arguments."""
    left = {mutators.operator_string, mutators.operator_arg_removal, mutators.operator_dict_arguments}
    kept = [(kind, change) for kind, change in mutators.mutation_operators if change not in left]
    conditions = [(cst.If, condition), (cst.CompIf, condition)]
    statements = [(cst.Expr, statement), (cst.Raise, statement)]
    return [*kept, *conditions, *statements, (cst.SimpleString, word), (cst.Call, argument)]


# ── the run ──


def copy(work: Path) -> None:
    """Bring the copy up to date; a file that is the same keeps its time, by which mutmut knows it."""
    work.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        for target in (work / name, work / "mutants" / name):
            if name != "nncp" and target.is_dir():
                shutil.rmtree(target)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, work / name)


def try_again() -> None:
    """Forget what has no verdict yet, what lived, and which test runs what: all of it may be another now."""
    Path("mutants/mutmut-stats.json").unlink(missing_ok=True)
    for path, data in metas():
        verdicts = data["exit_code_by_key"]
        for name, code in verdicts.items():
            if code != 37 and status_by_exit_code[code] != "killed":
                verdicts[name] = None
        path.write_text(json.dumps(data))


def metas() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield what mutmut keeps of each file."""
    for path in sorted(Path("mutants").rglob("*.py.meta")):
        yield path, json.loads(path.read_text())


def run() -> None:
    """Try what has no verdict."""
    from mutmut import __main__ as mutmut
    from mutmut.mutation import file_mutation

    file_mutation.mutation_operators = ours()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(int(os.environ.get("MOST") or MOST))
    with contextlib.suppress(KeyboardInterrupt):
        mutmut._run([], 1)
    signal.alarm(0)


# ── what came of it ──


def living() -> Iterator[Living]:
    """Yield the mutants that no test noticed."""
    for path, data in metas():
        file = str(path.relative_to("mutants")).removesuffix(".meta")
        for name, code in data["exit_code_by_key"].items():
            if code is not None and status_by_exit_code[code] in LIVES:
                yield described(name, file)


def described(name: str, file: str) -> Living:
    """Return a mutant by what it changes."""
    function = diff_apply.orig_function_and_class_names_from_key(name)
    path = ".".join(filter(None, reversed(function)))
    pair = diff_apply.read_functions_from_index(name, file)
    old, new = (cst.Module([each]).code.strip().split("\n") for each in pair)
    blocks = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    changed = [block for block in blocks if block[0] != "equal"]
    first, last, start, end = changed[0][1], changed[-1][2], changed[0][3], changed[-1][4]
    line = first_line(file, path) + first
    return Living(file, line, path, joined(old[first:last]), joined(new[start:end]))


def joined(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines)


def first_line(file: str, function: str) -> int:
    """Return where a function begins, its decorators included."""
    body: Any = ast.parse(Path(file).read_text())
    for name in function.split("."):
        body = next(node for node in body.body if getattr(node, "name", "") == name)
    return min([body.lineno, *(each.lineno for each in body.decorator_list)])


def explained() -> set[tuple[str, ...]]:
    """Return the mutants of MUTANTS.md: under a heading of the file and one of the function."""
    found = set()
    file = function = ""
    for line in EXPLAINED.read_text().splitlines():
        if heading := re.fullmatch(r"(##+) `(.*)`", line):
            file, function = (heading[2], "") if heading[1] == "##" else (file, heading[2])
        elif mutant := re.fullmatch(r"- `(.*)` → `(.*)`: \S.*", line):
            found.add((file, function, mutant[1], mutant[2]))
    return found


def report() -> int:
    """Print what lives and is new, and what MUTANTS.md explains though it is noticed; return the exit code."""
    known, found = explained(), sorted(living())
    new = [each for each in found if each.key not in known]
    for each in new:
        print(f"{each.file}:{each.line}: in {each.function}\n    - {each.old}\n    + {each.new}")
    codes = [code for _, data in metas() for code in data["exit_code_by_key"].values()]
    left = codes.count(None)
    if not left:
        for key in sorted(known - {each.key for each in found}):
            print(f"tests/MUTANTS.md explains what a test notices: {' '.join(key)}")
    tried = len(codes) - left
    print(f"{tried} mutants tried, {left} left; {len(found)} live, {len(new)} of them new: {Path.cwd()}")
    return 1 if new else 0


def main(work: Path) -> int:
    """Try all mutants in `work`, and tell of those that live."""
    copy(work)
    os.chdir(work)
    if "--report" not in sys.argv:
        try_again()
        run()
    return report()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
