"""Plain data to YAML: block style, the same bytes for the same data, quotes where somebody would misread.

Readers of YAML 1.2 (ours, serde_yaml, go-yaml v3) and of 1.1 (PyYAML, go-yaml v2, Ruby) are both to read what
was meant: `'yes'`, `'017'`, `'1_000'`, and `'52:54:00:12:34:56'`, which 1.1 takes for a number to base 60.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

# Text that needs no quotes: no indicator first, no ': ' or ' #' within, nothing that is not printed.
PLAIN = re.compile(
    r"""(?: \w | [/.+] | -(?=\w) )
        (?: [\w/.+\-@%=~^$()<>\[\]{};,!?*&|'"`\\] | :(?!\ ) | \ (?![\ #]) | (?<!\ )\# )*
        (?<![:\ ])""",
    re.VERBOSE,
)
# Text that some reader takes for a number, a time, a date or the end of a document.
NUMBER = re.compile(
    r"""  [-+]?\.?[0-9][0-9_,]*(\.[0-9_,]*)?([eE][-+]?[0-9]*)?      # Ruby takes commas, 1.1 takes underscores
        | [-+]?0[xX][0-9a-fA-F_,]+ | [-+]?0o[0-7]+ | [-+]?0b[01_,]+
        | [-+]?[1-9][0-9_]*(:[0-5]?[0-9])+                          # base 60
        | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]* | [-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}
        | [-+]?\.(inf|nan)
        | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\ ].*)?
        | (---|\.\.\.).*""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
# What is null, a boolean, a merge or a default to some reader, in any case of letters (yaml.org/type).
WORDS = frozenset({"~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"})
# What can stand in a literal block as it is: no space first to be taken for indentation, nothing unprinted.
UNPRINTED = "\x00-\x08\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"
LITERAL = re.compile(rf"[^\s{UNPRINTED}][^{UNPRINTED}]*")
# What double quotes must escape: what YAML does not print (YAML 1.2.2, c-printable), breaks, odd spaces.
ESCAPED = re.compile(rf'[\t\n"\\{UNPRINTED}]')
SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
# A key of more than 1024 characters needs a question mark (YAML 1.2.2, section 7.4); escapes take up to ten.
SIMPLE_KEY = 100


def dump(value: Any) -> str:
    """Return data of dict, list, tuple, str, int, float, bool and None as one YAML document.

    Keys keep their order. `load` of the result gives the same data, tuples as lists.

    Raises:
        TypeError: the data hold something else, or a key that is not text.

    """
    out: list[str] = []
    _block(out, value, lead="", indent="")
    return "".join(out)


def _block(out: list[str], value: Any, *, lead: str, indent: str) -> None:
    """Write a value whose first line starts with `lead` and whose other lines start with `indent`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _entry(out, key, item, lead=lead, indent=indent)
            lead = indent
    elif isinstance(value, list | tuple) and value:
        for item in value:
            _block(out, item, lead=f"{lead}- ", indent=f"{indent}  ")
            lead = indent
    else:
        out.append(f"{lead}{_leaf(value, indent=indent or '  ')}\n")


def _entry(out: list[str], key: Any, item: Any, *, lead: str, indent: str) -> None:
    """Write a key and its value: a list stands under its key's column, a mapping two further on."""
    if not isinstance(key, str):
        message = f"a key must be text, got {key!r}"
        raise TypeError(message)
    name = f"{lead}{_text(key)}:" if len(key) <= SIMPLE_KEY else f"{lead}? {_text(key)}\n{indent}:"
    if not isinstance(item, dict | list | tuple) or not item:
        out.append(f"{name} {_leaf(item, indent=f'{indent}  ')}\n")
        return
    inner = f"{indent}  " if isinstance(item, dict) else indent
    out.append(f"{name}\n")
    _block(out, item, lead=inner, indent=inner)


def _leaf(value: Any, *, indent: str) -> str:
    """Return an empty collection, a number, a word or text; further lines of text start with `indent`."""
    if isinstance(value, str):
        block = "\n" in value[:-1] and LITERAL.fullmatch(value)
        return _literal(value, indent=indent) if block else _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return int.__repr__(value) if isinstance(value, int) else _float(value)
    if isinstance(value, dict | list | tuple):
        return "{}" if isinstance(value, dict) else "[]"
    message = f"YAML has no {type(value).__name__}"
    raise TypeError(message)


def _float(value: float) -> str:
    text = repr(value)
    if text.lstrip("-") in {"inf", "nan"}:
        return text.replace("inf", ".inf").replace("nan", ".nan")
    # 1.1 readers want a point in the mantissa.
    return text if "." in text else text.replace("e", ".0e")


@lru_cache(maxsize=4096)  # a document says the same words again and again
def _text(value: str) -> str:
    if PLAIN.fullmatch(value) and not NUMBER.fullmatch(value) and value.lower() not in WORDS:
        return value
    if ESCAPED.search(value) and not set(ESCAPED.findall(value)) <= {'"', "\\"}:
        return f'"{ESCAPED.sub(_escape, value)}"'
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return SHORT.get(character) or f"\\u{ord(character):04x}"


def _literal(value: str, *, indent: str) -> str:
    kept = "+" if value.endswith("\n\n") else "" if value.endswith("\n") else "-"
    lines = value.removesuffix("\n").split("\n")
    return f"|{kept}\n" + "\n".join(f"{indent}{line}" if line else "" for line in lines)
