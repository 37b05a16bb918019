"""The OpenAPI 3.1 document, written from the models that the handlers parse and answer with.

May touch: values.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from approvals.terminal_grants import GrantRow
from approvals.web.api import LONGEST_WAIT_S
from approvals.web.grant_shapes import Granted, Granting, Grants, Offers
from approvals.web.shapes import (
    Asked,
    Decided,
    Decision,
    Nothing,
    Problem,
    Requests,
    Shown,
    Use,
)

_MODELS: tuple[type[BaseModel], ...] = (
    Asked, Decided, Decision, Granted, Granting, GrantRow, Grants, Nothing, Offers, Problem,
    Requests, Shown, Use,
)  # fmt: skip
_REFUSED: Mapping[int, str] = {
    400: "The request is malformed.",
    401: "No session and no token that is known.",
    403: "Another origin, or a token that may not do this.",
    404: "There is no such request.",
    409: "Answered already, too late, another digest, or a yes that does not count.",
    413: "The body is longer than 64 KiB; 1 MiB where an agent asks.",
    415: "The body is not application/json.",
    421: "The Host is not ours.",
    429: "Too many failed attempts; see Retry-After.",
}
_ID: Mapping[str, object] = {
    "name": "id", "in": "path", "required": True, "schema": {"type": "string"},
}  # fmt: skip


async def show(_request: Request) -> Response:
    """Answer the document."""
    return JSONResponse(document())


@cache
def document() -> dict[str, object]:
    """Return the document."""
    template = "#/components/schemas/{model}"
    _, found = models_json_schema([(one, "validation") for one in _MODELS], ref_template=template)
    state = {"name": "state", "in": "query",
             "schema": {"enum": ["pending", "answered"], "default": "pending"}}  # fmt: skip
    wait = {"name": "wait", "in": "query",
            "schema": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_S,
                       "default": 0}}  # fmt: skip
    path = "/api/v1/approvals"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Permitgate approvals",
            "version": "1",
            "description": "Requests of agents, and a person's answers. Tokens: permitgate "
            "approvals token NAME; of an agent that asks from elsewhere, with --agent.",
        },
        "security": [{"token": []}],
        "paths": {
            path: {
                "get": _operation("The requests that wait, or were answered.", Requests, [state]),
                "post": _operation("An agent asks people.", Shown, body=Asked),
            },
            path + "/{id}": {
                "get": _operation("One request; waits for its answer.", Shown, [_ID, wait])
            },
            path + "/{id}/decisions": {
                "post": _operation("Answer a request.", Decided, [_ID], body=Decision)
            },
            path + "/{id}/use": {
                "post": _operation(
                    "Use the yes to an agent's request, once.", Shown, [_ID], body=Use
                )
            },
            path + "/{id}/offers": {
                "get": _operation("What a yes could also grant, for approvers.", Offers, [_ID])
            },
            path + "/{id}/grants": {
                "post": _operation(
                    "Approve a request once, and grant more.", Granted, [_ID], body=Granting
                )
            },
            "/api/v1/grants": {
                "get": _operation("The grants that could still be used, for approvers.", Grants)
            },
            "/api/v1/grants/{id}/revoke": {
                "post": _operation("End a grant.", GrantRow, [_ID], body=Nothing)
            },
        },
        "components": {
            "schemas": found["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    summary: str,
    answer: type[BaseModel],
    parameters: Sequence[Mapping[str, object]] = (),
    *,
    body: type[BaseModel] | None = None,
) -> dict[str, object]:
    problems = {
        str(status): {"description": what, "content": _json(Problem)}
        for status, what in _REFUSED.items()
    }
    good = {"200": {"description": summary, "content": _json(answer)}}
    sent = {} if body is None else {"requestBody": {"required": True, "content": _json(body)}}
    responses = {**good, **problems}
    return {"summary": summary, "parameters": list(parameters), **sent, "responses": responses}


def _json(model: type[BaseModel]) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
