"""The owner's socket: the kernel names the peer, every line gets an answer, nothing ends it."""

import json
import os
import socket
import stat
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from approvals import terminal
from approvals.desk import Desk
from approvals.request import (
    Answer,
    ApprovalError,
    Level,
    Mismatch,
    Need,
    NotPending,
    Principal,
    State,
)
from approvals.store import Store
from approvals.terminal import (
    NoServer,
    Reply,
    answer,
    answer_signed,
    list_pending,
    peer_principal,
    respond,
    show,
)
from approvals.voters import Voters
from tests.approvals.conftest import OWNER, Log, question

US = Principal("terminal", os.geteuid(), "owner", Level.OWNER)
VOTERS = Voters(os.geteuid())


@pytest.fixture
def sockets(tmp_path):
    return tmp_path / "s"


@asynccontextmanager
async def serving(desk, sockets):
    async with anyio.create_task_group() as tasks:
        path = await tasks.start(terminal.serve, desk, sockets, VOTERS)
        with anyio.fail_after(20):
            yield path
            await anyio.wait_all_tasks_blocked()  # every hang-up is heard before the end
        tasks.cancel_scope.cancel()


async def in_thread(function, *args, **named):
    return await to_thread.run_sync(partial(function, *args, **named))


async def said(path, *lines: bytes) -> list[dict]:
    async with await anyio.connect_unix(path) as stream:
        for line in lines:
            await stream.send(line)
        await stream.send_eof()
        received = b""
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return [json.loads(line) for line in received.splitlines()]


async def test_a_signature_that_nobody_may_give_is_refused_over_the_socket(desk, sockets):
    pending = desk.open(question())
    async with serving(desk, sockets):
        with pytest.raises(ApprovalError, match="names no approvals"):
            await in_thread(answer_signed, sockets, pending.id, "not a signature")
    assert desk.get(pending.id).state is State.PENDING


async def test_the_owner_lists_reads_and_approves(desk, sockets):
    pending = desk.open(question(preview="+ new line"))
    async with serving(desk, sockets):
        (listed,) = await in_thread(list_pending, sockets)
        assert (listed.id, listed.summary) == (pending.id, "argv systemctl restart nginx")
        shown = await in_thread(show, sockets, listed.id)
        assert shown.lines[0] == "+ new line"
        assert f"request {shown.request_digest}" in shown.lines
        state = await in_thread(
            answer, sockets, shown.id, Answer.APPROVE, seen_digest=shown.request_digest
        )
    assert state is State.APPROVED
    assert desk.get(pending.id).votes[0].by == US


async def test_the_owner_denies(desk, sockets):
    pending = desk.open(question())
    digest = pending.request_digest
    async with serving(desk, sockets):
        state = await in_thread(answer, sockets, pending.id, Answer.DENY, seen_digest=digest)
        assert state is State.DENIED
        with pytest.raises(NotPending, match="denied, not pending"):
            await in_thread(answer, sockets, pending.id, Answer.APPROVE, seen_digest=digest)


@pytest.mark.threat("T06")
async def test_a_yes_must_name_the_digest_that_was_shown(desk, sockets):
    pending = desk.open(question())
    async with serving(desk, sockets):
        for seen in ("", "0" * 64):
            with pytest.raises(Mismatch, match="approval_mismatch"):
                await in_thread(answer, sockets, pending.id, Answer.APPROVE, seen_digest=seen)
    assert desk.get(pending.id).state is State.PENDING


@pytest.mark.threat("T07")
async def test_too_weak_a_yes_is_refused_with_its_reason(desk, sockets):
    pending = desk.open(question(Need(Level.SEPARATE)))
    async with serving(desk, sockets):
        with pytest.raises(ApprovalError, match="does not reach the level 3"):
            await in_thread(
                answer, sockets, pending.id, Answer.APPROVE, seen_digest=pending.request_digest
            )


@pytest.mark.threat("T23")
async def test_the_socket_is_for_its_owner_and_gone_at_the_end(desk, sockets):
    async with serving(desk, sockets) as path:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert stat.S_IMODE(sockets.lstat().st_mode) == 0o700
    assert list(sockets.iterdir()) == []


