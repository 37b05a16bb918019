"""Values that are secrets here are hidden in results and in the log, and can be opened again."""

import json
import subprocess

import pytest

from audit.query import Query, records
from mcp_server.config import ConfigError, parse_config
from mcp_server.known_secrets import of_call, redactor
from mcp_server.places import Places
from tests.mcp_server.indoors import Indoors
from tests.mcp_server.rig import Rig

pytestmark = pytest.mark.threat("T17")


def knowing(tmp_path, text: str):
    places = Places(tmp_path / "c", tmp_path / "p", tmp_path / "state")
    return redactor(parse_config(text, "c"), places)


def test_the_secrets_of_named_files_are_known_and_its_settings_are_not(tmp_path):
    env, plain = tmp_path / ".env", tmp_path / "plain"
    env.write_text("HOST=localhost\nexport DB_TOKEN='correct horse'\napi-key: batterystaple,\n#\n")
    plain.write_text("a whole line is it\n\nshort\n")
    found = knowing(tmp_path, f"redaction:\n  files: [{env}, {plain}]\n")
    shown = found.redact_text("localhost correct horse batterystaple a whole line is it short")
    assert shown == "localhost " + "[redacted:configured] " * 3 + "short"


def test_named_variables_our_token_and_the_sinks_credentials_are_known(tmp_path, monkeypatch):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "http-token").write_text("token-of-our-own\n")
    (tmp_path / "siem").write_text("token of the siem\n")
    (tmp_path / "mac").write_text("key for signing it\n")
    monkeypatch.setenv("DEPLOY", "value-of-a-variable")
    found = knowing(
        tmp_path,
        "redaction: {variables: [DEPLOY]}\naudit:\n  sinks:\n"
        f"    - {{kind: otlp, name: a, url: https://h/, token_file: {tmp_path}/siem}}\n"
        f"    - {{kind: http, name: b, url: https://h/, hmac_key_file: {tmp_path}/mac}}\n"
        "    - {kind: otlp, name: c, url: https://h/}\n    - {kind: syslog, name: d}\n",
    )
    text = "token-of-our-own token of the siem key for signing it value-of-a-variable"
    assert found.redact_text(text) == " ".join(["[redacted:configured]"] * 4)


@pytest.mark.threat("T04")
def test_what_is_named_and_cannot_be_read_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=r"redaction.files: .*nope: No such file"):
        knowing(tmp_path, f"redaction: {{files: [{tmp_path}/nope]}}")
    with pytest.raises(ConfigError, match=r"redaction.variables: NOT_SET is not set"):
        knowing(tmp_path, "redaction: {variables: [NOT_SET]}")


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("API_TOKEN", True), ("DB_PASS", True), ("PGPASSWORD", True), ("NPM_CONFIG__AUTH", True),
        ("SIGNING_KEY", True), ("APIKEY", True), ("MODE", False), ("KEYBOARD", False),
        ("BYPASS", False), ("PATH", False), ("COMPASS_HOME", False),
    ],
)  # fmt: skip
def test_the_name_of_an_entry_says_whether_it_is_secret(name, is_secret):
    assert bool(of_call([(name, "some-value")])) == is_secret


async def test_what_a_call_sets_as_a_secret_is_not_given_back(tmp_path):
    indoors = Indoors.make(tmp_path)
    async with indoors.connected("auto") as client:
        asked = {"command": "printenv", "env": {"MY_TOKEN": "correct-horse", "MODE": "battery"}}
        shown = (await client.call_tool("exec", asked)).structured_content
        assert shown["status"] == "ok", shown
        text = shown["stdout"]["text"]
        assert "MY_TOKEN=[redacted:environment]" in text
        assert "MODE=battery" in text
        again = (
            await client.call_tool("exec", {"command": "echo correct-horse"})
        ).structured_content
        assert again["stdout"]["text"] == "correct-horse\n"
    assert "correct-horse" not in json.dumps(indoors.records()[:-2])
    indoors.app.close()


async def test_a_diff_in_a_result_shows_no_secret(tmp_path):
    indoors = Indoors.make(tmp_path)
    (indoors.workspace / "settings").write_text("mode: a\npassword: hunter2x\n")
    edit = {"path": "settings", "old": "mode: a", "new": "mode: b"}
    async with indoors.connected("auto") as client:
        shown = await client.call_tool("patch", {"edits": [edit], "dry_run": True})
    assert "mode: b" in shown.structured_content["diff"]
    assert "hunter2x" not in json.dumps(shown.structured_content)
    indoors.app.close()


def opened(rig: Rig, seq: int, value: str, *options: str) -> subprocess.CompletedProcess[str]:
    return rig.run("audit", "open", str(seq), *options, stdin=value)


def test_the_owner_of_a_value_can_show_that_it_is_the_redacted_one(rig):
    rig.run("exec", "--", "tool", "--password", "hunter2x")
    log = rig.state / "audit"
    found = [record for record in records(log, Query()) if "$redacted" in json.dumps(record)]
    seq = int(found[0]["@seq"])
    assert "hunter2x" not in "".join(path.read_text() for path in log.glob("seg-*"))
    yes = opened(rig, seq, "hunter2x\n")
    assert yes.returncode == 0, yes
    assert yes.stdout.startswith("OPENS  request.")
    assert "hunter2x" not in yes.stdout
    told = json.loads(opened(rig, seq, "hunter2x", "--json").stdout)
    assert told["opened"]
    no = opened(rig, seq, "hunter3x")
    assert (no.returncode, "another value" in no.stdout) == (1, True)
    (log / "openings.jsonl").unlink()
    gone = opened(rig, seq, "hunter2x")
    assert (gone.returncode, "its opening was deleted" in gone.stdout) == (1, True)
    assert opened(rig, 0, "x").returncode == 2
    assert opened(rig, 9999, "x").returncode == 12
