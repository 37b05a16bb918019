"""The page's listener over a real desk, on a loopback port of its own, and requests to it."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from approvals.desk import Desk
from approvals.reach import Earlier
from approvals.request import Level, Pending, Principal
from approvals.store import Store
from approvals.web import listener
from approvals.web.approvers import Role, new_token
from approvals.web.links import make_link
from approvals.web.site import Site
from tests.approvals.conftest import Clock, Log, question

PAGE_OWNER = Principal("page", 1000, "owner", Level.OWNER)
_numbers = count()


@dataclass
class House:
    """One desk with its page, and who may come in."""

    directory: Path
    portal: BlockingPortal
    clock: Clock = field(default_factory=Clock)
    log: Log = field(default_factory=Log)
    owner: Principal = PAGE_OWNER
    earlier: Earlier = field(default_factory=Earlier)  # what its log counts
    public: str = ""  # the origin, where a proxy shows it
    task: Future[object] | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.store = Store(self.directory / "approvals.sqlite")
        self.desk = Desk(self.store, self.log, clock=self.clock, count=lambda _: self.earlier)
        self.site = self.make_site(self.desk)

    def make_site(self, desk: Desk) -> Site:
        return Site(
            desk=desk,
            directory=self.directory,
            origin=self.public or f"http://127.0.0.1:{self.port}",
            owner=self.owner,
            approvers=self.directory / "approvers.json",
            redact=lambda text: text.replace("hunter2", "[secret]"),
            clock=self.clock,
        )

    @property
    def url(self) -> str:
        return self.site.origin

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def stop(self) -> None:
        """End the listener, and wait until it has."""
        if self.task is not None:
            self.task.cancel()
            assert self.ended.wait(10)
            self.task = None

    async def listen(self, *, task_status: TaskStatus[None]) -> None:
        try:
            await listener.serve(self.site, self.address, task_status=task_status)
        finally:
            self.ended.set()

    def asks(self, *, session: str = "", **changes) -> Pending:
        """Return a request that nobody asked before."""
        number = next(_numbers)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        return self.desk.open(
            question(action_digest=digest, session=session or f"s{number}", **changes)
        )

    def token(self, name: str = "alice", role: Role = "approver") -> dict[str, str]:
        """Return the header of a new approver."""
        made = new_token(self.directory / "approvers.json", name, role)
        return {"Authorization": f"Bearer {made}"}

    def link(self) -> str:
        return make_link(self.directory, self.clock())

    def client(self, **headers: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url, headers=headers, timeout=10, verify=False, trust_env=False
        )

    def enter(self, web: httpx2.Client, token: str | None = None) -> httpx2.Response:
        secret = self.link().partition("#login=")[2] if token is None else token
        return web.post("/page/enter", json={"token": secret}, headers={"Origin": self.url})

    @contextmanager
    def page(self) -> Iterator[httpx2.Client]:
        """Yield a client that is signed in as the page is."""
        with self.client(Origin=self.url) as web:
            web.headers["X-Permitgate-Key"] = self.enter(web).json()["key"]
            yield web


def yes(pending: Pending, answer: str = "approve", **more: str) -> dict[str, str]:
    return {"answer": answer, "seen_digest": pending.request_digest, **more}


def decisions(pending: Pending) -> str:
    return f"/api/v1/approvals/{pending.id}/decisions"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def serving(directory: Path, owner: Principal = PAGE_OWNER, public: str = "") -> Iterator[House]:
    """Show the page of a new desk for the block."""
    with start_blocking_portal() as portal:
        house = House(directory, portal, owner=owner, public=public)
        house.task, _ = portal.start_task(house.listen)
        try:
            yield house
        finally:
            house.stop()
            house.store.close()
