"""A no over HTTP: its status, one word for programs, a sentence for people.

May touch: values. INVARIANT: whatever is raised below these handlers, nothing was approved by it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from approvals.request import ApprovalError, Mismatch, NotPending
from approvals.statement import visible
from approvals.web.shapes import Problem

Word = Literal[
    "malformed", "unauthorized", "forbidden", "not_found", "not_allowed", "not_pending",
    "approval_mismatch", "refused", "too_large", "wrong_media_type", "wrong_host", "wrong_origin",
    "too_many", "unavailable",
]  # fmt: skip
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_BY_STATUS: dict[int, Word] = {404: "not_found", 405: "not_allowed"}


class Fault(Exception):  # noqa: N818  # it is an answer, not an error of ours
    """A request that is refused with this status, word and sentence."""

    def __init__(
        self, status: int, word: Word, message: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        super().__init__(message)
        self.status, self.word, self.message = status, word, message
        self.headers = headers

    def response(self) -> JSONResponse:
        """Return the fault as JSON."""
        problem = Problem(error=self.word, message=visible(self.message))
        challenge = {"WWW-Authenticate": "Bearer"} if self.word == "unauthorized" else {}
        return JSONResponse(problem.model_dump(), self.status, {**challenge, **self.headers})


async def as_fault(_request: Request, error: Exception) -> Response:
    """Return what a raised fault, or a refusal of the desk, is over HTTP."""
    return fault_of(error).response()


def fault_of(error: Exception) -> Fault:
    """Return the fault that an error is; an error of ours says no more than that it is one."""
    match error:
        case Fault():
            return error
        case NotPending():
            return Fault(409, "not_pending", f"{error}. Nothing was answered.")
        case Mismatch():
            return Fault(409, "approval_mismatch", str(error))
        case ApprovalError():
            return Fault(409, "refused", str(error))
        case HTTPException(status_code=status):
            word = _BY_STATUS.get(status, "malformed")
            said = "There is nothing here by that name and method."
            return Fault(status, word, said, error.headers or NO_HEADERS)
        case _:
            return Fault(500, "unavailable", "The server failed; its log says how. Nothing moved.")
