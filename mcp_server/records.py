"""The hall's mapping from a call to its audit records: what is written, and what is left out.

May touch: values. What was asked for is written as it was asked (and redacted by the log's door);
environment values, standard input and output are written as digests and sizes only.
"""

import hashlib
from collections.abc import Mapping
from typing import assert_never

from audit.canonical import Json, os_value
from mcp_server.calls import Call, Reply
from policy.model import (
    AuditRead,
    Commit,
    Decision,
    Exec,
    Obligations,
    Patch,
    Read,
    Ssh,
    Subject,
    Undo,
)
from policy.obligations import described
from policy.programs.environment import poison
from sandbox.action import Command, CommitChanges, DiscardChanges, RemoteCommand, UndoChanges
from sandbox.action import digest as action_digest
from sandbox.network.model import Contact
from sandbox.outcome import (
    ChangesOutcome,
    CommandOutcome,
    Effects,
    FileOutcome,
    Outcome,
    Output,
    PatchOutcome,
    RemoteOutcome,
)
from sandbox.permit import Permit

Record = Mapping[str, Json]
RECORDED_RULES = 16  # distinct rules named in one record; the decision's digest covers the rest
RECORDED_FILES = 64
RECORDED_CONTACTS = 64


def family(call: Call) -> str:
    """Return the event family of a call: exec, patch, ssh, read or audit."""
    match call.request.action:
        case Exec():
            return "exec"
        case Patch() | Undo() | Commit():
            return "patch"
        case Ssh():
            return "ssh"
        case Read():
            return "read"
        case AuditRead():
            return "audit"
        case other:
            assert_never(other)


def by(subject: Subject, tool: str) -> dict[str, Json]:
    """Return the fields that say who asked, through which tool; every record of a call has them."""
    return {
        "session": subject.session,
        "actor": {
            "kind": "agent",
            "id": subject.name,
            "uid": subject.uid,
            "auth": subject.auth,
        },
        "tool": tool,
    }


def intent_record(call: Call, reply: Reply, permit: Permit) -> Record:
    """Return the record that must be on disk before a permit is used."""
    return {
        **_common(call, reply, "intent"),
        "context": _context(call),
        "request": {**_both(call, reply), "digest": permit.action_digest},
    }


def outcome_record(call: Call, reply: Reply) -> Record:
    """Return the record of what became of a permitted action."""
    outcome: Record = {"status": reply.status, "message": reply.message}
    if reply.outcome is not None:
        outcome = _outcome(reply.outcome)
    return {**_common(call, reply, "outcome"), "outcome": outcome}


def refusal_record(call: Call, reply: Reply) -> Record:
    """Return the record of a call that did not run: denied, declined, pending or blocked."""
    return {
        **_common(call, reply, "outcome"),
        "context": _context(call),
        "request": _both(call, reply),
        "outcome": {"status": reply.status, "message": reply.message, "ran": False},
    }


def _common(call: Call, reply: Reply, kind: str) -> Record:
    subject, decision = call.request.subject, reply.decision
    approval = reply.approval
    return {
        "event": f"{family(call)}.{kind}",
        "action_id": reply.action_id,
        **by(subject, call.request.tool),
        "policy": {
            "effect": decision.effect.name.lower(),
            "rules": _rules(reply),
            "risk": decision.risk,
            "digest": decision.policy_digest,
            **_demands(decision.obligations),
            **_rewritten(decision),
        },
        **(
            {
                "approval": {
                    "id": approval.id,
                    "level": int(approval.level),
                    "by": list(approval.by),
                    **({"for_session": True} if approval.for_session else {}),
                    **({"grant": approval.grant} if approval.grant else {}),
                }
            }
            if approval is not None
            else {"approval": {"id": reply.approval_id}}
            if reply.approval_id
            else {}
        ),
    }


def _rules(reply: Reply) -> list[Json]:
    seen: dict[str, Json] = {}
    for verdict in reply.decision.verdicts:
        if verdict.effect is reply.decision.effect and len(seen) < RECORDED_RULES:
            seen.setdefault(verdict.rule_id, {"id": verdict.rule_id, "place": verdict.place})
    return list(seen.values())


def _demands(obligations: Obligations) -> Record:
    """Return what the rules demanded besides the effect; nothing where they demanded nothing."""
    demands = described(obligations)
    return {"demands": dict(demands)} if demands else {}


def _rewritten(decision: Decision) -> Record:
    """Return what runs instead of what was asked, with the rules that say so; mostly nothing."""
    found: list[Json] = [
        {"from": _text(one.before), "to": _text(one.after), "rule": one.rule_id, "place": one.place}
        for one in decision.rewritten
    ]
    return {"rewritten": found} if found else {}


def _context(call: Call) -> Record:
    """Return the facts that the decision depended on, so that it can be made again."""
    context = call.context
    return {
        "workspace": _text(context.workspace),
        "home": _text(context.home),
        "user": _text(context.user),
        "host": _text(context.host),
        "can_mask": context.can_mask,
    }


def _request(call: Call) -> Record:
    """Return what was asked, in the words it was asked in."""
    action = call.request.action
    reason: Record = {"reason": call.reason} if call.reason else {}
    match action:
        case Exec(command=command, argv=argv, cwd=cwd, env=env):
            # A value may be a secret; whether it steers what runs is all that a decision takes.
            steers: list[Json] = [name for name, value in sorted(env) if poison(name, value)]
            return {
                **_asked(command, argv),
                "cwd": _text(cwd),
                "env_keys": sorted(name for name, _ in env),
                **({"env_steers": steers} if steers else {}),
                **({"wants_write": True} if action.wants_write else {}),
                **({"network": [_text(one) for one in action.network]} if action.network else {}),
                **reason,
            }
        case Ssh(hosts=hosts, command=command, argv=argv, sudo=sudo):
            return {**_asked(command, argv), "hosts": list(hosts), "sudo": sudo, **reason}
        case Patch(changes=changes) | Undo(changes=changes) | Commit(changes=changes):
            return {
                "files": [
                    _text(f"{operation} {path}") for operation, path in changes[:RECORDED_FILES]
                ],
                "file_count": len(changes),
                **reason,
            }
        case Read(operation=operation, path=path):
            return {"operation": operation, "path": _text(path)}
        case AuditRead(query=query):
            return {"query": query}
        case other:
            assert_never(other)


