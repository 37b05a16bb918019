"""Every channel, and all that can become of a question: one run on a valid yes, else none.

Whole servers in the test's process; the sandbox, the store, the log, the owner's socket and the
page's listener are the real ones. A channel is a class below; what it has no method for stands in
LEFT_OUT with the reason.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx2
import pytest
from anyio import to_thread
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, InputRequiredResult

from approvals import terminal
from approvals.request import Answer, ApprovalError
from approvals.statement import statement
from approvals.terminal import peer_principal, respond
from approvals.voters import NAMESPACE
from approvals.web.approvers import new_token, remove
from approvals.web.links import NoPage, make_link
from mcp_server import elicit
from mcp_server.elicit import FORM_KEY
from mcp_server.reach import voters
from tests.approvals.keys import keygen, sign
from tests.approvals.web_rig import free_port
from tests.mcp_server.indoors import Indoors, append

# What can become of a question, and how often its command then runs.
RUNS = {
    "accept": 1,
    "decline": 0,
    "cancel": 0,
    "malformed": 0,
    "silence": 0,
    "disconnect": 0,
    "replay": 1,  # the first time
    "changed argument": 0,
    "changed pinned file": 0,
    "wrong principal": 0,
    "restart": 0,  # a session does not outlive its server
    "two servers": 1,  # of two that ask for the same, the one that got the yes
}
LEFT_OUT = {
    ("form, handshake", "replay"): "a response answers one JSON-RPC id, which the SDK forgets",
    ("form, handshake", "changed argument"): "call and question are one JSON-RPC request",
    ("terminal", "cancel"): "a person says no; only the side that asked cancels",
    ("signature", "cancel"): "a person says no; only the side that asked cancels",
    ("page", "cancel"): "a person says no; only the side that asked cancels",
    ("API", "cancel"): "a person says no; only the side that asked cancels",
    ("signature", "decline"): "a no needs no signature; the terminal's row has it",
}
SCRIPT = {"command": "bash asks/tool.sh"}
YES, NO = ElicitResult(action="accept", content={"approve": True}), ElicitResult(action="decline")


class House:
    """Servers over one store, opened as the test goes."""

    def __init__(self, base: Path) -> None:
        self.base, self.opened = base, []
        self.tool = base / "workspace" / "asks" / "tool.sh"

    def server(self, approvals: str) -> Indoors:
        make = Indoors.open if self.opened else Indoors.make
        made = make(self.base, f"approvals: {{{approvals}}}\n", ("attested.yaml",))
        if not self.opened:
            self.tool.write_text("true\n")
        self.opened.append(made)
        return made

    def runs(self) -> int:
        """Return how many commands came to an end of their own, as the log says."""
        ends = [
            one["outcome"] for one in self.opened[0].records() if one["event"] == "exec.outcome"
        ]
        return sum(end.get("exit") is not None for end in ends)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(elicit, "FASTEST_HUMAN_S", 0)  # these people are fast
    with TemporaryDirectory(prefix="matrix-") as base:  # a socket's address is short
        made = House(Path(base))
        yield made
        for server in made.opened:
            server.app.close()


async def status(client, arguments) -> str:
    return (await client.call_tool("exec", arguments)).structured_content["status"]


class Form:
    """The agent's client shows a form: the answer is its result."""

    era = "legacy"
    settings = "channels: [elicitation], wait_s: 5"

    def __init__(self, house: House) -> None:
        self.house = house

    async def call(self, answer: Callable[[], Awaitable[ElicitResult]], arguments=None) -> str:
        async def callback(_: object, __: object) -> ElicitResult:
            return await answer()

        server = self.house.server(self.settings)
        async with server.connected(self.era, callback) as client:
            return await status(client, arguments or append())

    async def said(self, result: ElicitResult) -> str:
        async def answer() -> ElicitResult:
            return result

        return await self.call(answer)

    async def accept(self) -> None:
        assert await self.said(YES) == "ok"

    async def decline(self) -> None:
        assert await self.said(NO) == "declined"

    async def cancel(self) -> None:
        assert await self.said(ElicitResult(action="cancel")) == "declined"

    async def malformed(self) -> None:
        wrong = ElicitResult(action="accept", content={"approve": "yes"})
        assert await self.said(wrong) == "declined"

    async def silence(self) -> None:
        self.settings = "channels: [elicitation], wait_s: 0.2"
        with anyio.move_on_after(0.6):
            assert await self.call(partial(anyio.sleep_forever)) == "pending"

    async def disconnect(self) -> None:
        asked = anyio.Event()

        async def answer() -> ElicitResult:
            asked.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(self.call, answer)
            await asked.wait()
            group.cancel_scope.cancel()

    async def changed_pinned_file(self) -> None:
        async def answer() -> ElicitResult:
            self.house.tool.write_text("echo other\n")
            return YES

        assert await self.call(answer, SCRIPT) in ("error", "declined")
        self.house.tool.unlink()

        async def appear() -> ElicitResult:
            self.house.tool.write_text("echo other\n")
            return YES

        assert await self.call(appear, SCRIPT) in ("error", "declined")

    async def wrong_principal(self) -> None:
        self.settings += ", unreachable: deny"
        server = self.house.server(self.settings)

        async def yes(_: object, __: object) -> ElicitResult:
            return YES

        async with server.connected(self.era, yes) as client:
            # Outside the sandbox needs the owner, and the agent's client is not the owner.
            needs_owner = {**append(), "profile": "unconfined"}
            assert await status(client, needs_owner) == "declined"

    async def restart(self) -> None:
        with suppress(MCPError):
            await self.silence()
        again = self.house.server("channels: [elicitation], wait_s: 0")
        async with again.connected(self.era) as client:
            assert await status(client, append()) == "declined"  # the yes was never said

    async def two_servers(self) -> None:
        await self.accept()
        assert await self.said(NO) == "declined"


