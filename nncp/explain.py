"""What a property of a document is, in all that is known of it: for `nncp explain`.

Nothing is said here of single properties. The sentences stand in the Structs, costs and modes in the
interface types, what is refused in the table of what is not supported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, UnsetType, inspect

from nncp.compile import ETHTOOL
from nncp.document.complaints import shown
from nncp.document.lax import Form, LaxEnum, LaxInt, Query
from nncp.document.meaning import default, item
from nncp.document.unsupported import DOCUMENT, INTERFACE, steps_of
from nncp.example import example_of
from nncp.host import Cost
from nncp.kinds.link import BASE_ATTRS
from nncp.topic import keys, topic_of

if TYPE_CHECKING:
    from nncp.document.meaning import Type
    from nncp.kinds.kind import Attr, Kind
    from nncp.topic import Topic

COSTS = {
    Cost.LIVE: "live",
    Cost.DOWN: "the link goes down for it",
    Cost.EMPTY: "the link goes down for it, without its ports",
    Cost.NEW: "the link is deleted and made again",
}
WORDS = {"description": "alias", "mac-address": "mac", "copy-mac-from": "mac"}
"""The attributes that another word of a document is about (nncp/compile.py, _up)."""
LEFT = "read, and left to the link itself: it is not set, and a plan says so"
SHOWN = "shown, and ignored when applied"


class Explanation(Struct, frozen=True, omit_defaults=True):
    """What is known of a property, or of a mapping; what is not known is left out.

    Args:
        path: the path to it, by the names of the schema.
        meaning: what it means.
        type: what may be written.
        minimum: the least number.
        maximum: the largest number.
        values: the words that may be written, each with what may be written for it.
        default: what something new has of it when nobody says it.
        change: what a change costs the traffic on the link.
        modes: the modes that know it, where not all do.
        note: why it is refused, or left alone.
        keys: what may stand in a mapping, with its meaning.
        example: a document in which it stands.

    """

    path: str
    meaning: str = ""
    type: str = ""
    minimum: int | UnsetType = UNSET
    maximum: int | UnsetType = UNSET
    values: Mapping[str, Sequence[Any]] = {}
    default: Any = UNSET
    change: str = ""
    modes: Sequence[str] = ()
    note: str = ""
    keys: Mapping[str, str] = {}
    example: Mapping[str, Any] = {}


def explain(path: str, kinds: Mapping[str, Kind]) -> Explanation:
    """Return what is known of what a path leads to; "" is a document.

    Args:
        path: as somebody writes it: see `nncp.topic`.
        kinds: the interface types that a document may name.

    Raises:
        Error: it leads nowhere; with a hint at what is meant.

    """
    topic = topic_of(path, kinds)
    attr, lax = _attr(topic), _lax(topic)
    values = _values(topic, lax, kinds)
    number = lax if lax and issubclass(lax, LaxInt) else None
    usual = default(topic.struct, topic.field.name) if topic.struct and topic.field else None
    return Explanation(
        path=topic.path,
        meaning=topic.meaning,
        type="a word" if values else _type(topic.takes) if topic.takes else "",
        minimum=UNSET if number is None or number.least is None else number.least,
        maximum=UNSET if number is None or number.most is None else number.most,
        values=values,
        default=UNSET if usual is None else usual,
        change=_change(topic, attr, kinds),
        modes=tuple(sorted(attr.only)) if attr else (),
        note=_note(topic, kinds),
        keys={word: _told(one) for word, one in keys(topic, kinds).items()},
        example=example_of(topic),
    )


def _told(key: Topic) -> str:
    """Return what a key means, and whether it is refused."""
    return f"{key.meaning} {'(not supported yet)' * bool(_refused(key))}".rstrip()


def _lax(topic: Topic) -> Any:
    """Return the class of a scalar, or of a list's items, that is read laxly."""
    kind = (item(topic.takes) or topic.takes) if topic.takes else None
    return kind.cls if isinstance(kind, inspect.CustomType) else None


def _type(kind: Type) -> str:
    """Return what may be written, in words."""
    inner = item(kind)
    if inner is not None:
        return f"a list; each item is {_type(inner)}"
    if isinstance(kind, inspect.DictType):
        return f"a mapping of names; each value is {_type(kind.value_type)}"
    if isinstance(kind, inspect.CustomType):
        return _scalar(kind.cls)
    names = {inspect.StrType: "text", inspect.StructType: "a mapping"}
    return names.get(type(kind), "anything")