def _both(call: Call, reply: Reply) -> Record:
    """Return what was asked and what it became; a vector that changed stands there twice."""
    asked, frozen = _request(call), _frozen(reply)
    if asked.get("argv") not in (None, frozen.get("argv")) and "argv" in frozen:
        return {**asked, "asked_argv": asked["argv"], **frozen}
    return {**asked, **frozen}


def _asked(command: str | None, argv: tuple[str, ...] | None) -> dict[str, Json]:
    if command is not None:
        return {"command": _text(command)}
    return {"argv": [_text(word) for word in argv or ()]}


def _text(text: str) -> Json:
    """Return text, or base64 of the bytes the operating system gave where they are not UTF-8."""
    return os_value(text.encode("utf-8", "surrogateescape"))


def _frozen(reply: Reply) -> Record:
    """Return what the action became: the exact argument vector or script, and its profile."""
    if reply.frozen is None:
        return {}
    action = reply.frozen.action
    frozen: dict[str, Json] = {"digest": action_digest(action)}
    if isinstance(action, Command | RemoteCommand):
        if action.argv is not None:
            frozen["argv"] = [_text(word) for word in action.argv]
        elif action.script is not None:
            frozen["script_sha256"] = hashlib.sha256(
                action.script.encode("utf-8", "surrogateescape")
            ).hexdigest()
            frozen["script"] = _text(action.script[:4096])
    if isinstance(action, Command):
        frozen["profile"] = action.profile.name
    if isinstance(action, CommitChanges | DiscardChanges | UndoChanges):
        frozen["change_set"] = action.set_id
    return frozen


def _outcome(outcome: Outcome) -> Record:
    match outcome:
        case CommandOutcome():
            return {
                "status": outcome.status,
                "exit": outcome.exit_code,
                "signal": outcome.signal,
                "dur_us": outcome.duration_ms * 1000,
                "stdout": _stream(outcome.stdout),
                "stderr": _stream(outcome.stderr),
                "enforcement": {
                    "profile": outcome.enforcement.profile,
                    "rung": outcome.enforcement.rung,
                    "controls": [
                        {"name": name, "seen": seen} for name, seen in outcome.enforcement.controls
                    ],
                },
                **_effects(outcome.effects),
                **_contacts(outcome.contacts),
                "message": outcome.message,
            }
        case ChangesOutcome():
            return {
                "status": outcome.status,
                **_effects(outcome.effects),
                "message": outcome.message,
            }
        case PatchOutcome():
            return {
                "status": outcome.status,
                "files": [
                    {"path": file.path, "operation": file.operation, "sha256": file.sha256}
                    for file in outcome.files[:RECORDED_FILES]
                ],
                "undo_id": outcome.undo_id,
                "message": outcome.message,
            }
        case FileOutcome():
            return {
                "status": outcome.status,
                "bytes": len(outcome.content),
                "sha256": hashlib.sha256(outcome.content).hexdigest(),
                "found": len(outcome.entries) + len(outcome.matches),
                "message": outcome.message,
            }
        case RemoteOutcome():
            return {
                "status": outcome.status,
                "hosts": [
                    {
                        "host": host.host,
                        "status": host.status,
                        "exit": host.exit_code,
                        "dur_us": host.duration_ms * 1000,
                        "stdout": _stream(host.stdout),
                        "stderr": _stream(host.stderr),
                        "fingerprint": host.fingerprint,
                    }
                    for host in outcome.hosts
                ],
                "message": outcome.message,
            }
        case other:
            assert_never(other)


def _effects(effects: Effects | None) -> Record:
    """Return what became of the workspace: the first names by kind, and how many in all."""
    if effects is None:
        return {}
    names: dict[str, Json] = {
        kind: [_text(path) for path in getattr(effects, kind)[:RECORDED_FILES]]
        for kind in ("created", "modified", "deleted", "attributes", "conflicts", "left_out")
        if getattr(effects, kind)
    }
    held: list[Json] = [{"rule": one.rule, "text": one.text} for one in effects.held]
    return {
        "changes": {
            "id": effects.set_id,
            "count": effects.total,
            "bytes": effects.bytes_written,
            **names,
            **({"held": held} if held else {}),
        }
    }


def _contacts(contacts: tuple[Contact, ...]) -> Record:
    """Return what was reached and what was refused: places, sizes and times, nothing of content."""
    if not contacts:
        return {}
    return {
        "network": [
            {
                "host": _text(one.host),
                "port": one.port,
                "protocol": one.protocol,
                "verdict": one.verdict,
                "address": one.address,
                "connections": one.connections,
                "sent_bytes": one.sent_bytes,
                "received_bytes": one.received_bytes,
                "dur_us": one.duration_ms * 1000,
                **({"reason": one.reason} if one.reason else {}),
            }
            for one in contacts[:RECORDED_CONTACTS]
        ],
        "network_count": sum(one.connections for one in contacts),
    }


def _stream(output: Output) -> Record:
    return {"bytes": output.total_bytes, "sha256": output.sha256}