class ModernForm(Form):
    """The same by return value: the client calls again with the answer and our sealed state."""

    era = "auto"

    @asynccontextmanager
    async def asked(self, arguments=None) -> AsyncIterator[tuple[object, str]]:
        async def nobody(_: object, __: object) -> ElicitResult:
            raise AssertionError("rounds are made by hand here")

        async with self.house.server(self.settings).connected(self.era, nobody) as client:
            first = await self.again(client, arguments or append())
            assert isinstance(first, InputRequiredResult)
            yield client, first.request_state

    async def again(self, client, arguments, state=None):
        responses = {FORM_KEY: YES} if state else None
        call = partial(client.session.call_tool, "exec", arguments, allow_input_required=True)
        return await call(request_state=state, input_responses=responses)

    async def replay(self) -> None:
        async with self.asked() as (client, state):
            said = [
                (await self.again(client, append(), state)).structured_content["status"]
                for _ in range(3)
            ]
        assert said == ["ok", "declined", "declined"]

    async def changed_argument(self) -> None:
        async with self.asked() as (client, state):
            with pytest.raises(MCPError):
                await self.again(client, {"command": "echo other >> asks/ran.txt"}, state)

    async def restart(self) -> None:
        async with self.asked() as (_, state):
            pass
        async with self.house.server(self.settings).connected(self.era) as client:
            with pytest.raises(MCPError):
                await self.again(client, append(), state)


