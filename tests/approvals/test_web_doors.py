"""Who gets in to the page: links, the lock, the approvers' file, sessions; what fails beside."""

import hashlib
import json
import logging
import os
import socket
import threading

import anyio
import httpx2
import pytest

from approvals.desk import Desk
from approvals.request import ApprovalError, State
from approvals.store import Store
from approvals.web import entrance, entry, listener
from approvals.web.approvers import approver_of, approvers, new_token, remove
from approvals.web.entry import Failures, Sessions
from approvals.web.links import NoPage, announce, make_link, redeem, showing, shown_at
from tests.approvals.conftest import Clock, Log
from tests.approvals.web_rig import decisions, serving, yes


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "approvals"


# Links.


@pytest.mark.threat("T07")
def test_no_link_is_made_while_no_server_of_ours_shows_the_page(directory):
    with pytest.raises(NoPage, match=r"approvals\.page\.listen"):
        make_link(directory, 0)
    with showing(directory) as lock:
        with pytest.raises(NoPage):
            make_link(directory, 0)  # it does not listen yet
        assert lock is not None
        announce(lock, "http://127.0.0.1:1")
        assert make_link(directory, 0).startswith("http://127.0.0.1:1/#login=")
    assert shown_at(directory) is None
    with pytest.raises(NoPage):
        make_link(directory, 0)


@pytest.mark.threat("T23")
def test_links_are_kept_by_their_hash_alone_where_only_their_owner_looks(directory):
    with showing(directory) as lock:
        announce(lock or 0, "http://127.0.0.1:1")
        token = make_link(directory, 0).partition("#login=")[2]
    (kept,) = (directory / "links").iterdir()
    assert kept.name == hashlib.sha256(token.encode()).hexdigest()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.threat("T07")
def test_of_many_who_use_a_link_at_once_one_gets_in(directory):
    with showing(directory) as lock:
        announce(lock or 0, "http://127.0.0.1:1")
        token = make_link(directory, 0).partition("#login=")[2]
    entered: list[bool] = []
    together = threading.Barrier(8)

    def use() -> None:
        together.wait()
        entered.append(redeem(directory, token, 1))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entered) == [False] * 7 + [True]


@pytest.mark.threat("T07")
@pytest.mark.parametrize("token", ["", "../page.lock", "x" * 128, "\udcff"])
def test_what_is_no_link_opens_nothing(directory, token):
    with showing(directory):
        assert not redeem(directory, token, 1)
        (directory / "links").mkdir(mode=0o700)
        assert not redeem(directory, token, 1)


@pytest.mark.threat("T07")
def test_a_link_from_another_time_opens_nothing(directory):
    links = directory / "links"
    links.mkdir(parents=True)
    for ends_s in ("99999999999", "0", "x"):
        (links / hashlib.sha256(b"t").hexdigest()).write_text(ends_s)
        assert not redeem(directory, "t", 1_800_000_000)


def test_a_link_that_cannot_be_kept_is_not_shown(directory):
    with showing(directory) as lock:
        announce(lock or 0, "http://127.0.0.1:1")
        (directory / "links").write_text("")
        with pytest.raises(ApprovalError, match="File exists"):
            make_link(directory, 0)
        (directory / "links").unlink()
        (directory / "links").mkdir(mode=0o700)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", full_unless_reading(os.open))
            with pytest.raises(ApprovalError, match="No space left"):
                make_link(directory, 0)


def full_unless_reading(really):
    def opened(path, flags, *rest, **named):
        if flags & os.O_EXCL:
            raise OSError(28, "No space left on device")
        return really(path, flags, *rest, **named)

    return opened


# Which server shows it.


@pytest.mark.threat("T07")
async def test_one_of_two_servers_shows_the_page_and_the_other_takes_over(
    directory, tmp_path, monkeypatch
):
    monkeypatch.setattr(listener, "RETRY_S", 0.01)
    with serving(directory) as house:
        second = Desk(Store(directory / "approvals.sqlite"), Log(), clock=house.clock)
        site = house.make_site(second)
        async with anyio.create_task_group() as group:
            starting = anyio.Event()

            async def start() -> None:
                await group.start(listener.serve, site, ("127.0.0.1", house.port))
                starting.set()

            group.start_soon(start)
            await anyio.sleep(0.05)
            assert not starting.is_set()
            pending = house.asks()
            await anyio.to_thread.run_sync(house.stop)
            with anyio.fail_after(5):
                await starting.wait()
            assert shown_at(directory) == house.url

            def answer() -> str:
                with house.client(**house.token()) as web:
                    return web.post(decisions(pending), json=yes(pending)).json()["state"]

            assert await anyio.to_thread.run_sync(answer) == "approved"
            group.cancel_scope.cancel()
        assert second.get(pending.id).state is State.APPROVED


