"""What documents ask of a host: read, compiled, and where each error stands in them."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from msgspec.structs import replace

from nncp.applied import Applied
from nncp.compile import compile_state
from nncp.desk import Compiled, Note
from nncp.document.captured import as_data
from nncp.document.policy import Policy, read_current, read_policies
from nncp.document.read import by_place, read_together
from nncp.document.resolve import resolve
from nncp.document.source import load
from nncp.document.unsupported import unsupported
from nncp.errors import Error, ErrorKind, raise_all
from nncp.host import Host
from nncp.known import KINDS
from nncp.netlink.carry import Refused
from nncp.show import looked_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.document.resolve import Resolved
    from nncp.document.together import Partly
    from nncp.host import Row
    from nncp.prune import Pruning


STDIN = "<stdin>"
WRITTEN = {name: kind for name, kind in KINDS.by_type.items() if not kind.shown_as}
"""The types that a document may name: a tap is made for a guest, and goes with it."""


def documents(texts: Iterable[tuple[str, str]], *, paths: Mapping[str, str] | None = None) -> list[Policy]:
    """Read files; each may hold several documents.

    Args:
        texts: each file's name, as errors call it, and its text.
        paths: the whole paths of these files, by which their documents are known once they are applied; ""
            for what is no file. A file that is not among them is known by its name as it is given.

    Raises:
        Error: with all errors of all files' syntax.

    """
    found: list[Policy] = []
    errors: list[Error] = []
    for file, text in texts:
        try:
            path = (paths or {}).get(file, "" if file == STDIN else file)
            read = read_policies(load(text, file=file))
            # Before templates are filled: what comes again is known by the same.
            found += [replace(policy, known_as=path or _by_content(policy)) for policy in read]
        except Error as error:
            errors.append(error)
    raise_all(errors)
    return found


def current(file: str, text: str) -> Policy:
    """Return the state in a file, which stands for a host; raises `Error` when it holds another thing."""
    return read_current(load(text, file=file), file=file)


def values(file: str, text: str) -> dict[str, Any]:
    """Return the mapping of values in a file; raises `Error` when it holds another thing."""
    found = load(text, file=file)
    for number, node in enumerate(found):
        if not isinstance(node.value, dict) or number:
            raise node.error("values are one mapping of names to what they stand for")
    return dict(found[0].value) if found else {}


class Desired:
    """What documents ask of a host: compiled anew for each look at it.

    Captures look into `current`, where a state that somebody has recorded stands for the host: it has routes
    of others too.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        values: Mapping[str, Any] | None = None,
        before: Iterable[Applied] = (),
        prune: bool = False,
        current: Mapping[str, Any] | None = None,
    ) -> None:
        self.policies = policies
        self.current = current
        self.values = values
        self.prune = prune
        self.pruning: Pruning | None = None
        self.read: Partly | None = None
        self.resolved: list[Resolved] = []
        self.compiled = Compiled({}, {}, [])
        self.sees(before)

    def sees(self, before: Iterable[Applied]) -> None:
        """Take note of the documents that are in force, several of which may have one name."""
        self.before = list(before)

    def __call__(self, host: Host) -> list[Row]:
        """Return the wanted rows.

        Raises:
            Error: with all that is wrong with the documents, given this host.

        """
        types = {row.name: str(row.attrs["type"]) for row in host.table("link")}
        self.resolved = self._resolved(host)
        asked = [one.policy for one in self.resolved]
        self.pruning = self._pruning(asked, host, types) if self.prune else None
        asked += [_absent(self.pruning.interfaces())] if self.pruning else []
        self.read = found = read_together(asked, WRITTEN, types=types)
        # What cannot be resolved is not there, and what lacks for that is not wrong.
        unresolved = [error for one in self.resolved for error in one.errors]
        raise_all(by_place([*unresolved, *found.errors]) if unresolved else [])
        self.compiled = compile_state(found.state, found.interfaces, host, KINDS)
        errors = [*found.errors, *(error for part in found.parts for error in unsupported(part))]
        errors += faults(found, self.compiled)
        raise_all(by_place(errors))
        gone = list(self.pruning.rows(self.compiled.rows)) if self.pruning else []
        self.compiled.rows |= {row.key: row for row in gone}
        return list(self.compiled.rows.values())

    def _resolved(self, host: Host) -> list[Resolved]:
        """Return the policies with what their templates refer to; the host's state is made up once."""

        @cache
        def state() -> Mapping[str, Any]:
            return looked_into(host, KINDS) if self.current is None else self.current

        return [
            resolve(
                policy,
                state,
                values=self.values or {},
                before=taken_before(policy, self.before),
                every=self.values is not None,
            )
            for policy in self.policies
        ]

    def _pruning(self, asked: Sequence[Policy], host: Host, types: Mapping[str, str]) -> Pruning:
        """Return what ends of what documents of these names asked for before."""
        from nncp.prune import Pruning  # noqa: PLC0415  (few ask for it)

        def read(policies: Iterable[Policy]) -> list[Partly]:
            return [read_together([policy], WRITTEN, types=types) for policy in policies]

        names = {name_of(policy) for policy in self.policies}
        others = [plain(one) for one in self.before if one.name not in names]
        former = [one for one in self.before if one.name in names]
        made = {link for document in former for link in document.made}
        return Pruning(read(map(plain, former)), read([*asked, *others]), host, made)

    def meant(self) -> list[Applied]:
        """Return the documents as they were meant at the last look at a host."""
        return [
            Applied(
                name_of(one.policy),
                one.policy.state.value,
                is_manifest=one.policy.is_manifest,
                capture=one.policy.capture.value if one.taken.captures and one.policy.capture else {},
                taken=as_data(one.taken.states),
            )
            for one in self.resolved
        ]

    def notes(self) -> list[Note]:
        """Return what is said beside the plan of the last look at a host."""
        chosen = [policy.name for policy in self.policies if policy.node_selector]
        text = "warning: the nodeSelector of {} is not evaluated: this is the host that is meant"
        notes = [Note("warn", ("policy", name), text.format(name)) for name in chosen]
        notes += [
            Note("warn", ("policy", one.name), _unread(one)) for one in self.policies if one.for_cluster
        ]
        for one in self.resolved:
            if taken_before(one.policy, self.before) is not None:
                text = f"keeps what the captures of {name_of(one.policy)} took when it was applied"
                notes.append(Note("keep", ("policy", one.policy.name), text))
            choices = one.taken.choices.values()
            notes += [Note("warn", ("policy", one.policy.name), f"warning: {said}") for said in choices]
        return [*notes, *self.compiled.notes, *(self.pruning.notes if self.pruning else ())]

    def located(self, error: Error) -> Error:
        """Give errors of the kernel or of the planner their places in the documents, where they have one."""
        for other in error.others:
            self.located(other)
        if error.where is not None or self.read is None:
            return error
        keys = [error.op.key] if isinstance(error, Refused) else []
        keys += [("link", error.subject), ("up", error.subject)]
        origins = self.compiled.origins
        if path := next((origins[key] for key in keys if key in origins), None):
            path = _deeper(self.read, path, error)
            placed = self.read.error(error.message, *path, subject=error.subject, hint=error.hint)
            error.where, error.path = placed.where, placed.path
        return error