@pytest.mark.threat("T07")
def test_the_kernel_says_who_the_peer_is():
    assert peer_principal(1000, Voters(1000)) == OWNER
    assert peer_principal(0, Voters(1000)) == Principal("terminal", 0, "root", Level.SEPARATE)
    assert peer_principal(1001, Voters(1000)) is None
    assert peer_principal(1001, Voters(0)) is None


@pytest.mark.threat("T07")
def test_another_user_gets_no_answer_but_no(desk):
    pending = desk.open(question())
    ask = {"do": "approve", "id": pending.id, "seen_digest": pending.request_digest}
    for line in (b'{"do":"list"}', json.dumps(ask).encode()):
        assert respond(desk, None, line, VOTERS) == Reply(
            error="refused", message="this socket serves its owner and root alone"
        )
    assert desk.get(pending.id).votes == ()


MALFORMED = [
    b"",
    b"approve",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"do":"approve"',
    b'{"do":"run"}',
    b'{"do":"list","all":true}',
    b'{"do":"approve","id":7}',
    b'{"do":"approve","id":"' + b"x" * 65 + b'"}',
    b'{"do":"APPROVE"}',
    b"[" * 2000,
]


@pytest.mark.threat("T08")
@pytest.mark.parametrize("line", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_line_is_answered_and_the_next_one_heard(desk, sockets, line):
    async with serving(desk, sockets) as path:
        bad, good = await said(path, line + b"\n", b'{"do":"list"}\n')
    assert bad["error"] == "malformed"
    assert "Nothing was answered" in bad["message"]
    assert good["error"] == ""


@pytest.mark.threat("T08")
async def test_an_endless_line_is_cut_off_and_others_are_served(desk, sockets):
    async with serving(desk, sockets) as path:
        (reply,) = await said(path, b"x" * (terminal.MAX_REQUEST_BYTES + 1))
        assert reply["error"] == "malformed"
        assert await said(path, b'{"do":"li') == []
        assert await in_thread(list_pending, sockets) == ()


async def test_a_client_that_says_nothing_is_let_go(desk, sockets, monkeypatch):
    monkeypatch.setattr(terminal, "IDLE_S", 0.05)
    async with serving(desk, sockets) as path:
        async with await anyio.connect_unix(path) as silent:
            with pytest.raises(anyio.EndOfStream):
                await silent.receive()
        assert await in_thread(list_pending, sockets) == ()


async def test_more_clients_than_the_bound_are_turned_away(desk, sockets, monkeypatch):
    monkeypatch.setattr(terminal, "MAX_CONNECTIONS", 1)
    async with serving(desk, sockets) as path, await anyio.connect_unix(path) as first:
        await first.send(b'{"do":"list"}\n')
        await first.receive()
        assert await said(path) == []
        await first.send(b'{"do":"list"}\n')
        assert json.loads(await first.receive())["error"] == ""


async def test_a_failed_accept_does_not_end_the_service(desk, monkeypatch):
    monkeypatch.setattr(terminal, "ACCEPT_PAUSE_S", 0)

    class StopError(Exception):
        pass

    class Listener:
        failures = 2

        async def accept(self):
            if self.failures == 0:
                raise StopError
            self.failures -= 1
            raise OSError("Too many open files")

    with pytest.raises(ExceptionGroup) as ended:
        await terminal.attend_all(desk, Listener(), VOTERS)
    assert ended.group_contains(StopError)


async def test_a_request_too_large_to_show_is_not_shown_in_part(desk, sockets, monkeypatch):
    monkeypatch.setattr(terminal, "MAX_REPLY_BYTES", 300)
    pending = desk.open(question(facts=()))
    async with serving(desk, sockets):
        with pytest.raises(ApprovalError, match="too large to be shown whole"):
            await in_thread(show, sockets, pending.id)


def test_a_list_names_a_request_without_facts(desk):
    desk.open(question(facts=()))
    assert respond(desk, US, b'{"do":"list"}', VOTERS).listed[0].summary == ""


async def test_a_directory_deeper_than_a_socket_address_works(desk, tmp_path):
    deep = tmp_path / ("x" * 120)
    async with anyio.create_task_group() as group:
        await group.start(terminal.serve, desk, deep, VOTERS)
        assert await anyio.to_thread.run_sync(list_pending, deep) == ()
        group.cancel_scope.cancel()


async def test_a_directory_that_takes_no_socket_is_named(desk, sockets, monkeypatch):
    async def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(terminal.anyio, "create_unix_listener", full)
    with pytest.raises(ApprovalError, match=r"cannot listen: .*No space left"):
        await terminal.serve(desk, sockets, VOTERS)


# The client's side.


def stale(sockets: Path, name: str) -> Path:
    sockets.mkdir(mode=0o700, exist_ok=True)
    path = sockets / name
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    return path


def test_without_a_server_the_client_says_so(sockets):
    with pytest.raises(NoServer, match="no running server"):
        list_pending(sockets)


async def test_sockets_of_the_dead_are_passed_over_and_removed(desk, sockets):
    dead = stale(sockets, "0-dead.sock")
    odd = stale(sockets, "..odd.sock")
    starting = stale(sockets, f"{os.getpid()}-0starting.sock")
    async with serving(desk, sockets):
        assert await in_thread(list_pending, sockets) == ()
    assert not dead.exists()
    assert not odd.exists()
    assert starting.exists()


async def test_any_live_server_answers_for_every_request(desk, path, clock, sockets):
    pending = desk.open(question())
    other = Desk(Store(path), Log(), clock=clock)
    async with serving(other, sockets):
        assert (await in_thread(show, sockets, pending.id)).state is State.PENDING
        await in_thread(
            answer, sockets, pending.id, Answer.APPROVE, seen_digest=pending.request_digest
        )
    assert desk.get(pending.id).state is State.APPROVED


@asynccontextmanager
async def replying(sockets, reply: bytes):
    """A server that is not ours: it answers every connection with the same bytes."""
    sockets.mkdir(mode=0o700)
    listener = await anyio.create_unix_listener(sockets / f"{os.getpid()}-a.sock")

    async def handle(stream):
        async with stream:
            await stream.receive()
            if reply:
                await stream.send(reply)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield
        tasks.cancel_scope.cancel()


SHOWN = {"id": "ap_1", "request_digest": "d", "state": "pending"}


@pytest.mark.threat("T24")
@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"shown": {**SHOWN, "lines": ["ls\x1b[2K"]}},
        {"shown": {**SHOWN, "lines": ["\u202e"]}},
        {"shown": {**SHOWN, "id": "\x1b[2J", "lines": []}},
        {"error": "refused", "message": "\x1b[2J"},
        {"error": "new kind"},
        "yes",
    ],
    ids=range(7),
)
async def test_a_reply_that_could_draw_or_lie_is_not_shown(sockets, reply):
    async with replying(sockets, json.dumps(reply).encode() + b"\n"):
        with pytest.raises(ApprovalError) as refused:
            await in_thread(show, sockets, "ap_1")
        assert str(refused.value).isascii()
        assert str(refused.value).isprintable()


