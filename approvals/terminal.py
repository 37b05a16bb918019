"""The owner's local socket: list, show, approve, deny, grant and revoke from a local terminal.

May touch: one directory of sockets, 0700, and what the desk may touch. The kernel says who is on
the other end (SO_PEERCRED); every line is one strict JSON object, bounded, and answered. A yes
must name the digest that was shown. All servers share the store, so any of them answers for all.
"""

import os
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, assert_never

import anyio
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.desk import Desk
from approvals.private import private_directory
from approvals.request import (
    Answer,
    ApprovalError,
    Level,
    Mismatch,
    NotPending,
    Pending,
    Principal,
    State,
)
from approvals.scope import Terms
from approvals.statement import statement, visible
from approvals.terminal_grants import AskedTerms, GrantRow, row
from approvals.terminal_view import as_lines
from approvals.voters import MAX_SIGNATURE_CHARS, Voters

MAX_REQUEST_BYTES = 16_384  # an answer may carry a signature
MAX_REPLY_BYTES = 4 << 20
MAX_CONNECTIONS = 16
MAX_LISTED = 200
IDLE_S = 30.0
CLIENT_TIMEOUT_S = 5.0
ACCEPT_PAUSE_S = 0.5
_ASCII = r"^[ -~]*$"
_ASCII_LINES = r"^[ -~\n]*$"


