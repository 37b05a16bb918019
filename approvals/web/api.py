"""The API: list requests, read one, wait for it, answer it.

May touch: the desk, proofs of the log. INVARIANT: an answer names the digest of what was shown, and
whose it is comes from how the request authenticated, never from what it says; an agent's token
sees the requests it opened, and of others not even that they are there.
"""

from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from approvals.desk import wait_resolved
from approvals.request import Answer, NotPending, Pending, State
from approvals.statement import visible
from approvals.web.faults import Fault
from approvals.web.shapes import Decided, Decision, Requests, Shown, listed, shown
from approvals.web.site import Site, Speaker, body, site_of, speaker

MOST_LISTED = 2000
MOST_ANSWERED = 50
LONGEST_WAIT_S = 60
JSON = "application/json"
UNDECIDED = frozenset({State.PENDING, State.EXPIRED, State.CANCELLED})


async def list_requests(request: Request) -> Response:
    """Answer the requests that wait, oldest first; or the last that were answered."""
    who, site = await speaker(request), site_of(request)
    wanted = _query(request, "state").get("state", "pending")
    if wanted not in ("pending", "answered"):
        raise Fault(400, "malformed", f"state is pending or answered, not {visible(wanted, 40)!r}.")
    rows = await to_thread.run_sync(partial(_rows, site, who, is_pending=wanted == "pending"))
    return Response(rows.model_dump_json(), media_type=JSON)


async def one_request(request: Request) -> Response:
    """Answer one request whole; with `wait`, once it is answered or that many seconds passed."""
    who, site = await speaker(request), site_of(request)
    request_id = request.path_params["id"]
    wait_s = _seconds(_query(request, "wait").get("wait", "0"))
    pending = await known(site, who, request_id)
    if wait_s:
        await wait_resolved(site.desk, request_id, deadline_s=wait_s)
        pending = await known(site, who, request_id)
    return await whole(site, who, pending)


async def decide(request: Request) -> Response:
    """Count one answer."""
    who = await speaker(request)
    site, request_id = site_of(request), request.path_params["id"]
    if not who.may_answer:
        raise Fault(403, "forbidden", f"{who.principal.name} may read requests, not answer them.")
    said = await body(request, Decision)
    await known(site, who, request_id)
    state = await to_thread.run_sync(
        site.desk.vote,
        request_id,
        Answer(said.answer),
        who.principal,
        said.seen_digest,
        site.redact(said.reason),
    )
    return Response(Decided(id=request_id, state=state).model_dump_json(), media_type=JSON)


async def known(site: Site, who: Speaker, request_id: str) -> Pending:
    """Return a request that there is, for whoever asks.

    Raises:
        Fault: there is none that they may know of.
    """
    try:
        pending = await to_thread.run_sync(site.desk.get, request_id)
    except NotPending:
        pending = None
    if pending is None or not who.sees(pending):
        raise Fault(404, "not_found", f"No request is named {visible(request_id, 80)}.")
    return pending


def _rows(site: Site, who: Speaker, *, is_pending: bool) -> Requests:
    found = site.desk.pending() if is_pending else site.desk.answered(MOST_ANSWERED)
    seen = tuple(listed(one) for one in found[:MOST_LISTED] if who.sees(one))
    return Requests(now_ms=int(site.clock() * 1000), approvals=seen)


async def whole(site: Site, who: Speaker, pending: Pending) -> Response:
    """Return the response that shows a request whole."""
    text = await to_thread.run_sync(lambda: _shown(site, who, pending).model_dump_json())
    return Response(text, media_type=JSON)


def _shown(site: Site, who: Speaker, pending: Pending) -> Shown:
    if who.token is None or pending.state in UNDECIDED:
        return shown(pending)
    site.desk.rest()  # the record of a decision may still be on its way
    return shown(pending, site.proof_of(pending.id))


def _query(request: Request, known: str) -> dict[str, str]:
    unknown = next((key for key in request.query_params if key != known), None)
    if unknown is not None:
        raise Fault(400, "malformed", f"{visible(unknown, 40)!r} is not a parameter here.")
    return dict(request.query_params)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:4]) <= LONGEST_WAIT_S):
        raise Fault(400, "malformed", f"wait is whole seconds from 0 to {LONGEST_WAIT_S}.")
    return int(text[:4])
