"""People are told what waits: by a signed webhook or a chat, beside the calls and never by them."""

import base64
import hmac
import json
import logging
import stat
import threading
from contextlib import asynccontextmanager
from hashlib import sha256
from logging.handlers import MemoryHandler

import anyio
import pytest
from anyio import to_thread

from approvals import told as told_module
from approvals.chat import Chat
from approvals.desk import Desk
from approvals.notice import opened, trial
from approvals.notify import Notifier, Pace, Target, told
from approvals.request import Answer, ApprovalError, Level, Need, Principal
from approvals.told import Told, load
from approvals.webhook import Webhook, secrets_of, signatures
from tests.approvals.conftest import OWNER, Clock, Log, question
from tests.audit.sinks.receivers import Web, web

FAST = Pace(retry_s=0.01, longest_s=0.05, deadline_s=5, claim_s=0.01, last_s=5)
KEY = bytes(range(32))
PAGE = "https://approvals.example"
NONE = "0" * 16
APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def secret(tmp_path):
    return private(tmp_path / "ops.secret", b"whsec_" + base64.b64encode(KEY) + b"\n")


def private(path, content: bytes):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def hook(url: str, secret, now_s: float = 1_800_000_000.5) -> Webhook:
    return Webhook(url, secret, lambda: now_s)


def ops(receiver: Web, secret) -> Target:
    return Target("ops", hook(receiver.url + "/in", secret), hears_answers=True)


@asynccontextmanager
async def telling(desk: Desk, path, *targets: Target, page: str = PAGE, pace: Pace = FAST):
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(Notifier(desk, path.parent, targets, page, pace).run)
            yield
            group.cancel_scope.cancel()


async def until(what) -> None:
    while not what():  # noqa: ASYNC110  # a receiver in another thread
        await anyio.sleep(0.005)


def received(receiver: Web) -> list[tuple[str, str]]:
    return [(one["type"], one["data"]["id"]) for one in receiver.records()]


async def answered(desk: Desk, pending, said: Answer = Answer.APPROVE) -> None:
    await to_thread.run_sync(desk.vote, pending.id, said, OWNER, pending.request_digest)


# --- what is sent --------------------------------------------------------------------------------


