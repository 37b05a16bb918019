"""The words of a record: events, common fields, and builders for what the log itself says.

May touch: values only. May not touch: clocks, files, keys. A record is a mapping of the canonical
domain; `@prev` and `@seq` belong to the chain, `v`, `ts` and an intent's `writer` to the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from audit.canonical import Json, os_value

VERSION = 1
INTENT = ".intent"
OUTCOME = ".outcome"

Family: TypeAlias = Literal["exec", "patch", "ssh", "read"]
Record: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Common:
    """What every record about one call carries."""

    action_id: str
    session: str
    tool: str
    actor: Mapping[str, Json]  # kind, id, auth
    trace: Mapping[str, Json] | None = None  # trace_id, span_id

    def fields(self) -> dict[str, Json]:
        """Return the fields as a record has them."""
        found: dict[str, Json] = {
            "action_id": self.action_id,
            "session": self.session,
            "tool": self.tool,
            "actor": self.actor,
        }
        return found | ({"trace": self.trace} if self.trace is not None else {})


def timestamp(moment: datetime) -> str:
    """Return a moment as UTC text with microseconds, which sorts as it reads (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def intent(family: Family, common: Common, *, request: Record, policy: Record) -> Record:
    """Return the record that must be durable before an allowed action starts."""
    return {
        "event": family + INTENT,
        **common.fields(),
        "request": request,
        "policy": policy,
    }


def outcome(family: Family, common: Common, *, result: Record, policy: Record) -> Record:
    """Return the record of what became of an action; `result` has status, exit, signal, dur_us…"""
    return {"event": family + OUTCOME, **common.fields(), "outcome": result, "policy": policy}


def tool_classified(common: Common, *, request: Record, policy: Record) -> Record:
    """Return the record of a classification that ran nothing."""
    return {"event": "tool.classified", **common.fields(), "request": request, "policy": policy}


def approval(
    step: Literal["opened", "voted", "resolved", "consumed"], common: Common, *, detail: Record
) -> Record:
    """Return the record of one step of an approval; `detail` has id, level and votes."""
    return {"event": f"approval.{step}", **common.fields(), "approval": detail}


def policy_loaded(*, digest: str, sources: Sequence[str]) -> Record:
    """Return the record that names the policy in force from here on."""
    return {"event": "policy.loaded", "policy": {"digest": digest, "sources": list(sources)}}


def audit_read(common: Common, *, query: Record) -> Record:
    """Return the record that someone read the log, and what they asked for."""
    return {"event": "audit.read", **common.fields(), "request": query}


def log_open(*, origin: str, vkey: str, writer: Record) -> Record:
    """Return the first record of each writer: whose log, which key, which process."""
    return {"event": "log.open", "origin": origin, "key": vkey, "writer": writer}


def log_recovered(*, cut: tuple[int, str] | None, kept: tuple[int, int] | None) -> Record:
    """Return what a crash left: bytes cut (count, sha256) and unsigned records kept (from, to)."""
    found: dict[str, Json] = {"event": "log.recovered"}
    if cut is not None:
        found |= {"bytes": cut[0], "sha256": cut[1]}
    return found | ({"kept": list(kept)} if kept is not None else {})


def lost(opened: Record) -> Record:
    """Return the outcome of an intent whose writer died: nobody knows what became of it."""
    event = str(opened["event"]).removesuffix(INTENT) + OUTCOME
    shared = ("action_id", "session", "actor", "tool", "policy", "trace")
    return {
        **{key: opened[key] for key in shared if key in opened},
        "event": event,
        "outcome": {"status": "lost"},
        "intent_seq": opened["@seq"],
    }


def os_argv(argv: Sequence[bytes]) -> Json:
    """Return an argument vector as a record holds it: text, or base64 where it is not UTF-8."""
    return [os_value(argument) for argument in argv]
