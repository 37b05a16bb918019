"""approvals.notify in a running server, in doctor and on the command line, with real receivers."""

import base64
import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from approvals.desk import Desk
from approvals.notice import opened, trial
from approvals.request import ApprovalError
from approvals.store import Store
from approvals.told import Told, keep
from mcp_server.cli.doctor import Row, _notify_rows
from mcp_server.cli.notify_test import _tell_each
from mcp_server.config import ConfigError, parse_config
from mcp_server.notify import pace, targets
from mcp_server.places import Places
from tests.approvals.conftest import Log, question
from tests.approvals.test_notify import checked, private, received, until
from tests.audit.sinks.receivers import web
from tests.mcp_server.indoors import Indoors, append
from tests.mcp_server.test_approval_page import HOME_AND_STATE

pytestmark = pytest.mark.threat("T30")
KEY = b"k" * 32
SECRET = b"whsec_" + base64.b64encode(KEY)
PAGE = "page: {listen: '127.0.0.1:8644', public_url: 'https://a.example'}, "


def configured(tmp_path, url: str, more: str = "") -> str:
    secret = private(tmp_path / "ops.secret", SECRET)
    ops = f"{{kind: webhook, name: ops, url: '{url}/t0k3n', secret_file: {secret}}}"
    return f"approvals: {{channels: [terminal], wait_s: 0, {more}notify: [{ops}]}}\n"


async def test_a_question_is_told_beside_the_call_and_a_deaf_target_delays_none(tmp_path):
    hung = threading.Event()
    with web() as receiver:
        receiver.reply = lambda _: (hung.wait(20), (200, {}, b""))[1]
        indoors = Indoors.make(tmp_path, configured(tmp_path, receiver.url, PAGE))
        notifier = indoors.app.notifier
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group, indoors.connected("auto") as client:
                group.start_soon(notifier.run)
                command = f"echo {SECRET.decode()} >> owner/ran.txt"
                asked = await client.call_tool("exec", {"command": command})
                assert asked.structured_content["status"] == "pending"
                assert not receiver.requests
                hung.set()
                await until(lambda: receiver.requests)
                group.cancel_scope.cancel()
        ((_, headers, body),) = receiver.requests
        told = json.loads(body)["data"]
        assert checked(KEY, headers, body)
        assert told["link"] == f"https://a.example/#{told['id']}"
        assert told["level"] == "owner"
        assert "'echo' '[redacted" in told["summary"]
        indoors.app.close()


@pytest.mark.threat("T23")
async def test_no_command_reads_the_secret_of_a_target(tmp_path):
    url = private(tmp_path / "phone.url", b"json://127.0.0.1:9/an-address-of-mine")
    phone = f"notify: [{{kind: apprise, name: phone, url_file: {url}}}, "
    config = configured(tmp_path, "https://h").replace("notify: [", phone)
    (tmp_path / "all.yaml").write_text(HOME_AND_STATE)
    secret = tmp_path / "ops.secret"
    indoors = Indoors.make(tmp_path, config, ("all.yaml",))
    assert "of-mine" not in indoors.app.redactor.redact_text(url.read_text())
    async with indoors.connected("auto") as client:
        for path in (secret, url):
            shown = (await client.call_tool("exec", {"command": f"cat {path}"})).structured_content
            assert shown["status"] == "error", path
            assert base64.b64encode(KEY).decode() not in json.dumps(shown)
            read = await client.call_tool("read_file", {"path": str(path)})
            assert base64.b64encode(KEY).decode() not in json.dumps(read.structured_content)
    indoors.app.close()


APPRISE = "approvals: {notify: [{kind: apprise, name: phone, url_file: /phone.url}]}\n"


def test_without_apprise_a_target_that_needs_it_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ApprovalError, match=r"pip install 'permitgate\[apprise\]'"):
        Indoors.make(tmp_path, APPRISE)
    assert not (tmp_path / "state").exists()


async def test_who_leaves_a_request_open_and_ends_has_told_of_it(tmp_path):
    with web() as receiver:
        indoors = Indoors.make(tmp_path, configured(tmp_path, receiver.url))
        indoors.app.notifier._pace = pace(is_command=True)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group, indoors.connected("auto") as client:
                group.start_soon(indoors.app.serve_owner)
                asked = await client.call_tool("exec", append("owner"))
                group.cancel_scope.cancel()
        indoors.app.close()
        request_id = asked.structured_content["approval"]["id"]
        assert received(receiver) == [("approval.opened", request_id)]
    assert pace(is_command=True).last_s > pace(is_command=False).last_s


