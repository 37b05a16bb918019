"""Grants over HTTP: what a yes to a request could also cover, that yes, what is granted, its end.

May touch: the desk. INVARIANT: only who may answer sees an offer or moves a grant; a grant is made
from a scope that the request offers, with a yes to what was shown.
"""

from anyio import to_thread
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from approvals.reach import Reach
from approvals.scope import Terms
from approvals.statement import visible
from approvals.terminal_grants import row
from approvals.web.api import JSON, known
from approvals.web.faults import Fault
from approvals.web.grant_shapes import Granted, Granting, Grants, Offered, Offers
from approvals.web.shapes import Nothing
from approvals.web.site import Site, Speaker, body, site_of, speaker

MOST_LISTED = 200


async def offers(request: Request) -> Response:
    """Answer what a yes to a request could grant besides."""
    who, site = await _approver(request)
    pending = await known(site, who, request.path_params["id"])
    found, left_out = await to_thread.run_sync(site.desk.reach, pending)
    return _json(Offers(offers=tuple(map(_offered, found)), left_out=visible(left_out)))


async def grant(request: Request) -> Response:
    """Count a yes, and make the grant."""
    who, site = await _approver(request)
    said = await body(request, Granting)
    request_id = (await known(site, who, request.path_params["id"])).id
    terms = Terms(said.scope, said.uses, said.minutes)
    state, made = await to_thread.run_sync(
        site.desk.grant, request_id, terms, who.principal, said.seen_digest
    )
    return _json(Granted(id=request_id, state=state, grant=row(made)))


async def live(request: Request) -> Response:
    """Answer the grants that could still be used, oldest first."""
    _, site = await _approver(request)
    found = await to_thread.run_sync(site.desk.grants.live)
    return _json(Grants(grants=tuple(map(row, found[:MOST_LISTED]))))


async def revoke(request: Request) -> Response:
    """End a grant, and answer it as it was."""
    who, site = await _approver(request)
    await body(request, Nothing)
    grant_id = request.path_params["id"]
    ended = await to_thread.run_sync(site.desk.grants.revoke, grant_id, who.principal)
    return _json(row(ended))


async def _approver(request: Request) -> tuple[Speaker, Site]:
    who = await speaker(request)
    if not who.may_answer:
        raise Fault(403, "forbidden", f"{who.principal.name} may not grant, nor see what could be.")
    return who, site_of(request)


def _offered(reach: Reach) -> Offered:
    return Offered(
        scope=reach.offer.scope,
        covers=tuple(map(visible, reach.offer.covers)),
        covered=reach.covered,
        missed=reach.missed,
        covered_such=reach.covered_such,
        missed_such=reach.missed_such,
    )


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type=JSON)
