"""Asking the human through the agent's own client: MCP elicitation, in both protocol eras.

May touch: one request's MCP context. The client is the agent's program, so an answer from here is
"client-attested" (level 1), and the form always has a required field: an empty one was seen
accepted by no human.
Source: MCP specification 2025-11-25 (elicitation/create) and 2026-07-28 (input required results).
"""

import json
import time
from collections.abc import Mapping
from typing import Final, Literal

import anyio
from mcp.server.elicitation import render_elicitation_schema
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.scope import MAX_MINUTES, MAX_USES, Scope, Terms
from mcp_server.client import FASTEST_HUMAN_S, Answer, Form, Resumed

FORM_KEY = "approval"
MODERN = "2026-07-28"
HEARTBEAT_S = 5.0
ONCE: Final = "once"


class AnswerForm(BaseModel):
    """The one question, a required field without a default; and what a yes may stand for besides.

    A person sees only those of the other fields that the request offers, and each says "no more".
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    approve: bool = Field(description="Run exactly this? true runs it once; false refuses it.")
    for_session: bool = Field(
        default=False, description="Permit the same hosts until this session ends?"
    )
    grant: Literal["once", "exact", "argv-prefix", "program", "host"] = Field(
        default=ONCE, description="Approve once, or grant a scope that the message describes?"
    )
    uses: int = Field(default=1, ge=1, le=MAX_USES, description="How often a grant may be used.")
    minutes: int = Field(
        default=30, ge=1, le=MAX_MINUTES, description="How many minutes a grant stands."
    )


class McpClient:
    """The client behind one MCP request."""

    def __init__(self, context: Context[object, object]) -> None:
        self._context = context

    @property
    def name(self) -> str:
        """Return the client's own name; it is a claim, never an identity."""
        params = self._context.session.client_params
        return params.client_info.name[:64] if params is not None else "unnamed"

    @property
    def can_be_asked(self) -> bool:
        """Return whether the client declared form elicitation and can be reached now."""
        capabilities = self._context.client_capabilities
        elicitation = capabilities.elicitation if capabilities is not None else None
        if elicitation is None or (elicitation.form is None and elicitation.url is not None):
            return False
        return self._is_modern or self._context.session.can_send_request

    @property
    def _is_modern(self) -> bool:
        version = self._context.protocol_version
        return version is not None and is_version_at_least(version, MODERN)

    @property
    def resumed(self) -> Resumed | None:
        """Return the request this call answers; the SDK has unsealed the state before us."""
        state = self._context.request_state
        if not self._is_modern or state is None:
            return None  # answers without our state belong to no request of ours
        response = (self._context.input_responses or {}).get(FORM_KEY)
        answer = _read(response) if isinstance(response, ElicitResult) else None
        asked = json.loads(state)
        if answer is not None and time.time() - asked["asked_s"] < FASTEST_HUMAN_S:
            answer = "unavailable"
        return Resumed(asked["approval_id"], answer)

    async def ask(self, approval_id: str, form: Form) -> Answer | InputRequiredResult:
        """Ask now (handshake clients), or say what must be asked (2026-07-28)."""
        if self._is_modern:
            return _input_required(approval_id, form.text, _schema(form))
        began = anyio.current_time()
        try:
            result = await self._context.session.elicit_form(
                message=form.text,
                requested_schema=_schema(form),
                related_request_id=self._context.request_id,
            )
        except (MCPError, ValidationError):
            return "malformed"
        if anyio.current_time() - began < FASTEST_HUMAN_S:
            return "unavailable"
        return _read(result)

    async def keep_alive(self, text: str) -> None:
        """Report progress every few seconds; a no-op for clients that sent no progress token."""
        beats = 0
        while True:
            await self._context.report_progress(float(beats), None, text)
            beats += 1
            await anyio.sleep(HEARTBEAT_S)


def _schema(form: Form) -> dict[str, object]:
    """Return the schema of the fields that this form shows."""
    rendered = render_elicitation_schema(AnswerForm)
    shown = {"approve"}
    if form.has_session:
        shown.add("for_session")
    if form.scopes:
        shown.update(("grant", "uses", "minutes"))
    fields = {name: one for name, one in rendered["properties"].items() if name in shown}
    if form.scopes:
        fields["grant"] = {**fields["grant"], "enum": [ONCE, *form.scopes]}
    return {**rendered, "properties": fields}


def _input_required(approval_id: str, text: str, schema: dict[str, object]) -> InputRequiredResult:
    form = ElicitRequestFormParams(message=text, requested_schema=schema)
    return InputRequiredResult(
        input_requests={FORM_KEY: ElicitRequest(params=form)},
        request_state=json.dumps({"approval_id": approval_id, "asked_s": time.time()}),
    )


def _read(result: ElicitResult) -> Answer:
    """Return what an elicitation result says; everything that is not a clear yes is not one."""
    if result.action == "decline":
        return "deny"
    if result.action != "accept":
        return "cancel"
    content: Mapping[str, object] = result.content or {}
    try:
        form = AnswerForm.model_validate(content)
    except ValidationError:
        return "malformed"
    return _said(form)


def _said(form: AnswerForm) -> Answer:
    if not form.approve:
        return "deny"
    if form.grant == ONCE:
        return "approve-for-session" if form.for_session else "approve"
    if form.for_session:
        return "malformed"
    return Terms(Scope(form.grant), form.uses, form.minutes)
