"""Records joined into what a reader thinks in: an entry for a call, an approval, a grant, an event.

May touch: values only. May not touch: files, clocks. A record may hold anything, also what no
version of ours wrote: what cannot be read as we write it is shown as less, never an error.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from typing_extensions import override

from audit.canonical import Json
from audit.harmless import harmless, shortened, vector, words
from audit.record import INTENT, OUTCOME, family

LONGEST = 2_000  # characters of one text in an entry; the record has all of it
CALLS = frozenset({"exec", "patch", "ssh", "read"})
RUNS = frozenset({"ok", "failed", "timeout", "killed", "lost", "running"})
_ASKED = ("command ", "argv ", "script ", "file ", "files ", "change ", "hosts ")
_CHANGED = ("created", "modified", "deleted", "attributes")

Kind: TypeAlias = Literal["call", "approval", "grant", "event"]


@dataclass(frozen=True, slots=True)
class Contact:
    """One place on the network that was reached, or refused."""

    host: str
    port: int
    verdict: str  # allowed, refused, failed
    reason: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a timeline. All texts are harmless."""

    kind: Kind
    family: str
    seqs: tuple[int, ...]  # its records
    ts: str  # of the first
    what: str
    status: str = ""
    tool: str = ""
    actor: str = ""
    session: str = ""
    effect: str = ""
    risk: int = 0
    rules: tuple[str, ...] = ()
    policy: str = ""  # digest
    profile: str = ""
    message: str = ""
    dur_us: int = 0
    changed: tuple[tuple[str, str], ...] = ()  # (created, path)
    change_count: int = 0
    held: tuple[str, ...] = ()
    change_set: str = ""
    contacts: tuple[Contact, ...] = ()
    approval_id: str = ""
    approved_by: tuple[str, ...] = ()
    uses: int = 0  # of a grant, so far
    secrets: tuple[str, ...] = ()  # kinds of what was redacted

    @property
    def ran(self) -> bool:
        """Return whether something was executed, as far as the log knows."""
        return self.kind == "call" and self.status in RUNS

    @property
    def refused(self) -> tuple[Contact, ...]:
        """Return the connections that were not let through."""
        return tuple(one for one in self.contacts if one.verdict != "allowed")


@dataclass(slots=True)
class Story:
    """Entries in the order of their first records, while records come in."""

    _entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def take(self, record: Mapping[str, Json]) -> None:
        """Join one record to its entry, or begin one."""
        kind = family(record)
        seq = record.get("@seq")
        number = seq if isinstance(seq, int) else -1
        approval = words(_part(record, "approval").get("id"))
        grant = words(_part(record, "grant").get("id"))
        action = record.get("action_id")
        if kind == "approval" and approval:
            self._join("approval", approval, number, record)
        elif kind == "grant" and grant:
            self._join("grant", grant, number, record)
        elif isinstance(action, str) and str(record.get("event")).endswith((INTENT, OUTCOME)):
            self._join("call", action, number, record)
        else:
            self._join("event", str(number), number, record)

    def entries(self) -> list[Entry]:
        """Return what was joined so far."""
        return list(self._entries.values())

    def _join(self, kind: Kind, key: str, seq: int, record: Mapping[str, Json]) -> None:
        begun = Entry(kind, harmless(family(record)), (), words(record.get("ts")), "")
        entry = self._entries.get((kind, key), begun)
        secrets = dict.fromkeys((*entry.secrets, *_redacted(record)))
        entry = replace(entry, seqs=(*entry.seqs, seq), secrets=tuple(secrets))
        self._entries[kind, key] = _READERS[kind](_common(entry, record), record)


def told(records: Iterable[Mapping[str, Json]]) -> list[Entry]:
    """Return the entries that records make up."""
    story = Story()
    for record in records:
        story.take(record)
    return story.entries()


def _common(entry: Entry, record: Mapping[str, Json]) -> Entry:
    actor, policy = _part(record, "actor"), _part(record, "policy")
    rules = [words(one.get("id")) for one in _parts(policy.get("rules"))]
    return replace(
        entry,
        tool=words(record.get("tool")) or entry.tool,
        actor=words(actor.get("id")) or entry.actor,
        session=words(record.get("session")) or entry.session,
        effect=words(policy.get("effect")) or entry.effect,
        risk=_number(policy.get("risk")) or entry.risk,
        policy=words(policy.get("digest")) or entry.policy,
        rules=tuple(rules) or entry.rules,
    )


def _call(entry: Entry, record: Mapping[str, Json]) -> Entry:
    request, outcome = _part(record, "request"), _part(record, "outcome")
    approval, changes = _part(record, "approval"), _part(outcome, "changes")
    changed = [
        (kind, _text(path)) for kind in _CHANGED for path in _items(changes.get(kind))
    ] + _patched(outcome)
    ended = str(record.get("event")).endswith(OUTCOME)
    return replace(
        entry,
        what=_asked(request) or entry.what,
        status=(words(outcome.get("status")) or "unknown") if ended else entry.status or "running",
        profile=words(request.get("profile")) or entry.profile,
        change_set=words(request.get("change_set")) or entry.change_set or words(changes.get("id")),
        message=_text(outcome.get("message")),
        dur_us=_number(outcome.get("dur_us")),
        changed=tuple(changed),
        change_count=max(_number(changes.get("count")), len(changed)),
        held=tuple(_text(one.get("text")) for one in _parts(changes.get("held"))),
        contacts=tuple(map(_contact, _parts(outcome.get("network")))),
        approval_id=words(approval.get("id")) or entry.approval_id,
        approved_by=tuple(map(_text, _items(approval.get("by")))) or entry.approved_by,
    )


