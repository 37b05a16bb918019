"""The listener: one server of this user shows the page; the others wait to take its place.

May touch: one listening socket, `page.lock`. INVARIANT: only the holder of the lock listens, so a
link leads to a server of ours or is not made.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import override

from approvals.request import ApprovalError
from approvals.web import api, asking, document, entrance, granting
from approvals.web.address import listening
from approvals.web.faults import Fault, as_fault
from approvals.web.guard import Guard
from approvals.web.links import announce, showing
from approvals.web.site import Site

RETRY_S = 2.0
GRACE_S = 1
MOST_CONNECTIONS = 200
logger = logging.getLogger(__name__)


def application(site: Site) -> Starlette:
    """Return the site's handlers behind their guard."""
    one = "/api/v1/approvals/{id}"
    made = Starlette(
        routes=[
            Route("/", entrance.show),
            Route("/page/enter", entrance.enter, methods=["POST"]),
            Route("/page/leave", entrance.leave, methods=["POST"]),
            Route("/page/news", entrance.news),
            Route("/api/v1/openapi.json", document.show),
            Route("/api/v1/approvals", _requests, methods=["GET", "POST"]),
            Route(one, api.one_request),
            Route(f"{one}/decisions", api.decide, methods=["POST"]),
            Route(f"{one}/use", asking.use, methods=["POST"]),
            Route(f"{one}/offers", granting.offers),
            Route(f"{one}/grants", granting.grant, methods=["POST"]),
            Route("/api/v1/grants", granting.live),
            Route("/api/v1/grants/{id}/revoke", granting.revoke, methods=["POST"]),
        ],
        exception_handlers=dict.fromkeys(
            (Fault, ApprovalError, HTTPException, Exception), as_fault
        ),
        middleware=[Middleware(Guard, origin=site.origin)],
    )
    made.router.redirect_slashes = False
    made.state.site = site
    return made


async def _requests(request: Request) -> Response:
    """Hand on by method; two routes of one path would each tell of its own methods alone."""
    return await (asking.ask if request.method == "POST" else api.list_requests)(request)


async def serve(
    site: Site,
    address: tuple[str, int],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Show the page at `address` until cancelled, as soon as no other server of this user does.

    Raises:
        ApprovalError: the lock is not private.
    """
    said = ""
    while True:
        with showing(site.directory) as lock:
            if lock is not None:
                try:
                    with listening(address) as bound:
                        announce(lock, site.origin)
                        task_status.started()
                        await _run(site, bound)
                except OSError as error:
                    problem = f"{address[0]}:{address[1]}: the page cannot be shown: {error}"
                    if problem != said:
                        logger.warning("%s. Set another approvals.page.listen.", problem)
                    said = problem
        await anyio.sleep(RETRY_S)


class _Quiet(uvicorn.Server):
    """uvicorn beside something else: signals and standard output are not its own here."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(site: Site, bound: socket.socket) -> None:
    """Serve until cancelled; then streams end, and what is being answered gets a second."""
    server = _Quiet(
        uvicorn.Config(
            application(site),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    async def serve_to_the_end() -> None:
        with anyio.CancelScope(shield=True):  # it ends by `should_exit`, within its grace
            await server.serve(sockets=[bound])

    async with anyio.create_task_group() as group:
        group.start_soon(serve_to_the_end)
        try:
            await anyio.sleep_forever()
        finally:
            site.closing.set()
            site.desk.bell.ring()
            server.should_exit = True
