"""People elsewhere are asked: another Permitgate shows the request, and its log proves the answer.

May touch: one URL, the desk. No redirect is followed and no proxy of the environment is used.
INVARIANT: an answer counts by the proof alone: that a record in the log of the configured key
decides about exactly the bytes that this request was asked with. The server, the network and
whoever holds the token can keep an answer back; they cannot make one.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Literal

import anyio
import httpx2
from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.desk import Desk
from approvals.request import (
    Answer,
    ApprovalError,
    Level,
    NotPending,
    Pending,
    Principal,
    State,
    Vote,
)
from approvals.statement import visible
from approvals.web.shapes import Asked, AskedFact, Problem, Shown, Use, asked_digest
from audit.errors import AuditError
from audit.note import PublicKey
from audit.prove import verify_proof
from audit.sinks.deliver import SinkError
from audit.sinks.secret import read_secret
from mcp_server.config import ServerSettings

PATH = "/api/v1/approvals"
ANSWER_S = 20.0
WAIT_S = 30
RETRY_S = 1.0
MAX_ANSWER_BYTES = 4 << 20
_TIMEOUT = httpx2.Timeout(ANSWER_S, read=ANSWER_S + WAIT_S)
_OK = 200
_LATER = frozenset({408, 429, 500, 502, 503, 504})
_LEVELS: Mapping[Level, Literal["owner", "separate", "present"]] = {
    Level.ATTESTED: "owner",
    Level.OWNER: "owner",
    Level.SEPARATE: "separate",
    Level.PRESENT: "present",
}


class Unanswered(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """The server did not answer; it may later."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _By(_Part):
    name: Annotated[str, Field(max_length=4000, pattern=r"^[ -~]+$")]
    level: Annotated[int, Field(ge=Level.ATTESTED, le=Level.PRESENT)]


class _Voted(_Part):
    answer: Literal["approve", "approve-for-session", "deny"]
    by: _By
    reason: Annotated[str, Field(max_length=8000, pattern=r"^[ -~]*$")] = ""


class _Decision(_Part):
    state: Literal["approved", "denied"]
    action_digest: str
    votes: tuple[_Voted, ...] = Field(min_length=1)


class _Record(_Part):
    event: Literal["approval.applied"]
    approval: _Decision


