"""Records posted to a real HTTP server: all of them, in order, again when it returns."""

import base64
import hmac
import json
from datetime import UTC, datetime

import pytest

from audit.sinks.deliver import RecordSink
from audit.sinks.http import Endpoint, JsonLines, Otlp
from tests.audit.sinks.receivers import delivering, web

pytestmark = pytest.mark.threat("T15")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def secret(tmp_path, text: bytes = b"a-token\n"):
    path = tmp_path / "secret"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


def posting(receiver, tmp_path, **files):
    files = files or {"token_file": secret(tmp_path)}
    return RecordSink("siem", JsonLines(Endpoint(receiver.url + "/in", **files), lambda: NOW))


async def test_every_record_arrives_once_as_it_stands_in_the_log(house, tmp_path):
    house.filled(1200)
    with web() as receiver:
        assert await delivering(house, posting(receiver, tmp_path)).once()
        assert b"".join(body for _, _, body in receiver.requests) == house.segment.read_bytes()
        assert len(receiver.requests) > 2
        path, headers, _ = receiver.requests[0]
        assert (path, headers["authorization"]) == ("/in", "Bearer a-token")
        assert headers["webhook-id"].startswith("host.example/audit:0-")
        assert await delivering(house, posting(receiver, tmp_path)).once()
        assert len(receiver.records()) == 1200


@pytest.mark.parametrize("spelled", [b"a-key", b"whsec_" + base64.b64encode(b"a-key")])
async def test_a_batch_is_signed_with_the_key_of_a_file(house, tmp_path, spelled):
    house.filled(3)
    with web() as receiver:
        sink = posting(receiver, tmp_path, hmac_key_file=secret(tmp_path, spelled))
        assert await delivering(house, sink).once()
        _, headers, body = receiver.requests[0]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        due = base64.b64encode(hmac.digest(b"a-key", signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{due}"
        assert "authorization" not in headers


async def test_what_a_dead_receiver_missed_arrives_when_it_returns(house, tmp_path):
    house.filled(5)
    with web() as receiver:
        receiver.reply = lambda _: (503, {}, b"later\x1b[2J")
        delivery = delivering(house, posting(receiver, tmp_path))
        assert not await delivery.once()
        house.filled(4)  # records are written meanwhile, by another process that starts
        receiver.reply = lambda _: (200, {}, b"")
        assert await delivery.once()
        assert [record["@seq"] for record in receiver.records()] == list(range(9))


@pytest.mark.threat("T17")
@pytest.mark.parametrize(
    ("mode", "text", "why"),
    [(0o644, b"x", "others may read"), (0o600, b" \n", "is empty"), (0o600, b"whsec_*", "base64")],
)
async def test_a_credential_that_is_not_ours_alone_sends_nothing(house, tmp_path, mode, text, why):
    house.filled(2)
    path = secret(tmp_path, text)
    path.chmod(mode)
    with web() as receiver:
        delivery = delivering(house, posting(receiver, tmp_path, hmac_key_file=path))
        assert not await delivery.once()
        assert why in delivery.state.failure
        assert not receiver.requests


@pytest.mark.threat("T17")
async def test_a_credential_is_read_from_a_plain_file_only(house, tmp_path):
    house.filled(2)
    link = tmp_path / "link"
    link.symlink_to(secret(tmp_path))
    with web() as receiver:
        for path, why in ((link, "cannot be read"), (tmp_path, "not a regular file")):
            delivery = delivering(house, posting(receiver, tmp_path, token_file=path))
            assert not await delivery.once()
            assert why in delivery.state.failure


@pytest.mark.threat("T17")
async def test_the_credential_is_sent_to_no_other_address(house, tmp_path):
    house.filled(2)
    with web() as receiver, web() as other:
        receiver.reply = lambda _: (307, {"Location": other.url + "/in"}, b"")
        delivery = delivering(house, posting(receiver, tmp_path))
        assert not await delivery.once()
        assert "answered 307" in delivery.state.failure
        assert not other.requests


async def test_an_endless_answer_is_read_only_so_far(house, tmp_path):
    house.filled(2)
    with web() as receiver:
        receiver.reply = lambda _: (500, {}, b"no " * 1_000_000)
        delivery = delivering(house, posting(receiver, tmp_path))
        assert not await delivery.once()
        assert len(delivery.state.failure) < 500


async def test_a_collector_gets_each_record_as_a_log_record(house, tmp_path):
    log = house.open()
    log.append({"event": "exec.outcome", "policy": {"effect": "deny"}, "session": "s1",
                "trace": {"trace_id": "ab" * 16, "span_id": "cd" * 8}})  # fmt: skip
    log.append({"event": "exec.outcome", "outcome": {"status": "lost"}, "trace": {"span_id": "x"}})
    log.close()
    with web() as receiver:
        sink = RecordSink("otel", Otlp(Endpoint(receiver.url + "/v1/logs")))
        assert await delivering(house, sink).once()
        path, headers, body = receiver.requests[0]
        assert (path, headers["content-type"]) == ("/v1/logs", "application/json")
        (resource,) = json.loads(body)["resourceLogs"]
        names = {
            one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]
        }
        assert names == {"service.name": "permitgate", "permitgate.origin": "host.example/audit"}
        opened, denied, lost = resource["scopeLogs"][0]["logRecords"]
        lines = [line.rstrip(b"\n").decode() for line in house.lines()]
        assert [one["body"]["stringValue"] for one in (opened, denied, lost)] == lines
        assert (opened["severityNumber"], denied["severityNumber"], lost["severityNumber"]) == (
            9,
            13,
            17,
        )
        assert denied["timeUnixNano"] == "1767323047000000000"
        assert (denied["traceId"], denied["spanId"]) == ("ab" * 16, "cd" * 8)
        assert "traceId" not in lost
        assert {"key": "permitgate.session", "value": {"stringValue": "s1"}} in denied["attributes"]


async def test_what_a_collector_says_it_dropped_is_counted(house, tmp_path):
    house.filled(3)
    with web() as receiver:
        receiver.reply = lambda _: (200, {}, b'{"partialSuccess":{"rejectedLogRecords":"2"}}')
        delivery = delivering(house, RecordSink("otel", Otlp(Endpoint(receiver.url))))
        assert await delivery.once()
        assert delivery.state.rejected == 2
        receiver.reply = lambda _: (400, {}, b"")
        house.filled(2)
        assert not await delivery.once()


async def test_a_receiver_that_hangs_up_is_tried_again(house, tmp_path):
    house.filled(2)
    with web() as receiver:
        gone = receiver.url
    delivery = delivering(house, RecordSink("otel", Otlp(Endpoint(gone))))
    assert not await delivery.once()
    assert "no answer" in delivery.state.failure