def checked(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Verify as a receiver does that knows the standard and nothing of this code."""
    text = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    due = base64.b64encode(hmac.new(key, text, sha256).digest()).decode()
    offered = [one.removeprefix("v1,") for one in headers["webhook-signature"].split(" ")]
    return any(hmac.compare_digest(due, one) for one in offered)


def test_the_published_example_of_standard_webhooks_is_signed_as_it_says():
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body, signed = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == signed


@pytest.mark.threat("T30")
async def test_a_request_is_told_signed_and_in_words_that_answer_nothing(desk, path, secret):
    with web() as receiver:
        async with telling(desk, path, ops(receiver, secret)):
            need = Need(Level.SEPARATE, quorum=2)
            pending = await to_thread.run_sync(desk.open, question(need))
            await until(lambda: receiver.requests)
    ((where, headers, body),) = receiver.requests
    assert where == "/in"
    assert checked(KEY, headers, body)
    assert not checked(KEY[::-1], headers, body)
    assert not checked(KEY, headers, body.replace(b"nginx", b"sshd"))
    assert not checked(KEY, {**headers, "webhook-timestamp": "1800000001"}, body)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (
        f"{pending.id}-opened",
        "1800000000",
    )
    assert json.loads(body) == {
        "type": "approval.opened",
        "timestamp": "2027-01-15T08:00:00Z",
        "data": {
            "id": pending.id,
            "state": "pending",
            "tool": "exec",
            "summary": "argv systemctl restart nginx",
            "requester": r"agent:codex\x401000 via mcp",
            "level": "separate",
            "quorum": 2,
            "expires": "2027-01-15T08:05:00Z",
            "link": f"{PAGE}/#{pending.id}",
        },
    }
    said = body.decode()
    for secret_part in (pending.request_digest, pending.nonce, pending.question.action_digest):
        assert secret_part not in said


HOSTILE = [
    ("curl https://evil.example/yes", r"argv curl https\x3a//evil.example/yes"),
    ("echo <https://evil|Approve> <!channel>", r"\x3chttps\x3a//evil|Approve> \x3c!channel>"),
    ("[approve](evil.example) @everyone", r"argv [approve]\x28evil.example) \x40everyone"),
    ("ls\n\nApproved by root", r"argv ls\n\nApproved by root"),
    ("\x1b[2J\u202egnp.exe\u200b \u0430pt", r"argv \x1b[2J\u202egnp.exe\u200b \u0430pt"),
]


@pytest.mark.threat("T30")
@pytest.mark.parametrize(("said", "shown"), HOSTILE)
def test_an_agents_words_are_one_line_that_links_and_calls_and_marks_nothing(desk, said, shown):
    requester = Principal("mcp", 1000, f"agent:{said}", Level.POLICY)
    asked = question(facts=(("argv", said),), tool=said, requester=requester)
    notice = opened(desk.open(asked), PAGE)
    assert shown in str(notice.data["summary"])
    body = notice.body().decode("ascii").replace(f"{PAGE}/#", "")
    text = f"{notice.title}\n{notice.text()}".replace(f"{PAGE}/#", "")
    for sent in (body, text):
        assert not [lively for lively in ("<", "@", "://", "](", "\x1b") if lively in sent]
    assert text.isascii()
    assert len(text.splitlines()) == 6


@pytest.mark.threat("T30")
def test_a_long_line_is_cut_and_without_a_page_there_is_no_link(desk):
    notice = opened(desk.open(question(facts=(("argv", "x" * 100_000),))), "")
    assert len(notice.body()) < 1000
    assert notice.data["link"] is None
    assert notice.text().splitlines()[-1] == "until 2027-01-15T08:05:00Z"
    assert opened(desk.open(question(facts=(), action_digest="b" * 64)), "").data["summary"] == ""


# --- when it is told -----------------------------------------------------------------------------


@pytest.mark.threat("T30")
async def test_each_target_is_told_once_by_one_server_also_after_a_restart(desk, path, secret):
    with web() as receiver, web() as phone:
        both = (
            ops(receiver, secret),
            Target("phone", hook(phone.url, secret), hears_answers=False),
        )
        first = await to_thread.run_sync(desk.open, question())
        async with telling(desk, path, *both), telling(desk, path, *both):
            await until(lambda: receiver.requests and phone.requests)
            second = await to_thread.run_sync(desk.open, question(action_digest="b" * 64))
            await answered(desk, first)
            await until(lambda: len(receiver.requests) == 3)
        await answered(desk, second, Answer.DENY)
        third = await to_thread.run_sync(desk.open, question(action_digest="c" * 64))
        async with telling(desk, path, *both):
            await until(lambda: len(receiver.requests) == 5)
        assert sorted(received(receiver)) == sorted(
            [("approval.opened", each.id) for each in (first, second, third)]
            + [("approval.answered", each.id) for each in (first, second)]
        )
        ends = {
            one["data"]["id"]: one["data"]["state"]
            for one in receiver.records()
            if one["type"] == "approval.answered"
        }
        assert ends == {first.id: "approved", second.id: "denied"}
        waiting = [("approval.opened", each.id) for each in (first, second, third)]
        assert received(phone) == waiting
        assert load(path.parent, "phone").waiting == {third.id}


@pytest.mark.threat("T30")
async def test_a_dead_target_is_tried_again_and_said_once(desk, path, secret, caplog):
    caplog.set_level(logging.WARNING)
    tries = []
    with web() as receiver:
        receiver.reply = lambda body: (tries.append(body), (503, {}, b"later"))[1]
        pending = await to_thread.run_sync(desk.open, question())
        async with telling(desk, path, ops(receiver, secret)):
            await until(lambda: len(tries) > 3)
            known = load(path.parent, "ops")
            assert known.tries >= 3
            assert known.failing_since_ms > 1_700_000_000_000
            assert known.failure == f"{receiver.url} answered 503"
            receiver.reply = lambda _: (200, {}, b"")
            await until(lambda: receiver.requests)
            await until(lambda: load(path.parent, "ops").waiting)
        assert load(path.parent, "ops") == Told(waiting=frozenset({pending.id}))
    assert len(caplog.messages) == 2
    assert "notify target ops" in caplog.messages[0]
    assert "works again" in caplog.messages[1]


@pytest.mark.threat("T30")
async def test_a_request_that_is_over_is_given_up(desk, path, secret):
    tries = []
    with web() as receiver:
        receiver.reply = lambda body: (tries.append(json.loads(body)), (500, {}, b""))[1]
        pending = await to_thread.run_sync(desk.open, question())
        async with telling(desk, path, ops(receiver, secret)):
            await until(lambda: tries)
            await answered(desk, pending)
            other = await to_thread.run_sync(desk.open, question(action_digest="b" * 64))
            await until(lambda: tries[-1]["data"]["id"] == other.id)
            receiver.reply = lambda _: (200, {}, b"")
            await until(lambda: receiver.requests)
        assert received(receiver) == [("approval.opened", other.id)]
        assert {one["type"] for one in tries} == {"approval.opened"}


@pytest.mark.threat("T30")
async def test_what_was_answered_while_another_was_told_is_not_told(desk, path, secret):
    busy, slow = threading.Event(), threading.Event()
    with web() as receiver:
        receiver.reply = lambda _: (busy.set(), slow.wait(20), (200, {}, b""))[2]
        first = await to_thread.run_sync(desk.open, question())
        second = await to_thread.run_sync(desk.open, question(action_digest="b" * 64))
        async with telling(desk, path, ops(receiver, secret)):
            await until(busy.is_set)
            await answered(desk, second)
            slow.set()
            await answered(desk, first)
            await until(lambda: len(receiver.requests) == 2)
        assert {named for _, named in received(receiver)} == {first.id}


async def test_the_end_of_a_request_is_no_news_long_after_its_time(desk, path, secret, clock):
    clock.now_s = 1_000_000_000.0
    with web() as receiver:
        pending = await to_thread.run_sync(desk.open, question())
        async with telling(desk, path, ops(receiver, secret)):
            await until(lambda: load(path.parent, "ops").waiting)
            clock.now_s += 400
            desk.bell.ring()
            await until(lambda: not load(path.parent, "ops").waiting)
        assert received(receiver) == [("approval.opened", pending.id)]
    told_module.keep(path.parent, "ops", Told(waiting=frozenset({"ap_0"})))
    with web() as receiver:  # the store was exchanged
        async with telling(desk, path, ops(receiver, secret)):
            await until(lambda: not load(path.parent, "ops").waiting)
        assert not receiver.requests


@pytest.mark.threat("T30")
async def test_a_target_that_hangs_is_left_and_holds_up_neither_votes_nor_the_end(
    desk, path, secret, caplog
):
    hung = threading.Event()
    with web() as receiver:
        receiver.reply = lambda _: (hung.wait(30), (200, {}, b""))[1]
        pace = Pace(retry_s=0.01, longest_s=0.02, deadline_s=0.05, last_s=0.1)
        pending = await to_thread.run_sync(desk.open, question())
        async with telling(desk, path, ops(receiver, secret), pace=pace):
            await until(lambda: load(path.parent, "ops").tries > 1)
            await answered(desk, pending)
        assert load(path.parent, "ops").failure == f"{receiver.url}: no answer in 0.05 s"
        await to_thread.run_sync(desk.open, question(action_digest="b" * 64))
        with anyio.fail_after(5):
            slow = Pace(deadline_s=60, last_s=0.05)
            async with telling(desk, path, ops(receiver, secret), pace=slow):
                await anyio.sleep(0.05)
        hung.set()
    assert load(path.parent, "ops").waiting == frozenset()


@pytest.mark.threat("T30")
async def test_what_the_last_moment_opened_is_told_once(desk, path, secret):
    slow = threading.Event()
    with web() as receiver:
        receiver.reply = lambda _: (slow.wait(0.1), (200, {}, b""))[1]
        async with telling(desk, path, ops(receiver, secret)):
            await anyio.sleep(0.02)
            one = await to_thread.run_sync(desk.open, question())
            await anyio.sleep(0.02)  # it is on its way
            two = await to_thread.run_sync(desk.open, question(action_digest="b" * 64))
        assert received(receiver) == [("approval.opened", each.id) for each in (one, two)]


@pytest.mark.threat("T30")
async def test_a_flood_of_requests_calls_nobody_all_the_time(desk, path, secret):
    pace = Pace(most_a_minute=3, last_s=0.05)
    with web() as receiver:
        for number in range(5):
            await to_thread.run_sync(desk.open, question(action_digest=f"{number}" * 64))
        async with telling(desk, path, ops(receiver, secret), pace=pace):
            await until(lambda: len(load(path.parent, "ops").waiting) == 3)
            await anyio.sleep(0.05)
        assert len(receiver.requests) == 3


async def test_a_state_that_cannot_be_kept_is_said_and_nothing_ends(desk, path, secret, caplog):
    (path.parent / "notify").touch()
    with web() as receiver:
        async with telling(desk, path, ops(receiver, secret)):
            await to_thread.run_sync(desk.open, question())
            await until(lambda: receiver.requests and caplog.messages)
        assert f"{path.parent}/notify: File exists" in caplog.messages[0]
        (path.parent / "notify").unlink()
        (path.parent / "notify.lock").chmod(0o644)
        async with telling(desk, path, ops(receiver, secret)):
            await until(lambda: "nobody is notified" in caplog.messages[-1])
        assert len(receiver.requests) == 1


def test_what_is_remembered_is_replaced_whole_or_not(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    told_module.keep(tmp_path, "ops", Told(tries=1))
    (file,) = (tmp_path / "notify").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(ApprovalError, match="No space"):
        told_module.keep(tmp_path, "ops", Told(tries=2))
    assert load(tmp_path, "ops").tries == 1
    assert list((tmp_path / "notify").iterdir()) == [file]
    file.write_text("{}x")
    assert load(tmp_path, "ops") == Told()


async def test_no_targets_are_no_work(desk, path):
    await Notifier(desk, path.parent, ()).run()
    assert not (path.parent / "notify.lock").exists()


# --- to whom -------------------------------------------------------------------------------------


@pytest.mark.threat("T30")
async def test_a_webhook_goes_to_its_address_alone(secret):
    with web() as receiver, web() as other:
        receiver.reply = lambda _: (307, {"Location": f"{other.url}/in"}, b"")
        with pytest.raises(ApprovalError, match=f"{receiver.url} answered 307"):
            await hook(f"{receiver.url}/token-of-mine", secret).tell(trial(NONE, "", 0))
        assert not other.requests
        gone = hook(other.url, secret)
    with pytest.raises(ApprovalError, match=f"{other.url}: no answer"):
        await gone.tell(trial(NONE, "", 0))


async def test_a_webhook_trusts_the_certificates_that_are_named(secret, tmp_path):
    named = Webhook("https://127.0.0.1:9/", secret, lambda: 0, tmp_path / "none.pem")
    with pytest.raises(ApprovalError, match=r"none.pem: No such file"):
        await named.tell(trial(NONE, "", 0))


NO_SECRETS = [b"", b"hunter2hunter2", b"whsec_*", b"whsec_" + base64.b64encode(b"x" * 23)]


@pytest.mark.threat("T30")
@pytest.mark.parametrize("content", [*NO_SECRETS, b"whsec_" + base64.b64encode(b"x" * 65)])
def test_a_weak_secret_signs_nothing(tmp_path, content):
    path = private(tmp_path / "s", content)
    with pytest.raises(ApprovalError, match="holds no webhook secret") as error:
        secrets_of(path)
    assert "hunter2" not in str(error.value)


@pytest.mark.threat("T23")
def test_a_secret_that_others_could_read_is_not_used(tmp_path, secret):
    linked = tmp_path / "linked"
    linked.symlink_to(secret)
    for path, why in ((linked, "cannot be read"), (tmp_path, "special file")):
        with pytest.raises(ApprovalError, match=why):
            hook("https://h", path).check()
    hook("https://h", secret).check()
    secret.chmod(0o640)
    with pytest.raises(ApprovalError, match=f"run: chmod 0600 {secret}"):
        hook("https://h", secret).check()


async def test_while_a_secret_is_exchanged_both_sign(tmp_path):
    old, new = b"o" * 24, b"n" * 64
    both = b"\n".join(b"whsec_" + base64.b64encode(key) for key in (new, old))
    with web() as receiver:
        notice = trial(NONE, PAGE, 1_800_000_000_000)
        target = Target("ops", hook(receiver.url, private(tmp_path / "s", both)), True)
        assert await told(target, notice, 5) == "answered 200"
        ((_, headers, body),) = receiver.requests
    assert checked(old, headers, body)
    assert checked(new, headers, body)
    assert json.loads(body)["data"]["link"] == f"{PAGE}/"


# --- chats ---------------------------------------------------------------------------------------


@APPRISE
@pytest.mark.threat("T30")
async def test_a_chat_is_told_by_apprise(desk, path, tmp_path):
    with web() as phone:
        url = private(tmp_path / "phone.url", phone.url.replace("http", "json").encode() + b"/x\n")
        chat = Chat(url)
        chat.check()
        assert chat.place == f"the service in {url}"
        async with telling(desk, path, Target("phone", chat, hears_answers=False)):
            pending = await to_thread.run_sync(desk.open, question())
            await until(lambda: phone.requests)
        ((where, _, body),) = phone.requests
    sent = json.loads(body)
    assert (where, sent["title"]) == ("/x", "A person's yes is asked for: exec")
    assert sent["message"].splitlines() == [
        "argv systemctl restart nginx",
        r"asked by agent:codex\x401000 via mcp",
        "needs a yes of level attested",
        "until 2027-01-15T08:05:00Z",
        f"{PAGE}/#{pending.id}",
    ]


@APPRISE
@pytest.mark.threat("T30")
async def test_a_chat_that_cannot_be_told_says_why_and_only_once(tmp_path, monkeypatch):
    servers_log = MemoryHandler(100)
    logging.getLogger().addHandler(servers_log)
    with web() as phone, web() as other:
        url = private(tmp_path / "u", phone.url.replace("http", "json").encode())
        phone.reply = lambda _: (307, {"Location": other.url}, b"")
        with pytest.raises(ApprovalError, match=r"not taken: .*JSON"):
            await Chat(url).tell(trial(NONE, "", 0))
        assert not other.requests
    for content in (b"", b"nosuch://x", b"json://a json://b"):
        with pytest.raises(ApprovalError, match="holds no URL that Apprise knows"):
            Chat(private(tmp_path / "u", content)).check()
    logging.getLogger().removeHandler(servers_log)
    assert servers_log.buffer == []
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ApprovalError, match=r"pip install 'permitgate\[apprise\]'"):
        Chat(url).check()


async def test_whatever_goes_wrong_in_a_target_is_said_and_ends_nothing(secret):
    class Broken:
        place = "here"

        def check(self) -> None: ...

        async def tell(self, notice) -> str:
            raise KeyError

    with pytest.raises(ApprovalError, match="here: KeyError"):
        await told(Target("x", Broken(), hears_answers=True), trial(NONE, "", 0), 5)


async def test_a_desk_that_cannot_move_is_said(path, store, secret, caplog):
    clock, log = Clock(), Log()
    desk = Desk(store, log, clock=clock)
    await to_thread.run_sync(desk.open, question())
    clock.now_s += 400
    log.room = 0  # nothing expires without its record
    async with telling(desk, path, Target("ops", hook("https://h", secret), hears_answers=True)):
        await until(lambda: caplog.messages)
    assert "No space left on device" in caplog.messages[0]