class ApprovalServer:
    """One server whose people may answer, for one desk."""

    def __init__(self, desk: Desk, settings: ServerSettings, uid: int) -> None:
        """Connect to nothing yet."""
        self._desk, self._settings, self._uid = desk, settings, uid
        self._base = settings.url.rstrip("/") + PATH

    async def ask(self, pending: Pending, *, is_alone: bool) -> None:
        """Have a request shown there, and count an answer that it has already.

        Raises:
            Unanswered: the server did not answer, and nobody else is asked.
            ApprovalError: it refused, or its answer proves nothing.
        """
        asked = _asked(pending, self._settings)
        try:
            shown = await self._sent("POST", "", asked)
            await self._settled(pending, asked, shown)
        except Unanswered:
            if is_alone:
                raise

    async def follow(self, pending: Pending) -> None:
        """Wait until it is answered there, and count the answer here.

        Raises:
            ApprovalError: it never will be, or the answer proves nothing.
        """
        asked = _asked(pending, self._settings)
        method, path, body = "POST", "", asked
        while True:
            try:
                shown = await self._sent(method, path, body)
                if await self._settled(pending, asked, shown):
                    return
                method, path, body = "GET", f"/{shown.id}?wait={WAIT_S}", b""
            except Unanswered:
                await anyio.sleep(RETRY_S)  # it may be back before the time to answer is over

    async def _settled(self, pending: Pending, asked: bytes, shown: Shown) -> bool:
        """Count an answer that there is to these bytes; return whether there was one."""
        if shown.state is State.PENDING:
            return False
        digest = asked_digest(asked)
        # A yes is spent there before it counts here. Should the power fail in between, the same
        # question finds it spent, and its proof: it still counts, for this request alone.
        if shown.state is State.APPROVED:
            use = Use(action_digest=digest).model_dump_json().encode()
            shown = await self._sent("POST", f"/{shown.id}/use", use)
        if shown.proof is None or shown.state not in (State.CONSUMED, State.DENIED):
            raise self._error(f"the request there is {shown.state.value}")
        cast = partial(self._cast, pending, self._proven(shown.proof, digest), shown.proof)
        await to_thread.run_sync(cast)
        return True

    def _cast(self, pending: Pending, votes: Sequence[Vote], proof: str) -> None:
        with suppress(NotPending):  # another channel was first
            self._desk.vote_proven(pending.id, votes, proof)

    def _proven(self, proof: str, digest: str) -> list[Vote]:
        """Return the votes of the decision that a proof proves to be about this digest."""
        try:
            found = verify_proof(proof.encode(), [PublicKey.parse(self._settings.key)])
            record = _Record.model_validate_json(found.record)
        except (AuditError, ValidationError) as error:
            why = str(error).splitlines()[0]
            raise self._error(f"its proof proves no decision: {why}") from None
        decision = record.approval
        if decision.action_digest != digest:
            raise self._error("what it proves is about another request")
        is_no = decision.state == "denied"
        return [_vote(one, self._uid) for one in decision.votes if (one.answer == "deny") is is_no]

    async def _sent(self, method: str, path: str, body: bytes) -> Shown:
        """Return the request that the server answers with."""
        url = self._base + path
        try:
            token = await to_thread.run_sync(read_secret, self._settings.token_file)
            headers = {
                "Authorization": "Bearer " + token.decode("ascii", "replace"),
                "Content-Type": "application/json",
            }
            async with (
                httpx2.AsyncClient(trust_env=False, timeout=_TIMEOUT) as web,
                web.stream(method, url, headers=headers, content=body) as answer,
            ):
                status, said = answer.status_code, await self._read(answer)
        except httpx2.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Unanswered(f"{url}: no answer: {why}. Nothing ran.") from None
        except SinkError as error:
            raise self._error(f"the token cannot be used: {error}") from None
        if status in _LATER:
            raise Unanswered(f"{url}: answered {status}. Nothing ran.")
        try:
            if status == _OK:
                return Shown.model_validate_json(said)
            raise self._error(Problem.model_validate_json(said).message)
        except ValidationError:
            raise self._error(f"answered {status}, and not as Permitgate does") from None

    async def _read(self, answer: httpx2.Response) -> bytes:
        said = bytearray()
        async for chunk in answer.aiter_bytes():
            said += chunk
            if len(said) > MAX_ANSWER_BYTES:
                raise self._error(f"answered more than {MAX_ANSWER_BYTES} bytes")
        return bytes(said)

    def _error(self, why: str) -> ApprovalError:
        return ApprovalError(f"{self._settings.url}: {visible(why, 500)}. Nothing ran on it.")


def _vote(voted: _Voted, uid: int) -> Vote:
    answer = Answer.DENY if voted.answer == "deny" else Answer.APPROVE
    by = Principal("server", uid, voted.by.name, Level(voted.by.level))
    return Vote(answer, by, voted.reason)


def _asked(pending: Pending, settings: ServerSettings) -> bytes:
    """Return the body that asks for a request there; for one request always the same bytes."""
    question = pending.question
    facts = (*question.facts, ("asked-by", question.requester.identity))
    try:
        asked = Asked(
            reference=pending.request_digest,
            agent=settings.agent,
            actor=settings.actor,
            tool=question.tool,
            facts=tuple(AskedFact(key=key, text=_plain(text)) for key, text in facts),
            preview=_plain(question.preview),
            warnings=tuple(map(_plain, question.warnings)),
            level=_LEVELS[question.need.level],
            quorum=question.need.quorum,
            ttl_s=question.need.ttl_s,
            use_within_s=question.need.use_within_s,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ApprovalError(
            f"{settings.url}: cannot be asked this: {place}: {first['msg']}. Nothing ran."
        ) from None
    return asked.model_dump_json().encode()


def _plain(text: str) -> str:
    """Return text that JSON can carry: what is no character stands as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