def _unread(policy: Policy) -> str:
    """Return what is said of what only a cluster reads."""
    words, verb = ", ".join(policy.for_cluster), "is" if len(policy.for_cluster) == 1 else "are"
    return f"warning: {words} of {policy.name} {verb} a cluster's, and not looked at here"


def taken_before(policy: Policy, before: Iterable[Applied]) -> Mapping[str, Any] | None:
    """Return what a policy's captures took when it was applied, unless they are others by now.

    They would take something else: an uplink that became a port is no uplink any more.
    """
    name, lines = name_of(policy), policy.capture.value if policy.capture else None
    alike = (one.taken for one in before if one.name == name and one.capture == lines)
    return next(alike, None) if lines else None


def _absent(interfaces: list[dict[str, Any]]) -> Policy:
    (node,) = load(json.dumps({"interfaces": interfaces}), file="what the documents no longer list")
    return Policy(node)


def plain(document: Applied) -> Policy:
    """Return a document as it was applied, as a policy without templates."""
    (node,) = load(json.dumps(document.state), file=f"{document.name}, as it was applied")
    return Policy(node, name=document.name, is_manifest=document.is_manifest)


def name_of(policy: Policy) -> str:
    """Return what a document is known by once it is applied: a manifest's name, or the path of its file.

    What comes by standard input has neither, and is known by what it says.
    """
    return policy.name or policy.known_as or _by_content(policy)


