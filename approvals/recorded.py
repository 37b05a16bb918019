"""Whether a signed vote in a log is what it says: for an auditor who has the log and the signers.

May touch: values. May not touch: files, clocks, the store: the record says when it was decided.
INVARIANT: all that `desk.vote_signed` asked of the vote is asked again, but for what only the
configuration knows: whose name was the owner's, who held which role.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.request import Level
from approvals.sshsig import BadSignature, Signer, verify
from approvals.statement import MAGIC
from approvals.voters import NAMESPACE

_Text = Annotated[str, Field(max_length=1 << 16)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Signed(_Part):
    namespace: _Text
    principal: _Text
    at_ms: int
    statement: _Text
    signature: _Text


class _By(_Part):
    name: _Text
    level: int


class _Vote(_Part):
    id: _Text
    request_digest: _Text
    action_digest: _Text
    answer: Literal["approve"]
    by: _By
    signed: _Signed


def why_not(approval: Mapping[str, object], signers: Sequence[Signer]) -> str:
    """Return why the signature of a recorded vote proves nothing; "" where it proves the vote."""
    try:
        vote = _Vote.model_validate(approval)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return _about_another(vote) or _by_another(vote, signers)


def _about_another(vote: _Vote) -> str:
    said = vote.signed.statement.splitlines()
    about = [MAGIC, f"request {vote.request_digest}", f"id {vote.id}"]
    if said[: len(about)] != about:
        return "the statement that was signed is about another request"
    is_same = f"action {vote.action_digest}" in said
    return "" if is_same else "the statement that was signed is about another action"


def _by_another(vote: _Vote, signers: Sequence[Signer]) -> str:
    signed = vote.signed
    message, at_s = signed.statement.encode("utf-8", "surrogatepass"), signed.at_ms / 1000
    try:
        found = verify(message, signed.signature, NAMESPACE, signers, at_s)
    except BadSignature as error:
        return str(error)
    if signed.principal not in found.principals or signed.principal != vote.by.name:
        return f"it is by {', '.join(found.principals)}, and the vote is {vote.by.name[:80]!r}'s"
    is_level = vote.by.level < Level.PRESENT or found.touched
    return "" if is_level else "the vote is of level present, and its key is none that is touched"