@pytest.mark.threat("T07")
async def test_a_port_that_somebody_else_has_is_named_once_and_taken_when_it_is_free(
    directory, caplog, monkeypatch
):
    monkeypatch.setattr(listener, "RETRY_S", 0.01)
    caplog.set_level(logging.WARNING)
    with serving(directory) as house:
        house.stop()
        async with anyio.create_task_group() as group:
            with socket.create_server(("127.0.0.1", house.port)):
                group.start_soon(listener.serve, house.make_site(house.desk), house.address)
                await anyio.sleep(0.05)
                assert shown_at(directory) is None
            with anyio.fail_after(5):
                while shown_at(directory) is None:  # noqa: ASYNC110  # nothing rings for it
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    (said,) = [one for one in caplog.records if one.name == listener.__name__]
    assert f"127.0.0.1:{house.port}: the page cannot be shown" in said.getMessage()


async def test_the_page_is_shown_on_the_other_loopback_too(directory):
    with serving(directory) as house:
        house.stop()
        site = house.make_site(house.desk)
        async with anyio.create_task_group() as group:
            await group.start(listener.serve, site, ("::1", house.port))
            stream = await anyio.connect_tcp("::1", house.port)
            await stream.aclose()
            group.cancel_scope.cancel()


# The approvers' file.


def test_a_new_token_replaces_the_one_of_the_same_name_and_no_other(directory):
    path = directory / "approvers.json"
    first, other = new_token(path, "alice", "approver"), new_token(path, "bob", "reader")
    second = new_token(path, "alice", "approver")
    assert approver_of(path, first) is None
    assert [one.name for one in approvers(path)] == ["bob", "alice"]
    found = approver_of(path, second), approver_of(path, other)
    assert [(one.name, one.role) for one in found] == [("alice", "approver"), ("bob", "reader")]
    assert remove(path, "alice")
    assert not remove(path, "alice")
    assert approver_of(path, second) is None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("{", 0o600, "cannot be read as approvers"),
        ('{"version": 2}', 0o600, "cannot be read as approvers"),
        ('{"approvers": [{"name": "a", "role": "root", "sha256": "x"}]}', 0o600, "cannot be read"),
        ("{}", 0o644, "lets others in"),
    ],
)
def test_a_file_that_others_could_prepare_lets_nobody_in(tmp_path, content, mode, why):
    path = tmp_path / "approvers.json"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ApprovalError, match=why):
        approver_of(path, "pgt_x")


def test_a_token_that_cannot_be_kept_is_not_made(tmp_path):
    path = tmp_path / "approvers.json"
    with pytest.raises(ApprovalError, match="is no name"):
        new_token(path, "a b", "approver")
    path.mkdir()
    with pytest.raises(ApprovalError, match="Is a directory"):
        new_token(path, "alice", "approver")
    path.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", full_unless_reading(os.open))
        with pytest.raises(ApprovalError, match="No space left"):
            new_token(path, "alice", "approver")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.threat("T23")
def test_a_file_that_becomes_unusable_is_said_and_lets_nobody_in(directory):
    with serving(directory) as house:
        pending = house.asks()
        with house.client(**house.token()) as web:
            (directory / "approvers.json").write_text("{")
            refused = web.post(decisions(pending), json=yes(pending))
            assert (refused.status_code, refused.json()["error"]) == (409, "refused")
            assert "Nobody is let in" in refused.json()["message"]
        assert house.desk.get(pending.id).votes == ()


# What is remembered is bounded.


def test_only_so_many_sessions_and_peers_are_remembered():
    sessions, failures = Sessions(), Failures()
    opened = [sessions.open(0) for _ in range(entry.MOST_SESSIONS + 1)]
    assert [sessions.holds(one.cookie, one.key, 1) for one in opened[:2]] == [False, True]
    for number in range(entry.MOST_PEERS + entry.MOST_FAILURES):
        for _ in range(entry.MOST_FAILURES):
            failures.note(str(number), 0)
    assert failures.wait_s("0", 1) == 0
    assert failures.wait_s(str(number), 1) > 0


# What fails beside it.


def test_a_database_that_is_gone_mid_way_is_said_and_nothing_is_approved(directory, caplog):
    with serving(directory) as house:
        pending = house.asks()
        with house.page() as web:
            house.log.room = 0
            refused = web.post(decisions(pending), json=yes(pending))
            assert (refused.status_code, refused.json()["error"]) == (409, "refused")
            assert "No space left" in refused.json()["message"]
            house.log.room = None
            assert house.desk.get(pending.id).state is State.PENDING
            house.store.close()
            for path in directory.glob("approvals.sqlite*"):
                path.write_bytes(b"x" * 8192)
            refused = web.post(decisions(pending), json=yes(pending))
            assert (refused.status_code, refused.json()["error"]) == (409, "refused")
            assert "approvals database failed" in refused.json()["message"]
            assert web.get("/page/news").text == ""


