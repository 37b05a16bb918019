"""The page's listener over real HTTP: who gets in, what is refused, that nothing comes of it."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import anyio
import pytest
from anyio import to_thread

from approvals.request import Level, Need, Pending, State
from approvals.web import links
from approvals.web.entry import MOST_FAILURES, SESSION_S, WINDOW_S
from approvals.web.site import COOKIE, MAX_BODY_BYTES
from tests.approvals.conftest import AGENT, question
from tests.approvals.web_rig import House, decisions, serving, yes

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house") / "approvals") as house:
        yield house


@pytest.fixture(autouse=True)
def later(house: House) -> None:
    """No test feels the failures of the one before."""
    house.clock.now_s += WINDOW_S + 1


def pending_still(house: House, pending: Pending) -> bool:
    now = house.desk.get(pending.id)
    return (now.state, now.votes) == (State.PENDING, ())


# Coming in.


def test_a_link_opens_the_page_once_and_the_owner_approves(house):
    pending = house.asks(need=Need(Level.OWNER))
    with house.page() as web:
        rows = web.get("/api/v1/approvals").json()["approvals"]
        assert pending.id in [row["id"] for row in rows]
        shown = web.get(f"/api/v1/approvals/{pending.id}").json()
        assert f"request {pending.request_digest}\n" in shown["statement"]
        decided = web.post(decisions(pending), json=yes(pending, reason="go"))
    assert (decided.status_code, decided.json()["state"]) == (200, "approved")
    (vote,) = house.desk.get(pending.id).votes
    assert (vote.by.channel, vote.by.level, vote.reason) == ("page", Level.OWNER, "go")


@pytest.mark.threat("T07")
def test_the_url_alone_shows_nothing_of_any_request(house):
    pending = house.asks()
    with house.client() as web:
        page = web.get("/")
        assert (page.status_code, pending.id in page.text) == (200, False)
        for path in (
            "/api/v1/approvals",
            f"/api/v1/approvals/{pending.id}",
            "/page/news",
        ):
            refused = web.get(path)
            assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
            assert pending.id not in refused.text


@pytest.mark.threat("T07")
def test_a_link_works_once_and_for_two_minutes(house):
    link = house.link()
    assert link.startswith(f"{house.url}/#login=")
    token = link.partition("#login=")[2]
    with house.client() as web:
        assert house.enter(web, token).status_code == 200
        assert house.enter(web, token).status_code == 401
        late = house.link().partition("#login=")[2]
        house.clock.now_s += links.LINK_S
        refused = house.enter(web, late)
        assert (refused.status_code, "too old" in refused.json()["message"]) == (401, True)
        assert house.enter(web, late).status_code == 401


def test_old_links_are_swept_when_a_new_one_is_made(house):
    kept = house.directory / "links"
    house.link()
    (kept / "odd").write_text("x")
    house.clock.now_s += links.LINK_S
    house.link()
    assert len(list(kept.iterdir())) == 2
    (kept / "odd").unlink()


@pytest.mark.threat("T07")
def test_a_cookie_without_its_key_or_the_other_way_round_opens_nothing(house):
    pending = house.asks()
    with house.page() as web, house.page() as other, house.client(Origin=house.url) as thief:
        cookie, key = web.cookies[COOKIE], web.headers["X-Permitgate-Key"]
        for stolen in (
            {"Cookie": f"{COOKIE}={cookie}"},
            {"X-Permitgate-Key": key},
            {"Cookie": f"{COOKIE}={cookie}", "X-Permitgate-Key": "A" * 43},
            {"Cookie": f"{COOKIE}={cookie}", "X-Permitgate-Key": other.headers["X-Permitgate-Key"]},
            {"Cookie": f"{COOKIE}={'A' * 43}", "X-Permitgate-Key": key},
        ):
            refused = thief.post(decisions(pending), json=yes(pending), headers=stolen)
            assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert pending_still(house, pending)


@pytest.mark.threat("T19")
def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(house):
    with house.client() as web:
        cookie = house.enter(web).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie


@pytest.mark.threat("T07")
def test_a_session_ends_by_time_and_by_signing_out(house):
    with house.page() as web:
        assert web.get("/api/v1/approvals").status_code == 200
        house.clock.now_s += SESSION_S
        assert web.get("/api/v1/approvals").status_code == 401
    with house.page() as web:
        kept = web.cookies[COOKIE]
        assert web.post("/page/leave", json={}).status_code == 200
        web.cookies.set(COOKIE, kept)
        assert web.get("/api/v1/approvals").status_code == 401


@pytest.mark.threat("T07")
def test_guessing_is_slowed_down(house):
    with house.client() as web:
        for _ in range(MOST_FAILURES):
            assert house.enter(web, "A" * 43).status_code == 401
        refused = house.enter(web)
        assert (refused.status_code, refused.json()["error"]) == (429, "too_many")
        assert 0 < int(refused.headers["retry-after"]) <= WINDOW_S + 1
        right = house.token()
        assert web.get("/api/v1/approvals", headers=right).status_code == 429
        house.clock.now_s += WINDOW_S
        assert web.get("/api/v1/approvals", headers=right).status_code == 200


# Tokens.


def test_an_approver_is_a_principal_of_its_own(house):
    pending = house.asks(need=Need(Level.SEPARATE))
    with house.client(**house.token("alice")) as web:
        decided = web.post(decisions(pending), json=yes(pending))
    assert decided.json() == {"id": pending.id, "state": "approved"}
    (vote,) = house.desk.get(pending.id).votes
    assert (vote.by.channel, vote.by.name, vote.by.level) == ("api", "alice", Level.SEPARATE)


@pytest.mark.threat("T07")
def test_the_owner_of_the_page_does_not_reach_a_separate_persons_level(house):
    pending = house.asks(need=Need(Level.SEPARATE))
    with house.page() as web:
        refused = web.post(decisions(pending), json=yes(pending))
    assert (refused.status_code, refused.json()["error"]) == (409, "refused")
    assert pending_still(house, pending)


@pytest.mark.threat("T07")
def test_a_reader_reads_and_answers_nothing(house):
    pending = house.asks()
    with house.client(**house.token("eve", "reader")) as web:
        assert web.get(f"/api/v1/approvals/{pending.id}").status_code == 200
        for answer in ("approve", "deny"):
            refused = web.post(decisions(pending), json=yes(pending, answer))
            assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    assert pending_still(house, pending)


@pytest.mark.threat("T07")
@pytest.mark.parametrize(
    "authorization", ["Bearer pgt_guess", "Bearer", "Basic YTpi", "pgt_x", "Bearer \xff"]
)
def test_a_guessed_token_opens_nothing(house, authorization):
    pending = house.asks()
    header = {b"authorization": authorization.encode("latin-1")}
    with house.page() as web:  # and the session beside it does not help
        refused = web.post(decisions(pending), json=yes(pending), headers=header)
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert pending_still(house, pending)


@pytest.mark.threat("T07")
def test_two_tokens_of_one_quorum_are_two_people_and_one_is_one(house):
    pending = house.asks(need=Need(Level.SEPARATE, quorum=2))
    with house.client() as web:
        alice, bob = house.token("alice"), house.token("bob")
        assert web.post(decisions(pending), json=yes(pending), headers=alice).json()["state"] == (
            "pending"
        )
        again = web.post(decisions(pending), json=yes(pending), headers=alice)
        assert (again.status_code, again.json()["error"]) == (409, "refused")
        assert web.post(decisions(pending), json=yes(pending), headers=bob).json()["state"] == (
            "approved"
        )


# What is refused, and that nothing comes of it.


@pytest.mark.threat("T19")
@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"Host": "evil.example"}, 421, "wrong_host"),
        ({"Host": "localhost:{port}"}, 421, "wrong_host"),
        ({"Host": "127.0.0.1"}, 421, "wrong_host"),
        ({"Origin": "https://evil.example"}, 403, "wrong_origin"),
        ({"Origin": "null"}, 403, "wrong_origin"),
        ({"Origin": "http://127.0.0.1"}, 403, "wrong_origin"),
        ({"Origin": ""}, 403, "wrong_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "wrong_origin"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "wrong_origin"),
        ({"Content-Type": "text/plain"}, 415, "wrong_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "wrong_media_type"),
    ],
)
def test_what_another_page_could_send_is_refused(house, headers, status, word):
    pending = house.asks()
    sent = {name: value.format(port=house.port) for name, value in headers.items()}
    with house.page() as web:
        content = json.dumps(yes(pending))
        refused = web.post(decisions(pending), content=content, headers={**JSON, **sent})
    assert (refused.status_code, refused.json()["error"]) == (status, word)
    assert pending_still(house, pending)


@pytest.mark.threat("T19")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_token_in_another_page_opens_nothing_either(house, origin):
    pending = house.asks()
    with house.client(**house.token(), Origin=origin) as web:
        for refused in (
            web.get("/api/v1/approvals"),
            web.post(decisions(pending), json=yes(pending)),
        ):
            assert (refused.status_code, refused.json()["error"]) == (403, "wrong_origin")
            assert "access-control-allow-origin" not in refused.headers
    assert pending_still(house, pending)


@pytest.mark.threat("T19")
def test_a_cookie_answers_only_with_our_origin(house):
    pending = house.asks()
    with house.page() as web:
        del web.headers["Origin"]
        refused = web.post(decisions(pending), json=yes(pending))
        assert (refused.status_code, refused.json()["error"]) == (403, "wrong_origin")
        link = house.link().partition("#login=")[2]
        refused = web.post("/page/enter", json={"token": link})
        assert (refused.status_code, refused.json()["error"]) == (403, "wrong_origin")
    assert pending_still(house, pending)


@pytest.mark.threat("T18")
@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b'{"answer": "approve"}', 400, "malformed"),
        (b'{"answer": "Approve", "seen_digest": "D"}', 400, "malformed"),
        (b'{"answer": true, "seen_digest": "D"}', 400, "malformed"),
        (b'{"answer": "approve", "seen_digest": "D", "by": "root"}', 400, "malformed"),
        (b'{"answer": "approve", "seen_digest": ""}', 409, "approval_mismatch"),
        (b'{"answer": "approve", "seen_digest": "' + b"0" * 64 + b'"}', 409, "approval_mismatch"),
        (b'{"answer": "approve-for-session", "seen_digest": "D"}', 409, "refused"),
        (b'{"answer": "approve", "seen_digest": "D", "reason": "' + b"x" * 501 + b'"}', 400,
         "malformed"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "too_large"),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_body_that_is_no_answer_is_none(house, body, status, word):
    pending = house.asks()
    content = body.replace(b'"D"', json.dumps(pending.request_digest).encode())
    with house.client(**house.token()) as web:
        refused = web.post(decisions(pending), content=content, headers=JSON)
    assert (refused.status_code, refused.json()["error"]) == (status, word), refused.text
    assert refused.json()["message"].isascii()
    assert pending_still(house, pending)


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "/api/v1/approvals/ap_0", 404, "not_found"),
        ("GET", "/api/v1/approvals/%1b%5b2J", 404, "not_found"),
        ("POST", "/api/v1/approvals/ap_0/decisions", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("DELETE", "/api/v1/approvals", 405, "not_allowed"),
        ("GET", "/api/v1/approvals?state=all", 400, "malformed"),
        ("GET", "/api/v1/approvals?limit=1", 400, "malformed"),
        ("GET", "/api/v1/approvals/{id}?wait=61", 400, "malformed"),
        ("GET", "/api/v1/approvals/{id}?wait=-1", 400, "malformed"),
        ("GET", "/api/v1/approvals/{id}?wait=1.5", 400, "malformed"),
        ("GET", "/api/v1/approvals/{id}?wait=99999999999999999999", 400, "malformed"),
    ],
)
def test_what_is_not_there_is_said_to_be_so(house, method, path, status, word):
    pending = house.asks()
    with house.client(**house.token()) as web:
        body = {"answer": "approve", "seen_digest": ""} if method == "POST" else None
        refused = web.request(method, path.format(id=pending.id), json=body)
    assert (refused.status_code, refused.json()["error"]) == (status, word)
    assert refused.text.isascii()


@pytest.mark.threat("T08")
def test_an_answer_after_the_time_or_after_another_is_none(house):
    late, denied = house.asks(need=Need(ttl_s=5)), house.asks()
    with house.client(**house.token()) as web:
        assert web.post(decisions(denied), json=yes(denied, "deny")).json()["state"] == "denied"
        refused = web.post(decisions(denied), json=yes(denied))
        assert (refused.status_code, refused.json()["error"]) == (409, "not_pending")
        house.clock.now_s += 5
        refused = web.post(decisions(late), json=yes(late))
        assert (refused.status_code, refused.json()["error"]) == (409, "not_pending")
    assert house.desk.get(late.id).state is State.EXPIRED


@pytest.mark.threat("T07")
def test_who_asked_cannot_answer_whatever_it_calls_itself(house):
    pending = house.asks(requester=house.owner)
    with house.page() as web:
        refused = web.post(decisions(pending), json=yes(pending))
    assert (refused.status_code, refused.json()["error"]) == (409, "refused")
    assert pending_still(house, pending)


def test_the_last_answers_are_kept_with_their_reasons_without_secrets(house):
    pending = house.asks()
    with house.client(**house.token("bob")) as web:
        said = yes(pending, "deny", reason="no: hunter2 \x1b[2J")
        web.post(decisions(pending), json=said)
        house.clock.now_s += 1
        rows = web.get("/api/v1/approvals?state=answered").json()["approvals"]
    (first,) = [row for row in rows if row["id"] == pending.id]
    assert first["state"] == "denied"
    assert first["answered_by"] == "bob@1000 via api"
    assert first["reason"] == r"no: [secret] \x1b[2J"
    voted = [one for one in house.log.records if one["event"] == "approval.voted"]
    assert voted[-1]["approval"]["reason"] == first["reason"]


def test_a_yes_for_the_session_is_one_where_it_is_offered(house):
    pending = house.asks(for_session=("connects-to example.com:443",))
    with house.client(**house.token()) as web:
        shown = web.get(f"/api/v1/approvals/{pending.id}").json()
        assert shown["for_session"] == ["connects-to example.com:443"]
        web.post(decisions(pending), json=yes(pending, "approve-for-session"))
    assert house.desk.consume(pending.id, pending.question.action_digest, pending.question.session)


# Waiting, news, headers, the document.


async def test_waiting_ends_with_the_answer(house):
    pending = house.asks()
    answered = []

    def wait() -> None:
        with house.client(**house.token("carol", "reader")) as web:
            answered.append(web.get(f"/api/v1/approvals/{pending.id}?wait=30").json())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, wait)
            with house.client(**house.token("bob")) as web:
                await to_thread.run_sync(
                    lambda: web.post(decisions(pending), json=yes(pending, "deny", reason="no"))
                )
    assert (answered[0]["state"], answered[0]["votes"][0]["reason"]) == ("denied", "no")


def test_news_come_when_a_request_is_opened_or_answered(house):
    with house.page() as web, web.stream("GET", "/page/news") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        assert next(lines) == ""
        house.asks()
        assert next(lines).startswith("data: ")


@pytest.mark.threat("T19")
@pytest.mark.parametrize("path", ["/", "/api/v1/approvals", "/api/v1/openapi.json", "/nothing"])
def test_nothing_may_frame_cache_or_mistake_what_is_answered(house, path):
    with house.client() as web:
        headers = web.get(path).headers
        strange = web.get(path, headers={"Host": "evil.example"}).headers
    for found in (headers, strange):
        assert found["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"
        assert "server" not in found


@pytest.mark.threat("T24")
def test_only_the_pages_own_script_may_run_under_a_nonce_of_its_own(house):
    with house.client() as web:
        first, second = web.get("/"), web.get("/")
    policies = [one.headers["content-security-policy"] for one in (first, second)]
    assert policies[0] != policies[1]
    nonce = policies[0].partition("script-src 'nonce-")[2].partition("'")[0]
    assert first.text.count(f'nonce="{nonce}"') == 2
    assert "unsafe" not in policies[0]
    assert "default-src 'none'" in policies[0]


@pytest.mark.threat("T18")
def test_bytes_that_are_no_http_do_not_end_the_listener(house):
    for sent in (
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET " + b"a" * 99_999,
    ):
        with closing(socket.create_connection(("127.0.0.1", house.port))) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            assert b"200" not in raw.recv(64)[:16]
    with house.client() as web:
        assert web.get("/").status_code == 200


def test_a_request_without_facts_is_shown_too(house):
    pending = house.desk.open(question(facts=(), action_digest="f" * 64, requester=AGENT))
    with house.client(**house.token()) as web:
        assert web.get(f"/api/v1/approvals/{pending.id}").json()["facts"] == []