class Terminal:
    """The owner's socket: the call returns `pending`, and is made again after the answer."""

    settings = "channels: [terminal], wait_s: 0"

    def __init__(self, house: House) -> None:
        self.house = house

    @property
    def sockets(self) -> Path:
        return self.house.opened[0].app.places.approvals

    @asynccontextmanager
    async def asked(self, arguments=None) -> AsyncIterator[tuple[object, str]]:
        """Serve, and yield the client and the id of what its call asked for."""
        server = self.house.server(self.settings)
        async with self.serving(server), server.connected("auto") as client:
            yield client, await self.pending(client, arguments or append())

    @asynccontextmanager
    async def serving(self, server: Indoors) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            directory = server.app.places.approvals
            known = voters(server.app.config.approvals)
            await group.start(terminal.serve, server.app.desk, directory, known)
            yield
            group.cancel_scope.cancel()

    async def pending(self, client, arguments) -> str:
        result = (await client.call_tool("exec", arguments)).structured_content
        assert result["status"] == "pending"
        return result["approval"]["id"]

    async def yes(self, request_id: str) -> None:
        """Say yes as this channel does."""
        await self.say(Answer.APPROVE, request_id)

    async def say(self, answer: Answer, request_id: str) -> None:
        shown = await to_thread.run_sync(terminal.show, self.sockets, request_id)
        said = partial(terminal.answer, seen_digest=shown.request_digest)
        await to_thread.run_sync(said, self.sockets, request_id, answer)

    def line(self, request_id: str) -> dict[str, str]:
        digest = self.house.opened[0].app.desk.get(request_id).request_digest
        return {"do": "approve", "id": request_id, "seen_digest": digest}

    async def accept(self) -> None:
        async with self.asked() as (client, request_id):
            await self.yes(request_id)
            assert await status(client, append()) == "ok"

    async def decline(self) -> None:
        async with self.asked() as (client, request_id):
            await self.say(Answer.DENY, request_id)
            assert await status(client, append()) == "declined"

    async def malformed(self) -> None:
        async with self.asked() as (client, request_id):
            line = self.line(request_id)
            for wrong in ({**line, "always": True}, {**line, "do": "yes"}, [line], "approve"):
                assert '"error":"malformed"' in await self.sent(json.dumps(wrong) + "\n")
            assert await status(client, append()) == "pending"

    async def sent(self, text: str) -> str:
        """Send bytes to the socket, say nothing more, and return the reply."""
        (path,) = self.sockets.glob("*.sock")
        async with await anyio.connect_unix(path) as stream:
            await stream.send(text.encode())
            await stream.send_eof()
            try:
                return (await stream.receive()).decode()
            except anyio.EndOfStream:
                return ""

    async def silence(self) -> None:
        self.settings += ", ttl_s: 1"
        async with self.asked() as (client, request_id):
            self.house.opened[0].app.desk._clock = lambda: 1e12  # much later
            with suppress(ApprovalError):
                await self.yes(request_id)
            again = await client.call_tool("approval_status", {"approval_id": request_id})
            assert again.structured_content["state"] == "expired"

    async def disconnect(self) -> None:
        async with self.asked() as (client, request_id):
            assert await self.sent(json.dumps(self.line(request_id))) == ""  # no end of line
            assert await status(client, append()) == "pending"

    async def replay(self) -> None:
        async with self.asked() as (client, request_id):
            line = json.dumps(self.line(request_id)) + "\n"
            assert '"state":"approved"' in await self.sent(line)
            assert await status(client, append()) == "ok"
            assert '"error":"not_pending"' in await self.sent(line)
            assert await status(client, append()) == "pending"  # another question

    async def changed_argument(self) -> None:
        async with self.asked() as (client, request_id):
            await self.yes(request_id)
            assert await status(client, {"command": "echo other >> asks/ran.txt"}) == "pending"

    async def changed_pinned_file(self) -> None:
        async with self.asked(SCRIPT) as (client, request_id):
            await self.yes(request_id)
            self.house.tool.write_text("echo other\n")
            await client.call_tool("approval_status", {"approval_id": request_id})
            assert await status(client, SCRIPT) == "pending"

    async def wrong_principal(self) -> None:
        async with self.asked() as (client, request_id):
            desk, stranger = self.house.opened[0].app.desk, os.geteuid() + 1
            known = voters(self.house.opened[0].app.config.approvals)
            line = json.dumps(self.line(request_id)).encode()
            reply = respond(desk, peer_principal(stranger, known), line, known)
            assert reply.error == "refused"
            assert await status(client, append()) == "pending"

    async def restart(self) -> None:
        async with self.asked() as (_, request_id):
            pass
        again = self.house.server(self.settings)
        async with self.serving(again), again.connected("auto") as client:
            await self.yes(request_id)  # the question is still there; who asked it is not
            assert await status(client, append()) == "pending"

    async def two_servers(self) -> None:
        async with self.asked() as (client, request_id):
            other = self.house.server(self.settings)
            async with self.serving(other), other.connected("auto") as stranger:
                await self.pending(stranger, append())
                await self.yes(request_id)  # at either socket
                assert await status(stranger, append()) == "pending"
                assert await status(client, append()) == "ok"


