"""The page's own doors: the page itself, in by a link, out, and the news that something moved.

May touch: the one-time links, the sessions, the desk's bell. INVARIANT: the page that anybody
gets holds nothing of any request; a link's secret arrives in a body, so no log or history keeps it.
"""

import secrets
from collections.abc import AsyncIterator

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from approvals.desk import STORE_POLL_S
from approvals.request import ApprovalError
from approvals.web.api import JSON
from approvals.web.entry import SESSION_S
from approvals.web.faults import Fault
from approvals.web.links import redeem
from approvals.web.looks import page
from approvals.web.shapes import Entered, Link, Nothing
from approvals.web.site import COOKIE, Site, body, peer, refuse_while_limited, site_of, speaker

BEAT_S = 15


async def show(_request: Request) -> Response:
    """Answer the page."""
    nonce = secrets.token_urlsafe(16)
    html, policy = page(nonce)
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


async def enter(request: Request) -> Response:
    """Turn a link into a session: a cookie, and the key that the page keeps."""
    site = site_of(request)
    if request.headers.get("origin") != site.origin:
        raise Fault(403, "wrong_origin", f"Only the page at {site.origin} may ask this.")
    refuse_while_limited(site, request)
    link, now_s = await body(request, Link), site.clock()
    if not await to_thread.run_sync(redeem, site.directory, link.token, now_s):
        site.failures.note(peer(request), now_s)
        message = "The link was used or is too old. Get another: permitgate approvals page"
        raise Fault(401, "unauthorized", message)
    opened = site.sessions.open(now_s)
    entered = Entered(key=opened.key, ends_ms=int(opened.ends_s * 1000))
    response = Response(entered.model_dump_json(), media_type=JSON)
    response.set_cookie(
        COOKIE,
        opened.cookie,
        max_age=SESSION_S,
        secure=site.origin.startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    return response


async def leave(request: Request) -> Response:
    """End the session."""
    await speaker(request)
    await body(request, Nothing)
    site_of(request).sessions.close(request.cookies.get(COOKIE, ""))
    response = Response("{}", media_type=JSON)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


async def news(request: Request) -> Response:
    """Stream a server-sent event whenever a request moved; it says only that one did."""
    if (await speaker(request)).agent is not None:
        raise Fault(403, "forbidden", "The token of an agent hears of its own requests alone.")
    return StreamingResponse(
        _events(site_of(request), request),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},  # nginx would collect some kilobytes first
    )


async def _events(site: Site, request: Request) -> AsyncIterator[str]:
    known, silent_s = "", 0.0
    with site.desk.bell.listener() as listener:
        while not site.closing.is_set():
            try:
                await speaker(request)
                edition = await to_thread.run_sync(site.desk.edition)
            except (ApprovalError, Fault):
                return  # the page connects again, and is told why it cannot
            if edition != known:
                known, silent_s = edition, 0.0
                yield f"data: {edition}\n\n"
            elif silent_s >= BEAT_S:
                silent_s = 0.0
                yield ": still here\n\n"
            before_s = anyio.current_time()
            await listener.wait(STORE_POLL_S)
            silent_s += anyio.current_time() - before_s
