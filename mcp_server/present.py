"""Reply to result: the structured facts for programs and the same facts as text for the model.

May touch: values. Output is data from outside: the text marks where it begins and ends.
"""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcp_server.calls import Reply
from mcp_server.results import (
    ApprovalResult,
    CallResult,
    CallStatus,
    ChangesResult,
    ContactResult,
    DecisionResult,
    EnforcementResult,
    EventsResult,
    ExecResult,
    Guidance,
    HeldResult,
    ReceiptResult,
    ResourcesResult,
    RewrittenResult,
    RuleResult,
    StreamResult,
)
from policy.model import Decision, Effect
from policy.obligations import described
from sandbox.action import Command, RemoteCommand
from sandbox.network.model import Contact
from sandbox.outcome import CommandOutcome, Effects, Output

if TYPE_CHECKING:
    from audit.log import Receipt

TEXT_CHARACTERS = 20_000  # of output in the text form; the structured form has head and tail
SHOWN_RULES = 8
SHOWN_CONTACTS = 8
SHOWN_CHANGES = 30  # of each kind in the text form
CUT_CHARACTERS = 6  # a cut in the middle can spoil this many characters of good UTF-8
NOT_RUN = frozenset({"denied", "declined", "pending", "blocked", "error"})


def decision_result(decision: Decision) -> DecisionResult:
    """Return the decision with the rules that made it what it is, strictest first."""
    rules: dict[str, RuleResult] = {}
    for verdict in decision.verdicts:
        if verdict.effect is decision.effect and len(rules) < SHOWN_RULES:
            rule = RuleResult(id=verdict.rule_id, place=verdict.place, reason=verdict.reason)
            rules.setdefault(verdict.rule_id, rule)
    return DecisionResult(
        effect=effect_word(decision.effect),
        rules=list(rules.values()),
        risk=decision.risk,
        reason=decision.reason,
        demands=[f"{key} {text}" for key, text in described(decision.obligations)],
        rewritten=[
            RewrittenResult.model_validate(
                {"from": one.before, "to": one.after, "rule": one.rule_id, "reason": one.reason}
            )
            for one in decision.rewritten
        ],
    )


def effect_word(effect: Effect) -> str:
    """Return `allow`, `ask` or `deny`."""
    return effect.name.lower()


def receipt_result(receipt: "Receipt | None") -> ReceiptResult | None:
    """Return a receipt in the words of the wire."""
    if receipt is None:
        return None
    return ReceiptResult(
        origin=receipt.origin,
        seq=receipt.seq,
        size=receipt.size,
        root=receipt.root,
        checkpoint=receipt.note,
    )


def call_status(reply: Reply) -> CallStatus:
    """Return the one word that says how a call ended."""
    if reply.outcome is not None:
        return reply.outcome.status
    if reply.status == "ran" or reply.status == "suspended":  # noqa: PLR1714  # narrows the type
        return "error"
    return reply.status


def call_fields(reply: Reply) -> dict[str, object]:
    """Return the fields that every gated tool's result shares, by name."""
    approval = None
    if reply.approval is not None:
        approval = ApprovalResult(
            id=reply.approval.id, level=int(reply.approval.level), by=", ".join(reply.approval.by)
        )
    elif reply.approval_id:
        approval = ApprovalResult(id=reply.approval_id, level=None, by=None)
    return {
        "status": call_status(reply),
        "decision": decision_result(reply.decision),
        "approval": approval,
        "guidance": guidance(reply),
        "receipt": receipt_result(reply.receipt),
        "log_seq": reply.receipt.seq if reply.receipt is not None else None,
    }


def guidance(reply: Reply) -> Guidance | None:
    """Return what to do next; None when the action ran and worked."""
    status = call_status(reply)
    message = reply.message or getattr(reply.outcome, "message", "")
    missed = [one for one in getattr(reply.outcome, "contacts", ()) if one.verdict != "allowed"]
    if status in ("ok", "failed") and not message and not missed:
        return None
    reasons = [message] if message else [_meaning(status)] if not missed else []
    return Guidance(
        reason=" ".join((*reasons, *map(_missed, missed[:SHOWN_CONTACTS]))),
        retryable=status in ("pending", "timeout", "killed"),
        alternatives=[*reply.decision.instead, *_with_hosts(missed)],
    )


def _missed(one: Contact) -> str:
    """Return what became of a connection that was not made, as a sentence."""
    why = f": {one.reason.rstrip('.')}" if one.reason else ""
    if one.verdict == "failed":
        return f"Not connected{why}."
    return f"Refused {_end(one)} ({one.protocol}){why}."


def _end(one: Contact | ContactResult) -> str:
    """Return the far end of a connection as `exec` takes it: the host, and the port if known."""
    host = f"[{one.host}]" if ":" in one.host else one.host
    return f"{host}:{one.port}" if one.port else host