async def test_a_reply_without_a_state_is_no_answer(sockets):
    async with replying(sockets, b"{}\n"):
        with pytest.raises(ApprovalError, match="no state"):
            await in_thread(answer, sockets, "ap_1", Answer.APPROVE, seen_digest="d")


async def test_a_server_that_hangs_up_or_hangs_is_passed_over(sockets, monkeypatch):
    async with replying(sockets, b""):
        with pytest.raises(NoServer):
            await in_thread(list_pending, sockets)
    monkeypatch.setattr(terminal, "CLIENT_TIMEOUT_S", 0.05)
    hung = sockets / f"{os.getpid()}-hung.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(hung))
        server.listen()
        with pytest.raises(NoServer):
            await in_thread(list_pending, sockets)
    assert hung.exists()


def test_the_desk_is_asked_with_the_peer_the_kernel_named(desk):
    pending = desk.open(question())
    root = peer_principal(0, Voters(1000))
    ask = {"do": "approve", "id": pending.id, "seen_digest": pending.request_digest}
    assert respond(desk, root, json.dumps(ask).encode(), VOTERS).state is State.APPROVED
    assert desk.get(pending.id).votes[0].answer is Answer.APPROVE
    assert desk.get(pending.id).votes[0].by.level is Level.SEPARATE
