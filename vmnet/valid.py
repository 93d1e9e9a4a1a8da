"""Names are checked where they enter: text for nft, paths and command lines is made of sound names only.

Each function returns what is wrong with a name, to follow the name in a sentence, or "" when it is one.
"""

from __future__ import annotations

import re

# CNI

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
LONGEST_LINK = 15
"""Bytes of a link's name (linux/if.h, IFNAMSIZ less its NUL)."""


def cni_interface(name: str) -> str:
    """Tell what is wrong with CNI_IFNAME, or another link's name (CNI, section 2; dev_valid_name).

    The kernel reads % in a new link's name as the place of a number (net/core/dev.c, dev_alloc_name).
    """
    if name in {"", ".", ".."} or not name.isprintable() or any(c in "/:%" or c.isspace() for c in name):
        return "is no name of an interface: printable, without /, :, % or white space, not . or .."
    if len(name.encode()) > LONGEST_LINK:
        return f"is too long for an interface: at most {LONGEST_LINK} bytes"
    return ""


def cni_container(name: str) -> str:
    """Tell what is wrong with CNI_CONTAINERID (CNI specification, section 2)."""
    return _identifier(name, "a container")


def cni_network(name: str) -> str:
    """Tell what is wrong with a network's name (CNI specification, section 1)."""
    return _identifier(name, "a network")


def cni_plugin(name: str) -> str:
    """Tell what is wrong with a plugin's type, which is looked for as a file in CNI_PATH."""
    if not name or name in {".", ".."} or not name.isprintable() or "/" in name:
        return "is not the name of a plugin"
    return ""


def _identifier(name: str, what: str) -> str:
    if _IDENTIFIER.match(name):
        return ""
    return f"is no name of {what}: a letter or digit, then letters, digits, _, . and -"
