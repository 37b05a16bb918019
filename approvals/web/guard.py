"""Before any handler: the exact Host, no strange Origin; after it: headers that keep a page alone.

May touch: the headers of requests and responses. A browser can be made to send a request here by
any page it shows; what it cannot do is leave out where that page came from.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from approvals.web.faults import Fault

NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuses what was not sent to our own address by our own page, or by no page at all."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._origin = origin
        self._host = origin.partition("://")[2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                headers.setdefault("Content-Security-Policy", NO_CONTENT)
            await send(message)

        fault = self._fault(Headers(scope=scope), scope["path"])
        answer = self._app if fault is None else fault.response()
        await answer(scope, receive, send_with_headers)

    def _fault(self, headers: Headers, path: str) -> Fault | None:
        if headers.getlist("host") != [self._host]:
            return Fault(421, "wrong_host", f"This is {self._origin} and answers to no other name.")
        if any(origin != self._origin for origin in headers.getlist("origin")):
            return Fault(403, "wrong_origin", f"Only the page at {self._origin} may ask this.")
        # A link from elsewhere may lead to the page, which holds nothing, and to nothing else.
        strange = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if strange and path != "/":
            return Fault(403, "wrong_origin", f"Only the page at {self._origin} may ask this.")
        return None
