"""What a text must be before it becomes a name, a path or a word of a command: the rules of who reads it.

Whatever comes from outside is asked here where it enters, so that text for nft, ip, XML, QEMU and file names
is made of sound names only. Everything that these rules allow is ASCII, without blanks, quotes, commas and
control characters; but for a kernel's arguments, which are one word of a command whatever is in them.
"""

from __future__ import annotations

import ipaddress
import re

from msgspec import Struct


class Rule(Struct, frozen=True):
    """A form that a text must have: a pattern for all of it, its most characters, and both in words."""

    pattern: re.Pattern[str]
    most: int
    words: str

    def allows(self, value: object) -> bool:
        """Whether a value is a text of this form."""
        return isinstance(value, str) and len(value) <= self.most and bool(self.pattern.fullmatch(value))


# Kubernetes

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"

LABEL = Rule(re.compile(_LABEL), 63, "small letters, digits and - between them, at most 63 characters")
"""A label of RFC 1123: a namespace, a volume, a disk, a hostname (apimachinery, IsDNS1123Label)."""

SUBDOMAIN = Rule(
    re.compile(rf"{_LABEL}(?:\.{_LABEL})*"),
    253,
    "small letters, digits, - and . between them, at most 253 characters",
)
"""A subdomain of RFC 1123: a Pod, a VM, a claim, a NetworkAttachmentDefinition (IsDNS1123Subdomain)."""

NAMESPACED = Rule(
    re.compile(rf"(?:{_LABEL}/)?{_LABEL}(?:\.{_LABEL})*"),
    317,
    "[namespace/]name, both of small letters, digits and -",
)
"""How a network names its NetworkAttachmentDefinition."""

PORT_NAME = Rule(
    re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9])*"),
    15,
    "small letters, digits and single -, at most 15, a letter among them",
)
"""The name of a port (RFC 6335, section 5.1; apimachinery, IsValidPortName)."""

_DOMAIN_LABEL = r"[_a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?"

DOMAIN = Rule(
    re.compile(rf"{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*"),
    253,
    "labels of letters, digits and - between them, at most 63 characters each",
)
"""A domain whose names DNS could look up (RFC 1035, 2.3.4), in small letters; an underscore may lead a label
(`_tcp`), as KubeVirt allows in what is searched."""

# KubeVirt

INTERFACE = Rule(re.compile(r"[A-Za-z0-9_-]+"), 63, "letters, digits, - and _, at most 63 characters")
"""A VM's interface and its network (KubeVirt's admitter; the length is that of its API, a DNS label's)."""

SERIAL = Rule(re.compile(r"[A-Za-z0-9_.+-]+"), 256, "letters, digits, _ . + and -, at most 256 characters")
"""A disk's serial number (KubeVirt's admitter)."""

MACHINE = Rule(
    re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
    64,
    "q35, or one that QEMU lists with -machine help",
)
"""QEMU's name of a machine."""

KERNEL_ARGUMENTS = Rule(re.compile(r"[ -~]*"), 2047, "one line of printable ASCII, at most 2047 characters")
"""What a kernel is told: x86 takes so much (arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE), and libvirt's
XML no control characters."""

# CNI

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

NETWORK = Rule(_WORD, 253, "letters, digits, _ . and -, the first no sign")
"""The name of a network configuration, which IPAM plugins make a folder of (CNI specification, section 1)."""

CONTAINER = Rule(_WORD, 253, "letters, digits, _ . and -, the first no sign")
"""CNI_CONTAINERID (CNI specification, section 2)."""

LINK = Rule(
    re.compile(r"(?!\.\.?\Z)[!-$&-.0-9;-~]+"),
    15,
    "at most 15 characters without /, :, % and blanks, not . or ..",
)
"""CNI_IFNAME, or another link's name (CNI, section 2; dev_valid_name). The kernel reads % in a new one as the
place of a number (net/core/dev.c, dev_alloc_name). It may hold quotes, and so is part of no command."""

PLUGIN = Rule(_WORD, 255, "the name of a program, without its folder")
"""The type of a plugin, which is looked for in folders and run (CNI specification, section 1)."""

# paths

_STEP = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.:@+=~-]{1,255}"

INNER_PATH = Rule(
    re.compile(rf"/?{_STEP}(?:/{_STEP})*/?"),
    1024,
    "letters, digits and _ . : @ + = ~ - between slashes, without . and .. as steps",
)
"""A path inside a folder, which a leading slash means too: the image of a kernelBoot, a kernel in it. QEMU
reads a comma in an initrd's name as the start of another (hw/i386/multiboot.c), hence none."""

# addresses


def is_address(text: object, *, version: int = 0) -> bool:
    """Whether a text is an IP address (of this version), without a zone: Python takes any text for one."""
    if not isinstance(text, str) or "%" in text:
        return False
    try:
        return ipaddress.ip_address(text).version in {version or 4, version or 6}
    except ValueError:
        return False
