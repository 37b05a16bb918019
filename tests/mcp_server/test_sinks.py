"""audit.sinks in a running server and in doctor: told apart, delivered beside calls, seen dead."""

import re
import subprocess
import threading
from pathlib import Path

import anyio
import pytest

from mcp_server.cli.doctor import _sink_rows
from mcp_server.cli.sinks import _deliver
from mcp_server.config import ConfigError, parse_config
from mcp_server.places import Places
from mcp_server.sinks import _sink, receiver, sinks
from tests.audit.sinks.receivers import ConformingWitness, web
from tests.mcp_server.indoors import TERMINAL_AT_ONCE, Indoors

ONE = "audit:\n  sinks:\n    - "
KEY = "w+6f1a9a1c+BA"
MISTAKES = [
    ("{name: a, url: https://h/}", "c:3:7: audit.sinks.0: "),
    ("{kind: pigeon, name: a}", "c:3:7: audit.sinks.0: "),
    ("{kind: http, name: a, url: https://h/}", "c:3:7: audit.sinks.0: Value error, name one of"),
    ("{kind: otlp, name: a, url: https://h/, tokn: x}", "c:3:46: audit.sinks.0.tokn: unknown key"),
    ("{kind: otlp, name: a, url: http://h/}", "c:3:29: audit.sinks.0.url: Value error, 'http://h/'"),
    ("{kind: otlp, name: a, url: https://u:p@h/}", "c:3:29: audit.sinks.0.url: Value error, a URL"),
    ("{kind: otlp, name: a, url: 'ftp://h/'}", "c:3:29: audit.sinks.0.url: Value error, 'ftp:"),
    ("{kind: otlp, name: a, url: 'https://[h/'}", "c:3:29: audit.sinks.0.url: Value error, 'https"),
    ("{kind: otlp, name: A B, url: https://h/}", "c:3:20: audit.sinks.0.name: "),
    ("{kind: otlp, name: ../a, url: https://h/}", "c:3:20: audit.sinks.0.name: "),
    ("{kind: otlp, name: a, url: https://h/, token_file: t}", "c:3:46: audit.sinks.0.token_file"),
    ("{kind: syslog, name: a, facility: kern}", "c:3:7: audit.sinks.0: Value error, facility"),
    ("{kind: ssh, name: a, address: h, user: u, directory: /}", "c:3:"),
    (f"{{kind: witness, name: a, url: https://h/, key: {KEY}}}", "c:3:7: audit.sinks.0: Value err"),
    ("{kind: syslog, name: a}\n    - {kind: journald, name: a}", "c:2:3: audit.sinks: Value error"),
]  # fmt: skip


@pytest.mark.threat("T04")
@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_in_a_sink_is_an_error_with_its_place(text, message):
    with pytest.raises(ConfigError) as error:
        parse_config(ONE + text, "c")
    assert str(error.value).startswith(message), str(error.value)


def test_each_kind_becomes_its_sink(tmp_path):
    config = parse_config(
        "audit:\n  sinks:\n"
        "    - {kind: http, name: a, url: https://h/x, token_file: /t, ca_file: /c}\n"
        "    - {kind: otlp, name: b, url: http://127.0.0.1:4318/v1/logs}\n"
        "    - {kind: syslog, name: c}\n"
        "    - {kind: journald, name: d, socket: /s}\n"
        "    - {kind: ssh, name: e, address: h, user: u, directory: /d, identity_file: /i,\n"
        "       known_hosts: /k}\n"
        f"    - {{kind: witness, name: f, url: https://w/p/, key: {witness_key()}}}\n",
        "c",
    )
    names = [_sink(one, tmp_path).name for one in config.audit.sinks]
    assert names == list("abcdef")
    assert [receiver(one) for one in config.audit.sinks] == [
        "http https://h/x", "otlp http://127.0.0.1:4318/v1/logs", "syslog /dev/log",
        "journald /s", "ssh u@h:/d", "witness https://w/p/",
    ]  # fmt: skip


def witness_key() -> str:
    return ConformingWitness(None).vkey


