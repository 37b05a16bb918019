"""The approvers' file: who may answer or ask through the API, each by the hash of a token.

May touch: the one file it is given, which only its owner can read or write. It is read on every
request, so a name that is taken out of it answers nothing more.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from approvals.private import private_file, replace_private
from approvals.request import ApprovalError

MAX_FILE_BYTES = 1 << 20
TOKEN_PREFIX = "pgt_"  # noqa: S105  # so that scanners of secrets can know one
Role = Literal["approver", "reader", "agent"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
ActorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@\[\]-]{0,63}$")]


_NO_NAME = (
    "{!r} is no name for an approver: 1 to 64 letters, digits and . _ @ -, beginning with a letter "
    "or digit. No token was made."
)
_NO_ACTORS = (
    "the token of an agent names 1 to 64 people who can set it off (--actor NAME), each by the "
    "name they have as an approver; no other token does. No token was made for {!r}."
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Approver(_Strict):
    """One person or system; a `reader` sees requests and answers none.

    An `agent` opens requests, sees its own and answers none. `actors` are the people who can set
    it off: none of them says yes to it. `owner_answers`: the owner is not one of them.
    """

    name: str = Field(pattern=NAME)
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    actors: tuple[ActorName, ...] = Field(default=(), max_length=64)
    owner_answers: bool = False

    @model_validator(mode="after")
    def _actors_of_an_agent(self) -> Self:
        if (self.role == "agent") != bool(self.actors) or (self.owner_answers and not self.actors):
            raise ValueError("an agent, and nobody else, has actors")
        return self


class _File(_Strict):
    version: Literal[1] = 1
    approvers: tuple[Approver, ...] = ()


def approver_of(path: Path, token: str) -> Approver | None:
    """Return whose token this is, or None.

    Raises:
        ApprovalError: the file cannot be used; nobody is let in by it.
    """
    offered = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for one in _read(path).approvers:
        if secrets.compare_digest(one.sha256, offered):
            found = one
    return found


def approvers(path: Path) -> tuple[Approver, ...]:
    """Return everybody in the file; nobody where there is none.

    Raises:
        ApprovalError: the file cannot be used.
    """
    return _read(path).approvers


def new_token(
    path: Path, name: str, role: Role, actors: tuple[str, ...] = (), *, owner_answers: bool = False
) -> str:
    """Return a new token for `name`, whose earlier one ends; only its hash is kept.

    Raises:
        ApprovalError: a name is not one, or the file cannot be used or written.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    hashed = hashlib.sha256(token.encode()).hexdigest()
    try:
        made = Approver(
            name=name, role=role, sha256=hashed, actors=actors, owner_answers=owner_answers
        )
    except ValidationError as error:
        is_about_name = error.errors(include_url=False, include_input=False)[0]["loc"] == ("name",)
        why = _NO_NAME if is_about_name else _NO_ACTORS
        raise ApprovalError(why.format(name)) from None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, (*_others(path, name), made))
    return token


def remove(path: Path, name: str) -> bool:
    """Take a name out of the file; return whether it was there.

    Raises:
        ApprovalError: the file cannot be used or written.
    """
    before, after = approvers(path), _others(path, name)
    if len(after) == len(before):
        return False
    _write(path, after)
    return True


def _others(path: Path, name: str) -> tuple[Approver, ...]:
    return tuple(one for one in _read(path).approvers if one.name != name)


def _read(path: Path) -> _File:
    if not path.exists():
        return _File()
    private_file(path)
    try:
        with path.open("rb") as file:
            return _File.model_validate_json(file.read(MAX_FILE_BYTES))
    except (OSError, ValidationError) as error:
        raise ApprovalError(
            f"{path}: cannot be read as approvers: {str(error).splitlines()[0]}. "
            "Nobody is let in by it; mend it, or move it away and make new tokens."
        ) from error


def _write(path: Path, everybody: tuple[Approver, ...]) -> None:
    """Replace the file; a crash leaves the old one or the new one."""
    try:
        replace_private(path, _File(approvers=everybody).model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}. No token was made or ended.") from error
