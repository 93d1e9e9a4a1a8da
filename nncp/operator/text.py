"""What a policy asks of a node as a document, and what it is known by. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import json

VERSION = "nmstate.io/v1"
KIND = "NodeNetworkConfigurationPolicy"


def text_of(policy: str, desired: Any, capture: Any) -> bytes:
    """Return what a policy asks of a node as a document, always in the same words.

    The API server tells a mapping in its own order, hence not in the order in which it was written.
    """
    spec = {"desiredState": desired} | ({"capture": capture} if capture else {})
    manifest = {"apiVersion": VERSION, "kind": KIND, "metadata": {"name": policy}, "spec": spec}
    return json.encode(manifest, order="sorted")


def digest(*parts: object) -> str:
    """Return a short name of what is asked: it is not a secret, and two must not meet by chance."""
    return hashlib.sha256(json.encode(parts, order="sorted")).hexdigest()[:20]