def _approval(entry: Entry, record: Mapping[str, Json]) -> Entry:
    approval = _part(record, "approval")
    event = str(record.get("event")).removeprefix("approval.")
    by = _part(approval, "by")
    voter = " ".join(filter(None, (words(by.get("name")), words(by.get("channel")))))
    answered = words(approval.get("answer"))
    return replace(
        entry,
        what=entry.what or _statement(approval),
        actor=entry.actor or words(approval.get("requester")),
        tool=words(approval.get("tool")) or entry.tool,
        approval_id=words(approval.get("id")),
        status=words(approval.get("state")) or (event if event == "consumed" else entry.status),
        approved_by=(*entry.approved_by, f"{answered} by {voter}") if voter else entry.approved_by,
    )


def _grant(entry: Entry, record: Mapping[str, Json]) -> Entry:
    grant = _part(record, "grant")
    event = str(record.get("event")).removeprefix("grant.")
    scope, covers = words(grant.get("scope")), " · ".join(map(words, _items(grant.get("covers"))))
    by = tuple(_text(f"approve {scope} by {words(one)}") for one in _items(grant.get("by")))
    return replace(
        entry,
        what=entry.what or _text(f"grant {words(grant.get('id'))} ({scope}): {covers}"),
        actor=entry.actor or words(grant.get("requester")),
        approval_id=words(grant.get("approval_id")) or entry.approval_id,
        status=words(grant.get("state")) or (entry.status if event == "applied" else event),
        approved_by=(*(entry.approved_by or by), *_revoked_by(grant)),
        uses=entry.uses + (event == "used"),
    )


def _revoked_by(grant: Mapping[str, Json]) -> tuple[str, ...]:
    who = _text(grant.get("revoked_by") or "")
    return (f"revoked by {who}",) if who else ()


def _event(entry: Entry, record: Mapping[str, Json]) -> Entry:
    match record.get("event"):
        case "log.open":
            writer = _part(record, "writer")
            what = f"log opened by process {words(writer.get('pid'))}"
        case "log.recovered":
            kept, cut = words(record.get("kept")), words(record.get("bytes"))
            found = (kept and f"kept records {kept} unsigned", cut and f"cut {cut} bytes")
            what = "recovered after a crash: " + ", ".join(filter(None, found))
        case "policy.loaded":
            sources = _part(record, "policy").get("sources")
            what = f"policy in force: {words(sources)}"
        case "policy.refused":
            what = f"policy refused: {words(record.get('error'))}"
        case "tool.classified":
            what = f"asked what policy thinks of: {_asked(_part(record, 'request'))}"
        case "key.rotate":
            what = "the log was handed over to another key"
        case "audit.read":
            what = f"the log was read: {words(record.get('tool'))}"
        case event:
            what = words(event)
    return replace(entry, what=shortened(what, LONGEST))


_READERS: Mapping[Kind, Callable[[Entry, Mapping[str, Json]], Entry]] = {
    "call": _call,
    "approval": _approval,
    "grant": _grant,
    "event": _event,
}


def _asked(request: Mapping[str, Json]) -> str:
    """Return what a request asks for, on one line."""
    command = request.get("command")
    vector_asked = request.get("asked_argv", request.get("argv"))
    said = words(command) if command is not None else vector(vector_asked or [])
    files, hosts = words(request.get("files")), words(request.get("hosts"))
    read = " ".join(filter(None, (words(request.get("operation")), words(request.get("path")))))
    text = said or files or read or words(request.get("query"))
    if "change_set" in request and not said:
        text = f"change set {words(request['change_set'])}: {text}"
    return shortened(f"{hosts}: {text}" if hosts else text, LONGEST)


def _statement(approval: Mapping[str, Json]) -> str:
    """Return what an approval is asked for: the lines of its statement that say what would run."""
    lines = str(approval.get("statement") or "").splitlines()
    asked = [line.partition(" ")[2] for line in lines if line.startswith(_ASKED)]
    return _text(" · ".join(asked) or f"approval {words(approval.get('id'))}")


def _patched(outcome: Mapping[str, Json]) -> list[tuple[str, str]]:
    return [
        (words(one.get("operation")), _text(one["path"]))
        for one in _parts(outcome.get("files"))
        if "path" in one
    ]


def _contact(one: Mapping[str, Json]) -> Contact:
    return Contact(
        host=_text(one.get("host")) or _text(one.get("address")),
        port=_number(one.get("port")),
        verdict=words(one.get("verdict")),
        reason=_text(one.get("reason")),
    )


def _redacted(value: Json) -> list[str]:
    """Return the kinds of secrets that stood in a record."""
    match value:
        case {"$redacted": {"kind": str(kind)}}:
            return [harmless(kind)]
        case Mapping():
            return [kind for item in value.values() for kind in _redacted(item)]
        case str():
            return [harmless(part.partition("]")[0]) for part in value.split("[redacted:")[1:]]
        case Sequence():
            return [kind for item in value for kind in _redacted(item)]
        case _:
            return []


def _text(value: Json) -> str:
    return shortened(words(value), LONGEST)


def _part(record: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def _parts(value: Json) -> list[Mapping[str, Json]]:
    return [item for item in _items(value) if isinstance(item, Mapping)]


def _items(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
