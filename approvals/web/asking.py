"""The API for agents elsewhere, such as a job of CI: ask people about something, use their yes.

May touch: the desk. INVARIANT: nothing runs here by what is asked here. Its digest has a tag that
no action of this host has, and its session is the token's, so no gate of this host finds its yes.
Who asks, and whose yes does not count, is what the token's line says; what the job says, even who
set it off, is shown as its word.
"""

from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from approvals.request import Level, Need, Principal, Question
from approvals.statement import visible
from approvals.web.api import known, whole
from approvals.web.approvers import Approver
from approvals.web.faults import Fault
from approvals.web.shapes import Asked, Use, asked_digest
from approvals.web.site import Site, Speaker, body, content, parsed, site_of, speaker

MAX_ASKED_BYTES = 1 << 20
OUR_KEYS = frozenset({"agent", "actor-says", "not-by", "reference"})
ELSEWHERE = "it would happen at the agent's, and what it is, is the agent's word"


async def ask(request: Request) -> Response:
    """Open a request of the agent's; the same body again finds it, whatever became of it."""
    who, agent = await _agent(request)
    site, text = site_of(request), await content(request, MAX_ASKED_BYTES)
    question = _question(site, who.principal, agent, parsed(text, Asked), asked_digest(text))
    return await whole(site, who, await to_thread.run_sync(site.desk.open_once, question))


async def use(request: Request) -> Response:
    """Spend the yes to a request of the agent's, once, and answer the request with its proof."""
    who, _ = await _agent(request)
    site, said = site_of(request), await body(request, Use)
    pending = await known(site, who, request.path_params["id"])
    spend = partial(site.desk.consume, pending.id, said.action_digest, pending.question.session)
    await to_thread.run_sync(spend)
    return await whole(site, who, await known(site, who, pending.id))


async def _agent(request: Request) -> tuple[Speaker, Approver]:
    who = await speaker(request)
    if who.agent is None:
        name = who.principal.name
        raise Fault(403, "forbidden", f"{name} is no agent: permitgate approvals token --agent")
    return who, who.agent


def _question(
    site: Site, requester: Principal, agent: Approver, asked: Asked, digest: str
) -> Question:
    """Return what people are asked: the agent's words first, then what is known of it."""
    if asked.agent != agent.name:
        raise Fault(403, "forbidden", f"This is the token of {agent.name}. Nobody was asked.")
    if asked.actor.casefold() not in map(str.casefold, agent.actors):
        raise Fault(
            403,
            "forbidden",
            f"{visible(asked.actor, 80)} is not one of those who can set {agent.name} off; its "
            "token names them. Nobody was asked.",
        )
    taken = next((fact.key for fact in asked.facts if fact.key in OUR_KEYS), None)
    if taken is not None:
        raise Fault(400, "malformed", f"The fact {taken} is ours to state. Nobody was asked.")
    not_by = (agent.name, *agent.actors)
    facts = (
        *((fact.key, fact.text) for fact in asked.facts),
        ("agent", f"{agent.name}, by its token"),
        ("actor-says", f"{asked.actor} set it off, so says the agent"),
        ("not-by", ", ".join(not_by)),
        ("reference", asked.reference),
    )
    least = Level.OWNER if agent.owner_answers else Level.SEPARATE
    return Question(
        action_digest=digest,
        tool=asked.tool,
        facts=tuple((key, site.redact(text)) for key, text in facts),
        session=f"agent:{agent.name}",
        requester=requester,
        need=Need(
            level=max(least, Level[asked.level.upper()]),
            quorum=asked.quorum,
            ttl_s=asked.ttl_s,
            use_within_s=asked.use_within_s,
        ),
        preview=site.redact(asked.preview),
        warnings=(ELSEWHERE, *map(site.redact, asked.warnings)),
        set_off_by=not_by,
    )