def _with_hosts(missed: list[Contact]) -> Iterator[str]:
    """Yield how to ask for the hosts that were refused because nobody had named them."""
    hosts = [
        _end(one)
        for one in missed
        if one.verdict == "refused" and one.protocol in ("tcp", "dns") and one.host
    ]
    if hosts:
        listed = ", ".join(f'"{host}"' for host in dict.fromkeys(hosts[:SHOWN_CONTACTS]))
        yield f"Where they are needed, ask for them: exec with network: [{listed}]"


def _meaning(status: CallStatus) -> str:
    return {
        "timeout": "The time limit passed; every process was killed. Ask for a longer timeout_s.",
        "killed": "A limit was exceeded; every process was killed.",
        "blocked": "The sandbox refused something that the command tried.",
    }.get(status, "It did not run.")


def is_error(reply: Reply) -> bool:
    """Return whether the result is an error for the client: a denial or a failure of ours."""
    return call_status(reply) in ("denied", "error", "blocked")


def stream(output: Output) -> StreamResult:
    """Return one stream: text where all of it is UTF-8, else base64; head and tail if truncated."""
    # Redaction changed the lengths since, so only the tail still says that something was cut out.
    is_cut = bool(output.tail)
    gap = b"\n[... cut here; %d bytes in all ...]\n" % output.total_bytes if is_cut else b""
    text, encoded = _text_or_base64(output.head + gap + output.tail, cut=is_cut)
    return StreamResult(
        text=text,
        base64=encoded,
        bytes=output.total_bytes,
        sha256=output.sha256,
        truncated=is_cut,
    )


def _text_or_base64(data: bytes, *, cut: bool) -> tuple[str | None, str | None]:
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    if cut:
        # A character may be cut where the middle was left out; that is not binary output.
        text = data.decode("utf-8", "replace")
        if text.count("\N{REPLACEMENT CHARACTER}") <= CUT_CHARACTERS:
            return text, None
    return None, base64.b64encode(data).decode("ascii")


def executed(reply: Reply, asked: str | None) -> str | None:
    """Return what ran in canonical form, when it is not literally what was asked."""
    action = reply.frozen.action if reply.frozen is not None else None
    if not isinstance(action, Command | RemoteCommand):
        return None
    if action.argv is not None:
        return None
    return action.script if action.script != asked else None


def exec_result(reply: Reply, asked: str | None) -> ExecResult:
    """Return the structured result of `exec`."""
    outcome = reply.outcome if isinstance(reply.outcome, CommandOutcome) else None
    return ExecResult(
        **call_fields(reply),
        exit_code=outcome.exit_code if outcome else None,
        signal=outcome.signal if outcome else None,
        duration_ms=outcome.duration_ms if outcome else 0,
        stdout=stream(outcome.stdout) if outcome else None,
        stderr=stream(outcome.stderr) if outcome else None,
        enforcement=_enforcement(outcome) if outcome else None,
        resources=_resources(outcome) if outcome else None,
        executed=executed(reply, asked),
        hidden=list(outcome.hidden) if outcome else [],
        changes=changes_result(outcome.effects) if outcome else None,
        events=EventsResult(network=[_contact(one) for one in outcome.contacts] if outcome else []),
    )


def _contact(one: Contact) -> ContactResult:
    return ContactResult(
        host=readable(one.host),
        port=one.port,
        protocol=one.protocol,
        verdict=one.verdict,
        address=one.address,
        connections=one.connections,
        sent_bytes=one.sent_bytes,
        received_bytes=one.received_bytes,
        duration_ms=one.duration_ms,
        reason=readable(one.reason),
    )


def changes_result(effects: Effects | None) -> ChangesResult | None:
    """Return what became of the workspace, in the words of the wire."""
    if effects is None:
        return None
    return ChangesResult(
        id=effects.set_id or None,
        created=_names(effects.created),
        modified=_names(effects.modified),
        deleted=_names(effects.deleted),
        attributes=_names(effects.attributes),
        total=effects.total,
        bytes_written=effects.bytes_written,
        held=[
            HeldResult(rule=one.rule, text=readable(one.text), paths=_names(one.paths))
            for one in effects.held
        ],
        conflicts=_names(effects.conflicts),
        left_out=_names(effects.left_out),
        undo_id=effects.set_id or None if not effects.held else None,
    )


def _names(paths: tuple[str, ...]) -> list[str]:
    """Return names as text: what is not UTF-8 or does not display is escaped."""
    return [
        path if path.isprintable() else path.encode("unicode_escape").decode("ascii")
        for path in paths
    ]