class Signature(Terminal):
    """An SSH signature over the statement, handed in at the owner's socket."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        for name in ("alice", "stranger"):
            path = house.base / name / "key"
            path.parent.mkdir()
            keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path))
        signers = house.base / "signers"
        public = (house.base / "alice" / "key.pub").read_text()
        signers.write_text(f'alice namespaces="{NAMESPACE}" {public}')
        signers.chmod(0o600)
        self.settings += f", signers: {signers}, strict_owner: true, separate: [alice]"

    def line(self, request_id: str) -> dict[str, str]:
        signature = self.signed_by("alice", request_id)
        return {"do": "approve-signed", "id": request_id, "signature": signature}

    def signed_by(self, name: str, request_id: str, namespace: str = NAMESPACE) -> str:
        text = statement(self.house.opened[0].app.desk.get(request_id))
        return sign(self.house.base / name, text.encode(), namespace)

    async def yes(self, request_id: str) -> None:
        signature = self.signed_by("alice", request_id)
        await to_thread.run_sync(terminal.answer_signed, self.sockets, request_id, signature)

    async def malformed(self) -> None:
        async with self.asked() as (client, request_id):
            whole = self.signed_by("alice", request_id)
            other = self.signed_by("alice", request_id, "git")
            for wrong in ("", whole[:-40], whole.replace("A", "B", 1), other):
                line = {**self.line(request_id), "signature": wrong}
                assert '"error":"refused"' in await self.sent(json.dumps(line) + "\n")
            assert await status(client, append()) == "pending"

    async def wrong_principal(self) -> None:
        async with self.asked() as (client, request_id):
            line = {**self.line(request_id), "signature": self.signed_by("stranger", request_id)}
            assert '"error":"refused"' in await self.sent(json.dumps(line) + "\n")
            assert await status(client, append()) == "pending"


class Page(Terminal):
    """The page in a browser: a link, then a cookie and a key from the page's own origin."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.approvers = house.base / "approvers.json"
        self.settings = (
            f"channels: [], wait_s: 0, page: {{listen: '127.0.0.1:{self.port}'}}, "
            f"approvers: {self.approvers}"
        )

    @asynccontextmanager
    async def serving(self, server: Indoors) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(server.app.serve_owner)
            with anyio.fail_after(20):
                while (link := self.link()) is None:  # noqa: ASYNC110  # nothing rings for it
                    await anyio.sleep(0.005)
            async with httpx2.AsyncClient(base_url=self.url, trust_env=False) as self.web:
                await self.enter(link)
                yield
            group.cancel_scope.cancel()

    def link(self) -> str | None:
        try:
            return make_link(self.sockets, time.time())
        except NoPage:
            return None

    async def enter(self, link: str) -> None:
        self.web.headers["Origin"] = self.url
        token = link.partition("#login=")[2]
        entered = await self.web.post("/page/enter", json={"token": token})
        self.web.headers["X-Permitgate-Key"] = entered.json()["key"]

    def body(self, request_id: str, answer: str = "approve") -> dict[str, str]:
        return {"answer": answer, "seen_digest": self.line(request_id)["seen_digest"]}

    async def post(self, request_id: str, **sent: object) -> str:
        """Send an answer, or what is `sent` instead; return the state or the refusal's word."""
        sent = sent or {"json": self.body(request_id)}
        replied = await self.web.post(f"/api/v1/approvals/{request_id}/decisions", **sent)
        return replied.json().get("state") or replied.json()["error"]

    async def say(self, answer: Answer, request_id: str) -> None:
        await self.post(request_id, json=self.body(request_id, answer.value))

    async def malformed(self) -> None:
        async with self.asked() as (client, request_id):
            whole = self.body(request_id)
            wrong = ({**whole, "always": True}, {**whole, "answer": "yes"}, [whole], "approve", {})
            said = {await self.post(request_id, json=one) for one in wrong}
            said.add(await self.post(request_id, content=b'{"answer": "approve"'))
            assert said == {"malformed", "wrong_media_type"}
            other = {**whole, "seen_digest": "0" * 64}
            assert await self.post(request_id, json=other) == "approval_mismatch"
            assert await status(client, append()) == "pending"

    async def disconnect(self) -> None:
        async with self.asked() as (client, request_id):
            content = json.dumps(self.body(request_id)).encode()
            told = {"Content-Type": "application/json", "Content-Length": str(len(content) + 1)}
            asked = self.web.build_request(
                "POST", f"/api/v1/approvals/{request_id}/decisions", headers=told
            )
            head = f"{asked.method} {asked.url.raw_path.decode()} HTTP/1.1\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in asked.headers.items()
            )
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                await stream.send(head.encode() + b"\r\n" + content)  # and the last byte never
            assert await status(client, append()) == "pending"

    async def replay(self) -> None:
        async with self.asked() as (client, request_id):
            assert await self.post(request_id) == "approved"
            assert await status(client, append()) == "ok"
            assert await self.post(request_id) == "not_pending"
            assert await status(client, append()) == "pending"  # another question

    async def wrong_principal(self) -> None:
        async with self.asked() as (client, request_id):
            cookie, key = self.web.cookies["permitgate"], self.web.headers["X-Permitgate-Key"]
            for headers, word in (
                ({"X-Permitgate-Key": "A" * 43}, "unauthorized"),
                ({"Cookie": f"permitgate={key}", "X-Permitgate-Key": cookie}, "unauthorized"),
                ({"Origin": "https://evil.example"}, "wrong_origin"),
            ):
                body = self.body(request_id)
                assert await self.post(request_id, json=body, headers=headers) == word
            assert await status(client, append()) == "pending"