class NoServer(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """No running server listens in the directory, so nobody can take an answer."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Ask(_Line):
    """One request line of the protocol; an answer names the digest shown, or signs for it."""

    do: Literal[
        "list", "show", "approve", "approve-for-session", "approve-signed", "deny",
        "grants", "revoke",
    ]  # fmt: skip
    id: str = Field(default="", max_length=64)
    seen_digest: str = Field(default="", max_length=64)
    signature: str = Field(default="", max_length=MAX_SIGNATURE_CHARS)
    terms: AskedTerms | None = None  # with approve: a grant besides


class Listed(_Line):
    """One pending request in a list; `summary` is its first fact, shortened."""

    id: str = Field(pattern=_ASCII)
    request_digest: str = Field(pattern=_ASCII)
    tool: str = Field(pattern=_ASCII)
    requester: str = Field(pattern=_ASCII)
    level: int
    quorum: int
    expires_ms: int
    summary: str = Field(pattern=_ASCII)


class Shown(_Line):
    """One request in full, as printable ASCII lines, and the digest an answer must name."""

    id: str = Field(pattern=_ASCII)
    request_digest: str = Field(pattern=_ASCII)
    state: State
    lines: tuple[str, ...]
    statement: str = Field(default="", pattern=_ASCII_LINES)  # to the byte what a signature signs
    for_session: tuple[str, ...] = ()  # what a yes for the session would permit besides
    offers: tuple[str, ...] = ()  # the scopes that a grant can have


class Reply(_Line):
    """One reply line; `error` is empty, or what kind of no it is, with a message for people."""

    error: Literal["", "malformed", "not_pending", "approval_mismatch", "refused"] = ""
    message: str = Field(default="", pattern=_ASCII)
    listed: tuple[Listed, ...] = ()
    shown: Shown | None = None
    state: State | None = None
    grants: tuple[GrantRow, ...] = ()  # those that live, or the one that was made or revoked


class Accepts(Protocol):
    """What `attend_all` needs of a listener."""

    async def accept(self) -> SocketStream:
        """Return the next connection."""
        ...


async def serve(
    desk: Desk,
    directory: Path,
    voters: Voters,
    *,
    task_status: TaskStatus[Path] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen in `directory` until cancelled; reports the socket's path when it is ready.

    Raises:
        ApprovalError: the directory is not private, or no socket can be made in it.
    """
    private_directory(directory)
    path = directory / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
    try:
        with _short(path) as name:
            listener = await anyio.create_unix_listener(name, mode=0o600)
    except OSError as error:
        raise ApprovalError(
            f"{path}: cannot listen: {error}. Approvals in the terminal are not available; "
            "free some disk, or name another state directory."
        ) from error
    try:
        async with listener:
            task_status.started(path)
            await attend_all(desk, listener, voters)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of `path` that fits a socket address (108 bytes) however deep the path is."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


async def attend_all(desk: Desk, listener: Accepts, voters: Voters) -> None:
    """Answer every connection, a bounded number at a time; nothing a peer does ends it."""
    limiter = anyio.CapacityLimiter(MAX_CONNECTIONS)
    async with anyio.create_task_group() as connections:
        while True:
            try:
                stream = await listener.accept()
            except OSError:  # out of descriptors, or the peer left: the next one may work
                await anyio.sleep(ACCEPT_PAUSE_S)
                continue
            try:
                limiter.acquire_on_behalf_of_nowait(stream)
            except anyio.WouldBlock:
                await stream.aclose()
                continue
            connections.start_soon(_attend, desk, limiter, stream, voters)


async def _attend(
    desk: Desk, limiter: anyio.CapacityLimiter, stream: SocketStream, voters: Voters
) -> None:
    gone = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
    with suppress(*gone, anyio.IncompleteRead, TimeoutError):
        async with _released(limiter, stream):
            raw: socket.socket = stream.extra_attributes[SocketAttribute.raw_socket]()
            size = struct.calcsize("3i")
            credentials = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            principal = peer_principal(struct.unpack("3i", credentials)[1], voters)
            lines = BufferedByteReceiveStream(stream)
            reply_to = partial(respond, desk, principal, voters=voters)
            while await _one_exchange(reply_to, lines, stream):
                pass


@asynccontextmanager
async def _released(limiter: anyio.CapacityLimiter, stream: SocketStream) -> AsyncIterator[None]:
    try:
        async with stream:
            yield
    finally:
        limiter.release_on_behalf_of(stream)


async def _one_exchange(
    reply_to: Callable[[bytes], Reply], lines: BufferedByteReceiveStream, stream: SocketStream
) -> bool:
    with anyio.fail_after(IDLE_S):
        try:
            line = await lines.receive_until(b"\n", MAX_REQUEST_BYTES)
        except anyio.DelimiterNotFound:
            reply = _malformed(f"a line is longer than {MAX_REQUEST_BYTES} bytes")
            await stream.send(_encode(reply))
            return False
    # A vote is not abandoned half way because its sender hung up.
    reply = await to_thread.run_sync(reply_to, line)
    with anyio.fail_after(IDLE_S):
        await stream.send(_encode(reply))
    return True


def peer_principal(peer_uid: int, voters: Voters) -> Principal | None:
    """Return who the peer is: the owner, root as a separate principal, or nobody."""
    if peer_uid == voters.uid:
        return Principal("terminal", peer_uid, "owner", Level.OWNER)
    if peer_uid == 0:
        return Principal("terminal", peer_uid, "root", Level.SEPARATE)
    return None


def respond(desk: Desk, principal: Principal | None, line: bytes, voters: Voters) -> Reply:
    """Return the reply to one request line; whatever the line is, there is one."""
    if principal is None:
        return Reply(error="refused", message="this socket serves its owner and root alone")
    try:
        ask = Ask.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return _malformed(visible(f"{first['loc']}: {first['msg']}", 400))
    try:
        return _carry_out(desk, principal, ask, voters)
    except NotPending as error:
        return Reply(error="not_pending", message=visible(str(error)))
    except Mismatch as error:
        return Reply(error="approval_mismatch", message=visible(str(error)))
    except ApprovalError as error:
        return Reply(error="refused", message=visible(str(error)))


def _carry_out(desk: Desk, principal: Principal, ask: Ask, voters: Voters) -> Reply:
    match ask.do:
        case "list":
            return Reply(listed=tuple(map(_listed, desk.pending()[:MAX_LISTED])))
        case "show":
            return Reply(shown=_shown(desk, desk.get(ask.id)))
        case "grants":
            return Reply(grants=tuple(map(row, desk.grants.live()[:MAX_LISTED])))
        case "revoke":
            return Reply(grants=(row(desk.grants.revoke(ask.id, principal)),))
        case "approve" | "approve-for-session" | "approve-signed" | "deny":
            return _answered(desk, principal, ask, voters)
        case _:
            assert_never(ask.do)


def _answered(desk: Desk, principal: Principal, ask: Ask, voters: Voters) -> Reply:
    if ask.do == "approve-signed":
        # Who hands it in does not matter: it says itself who signed.
        return Reply(state=desk.vote_signed(ask.id, ask.signature, voters))
    if ask.do == "approve" and ask.terms is not None:
        terms = Terms(ask.terms.scope, ask.terms.uses, ask.terms.minutes)
        state, made = desk.grant(ask.id, terms, principal, ask.seen_digest)
        return Reply(state=state, grants=(row(made),))
    return Reply(state=desk.vote(ask.id, Answer(ask.do), principal, ask.seen_digest))


def _shown(desk: Desk, pending: Pending) -> Shown:
    return Shown(
        id=pending.id,
        request_digest=pending.request_digest,
        state=pending.state,
        lines=(*as_lines(pending), *desk.offer_lines(pending, "with --grant")),
        statement=statement(pending),
        for_session=tuple(map(visible, pending.question.for_session)),
        offers=tuple(one.scope.value for one in pending.question.offers),
    )


def _listed(pending: Pending) -> Listed:
    question = pending.question
    return Listed(
        id=pending.id,
        request_digest=pending.request_digest,
        tool=visible(question.tool, 80),
        requester=visible(question.requester.identity, 200),
        level=int(question.need.level),
        quorum=question.need.quorum,
        expires_ms=pending.expires_ms,
        summary=visible(" ".join(question.facts[0]), 120) if question.facts else "",
    )


def _malformed(why: str) -> Reply:
    return Reply(error="malformed", message=f"not a request: {why}. Nothing was answered.")


def _encode(reply: Reply) -> bytes:
    encoded = reply.model_dump_json().encode() + b"\n"
    if len(encoded) <= MAX_REPLY_BYTES:
        return encoded
    too_long = Reply(
        error="refused", message="the request is too large to be shown whole, so not shown at all"
    )
    return too_long.model_dump_json().encode() + b"\n"


def list_pending(directory: Path) -> tuple[Listed, ...]:
    """Return the pending requests of every server that shares the store, oldest first.

    Raises:
        NoServer: nothing listens in `directory`.
    """
    return ask(directory, Ask(do="list")).listed


def show(directory: Path, request_id: str) -> Shown:
    """Return one request in full.

    Raises:
        NoServer: nothing listens in `directory`.
        NotPending: no request has this id.
    """
    shown = ask(directory, Ask(do="show", id=request_id)).shown
    if shown is None or not all(line.isascii() and line.isprintable() for line in shown.lines):
        raise ApprovalError(f"{directory}: the server's reply is not a request; update both sides")
    return shown


def answer(directory: Path, request_id: str, said: Answer, *, seen_digest: str) -> State:
    """Say yes or no to the request whose digest was shown; return the state it led to.

    Raises:
        NoServer: nothing listens in `directory`.
        NotPending: the request is unknown, answered or too late.
        Mismatch: `seen_digest` is not this request's digest.
    """
    return _state(directory, Ask(do=said.value, id=request_id, seen_digest=seen_digest))


def answer_signed(directory: Path, request_id: str, signature: str) -> State:
    """Hand in a signature over the request's statement; return the state it led to.

    Raises:
        NoServer: nothing listens in `directory`.
        NotPending: the request is unknown, answered or too late.
    """
    return _state(directory, Ask(do="approve-signed", id=request_id, signature=signature))


def _state(directory: Path, asked: Ask) -> State:
    state = ask(directory, asked).state
    if state is None:
        raise ApprovalError(f"{directory}: the server's reply has no state; update both sides")
    return state


def ask(directory: Path, asked: Ask) -> Reply:
    """Return the reply of a running server.

    Raises:
        NoServer: nothing listens in `directory`.
        NotPending, Mismatch, ApprovalError: what the server said no with.
    """
    for path in sorted(directory.glob("*.sock")):
        line = _exchange(path, asked.model_dump_json().encode() + b"\n")
        if line is None:
            continue
        try:
            return _raised(Reply.model_validate_json(line))
        except ValidationError as error:
            raise ApprovalError(
                f"{path}: the server's reply cannot be read: {error.error_count()} faults. "
                "Nothing is known to be answered; run the same version on both sides."
            ) from error
    raise NoServer(
        f"{directory}: no running server listens here, so nothing waits for an answer. "
        "Start the server, or name its state directory."
    )


def _raised(reply: Reply) -> Reply:
    match reply.error:
        case "":
            return reply
        case "not_pending":
            raise NotPending(reply.message)
        case "approval_mismatch":
            raise Mismatch(reply.message)
        case "malformed" | "refused":
            raise ApprovalError(reply.message)
        case _:
            assert_never(reply.error)


def _exchange(path: Path, line: bytes) -> bytes | None:
    """Return the reply of the server behind `path`, or None if none is alive there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CLIENT_TIMEOUT_S)
        try:
            with _short(path) as name:
                connection.connect(name)
            connection.sendall(line)
            with connection.makefile("rb") as replies:
                return replies.readline(MAX_REPLY_BYTES) or None
        except (ConnectionRefusedError, FileNotFoundError):
            _forget_dead(path)
        except OSError:  # hung, full or closing: another server can answer as well
            return None
    return None


def _forget_dead(path: Path) -> None:
    """Remove the socket of a process that is gone; one that is just starting keeps its own."""
    pid = path.name.partition("-")[0]
    if not (pid.isascii() and pid.isdigit() and Path("/proc", pid).exists()):
        with suppress(OSError):
            path.unlink()
