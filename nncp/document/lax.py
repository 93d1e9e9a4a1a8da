"""The scalars of a document, which nmstate reads laxly: `mtu: "0x5dc"`, `enabled: yes`, `mode: 4`.

Each class here names what a document may say, not what a program holds: decoding gives plain int, bool and
str, so that rows compare and print by value. msgspec asks `isinstance(value, LaxInt)` of what its hook gave,
and `Lax` answers by the plain type. One hook decodes them all, another describes them all:

    msgspec.convert(data, Struct, dec_hook=read_lax)
    msgspec.json.schema_components([Struct], schema_hook=lax_schema)

A kind declares the values of its section with them, and narrows them by keyword:

    class TableId(LaxInt, ge=1, le=2**32 - 1):
        ...

    class BondMode(LaxEnum, words={"balance-rr": 0, "active-backup": 1}):
        ...
"""

# No `from __future__ import annotations` here and in state.py: msgspec evaluates the annotations.
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, Union

from msgspec import UNSET, UnsetType

LONGEST_NAME = 15  # IFNAMSIZ less the final zero, in bytes
LONGEST_ALIAS = 255  # IFALIASZ less the final zero, in bytes

T = TypeVar("T")
Maybe: TypeAlias = Union[T, UnsetType, None]  # noqa: UP007  (a TypeVar cannot be subscribed in `T | None`)
"""A property that may be left out (as it is now) or explicitly null (unset)."""

WHOLE = re.compile(r"[-+]?(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})")
# Ethernet has six bytes; IP over InfiniBand twenty (RFC 4391, section 9.1.1).
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}((:[0-9a-fA-F]{2}){14})?")


class Lax(type):
    """The type of the classes of this module: what they hold is told by their plain type."""

    plain: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.plain)

    def read(cls, value: Any) -> Any:
        """Return the plain value that a document's value means; raise ValueError when it means none."""
        raise NotImplementedError

    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of what a document may say."""
        raise NotImplementedError


class LaxInt(int, metaclass=Lax):
    """A whole number, or text that spells one, decimal or hexadecimal."""

    plain = int
    least: ClassVar[int | None] = None
    most: ClassVar[int | None] = None
    hint: ClassVar[str] = ""

    def __init_subclass__(cls, *, ge: int | None = None, le: int | None = None, hint: str = "") -> None:
        cls.least, cls.most, cls.hint = ge, le, hint

    @classmethod
    def read(cls, value: Any) -> int:
        """Return the number; ValueError when it is none, or out of bounds."""
        number = whole(value)
        if number is None:
            raise ValueError("Expected a whole number")
        if cls.least is not None and number < cls.least:
            raise ValueError(f"Expected at least {cls.least}")
        if cls.most is not None and number > cls.most:
            raise ValueError(f"Expected at most {cls.most}")
        return number

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema: bounds are for numbers only, the pattern for text only."""
        bounds = {"minimum": cls.least, "maximum": cls.most, "x-hint": cls.hint or None}
        told = {name: value for name, value in bounds.items() if value is not None}
        return {"type": ["integer", "string"], "pattern": f"^{WHOLE.pattern}$", **told}


