"""From a frozen action to the question a human is asked: level, time, statement and preview.

May touch: values. INVARIANT: the statement names the action digest, so what is shown is what is
signed is what runs.
"""

from collections.abc import Callable

from approvals.request import Level, Need, Principal, Question
from mcp_server.calls import Call, Frozen
from mcp_server.config import ApprovalSettings
from mcp_server.grant_scopes import act_of, offers_of
from mcp_server.host_grants import is_grantable, shown_hosts
from policy.explain import as_text, explain
from policy.model import Decision
from sandbox.action import digest

PREVIEW_CHARACTERS = 60_000


def question_for(
    call: Call,
    decision: Decision,
    frozen: Frozen,
    settings: ApprovalSettings,
    redact: Callable[[str], str],
) -> Question:
    """Return the question whose yes would permit exactly this action once.

    What is shown is redacted first, so what is shown, signed and logged is one text; the action
    digest still covers the real values.
    """
    subject, obligations = call.request.subject, decision.obligations
    return Question(
        action_digest=digest(frozen.action),
        tool=call.request.tool,
        facts=tuple((key, redact(text)) for key, text in _facts(call, decision, frozen)),
        session=subject.session,
        requester=Principal(subject.auth, subject.uid, subject.name, Level.POLICY),
        need=Need(
            level=Level(max(obligations.level, frozen.least_level)),
            quorum=obligations.quorum,
            roles=obligations.roles,
            ttl_s=obligations.timeout_s or settings.ttl_s,
            use_within_s=settings.use_within_s,
        ),
        preview=redact(_preview(decision, frozen)),
        for_session=tuple(map(redact, _for_session(call, decision, frozen))),
        offers=offers_of(decision, frozen, redact),
        act=act_of(decision, frozen),
        set_off_by=() if settings.server is None else (settings.server.actor,),
    )


def _for_session(call: Call, decision: Decision, frozen: Frozen) -> tuple[str, ...]:
    """Return the hosts that one yes could stand for until the session ends."""
    is_one_call = call.request.subject.auth == "cli"
    if is_one_call or decision.obligations.roles or not is_grantable(decision, frozen):
        return ()  # a later call's yes must be by a holder of the role again
    return shown_hosts(frozen)


def _facts(call: Call, decision: Decision, frozen: Frozen) -> tuple[tuple[str, str], ...]:
    why = frozen.needs_yes or decision.reason
    said = (("agent-says", call.reason),) if call.reason else ()
    return (
        *frozen.facts,
        ("why-asked", why),
        ("risk", f"{decision.risk} of 100"),
        *said,
        ("policy", decision.policy_digest),
    )


def _preview(decision: Decision, frozen: Frozen) -> str:
    """Return what a human reads first: the tree of the decision, then the diff if there is one."""
    text = as_text(explain(decision))
    if frozen.preview:
        text += "\n\n" + frozen.preview
    if len(text) > PREVIEW_CHARACTERS:
        half = PREVIEW_CHARACTERS // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
    return text
