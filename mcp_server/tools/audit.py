"""The audit tools: an agent may read its own records, verify the log, and get a proof.

May touch: the audit log, for reading. A subject sees its own records only; whether the log is
whole is no secret.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from anyio import to_thread
from pydantic import Field

from audit.canonical import Json
from audit.errors import AuditError
from audit.index import INDEX, newest
from audit.note import PublicKey
from audit.prove import prove
from audit.query import Query
from audit.verify import Code, Report, verify
from mcp_server.app import App
from mcp_server.client import Client
from mcp_server.owner import CallRefusedError
from mcp_server.present import receipt_result
from mcp_server.records import by
from mcp_server.results import AuditProofResult, AuditRecordsResult, AuditVerdictResult
from mcp_server.tool import Answered, AnyTool, Arguments, Tool
from policy.model import Subject

VERDICTS: dict[Code, Literal["verified", "tampered", "unreadable", "incomplete"]] = {
    Code.VERIFIED: "verified",
    Code.TAMPERED: "tampered",
    Code.UNUSABLE: "unreadable",
    Code.INCOMPLETE: "incomplete",
}
MAX_SHOWN_BYTES = 200_000


class AuditQueryArguments(Arguments):
    """Arguments of `audit_query`."""

    since: str | None = Field(default=None, description="RFC 3339 time, inclusive.")
    until: str | None = Field(default=None, description="RFC 3339 time, exclusive.")
    effect: str | None = Field(default=None, pattern="^(allow|ask|deny)$")
    text: str | None = Field(default=None, max_length=200, description="Text in the record.")
    limit: int = Field(default=50, ge=1, le=500)


class AuditVerifyArguments(Arguments):
    """Arguments of `audit_verify`: none."""


class AuditProveArguments(Arguments):
    """Arguments of `audit_prove`."""

    seq: int = Field(ge=0, description="The record, from `log_seq` of a result.")


def tools(app: App) -> list[AnyTool]:
    """Return the tools of this family."""

    async def audit_query(arguments: AuditQueryArguments, client: Client) -> Answered:
        subject = app.caller.subject(client)
        receipt = await app.journal.append(_read_record(subject, "audit_query"))
        found, is_cut = await to_thread.run_sync(_own_records, app, subject, arguments)
        result = AuditRecordsResult(
            records=[{**record} for record in found],
            truncated=is_cut,
            receipt=receipt_result(receipt),
        )
        return Answered(result, "\n".join(map(_line, found)) or "no records")

    async def audit_verify(_: AuditVerifyArguments, client: Client) -> Answered:
        receipt = await app.journal.append(_read_record(app.caller.subject(client), "audit_verify"))
        report = await to_thread.run_sync(_verified, app)
        result = AuditVerdictResult(
            verdict=VERDICTS[report.code],
            records=report.records,
            signed=report.signed,
            findings=[f"{finding.place}: {finding.message}" for finding in report.findings],
            receipt=receipt_result(receipt),
        )
        lines = [f"{result.verdict}: {result.records} records, {result.signed} signed"]
        return Answered(result, "\n".join(lines + result.findings), report.code != 0)

    async def audit_prove(arguments: AuditProveArguments, client: Client) -> Answered:
        receipt = await app.journal.append(_read_record(app.caller.subject(client), "audit_prove"))
        try:
            proof = await to_thread.run_sync(_own_proof, app, arguments.seq)
        except AuditError as error:
            raise CallRefusedError(str(error)) from None
        result = AuditProofResult(
            seq=arguments.seq,
            proof=proof,
            public_key=app.public_key,
            receipt=receipt_result(receipt),
        )
        return Answered(result, proof)

    return [
        Tool(
            "audit_query",
            "Read your audit records",
            "Return the audit records of this client, oldest first, by time, effect or text.",
            AuditQueryArguments,
            AuditRecordsResult,
            "reads",
            audit_query,
        ),
        Tool(
            "audit_verify",
            "Verify the audit log",
            "Check the whole audit log against its signed checkpoint and name what is wrong.",
            AuditVerifyArguments,
            AuditVerdictResult,
            "reads",
            audit_verify,
        ),
        Tool(
            "audit_prove",
            "Prove an audit record",
            "Return a proof that one of your records is in the signed log; it verifies offline "
            "with the public key.",
            AuditProveArguments,
            AuditProofResult,
            "reads",
            audit_prove,
        ),
    ]


def read_checkpoint(app: App) -> str:
    """Return the newest signed tree head as text."""
    return (app.log_directory / "checkpoint").read_text(encoding="utf-8").rstrip("\0 \n") + "\n"


def _read_record(subject: Subject, tool: str) -> dict[str, Json]:
    return {"event": "audit.read", **by(subject, tool)}


def _own_records(
    app: App, subject: Subject, arguments: AuditQueryArguments
) -> tuple[list[dict[str, Json]], bool]:
    query = Query(
        since=_time(arguments.since),
        until=_time(arguments.until),
        subject=subject.name,
        session=subject.session,
        effect=arguments.effect,
        text=arguments.text,
    )
    found = _newest(app, query, arguments.limit + 1)
    is_cut = len(found) > arguments.limit
    found = found[-arguments.limit :]
    while found and len(json.dumps(found)) > MAX_SHOWN_BYTES:
        found, is_cut = found[len(found) // 2 + 1 :], True
    return found, is_cut


def _own_proof(app: App, seq: int) -> str:
    """Return the proof of a record of this session; another's is not there to be asked for."""
    query = Query(session=app.caller.session, after_seq=seq - 1, before_seq=seq + 1)
    if not _newest(app, query, 1):
        raise CallRefusedError(f"There is no record {seq} of this session.")
    return prove(app.log_directory, seq).decode("utf-8")


def _newest(app: App, query: Query, limit: int) -> list[dict[str, Json]]:
    """Return the newest records asked for, by an index where there can be one."""
    log = app.log_directory
    return list(newest(log, query, limit=limit, homes=[log / INDEX]).records)


def _verified(app: App) -> Report:
    return verify(app.log_directory, [PublicKey.parse(app.public_key)])


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CallRefusedError(f"{text!r} is not an RFC 3339 time, as 2026-01-31T12:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _line(record: Mapping[str, Json]) -> str:
    return json.dumps(record, ensure_ascii=False)