class LaxEnum(str, metaclass=Lax):
    """A word of a few, or its number where the kernel numbers them."""

    __slots__ = ()
    plain = str
    words: ClassVar[Mapping[Any, str]] = {}
    flags: ClassVar[Mapping[bool, str]] = {}  # apart from `words`, where True would be 1

    def __init_subclass__(
        cls, *, words: Mapping[str, int] | Iterable[str], aliases: Mapping[Any, str] | None = None
    ) -> None:
        numbers = words if isinstance(words, Mapping) else {}
        spelled = {word: word for word in words}
        spelled |= {str(number): word for word, number in numbers.items()}
        others = {
            spelling: word for spelling, word in (aliases or {}).items() if not isinstance(spelling, bool)
        }
        cls.words = {**spelled, **{number: word for word, number in numbers.items()}, **others}
        cls.flags = {
            spelling: word for spelling, word in (aliases or {}).items() if isinstance(spelling, bool)
        }

    @classmethod
    def read(cls, value: Any) -> str:
        """Return the word; ValueError when there is no such word or number."""
        table: Mapping[Any, str] = cls.flags if isinstance(value, bool) else cls.words
        word = table.get(value) if isinstance(value, str | int) else None
        if word is None:
            raise ValueError(f"Expected one of {', '.join(dict.fromkeys(cls.words.values()))}")
        return word

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema: the words, and after them their other spellings."""
        words = dict.fromkeys(cls.words.values())
        return {"enum": [*words, *(other for other in cls.words if other not in words), *cls.flags]}


class Form(str, metaclass=Lax):
    """Text of a certain form, in its one canonical spelling: a MAC address, a network.

    The class keyword `form` is the JSON Schema's `format`, `means` is how an error names it, and `read_text`
    returns the canonical spelling or raises ValueError.
    """

    __slots__ = ()
    plain = str
    form: ClassVar[str] = ""
    means: ClassVar[str] = "text"
    read_text: ClassVar[Callable[[str], str]] = str

    def __init_subclass__(cls, *, form: str, means: str, read: Callable[[str], str]) -> None:
        cls.form, cls.means, cls.read_text = form, means, staticmethod(read)

    @classmethod
    def read(cls, value: Any) -> str:
        """Return the canonical spelling; ValueError when the text has another form."""
        if not isinstance(value, str):
            raise ValueError(f"Expected {cls.means}")  # noqa: TRY004  (what msgspec makes its own error of)
        try:
            return cls.read_text(value)
        except ValueError:
            raise ValueError(f"Expected {cls.means}") from None

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"type": "string", "format": cls.form}


class _Boolean(metaclass=Lax):
    """A boolean, or one of the words and numbers that nmstate takes for one."""

    plain = bool
    spellings: ClassVar[Mapping[Any, bool]] = {
        spell(word): meant
        for meant, words in (
            (True, ("1", "true", "yes", "on", "y")),
            (False, ("0", "false", "no", "off", "n")),
        )
        for word in words
        for spell in (str, str.title, str.upper)
    }

    @classmethod
    def read(cls, value: Any) -> bool:
        """Return the boolean; ValueError when it is none."""
        meant = cls.spellings.get(value) if isinstance(value, str) else value
        if isinstance(meant, bool | int) and meant in {0, 1}:
            return bool(meant)
        raise ValueError("Expected true or false")

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"enum": [True, False, 1, 0, *cls.spellings]}


class _Query(metaclass=Lax):
    """What only a query tells (`driver`, `max-mtu`): accepted in a document, and ignored."""

    plain = UnsetType

    @classmethod
    def read(cls, value: Any) -> UnsetType:  # noqa: ARG003  (whatever it is)
        """Return UNSET: the property might as well not be there."""
        return UNSET

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema that takes anything."""
        return {"readOnly": True}


class LifeTime(str, metaclass=Lax):
    """How long an address is valid: only a query tells, and `forever` is what one that is asked for is."""

    __slots__ = ()
    plain = str

    @classmethod
    def read(cls, value: Any) -> str:
        """Return it as text."""
        return str(value)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema that takes anything."""
        return {"description": "shown; an address with one stays as it is"}


if TYPE_CHECKING:  # what the properties hold; bool and UnsetType cannot be subclassed as int and str can
    LaxBool: TypeAlias = bool
    Query: TypeAlias = UnsetType
else:
    LaxBool = _Boolean
    Query = _Query


def read_lax(kind: Any, value: Any) -> Any:
    """Decode a lax scalar: msgspec's `dec_hook`, called with a Lax class."""
    return kind.read(value)


def lax_schema(kind: type) -> dict[str, Any]:
    """Describe a lax scalar: msgspec's `schema_hook`."""
    if not isinstance(kind, Lax):
        raise NotImplementedError
    return kind.schema()


def given(value: T | UnsetType | None) -> T | None:
    """Return a property's value, or None when it is not written or null."""
    return None if isinstance(value, UnsetType) else value


def whole(value: Any) -> int | None:
    """Return the whole number that a lax integer means, or None."""
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value, 16 if "x" in value.lower() else 10)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mac(text: str) -> str:
    if not MAC.fullmatch(text):
        raise ValueError
    return text.lower()  # as the kernel and `ip` print it


def _network(text: str) -> str:
    return str(ipaddress.ip_network(_unscoped(text), strict=False))


def _address(text: str) -> str:
    return str(ipaddress.ip_address(_unscoped(text)))


def _unscoped(text: str) -> str:
    if "%" in text:  # Python takes fe80::1%eth0 for an address, and the kernel has the link apart from it
        raise ValueError
    return text


def _ethernet(text: str) -> str:
    if len(text) > len("02:00:00:00:00:01"):
        raise ValueError
    return _mac(text)


def _ipv4_list(text: str) -> str:
    """Return addresses separated by commas alone, none of them twice."""
    found = [str(ipaddress.IPv4Address(word.strip())) for word in text.split(",") if text.strip()]
    if len(set(found)) < len(found) or not {"0.0.0.0", "255.255.255.255"}.isdisjoint(found):  # noqa: S104
        raise ValueError
    return ",".join(found)


def _group_address(text: str) -> str:
    address = _ethernet(text)
    if address[:-1] != "01:80:c2:00:00:0" or address[-1] in "123":
        raise ValueError
    return address


def why_no_name(text: str) -> str:
    """Return why the kernel takes a text for no name of a link, or "" (net/core/dev.c, dev_valid_name)."""
    size = len(text.encode())
    if not 0 < size <= LONGEST_NAME:
        return f"must have 1 to {LONGEST_NAME} bytes, not {size}" if text else "must not be empty"
    if text in {".", ".."} or any(sign in "/:%\0" or sign.isspace() for sign in text):
        return "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"
    if text in {"all", "default"}:  # net/ipv4/devinet.c, sysctl_dev_name_is_allowed
        return "must be neither all nor default: these are the kernel's words for every interface"
    return ""