def configured(receiver_url: str, tmp_path: Path) -> str:
    token = tmp_path / "token"
    token.write_text("a-token")
    token.chmod(0o600)
    return (
        f"audit:\n  sinks:\n    - {{kind: http, name: siem, url: {receiver_url}, "
        f"token_file: {token}}}\n"
    )


@pytest.mark.threat("T15")
async def test_a_server_delivers_beside_its_calls_and_a_deaf_receiver_delays_none(tmp_path):
    hung = threading.Event()
    with web() as siem:
        siem.reply = lambda _: (hung.wait(20), (200, {}, b""))[1]
        config = TERMINAL_AT_ONCE + configured(siem.url, tmp_path)
        indoors = Indoors.make(tmp_path, config)
        async with anyio.create_task_group() as group:
            group.start_soon(indoors.app.serve_owner)
            async with indoors.connected("auto") as client:
                for _ in range(3):
                    with anyio.fail_after(30):
                        done = await client.call_tool("list_dir", {"path": "."})
                    assert done.structured_content["status"] == "ok"
            assert not siem.requests
            hung.set()
            with anyio.fail_after(30):
                while len(siem.records()) < len(indoors.records()):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            group.cancel_scope.cancel()
        assert siem.records() == indoors.records()
        indoors.app.close()


@pytest.mark.threat("T15")
async def test_doctor_tries_each_sink_and_shows_a_dead_one(tmp_path):
    with web() as siem:
        indoors = Indoors.make(tmp_path, TERMINAL_AT_ONCE + configured(siem.url, tmp_path))
        where, config = indoors.app.places, indoors.app.config
        waiting = len(indoors.records())
        siem.reply = lambda _: (500, {}, b"the disk is full")
        (row,) = await _sink_rows(config, where)
        assert (row.name, row.state) == ("sink siem", "dead")
        assert f"{waiting} wait; since 2" in row.evidence
        assert "answered 500: the disk is full" in row.evidence
        assert row.fix
        siem.reply = lambda _: (200, {}, b"")
        (row,) = await _sink_rows(config, where)
        assert (row.state, row.fix) == ("delivers", "")
        assert row.evidence == f"http {siem.url}: record {waiting} is next, 0 wait"
        (indoors.app.log_directory / "sinks" / "siem.json").write_text("{}")
        (row,) = await _sink_rows(config, where)
        assert row.state == "dead"
        assert "Remove it" in row.evidence
        indoors.app.close()


@pytest.mark.threat("T15")
async def test_a_job_without_a_server_delivers_by_command(tmp_path, capsys):
    with web() as siem:
        indoors = Indoors.make(tmp_path, TERMINAL_AT_ONCE + configured(siem.url, tmp_path))
        followed = indoors.app.sinks
        indoors.app.close()
        siem.reply = lambda _: (403, {}, b"")
        assert await _deliver(followed) == 1
        assert "answered 403" in capsys.readouterr().err
        siem.reply = lambda _: (200, {}, b"")
        assert await _deliver(followed) == 0
        assert re.fullmatch(r"siem  http \S+: \d+ delivered, 0 wait\n", capsys.readouterr().out)
        assert siem.records() == indoors.records()
        (indoors.app.log_directory / "sinks" / "siem.json").write_text("{}")
        assert await _deliver(followed) == 1


async def test_without_sinks_there_is_nothing_to_do(tmp_path):
    places = Places(tmp_path / "c", tmp_path / "p", tmp_path / "s")
    followed = sinks(parse_config("", "c"), places)
    await followed.run()
    assert await _deliver(followed) == 0


@pytest.mark.threat("T15")
def test_a_server_process_delivers_warns_of_a_dead_sink_and_makes_up_for_it(rig, tmp_path):
    with web() as siem:
        siem.reply = lambda _: (503, {}, b"")
        rig.configure("http: {port: 0}\n" + configured(siem.url, tmp_path))
        server = rig.start("serve", "--http", stderr=subprocess.PIPE)
        assert server.stderr is not None
        while "answered 503" not in (line := server.stderr.readline()):
            assert line, "the server ended without a word about its sink"
        assert "audit sink siem" in line
        siem.reply = lambda _: (200, {}, b"")
        while "works again" not in (line := server.stderr.readline()):
            assert line, "the server ended"
        assert siem.records()[0]["event"] == "log.open"
