"""Where the owner's answers go in: a running server's socket, or the store itself without one.

May touch: the sockets of this user's servers, or the approval store and this user's log.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from approvals import terminal
from approvals.desk import Desk
from approvals.request import Answer, ApprovalError, State
from approvals.store import Store
from approvals.terminal import Ask, Listed, NoServer, Reply, Shown
from approvals.voters import Voters
from mcp_server.config import load_config
from mcp_server.earlier import EarlierRequests
from mcp_server.journal import Journal
from mcp_server.known_secrets import redactor
from mcp_server.log_place import log_directory, open_log
from mcp_server.places import places
from mcp_server.reach import desk_over, voters


class Door:
    """Where questions are answered: a server's socket, or the store itself where none runs."""

    def __init__(self, directory: Path, kept: ExitStack) -> None:
        """Open nothing yet; `kept` closes what the store itself takes, if it comes to that."""
        self._directory, self._kept = directory, kept
        self._desk: tuple[Desk, Voters] | None = None

    def listed(self) -> tuple[Listed, ...]:
        """Return what waits, oldest first."""
        try:
            return terminal.list_pending(self._directory)
        except NoServer:
            return self._own(Ask(do="list")).listed

    def shown(self, request_id: str) -> Shown:
        """Return one request in full."""
        try:
            return terminal.show(self._directory, request_id)
        except NoServer:
            shown = self._own(Ask(do="show", id=request_id)).shown
            if shown is None:
                raise
            return shown

    def answered(self, request_id: str, digest: str, said: Answer) -> State:
        """Say yes or no to the request with the digest that was shown; return its state."""
        try:
            return terminal.answer(self._directory, request_id, said, seen_digest=digest)
        except NoServer:
            state = self._own(Ask(do=said.value, id=request_id, seen_digest=digest)).state
            if state is None:
                raise
            return state

    def signed(self, request_id: str, signature: str) -> State:
        """Hand in a signed yes; return the request's state."""
        try:
            return terminal.answer_signed(self._directory, request_id, signature)
        except NoServer:
            state = self._own(Ask(do="approve-signed", id=request_id, signature=signature)).state
            if state is None:
                raise
            return state

    def asked(self, ask: Ask) -> Reply:
        """Return the reply to any other line of the protocol."""
        try:
            return terminal.ask(self._directory, ask)
        except NoServer:
            return self._own(ask)

    def _own(self, ask: Ask) -> Reply:
        """Answer from the store in this process, as a server's socket would."""
        if self._desk is None:
            self._desk = self._kept.enter_context(_own_desk(self._directory))
        desk, known = self._desk
        principal = terminal.peer_principal(os.geteuid(), known)
        reply = terminal.respond(desk, principal, ask.model_dump_json().encode(), known)
        if reply.error:
            raise ApprovalError(reply.message)
        return reply


@contextmanager
def _own_desk(directory: Path) -> Iterator[tuple[Desk, Voters]]:
    """Yield a desk over this user's store, recorded in this user's log, and who may answer."""
    config, where = load_config(places().config_file), places()
    if "terminal" not in config.approvals.channels:
        raise ApprovalError("approvals.channels in the configuration leaves the terminal out")
    store = directory / "approvals.sqlite"
    if not store.exists():
        raise ApprovalError("nothing waits for an answer: no agent has asked yet")
    journal = Journal(
        open_log(config, where), log_directory(config, where), redactor(config, where)
    )
    try:
        settings, earlier = config.approvals, EarlierRequests(log_directory(config, where))
        yield desk_over(Store(store), journal, settings, earlier), voters(settings)
    finally:
        journal.close()


@contextmanager
def open_door() -> Iterator[Door]:
    """Yield the door of this user; what it opened is closed at the end of the block."""
    with ExitStack() as kept:
        yield Door(places().approvals, kept)