class Api(Page):
    """The API, with the token of an approver."""

    async def enter(self, link: str) -> None:
        self.bear(new_token(self.approvers, "alice", "approver"))

    def bear(self, token: str) -> None:
        self.web.headers["Authorization"] = f"Bearer {token}"

    async def wrong_principal(self) -> None:
        async with self.asked() as (client, request_id):
            self.bear(new_token(self.approvers, "eve", "reader"))
            assert await self.post(request_id) == "forbidden"
            alice = new_token(self.approvers, "alice", "approver")
            remove(self.approvers, "alice")
            for token in (alice, "pgt_guess"):
                self.bear(token)
                assert await self.post(request_id) == "unauthorized"
            assert await status(client, append()) == "pending"


CHANNELS = {
    "form, handshake": Form,
    "form, 2026-07-28": ModernForm,
    "terminal": Terminal,
    "signature": Signature,
    "page": Page,
    "API": Api,
}
CELLS = [
    (channel, event) for channel in CHANNELS for event in RUNS if (channel, event) not in LEFT_OUT
]


@pytest.mark.threat("T06")
@pytest.mark.threat("T07")
@pytest.mark.threat("T08")
@pytest.mark.untraced
@pytest.mark.parametrize(("channel", "event"), CELLS, ids=map(": ".join, CELLS))
async def test_a_valid_yes_runs_once_and_nothing_else_runs(house, channel, event):
    await getattr(CHANNELS[channel](house), event.replace(" ", "_"))()
    assert (house.runs(), house.opened[0].runs()) == (RUNS[event], RUNS[event])