def _link_name(text: str) -> str:
    if why_no_name(text):
        raise ValueError
    return text


def _alias(text: str) -> str:
    if "\0" in text or len(text.encode()) > LONGEST_ALIAS:
        raise ValueError
    return text


class MacAddress(Form, form="mac", means="a MAC address like 02:00:00:12:34:56", read=_mac):
    """A hardware address, in lower case."""

    __slots__ = ()


class EthernetAddress(
    Form, form="ethernet-address", means="a MAC address like 02:00:00:12:34:56", read=_ethernet
):
    """A hardware address of six bytes, in lower case."""

    __slots__ = ()


class GroupAddress(
    Form,
    form="group-address",
    means="01:80:c2:00:00:00, or one that ends in 4 to f",
    read=_group_address,
):
    """Where BPDUs are sent to: a reserved address that is not another protocol's (br_is_group_addr)."""

    __slots__ = ()


class LinkName(
    Form,
    form="link-name",
    means=f"a name of 1 to {LONGEST_NAME} bytes without '/', ':', '%' and white space",
    read=_link_name,
):
    """A name that a link can have."""

    __slots__ = ()


class Alias(
    Form, form="alias", means=f"text of at most {LONGEST_ALIAS} bytes, none of them zero", read=_alias
):
    """What an administrator says of a link (`ip link set dev eth1 alias`)."""

    __slots__ = ()


class Ipv4List(
    Form, form="ipv4-list", means="IPv4 addresses of hosts, separated by commas, each once", read=_ipv4_list
):
    """Several IPv4 addresses, or none."""

    __slots__ = ()


class Ipv4Address(
    Form, form="ipv4", means="an IPv4 address", read=lambda text: str(ipaddress.IPv4Address(text))
):
    """An IPv4 address."""

    __slots__ = ()


class Ipv6Address(
    Form, form="ipv6", means="an IPv6 address", read=lambda text: str(ipaddress.IPv6Address(_unscoped(text)))
):
    """An IPv6 address, in RFC 5952's spelling."""

    __slots__ = ()


class IpAddress(Form, form="ip", means="an IP address", read=_address):
    """An address of either family."""

    __slots__ = ()


class IpNetwork(Form, form="ip-network", means="an IP network like 198.51.100.0/24", read=_network):
    """A network of either family, its host bits cleared; a bare address is one host."""

    __slots__ = ()


class IpNetworkOrNone(
    Form, form="ip-network-or-none", means="an IP network or ''", read=lambda text: text and _network(text)
):
    """A network, or nothing: in a rule to remove, the empty text matches only a rule without one."""

    __slots__ = ()


FORMS: tuple[type[Form], ...] = (
    *(MacAddress, EthernetAddress, GroupAddress, LinkName, Alias, Ipv4List),
    *(Ipv4Address, Ipv6Address, IpAddress, IpNetwork, IpNetworkOrNone),
)
"""The forms whose JSON Schema `format` needs a checker."""


class Mtu(LaxInt, ge=1, le=2**31 - 1):
    """Bytes; what a device can really do is told by its own minimum and maximum."""


class VlanId(LaxInt, ge=0, le=4094, hint="use type: vxlan for ids above 4094"):
    """The id of a VLAN interface; 0 is priority tagging (net/8021q/vlan_netlink.c, vlan_validate)."""


class VlanTag(LaxInt, ge=1, le=4094):
    """A VLAN of a bridge port: 0 and 4095 are no VLANs (net/bridge/br_netlink.c, br_process_vlan_info)."""


class Ipv4Prefix(LaxInt, ge=0, le=32):
    """The bits of an IPv4 network."""


class Ipv6Prefix(LaxInt, ge=0, le=128):
    """The bits of an IPv6 network."""


class U8(LaxInt, ge=0, le=2**8 - 1):
    """A number of one byte."""


class U16(LaxInt, ge=0, le=2**16 - 1):
    """A number of two bytes."""


class U32(LaxInt, ge=0, le=2**32 - 1):
    """A number of four bytes."""


class U64(LaxInt, ge=0, le=2**64 - 1):
    """A number of eight bytes."""


class Natural(LaxInt, ge=0, le=2**31 - 1):
    """A number that the kernel keeps with a sign, and takes from 0 up."""


class Positive(LaxInt, ge=1, le=2**31 - 1):
    """A number from 1 up."""


class VlanProtocol(LaxEnum, words={"802.1q": 0x8100, "802.1ad": 0x88A8}, aliases={"802.1Q": "802.1q"}):
    """The tag's protocol: a customer's VLAN or a provider's."""

    __slots__ = ()