def changes_lines(changes: ChangesResult | None) -> list[str]:
    """Return what became of the workspace as lines."""
    if changes is None:
        return []
    lines = [
        f"{kind} {path}"
        for kind in ("created", "modified", "deleted", "attributes")
        for path in getattr(changes, kind)[:SHOWN_CHANGES]
    ]
    if changes.total > len(lines):
        lines.append(f"... {changes.total} changes in all")
    if changes.held:
        lines.append(f"HELD, not in the workspace yet: change set {changes.id}")
        lines += [f"  {one.text}: {', '.join(one.paths[:8])}".rstrip(": ") for one in changes.held]
        lines.append(
            f"a person can let it in: preview_commit(id={changes.id!r}); drop it: preview_discard"
        )
    lines += [f"conflict, somebody else changed it meanwhile: {p}" for p in changes.conflicts]
    lines += [f"left out, not a file: {path}" for path in changes.left_out[:SHOWN_CHANGES]]
    if changes.undo_id is not None:
        lines.append(f"undo with undo_id {changes.undo_id}")
    return lines


def _enforcement(outcome: CommandOutcome) -> EnforcementResult:
    seen = outcome.enforcement
    return EnforcementResult(profile=seen.profile, rung=seen.rung, controls=dict(seen.controls))


def _resources(outcome: CommandOutcome) -> ResourcesResult:
    return ResourcesResult(
        cpu_user_ms=outcome.cpu_user_ms,
        cpu_system_ms=outcome.cpu_system_ms,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )


def exec_text(result: ExecResult) -> str:
    """Return the text form of an exec result."""
    lines = [head_line(result)]
    if result.exit_code is not None:
        lines[0] += f", exit {result.exit_code}"
    if result.signal is not None:
        lines[0] += f", signal {result.signal}"
    if result.enforcement is not None:
        lines[0] += f", profile {result.enforcement.profile}, {result.duration_ms} ms"
    for name, output in (("stdout", result.stdout), ("stderr", result.stderr)):
        lines += _stream_lines(name, output)
    lines += [_contact_line(one) for one in result.events.network[:SHOWN_CONTACTS]]
    if result.hidden:
        lines.append("hidden by the sandbox: " + ", ".join(result.hidden))
    lines += changes_lines(result.changes)
    return "\n".join(lines + tail_lines(result))


def _contact_line(one: ContactResult) -> str:
    line = f"network {one.verdict} {_end(one)} {one.protocol}"
    if one.verdict == "allowed":
        line += f", {one.sent_bytes} bytes out, {one.received_bytes} in"
    return f"{line} ({one.connections}x)" if one.connections > 1 else line


def _stream_lines(name: str, output: StreamResult | None) -> list[str]:
    if output is None or output.bytes == 0:
        return []
    shown = output.text if output.text is not None else f"(not UTF-8; base64) {output.base64}"
    if len(shown) > TEXT_CHARACTERS:
        half = TEXT_CHARACTERS // 2
        left_out = len(shown) - 2 * half
        shown = f"{shown[:half]}\n[... {left_out} characters left out ...]\n{shown[-half:]}"
    return [f"--- {name}, {output.bytes} bytes (untrusted data) ---", shown.rstrip("\n")]


def head_line(result: CallResult) -> str:
    """Return the first line of every text: what became of the call."""
    if result.status in NOT_RUN:
        return f"{result.status.upper()}: nothing ran"
    return result.status


def rewritten_lines(decision: DecisionResult) -> list[str]:
    """Return a line for each command in whose place another runs."""
    return [
        f"rule {one.rule} put `{one.to}` in the place of `{one.from_}`. {one.reason}".rstrip()
        for one in decision.rewritten
    ]


def says_the_same(result: CallResult) -> bool:
    """Return whether the guidance only repeats the reasons of the rules beside it."""
    reason = result.guidance.reason if result.guidance is not None else ""
    return result.status in NOT_RUN and reason == result.decision.reason


def tail_lines(result: CallResult) -> list[str]:
    """Return the rules, the guidance and the log position of a result as lines."""
    lines = rewritten_lines(result.decision)
    if result.status in NOT_RUN:
        lines += [
            f"rule {rule.id} at {rule.place}: {rule.reason}" for rule in result.decision.rules
        ]
    if result.guidance is not None:
        if not says_the_same(result):
            lines.append(result.guidance.reason)
        lines += [f"instead: {text}" for text in result.guidance.alternatives]
        if result.status == "denied":
            lines.append("Do not retry this or a variant of it; classify() tells before you try.")
    if result.approval is not None:
        lines.append(
            f"approval {result.approval.id}"
            + (f" by {result.approval.by}" if result.approval.by else "")
        )
    if result.log_seq is not None:
        lines.append(f"audit record {result.log_seq}")
    return lines


def readable(resource: str) -> str:
    """Return a resource with the parts nobody knows yet shown as an ellipsis."""
    return "".join("…" if letter < " " else letter for letter in resource)
