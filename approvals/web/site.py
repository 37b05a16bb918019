"""What the handlers of one listener share, and who a request speaks for.

May touch: the approvers' file, memory. INVARIANT: a request is the owner's by cookie and key,
and by our own Origin where it could change anything; or an approver's by a token; or it is refused.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from approvals.desk import Desk
from approvals.request import Level, Pending, Principal
from approvals.statement import visible
from approvals.web.approvers import Approver, approver_of
from approvals.web.entry import Failures, Sessions
from approvals.web.faults import Fault

COOKIE = "permitgate"
Shape = TypeVar("Shape", bound=BaseModel)
KEY_HEADER = "x-permitgate-key"
MAX_BODY_BYTES = 64 << 10
BODY_S = 10
MAX_ADDRESS = 64


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who a request speaks for, and whose token it is; None: the owner at the page."""

    principal: Principal
    token: Approver | None = None

    @property
    def may_answer(self) -> bool:
        """Return whether an answer of theirs is counted; a reader and an agent may not."""
        return self.token is None or self.token.role == "approver"

    @property
    def agent(self) -> Approver | None:
        """Return the token of an agent, which opens requests and sees its own alone."""
        return self.token if self.token and self.token.role == "agent" else None

    def sees(self, pending: Pending) -> bool:
        """Return whether they may know that there is this request."""
        return self.agent is None or pending.question.requester == self.principal


def _no_proof(_request_id: str) -> None:
    """Return no proof: there is no log to prove from."""


@dataclass(frozen=True, slots=True)
class Site:
    """One listener's desk, its address, and who may come in.

    `directory` holds the one-time links, `owner` is who the page speaks for, `approvers` the file
    of API tokens or None; `redact` is applied to what people and agents write. `proof_of` returns
    the proof of a decision by its request's id, or None.
    """

    desk: Desk
    directory: Path
    origin: str
    owner: Principal
    approvers: Path | None = None
    redact: Callable[[str], str] = str
    proof_of: Callable[[str], str | None] = _no_proof
    clock: Callable[[], float] = time.time
    sessions: Sessions = field(default_factory=Sessions)
    failures: Failures = field(default_factory=Failures)
    closing: anyio.Event = field(default_factory=anyio.Event)


def site_of(request: Request) -> Site:
    """Return the site a request came to."""
    site: Site = request.app.state.site
    return site


async def speaker(request: Request) -> Speaker:
    """Return who a request speaks for.

    Raises:
        Fault: nobody that is known here; too many failed attempts.
    """
    site = site_of(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return await _by_token(site, request, authorization)
    cookie, key = request.cookies.get(COOKIE, ""), request.headers.get(KEY_HEADER, "")
    if not site.sessions.holds(cookie, key, site.clock()):
        raise Fault(
            401,
            "unauthorized",
            "No session of the page and no token. Get a link: permitgate approvals page",
        )
    if request.method != "GET" and request.headers.get("origin") != site.origin:
        raise Fault(403, "wrong_origin", f"The page at {site.origin} alone may answer by cookie.")
    return Speaker(site.owner)


async def _by_token(site: Site, request: Request, authorization: str) -> Speaker:
    refuse_while_limited(site, request)
    kind, _, token = authorization.partition(" ")
    found = None
    if site.approvers is not None and kind.lower() == "bearer":
        found = await to_thread.run_sync(approver_of, site.approvers, token.strip())
    if found is None:
        site.failures.note(peer(request), site.clock())
        raise Fault(
            401,
            "unauthorized",
            "No approver has this token. Make one: permitgate approvals token NAME",
        )
    is_agent = found.role == "agent"
    channel, level = ("agent", Level.POLICY) if is_agent else ("api", Level.SEPARATE)
    return Speaker(Principal(channel, site.owner.uid, found.name, level), found)


def refuse_while_limited(site: Site, request: Request) -> None:
    """Return if the peer may try to say who it is.

    Raises:
        Fault: it failed too often within a minute.
    """
    wait_s = site.failures.wait_s(peer(request), site.clock())
    if wait_s:
        message = f"Too many failed attempts from here; try again in {wait_s} s."
        raise Fault(429, "too_many", message, {"Retry-After": str(wait_s)})


def peer(request: Request) -> str:
    """Return the address a request came from; behind a proxy with TLS, the one the proxy saw.

    It only counts failures: a program on this machine that makes addresses up may guess on.
    """
    if site_of(request).origin.startswith("https:"):
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if forwarded:
            return forwarded[:MAX_ADDRESS]
    return request.client.host if request.client else ""


async def body(request: Request, shape: type[Shape]) -> Shape:
    """Return the JSON body of a request, parsed strictly.

    Raises:
        Fault: another content type, more than 64 KiB, too slow, or not of that shape.
    """
    return parsed(await content(request, MAX_BODY_BYTES), shape)


async def content(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request as it was sent.

    Raises:
        Fault: not called JSON, longer than that, or too slow.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Fault(415, "wrong_media_type", "Send a body with Content-Type: application/json.")
    received = bytearray()
    try:
        with anyio.fail_after(BODY_S):
            async for chunk in request.stream():
                received += chunk
                if len(received) > most_bytes:
                    raise Fault(413, "too_large", f"The body is longer than {most_bytes} bytes.")
    except (TimeoutError, ClientDisconnect):
        raise Fault(408, "malformed", f"The body did not arrive within {BODY_S} s.") from None
    return bytes(received)


def parsed(text: bytes, shape: type[Shape]) -> Shape:
    """Return a JSON text, parsed strictly.

    Raises:
        Fault: it is not of that shape.
    """
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        message = f"{place}: {first['msg']}. Nothing was answered."
        raise Fault(400, "malformed", visible(message, 400)) from None