def _by_content(policy: Policy) -> str:
    said = json.dumps(policy.state.value, sort_keys=True)
    return f"stdin-{zlib.crc32(said.encode()):08x}"


def chosen(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the documents that somebody means, of those that are known.

    A file's may be called by the end of its path too, its name alone say, where no other one's ends so.

    Raises:
        Error: with each of `names` that none has, or several have.

    """
    every = sorted(set(known))
    found = {name: [name] if name in every else _ending(name, every) for name in names}
    raise_all(_not_one(name, meant, every) for name, meant in found.items() if len(meant) != 1)
    return [meant for (meant,) in found.values()]


def _ending(name: str, known: Sequence[str]) -> list[str]:
    parts = PurePath(name).parts
    return [
        one for one in known if parts and one.startswith("/") and PurePath(one).parts[-len(parts) :] == parts
    ]


def _not_one(name: str, meant: Sequence[str], known: Sequence[str]) -> Error:
    if meant:
        return Error(
            f"{name} may be any of {len(meant)} documents",
            kind=ErrorKind.USAGE,
            hint=f"there are {', '.join(meant)}",
        )
    hint = f"there are {', '.join(known)}" if known else "nothing was applied here"
    return Error(f"no document {name} was applied here", kind=ErrorKind.USAGE, hint=hint)


def faults(found: Partly, compiled: Compiled, *, on_any_host: bool = False) -> Iterator[Error]:
    """Yield what is wrong with documents given a host, but for what their own errors explain."""
    for subject, fault in compiled.faults:
        if on_any_host and fault.of_host:
            continue
        error = found.error(fault.message, *fault.path, subject=subject, hint=fault.hint)
        error.kind = ErrorKind.UNSUPPORTED if fault.unsupported else error.kind
        if not found.tells_of(error):
            yield error


def _deeper(found: Partly, path: tuple[str | int, ...], error: Error) -> tuple[str | int, ...]:
    """Return the path of the one property that a refused operation was about, if it was about one."""
    words = list(error.op.attrs) if isinstance(error, Refused) else []
    interface = found.interfaces.get(int(path[1])) if path[0] == "interfaces" and len(path) == 2 else None
    if len(words) != 1 or interface is None:
        return path
    said, steps = to_builtins(interface), words[0].split(".")
    for way in ((), *((key,) for key in said), *((key, "options") for key in said)):
        value: Any = said
        for step in (*way, *steps):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            return (*path, *way, *steps)
    return path


def checked(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each file's name and the plain data of its documents, once all of them are sound.

    Raises:
        Error: with all that is wrong with them, as far as no host is needed to tell.

    """
    files = [(name, load(text, file=name)) for name, text in texts]
    errors: list[Error] = []
    for _, nodes in files:
        try:
            resolved = [resolve(policy, None) for policy in read_policies(nodes)]
        except Error as error:
            errors.append(error)
            continue
        found = read_together([one.policy for one in resolved], WRITTEN)
        errors += [error for one in resolved for error in one.errors]
        errors += [*found.errors, *(error for part in found.parts for error in unsupported(part))]
        if not any(one.policy.unknown for one in resolved):
            compiled = compile_state(found.state, found.interfaces, Host(), KINDS)
            errors += faults(found, compiled, on_any_host=True)
    raise_all(by_place(errors))
    for name, nodes in files:
        yield name, [node.value for node in nodes]
