"""One audit record as the action it is about: the hall's mapping back from records to requests.

May touch: records. May not touch: files, policies. What records.py writes is read here; a record
that does not hold all that deciding it again needs is said to be so, and never guessed at.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from audit.canonical import Json
from mcp_server.cli.audit import part_of
from policy.model import (
    Action,
    AuditRead,
    Commit,
    Context,
    Effect,
    Exec,
    Patch,
    Read,
    Request,
    Ssh,
    Subject,
    Undo,
)
from policy.replay import Past

REDACTED: Final = "[redacted:"
CHANGE_SETS: Final = frozenset({"undo", "restore", "preview_commit", "preview_discard"})
STEERING: Final = "/steers"  # a value that `poison` takes for one, whatever the variable
EFFECTS: Final = {effect.name.lower(): effect for effect in Effect}


class Unreplayable(Exception):  # noqa: N818 - a fact about one record, not a failure
    """This record does not hold what deciding it again needs; the message says what."""


def past_action(record: Mapping[str, Json]) -> Past:
    """Return the action that an intent, or a refusal, says was asked for.

    Raises:
        Unreplayable: it does not say all of it; the message says what is missing.
    """
    actor, policy, asked = (part_of(record, key) for key in ("actor", "policy", "request"))
    uid, effect = actor.get("uid"), EFFECTS.get(str(policy.get("effect")))
    if not isinstance(uid, int) or effect is None:
        raise Unreplayable("who asked, or what was decided, is not recorded")
    subject = Subject(_text(actor, "id"), str(record.get("session")), uid, str(actor.get("auth")))
    family = str(record.get("event")).partition(".")[0]
    tool = str(record.get("tool"))
    action = _change_set(tool, asked) if tool in CHANGE_SETS else _action(family, asked)
    return Past(
        seq=sequence(record),
        time=str(record.get("ts")),
        request=Request(subject, action, tool),
        context=_context(record),
        effect=effect,
        ran=str(record.get("event")).endswith(".intent"),
        approved="level" in part_of(record, "approval"),
        status=str(part_of(record, "outcome").get("status", "")),
    )


def _action(family: str, asked: Mapping[str, Json]) -> Action:
    match family:
        case "exec":
            command, argv = _words(asked)
            env = tuple((name, STEERING) for name in _texts(asked.get("env_steers", [])))
            wants_write = asked.get("wants_write") is True
            network = tuple(_texts(asked.get("network", [])))
            return Exec(command, argv, _text(asked, "cwd"), env, wants_write, network)
        case "ssh":
            hosts = tuple(_texts(asked.get("hosts")))
            return Ssh(hosts, *_words(asked), sudo=asked.get("sudo") is True)
        case "patch":
            return Patch(_changes(asked))
        case "read":
            return Read(_read_operation(asked), _text(asked, "path"))
        case "audit":
            return AuditRead(_text(asked, "query"))
        case _:
            raise Unreplayable(f"no action is of the family {family!r}")


def _change_set(tool: str, asked: Mapping[str, Json]) -> Undo | Commit:
    changes = _changes(asked)
    return Undo("", changes) if tool in ("undo", "restore") else Commit("", changes)


def _read_operation(asked: Mapping[str, Json]) -> Literal["fs.read", "fs.list"]:
    match _text(asked, "operation"):
        case "fs.read":
            return "fs.read"
        case "fs.list":
            return "fs.list"
        case other:
            raise Unreplayable(f"no read is called {other!r}")


def _words(asked: Mapping[str, Json]) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the command line, or the vector as it was asked for."""
    if "command" in asked:
        return _text(asked, "command"), None
    vector = asked.get("asked_argv", asked.get("argv"))
    return None, tuple(_texts(vector))


def _changes(asked: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    files = _texts(asked.get("files"))
    if asked.get("file_count") != len(files):
        raise Unreplayable("more files than one record names")
    pairs = [text.partition(" ") for text in files]
    return tuple((operation, path) for operation, _, path in pairs)


def _context(record: Mapping[str, Json]) -> Context:
    if "context" not in record:
        raise Unreplayable("where it was asked (workspace, home, user, host) is not recorded")
    facts = part_of(record, "context")
    return Context(
        workspace=_text(facts, "workspace"),
        home=_text(facts, "home"),
        user=_text(facts, "user"),
        host=_text(facts, "host"),
        can_mask=facts.get("can_mask") is True,
    )


def _texts(value: Json) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Unreplayable("what was asked for is not recorded whole")
    return [_plain(one) for one in value]


def _text(part: Mapping[str, Json], key: str) -> str:
    return _plain(part.get(key))


def _plain(value: Json) -> str:
    """Return recorded text, or the bytes that stand for it."""
    match value:
        case str() if REDACTED not in value:
            return value
        case {"$b64": str(encoded)}:
            try:
                return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
            except binascii.Error:
                raise Unreplayable("bytes that are not base64") from None
        case str() | {"$redacted": _}:
            raise Unreplayable("a secret stood in it, which the log does not hold")
        case _:
            raise Unreplayable("what was asked for is not recorded whole")


def sequence(record: Mapping[str, Json]) -> int:
    """Return the number of a record in its log."""
    seq = record.get("@seq")
    return seq if isinstance(seq, int) else -1