def _scalar(lax: Any) -> str:
    if lax is Query:
        return "anything"
    if lax.plain is bool:
        return "true or false"
    if issubclass(lax, LaxInt):
        return "a whole number"
    if issubclass(lax, LaxEnum):
        return "a word"
    return str(lax.means) if issubclass(lax, Form) else "text"


def _values(topic: Topic, lax: Any, kinds: Mapping[str, Kind]) -> dict[str, Sequence[Any]]:
    """Return the words of an enumeration, each with its number and whatever else it may be written as."""
    if topic.words == ("interfaces", "type"):
        return dict.fromkeys((*kinds, "unknown"), ())
    if lax is None or not issubclass(lax, LaxEnum):
        return {}
    spelled = [*lax.words.items(), *lax.flags.items()]
    numbers = {str(spelling) for spelling, _ in spelled if isinstance(spelling, int)}
    return {
        word: [other for other, meant in spelled if meant == word and other not in {word, *numbers}]
        for word in dict.fromkeys(lax.words.values())
    }


def _attr(topic: Topic) -> Attr | None:
    """Return the attribute of a link or of a port that a property is about."""
    if topic.words[:1] != ("interfaces",) or topic.holds or len(topic.words) < 2:
        return None
    kind, (_, section, *rest) = topic.kind, topic.words
    if kind is None or section != kind.section:
        return _named(BASE_ATTRS, WORDS.get(topic.words[-1], topic.words[-1]))
    lists = [at for at, one in enumerate(topic.way) if at > 1 and one.is_list]
    if lists:
        return _named(kind.port_attrs, ".".join(topic.words[lists[-1] + 1 :]))
    return _named((*kind.attrs, *BASE_ATTRS), ".".join(rest).removeprefix("options."))


def _named(attrs: Sequence[Attr], name: str) -> Attr | None:
    return next((attr for attr in attrs if attr.name == name), None)


def _change(topic: Topic, attr: Attr | None, kinds: Mapping[str, Kind]) -> str:
    """Return what a change costs, "" where that is no matter of an attribute."""
    if topic.words[1:] == ("controller",):
        types = [kind.type for kind in kinds.values() if kind.port_cost >= Cost.DOWN]
        return f"live; {COSTS[Cost.DOWN]} where the controller is a {' or a '.join(types)}"
    if topic.kind and topic.words[1:] == (topic.kind.section, "port"):
        down = topic.kind.port_cost >= Cost.DOWN
        return "a link that becomes a port, or is one no more, goes down for it" if down else "live"
    if attr is None:
        return ""
    if attr.create:
        return COSTS[Cost.NEW]
    if callable(attr.cost):
        return _by_value(attr)
    return f"{COSTS[attr.cost]}{f', with {attr.without} off meanwhile' * bool(attr.without)}"


def _by_value(attr: Attr) -> str:
    """Return the cost of an attribute whose values decide on it, and which of them make it dear."""
    words = attr.codec.words
    costs = {(old, new): attr.cost_of(old, new) for old in words for new in words if old != new}
    dearest = max(costs.values(), default=Cost.NEW)
    dear = [word for word in words if all(cost == dearest for pair, cost in costs.items() if word in pair)]
    rest = [cost for pair, cost in costs.items() if not {*pair} & {*dear}]
    if not dear or not rest or max(rest) == dearest:
        return f"by the values; at most {COSTS[dearest]}"
    return f"{COSTS[max(rest)]}; to or from {' or '.join(dear)} {COSTS[dearest]}"


def _note(topic: Topic, kinds: Mapping[str, Kind]) -> str:
    """Return why a property does nothing, if it does not."""
    if refused := _refused(topic):
        return refused
    if _lax(topic) is Query:
        return SHOWN
    section = topic.words[1:2]
    said = [words for kind in kinds.values() for name, words in kind.as_it_is.items() if (name,) == section]
    if section == ("ethtool",):
        said = [ETHTOOL]
    return LEFT if any(set(topic.words[2:3]) & {*words} for words in said) else ""


def _refused(topic: Topic) -> str:
    """Return why a property is refused, and what may be said all the same, or ""."""
    in_interface = topic.words[:1] == ("interfaces",)
    table, words = (INTERFACE, topic.words[1:]) if in_interface else (DOCUMENT, topic.words)
    for name, (why, harmless) in table.items():
        steps = steps_of(name)
        if words[: len(steps)] == steps:
            fine = ", ".join(shown(value) for value in harmless if isinstance(value, str))
            return f"not supported yet: {why}{f'; {fine} asks for nothing' * bool(fine)}"
    return ""