def test_the_owner_tries_the_targets_or_hears_what_to_set(rig):
    with web() as receiver:
        rig.configure(configured(rig.base, receiver.url))
        tried = rig.run("approvals", "notify-test")
        assert tried.stdout == f"ops  {receiver.url}: answered 200\n"
        ((_, headers, body),) = receiver.requests
    notice = shown_receiver()
    assert notice(SECRET.decode(), headers, body)["type"] == "approval.test"
    for other in ({**headers, "webhook-id": "x"}, {**headers, "webhook-timestamp": "1"}):
        with pytest.raises(ValueError, match=r"too old|not by us"):
            notice(SECRET.decode(), other, body)
    rig.configure("")
    tried = rig.run("approvals", "notify-test")
    assert (tried.returncode, "approvals.notify" in tried.stderr) == (2, True)


GUIDE = Path(__file__).parents[2] / "docs" / "operators-guide.md"


def shown_receiver() -> Callable[[str, dict[str, str], bytes], dict[str, object]]:
    """Return the receiver's function that the operators' guide shows."""
    (code,) = re.findall(r"```python\n(import base64, .*?)```", GUIDE.read_text(), re.S)
    defined: dict[str, Callable[..., dict[str, object]]] = {}
    exec(code, defined)
    return defined["notice"]


def test_the_guide_shows_a_notice_as_it_is_sent(tmp_path):
    text = GUIDE.read_text()
    (shown,) = re.findall(r"```json\n(\{\"type\": \"approval.opened\".*?)```", text, re.S)
    sent = json.loads(
        opened(
            Desk(Store(tmp_path / "s" / "db"), Log()).open(question()), "https://a.example"
        ).body()
    )
    found = json.loads(shown)
    assert found.keys() == sent.keys()
    assert found["data"].keys() == sent["data"].keys()


async def test_a_try_says_which_target_did_not_take_it(tmp_path, capsys):
    with web() as receiver:
        receiver.reply = lambda _: (403, {}, b"")
        config = parse_config(configured(tmp_path, receiver.url), "c")
        assert await _tell_each(targets(config.approvals), trial("0", "", 0)) == 1
    assert capsys.readouterr().err == f"ops  NOT told: {receiver.url} answered 403\n"


def test_doctor_says_how_each_target_fares_and_tells_nobody(tmp_path, monkeypatch):
    where = Places(tmp_path / "c", tmp_path / "p", tmp_path / "state")
    config = parse_config(configured(tmp_path, "https://h.example"), "c")

    def row() -> Row:
        (found,) = _notify_rows(config, where)
        return found

    assert (row().name, row().state) == ("notify ops", "ready")
    assert row().evidence == "webhook https://h.example"
    where.approvals.mkdir(parents=True, mode=0o700)
    keep(where.approvals, "ops", Told(failing_since_ms=1_800_000_000_000, failure="x", tries=3))
    assert (row().state, "notify-test" in row().fix) == ("dead", True)
    assert row().evidence == "x (3 tries since 2027-01-15T08:00:00+00:00)"
    (tmp_path / "ops.secret").chmod(0o644)
    assert (row().state, "run: chmod 0600" in row().evidence) == ("dead", True)
    monkeypatch.setitem(sys.modules, "apprise", None)
    (found,) = _notify_rows(parse_config(APPRISE, "c"), where)
    assert (found.state, "permitgate[apprise]" in found.evidence) == ("dead", True)


ONE = "approvals:\n  notify:\n    - "
MISTAKES = [
    ("{name: a, url: https://h/}", "c:3:7: approvals.notify.0: "),
    ("{kind: webhook, name: a, url: https://h/}", "c:3:7: approvals.notify.0.secret_file: "),
    ("{kind: webhook, name: a, url: http://h/, secret_file: /s}", "c:3:32: approvals.notify.0.url"),
    ("{kind: webhook, name: a, url: 'https://u:p@h/', secret_file: /s}", "c:3:32: approvals."),
    ("{kind: webhook, name: a, url: https://h/, secret_file: s}", "c:3:49: approvals.notify.0.sec"),
    ("{kind: webhook, name: a, url: https://h/, secret: s}", "c:3:49: approvals.notify.0.secr"),
    ("{kind: webhook, name: ../a, url: https://h/, secret_file: /s}", "c:3:23: approvals.notify.0"),
    ("{kind: apprise, name: a, urls: [json://h]}", "c:3:32: approvals.notify.0.urls: unknown key"),
    ("{kind: apprise, name: a, url_file: /u}\n    - {kind: apprise, name: a, url_file: /u}",
     "c:2:3: approvals.notify: Value error, two targets are named 'a'"),
]  # fmt: skip


@pytest.mark.threat("T04")
@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_in_a_target_is_an_error_with_its_place(text, message):
    with pytest.raises(ConfigError) as error:
        parse_config(ONE + text, "c")
    assert any(line.startswith(message) for line in str(error.value).splitlines()), error.value
