"""The base of every mapping that a document may hold: strict keys, kebab-case, and keys of two names."""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET, Struct
from msgspec.structs import force_setattr


class Section(
    Struct,
    frozen=True,
    kw_only=True,
    rename="kebab",
    forbid_unknown_fields=True,
    omit_defaults=True,
    repr_omit_defaults=True,
):
    """A mapping of a document: absent properties are UNSET, explicitly null ones None.

    `aliases` maps a property's second name to the first (`{"ports": "port"}`). Both are fields, so both
    are in the schema; after decoding only the first holds the value.

    For people, by the field's name: `meaning` has a sentence for each property that is no mapping (what it
    means, in which unit, what 0, -1 or "" is), `defaults` what something new has of what nobody says, as far
    as that is known, `samples` a value for an example where the docstring's YAML has none. Decoding looks at
    none of them.

        class VlanConfig(Section, frozen=True):
            meaning: ClassVar[Mapping[str, str]] = {
                "base_iface": "The interface that the VLAN is on.",
                "id": "The VLAN's number; 0 tags priorities only.",
            }

            base_iface: Maybe[str] = UNSET
            id: Maybe[VlanId] = UNSET
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    meaning: ClassVar[Mapping[str, str]] = {}
    defaults: ClassVar[Mapping[str, Any]] = {}
    samples: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        """Move what stands under a second name to the first; ValueError when the two disagree."""
        for second, first in self.aliases.items():
            value, other = getattr(self, second), getattr(self, first)
            if value is UNSET:
                continue
            if other is not UNSET and other != value:
                written = dict(zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True))
                raise ValueError(f"{written[first]} and {written[second]} are one property and disagree")
            force_setattr(self, first, value)
            force_setattr(self, second, UNSET)
