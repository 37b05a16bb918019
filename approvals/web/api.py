"""The API: list requests, read one, wait for it, answer it.

May touch: the desk. INVARIANT: an answer names the digest of what was shown, and whose it is comes
from how the request authenticated, never from what it says.
"""

from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from approvals.desk import wait_resolved
from approvals.request import Answer, NotPending, Pending
from approvals.statement import visible
from approvals.web.faults import Fault
from approvals.web.shapes import Decided, Decision, Requests, listed, shown
from approvals.web.site import Site, body, site_of, speaker

MOST_LISTED = 2000
MOST_ANSWERED = 50
LONGEST_WAIT_S = 60
JSON = "application/json"


async def list_requests(request: Request) -> Response:
    """Answer the requests that wait, oldest first; or the last that were answered."""
    await speaker(request)
    site = site_of(request)
    wanted = _query(request, "state").get("state", "pending")
    if wanted not in ("pending", "answered"):
        raise Fault(400, "malformed", f"state is pending or answered, not {visible(wanted, 40)!r}.")
    rows = await to_thread.run_sync(partial(_rows, site, is_pending=wanted == "pending"))
    return Response(rows.model_dump_json(), media_type=JSON)


async def one_request(request: Request) -> Response:
    """Answer one request whole; with `wait`, once it is answered or that many seconds passed."""
    await speaker(request)
    site, request_id = site_of(request), request.path_params["id"]
    wait_s = _seconds(_query(request, "wait").get("wait", "0"))
    pending = await known(site, request_id)
    if wait_s:
        await wait_resolved(site.desk, request_id, deadline_s=wait_s)
        pending = await known(site, request_id)
    whole = await to_thread.run_sync(shown, pending)
    return Response(whole.model_dump_json(), media_type=JSON)


async def decide(request: Request) -> Response:
    """Count one answer."""
    who = await speaker(request)
    site, request_id = site_of(request), request.path_params["id"]
    if not who.may_answer:
        raise Fault(403, "forbidden", f"{who.principal.name} may read requests, not answer them.")
    said = await body(request, Decision)
    await known(site, request_id)
    state = await to_thread.run_sync(
        site.desk.vote,
        request_id,
        Answer(said.answer),
        who.principal,
        said.seen_digest,
        site.redact(said.reason),
    )
    return Response(Decided(id=request_id, state=state).model_dump_json(), media_type=JSON)


def _rows(site: Site, *, is_pending: bool) -> Requests:
    found = site.desk.pending() if is_pending else site.desk.answered(MOST_ANSWERED)
    now_ms = int(site.clock() * 1000)
    return Requests(now_ms=now_ms, approvals=tuple(map(listed, found[:MOST_LISTED])))


async def known(site: Site, request_id: str) -> Pending:
    """Return a request that there is.

    Raises:
        Fault: there is none of that name.
    """
    try:
        return await to_thread.run_sync(site.desk.get, request_id)
    except NotPending:
        raise Fault(404, "not_found", f"No request is named {visible(request_id, 80)}.") from None


def _query(request: Request, known: str) -> dict[str, str]:
    unknown = next((key for key in request.query_params if key != known), None)
    if unknown is not None:
        raise Fault(400, "malformed", f"{visible(unknown, 40)!r} is not a parameter here.")
    return dict(request.query_params)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:4]) <= LONGEST_WAIT_S):
        raise Fault(400, "malformed", f"wait is whole seconds from 0 to {LONGEST_WAIT_S}.")
    return int(text[:4])