def test_a_fault_of_ours_says_no_more_than_that(directory, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise RuntimeError("a detail of ours")

    with serving(directory) as house, house.client(**house.token()) as web:
        monkeypatch.setattr(house.desk, "pending", broken)
        failed = web.get("/api/v1/approvals")
        assert (failed.status_code, failed.json()["error"]) == (500, "unavailable")
        assert "detail" not in failed.text


def test_a_body_that_never_ends_is_given_up(directory, monkeypatch):
    monkeypatch.setattr("approvals.web.site.BODY_S", 0.05)
    with serving(directory) as house:
        pending = house.asks()
        (name, value), *_ = house.token().items()
        head = (
            f"POST {decisions(pending)} HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
            f"{name}: {value}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
        )
        with socket.create_connection(house.address) as raw:
            raw.sendall(head.encode())
            assert b"408" in raw.recv(4096).partition(b"\r\n")[0]


def test_news_of_nothing_keep_the_connection_and_end_with_the_session(directory, monkeypatch):
    monkeypatch.setattr(entrance, "BEAT_S", 0)
    monkeypatch.setattr(entrance, "STORE_POLL_S", 0.01)
    with (
        serving(directory) as house,
        house.page() as web,
        web.stream("GET", "/page/news") as stream,
    ):
        lines = stream.iter_lines()
        assert ": still here" in [next(lines) for _ in range(3)]
        house.clock.now_s += entry.SESSION_S
        assert all(line in ("", ": still here") for line in lines)


def test_an_open_stream_does_not_hold_up_the_end(directory, monkeypatch):
    monkeypatch.setattr(entrance, "STORE_POLL_S", 0.01)
    with (
        serving(directory) as house,
        house.page() as web,
        web.stream("GET", "/page/news") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        house.stop()
        assert [line for line in lines if line] == []


def test_previews_say_which_lines_a_diff_adds_and_takes_away(directory):
    diff = "tree\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same"
    with serving(directory) as house, house.client(**house.token()) as web:
        pending = house.asks(preview=diff)
        shown = web.get(f"/api/v1/approvals/{pending.id}").json()
        kinds = [line["kind"] for line in shown["preview"]]
        assert kinds == ["plain", "place", "place", "place", "removed", "added", "plain"]
        assert "".join(json.dumps(shown).splitlines()).isascii()


def test_a_row_says_the_command_or_the_changes_wherever_they_stand(directory):
    cwd, changes = ("cwd", "/srv"), (("lets-in", "created a"), ("lets-in", "modified b"))
    with serving(directory) as house, house.client(**house.token()) as web:
        for facts in ((cwd, ("command", "make")), (cwd, *changes), (cwd,), ()):
            house.asks(facts=facts)
        rows = web.get("/api/v1/approvals").json()["approvals"]
    assert {row["summary"] for row in rows} == {"make", "created a, modified b", "/srv", ""}


def test_a_clock_that_goes_back_keeps_nobody_out_for_longer(directory):
    with serving(directory) as house, house.page() as web:
        house.clock.now_s -= 3600
        assert web.get("/api/v1/approvals").status_code == 200
        assert isinstance(house.clock, Clock)


@pytest.mark.threat("T07")
def test_behind_a_proxy_failures_count_for_the_address_that_it_saw(directory):
    host, said = "approvals.example", {"json": {"token": "guess"}}
    with serving(directory, public=f"https://{host}") as house:
        at = {"base_url": f"http://127.0.0.1:{house.port}", "trust_env": False}
        with httpx2.Client(**at, headers={"Host": host, "Origin": house.url}) as web:

            def status(forwarded: str) -> int:
                header = {"X-Forwarded-For": forwarded} if forwarded else {}
                return web.post("/page/enter", **said, headers=header).status_code

            guesses = ["10.0.0.1, 10.0.0.9", "10.0.0.2, 10.0.0.9"]  # a client wrote the first
            assert [status(guesses[number % 2]) for number in range(11)] == [*[401] * 10, 429]
            assert [status(other) for other in ("10.0.0.1", "")] == [401, 401]
    with serving(directory) as house, house.client(Origin=house.url) as web:  # no proxy, no word
        for _ in range(entry.MOST_FAILURES):
            web.post("/page/enter", **said)
        refused = web.post("/page/enter", **said, headers={"X-Forwarded-For": "10.0.0.1"})
        assert refused.status_code == 429
