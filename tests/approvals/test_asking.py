"""An agent elsewhere asks over HTTP: what its token can do, whose yes counts, and how often."""

import json
from collections.abc import Iterator

import httpx2
import pytest

from approvals.request import (
    Answer,
    ApprovalError,
    Level,
    Mismatch,
    Need,
    NotPending,
    Principal,
    State,
    Vote,
)
from approvals.web.approvers import approver_of, new_token
from approvals.web.shapes import asked_digest
from tests.approvals.conftest import question
from tests.approvals.web_rig import House, serving

ALL = "/api/v1/approvals"
pytestmark = pytest.mark.threat("T31")
BODY = {
    "agent": "job",
    "reference": "run 7",
    "actor": "Alice",
    "tool": "deploy",
    "facts": [{"key": "command", "text": "make deploy\u202e"}],
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house") / "approvals") as house:
        yield house


class Agent(httpx2.Client):
    """A client with the token of an agent."""

    name = "job"


def agent(house: House, name: str, *, owner_answers: bool = False) -> Agent:
    file = house.directory / "approvers.json"
    token = new_token(file, name, "agent", ("alice", "bot[bot]"), owner_answers=owner_answers)
    header = {"Authorization": f"Bearer {token}"}
    client = Agent(base_url=house.url, headers=header, timeout=10, trust_env=False)
    client.name = name
    return client


def of(web: httpx2.Client, changes: dict[str, object]) -> bytes:
    """Return the body by which this client asks."""
    return body(**{"agent": web.name if isinstance(web, Agent) else "job", **changes})


def body(**changes: object) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def asks(web: httpx2.Client, **changes: object) -> httpx2.Response:
    header = {"Content-Type": "application/json"}
    return web.post(ALL, content=of(web, changes), headers=header)


def answers(house: House, name: str, shown: dict[str, str], said: str = "approve") -> list[object]:
    sent = {"answer": said, "seen_digest": shown["request_digest"]}
    with house.client(**house.token(name)) as web:
        answered = web.post(f"{ALL}/{shown['id']}/decisions", json=sent)
    return [answered.status_code, answered.json().get("state") or answered.json()["message"]]


def uses(web: httpx2.Client, shown: dict[str, str], **changes: object) -> list[object]:
    sent = {"action_digest": asked_digest(of(web, changes))}
    used = web.post(f"{ALL}/{shown['id']}/use", json=sent)
    return [used.status_code, used.json().get("state") or used.json()["error"]]


def test_an_agent_asks_somebody_else_says_yes_and_it_uses_the_yes_once(house):
    with agent(house, "job") as job:
        opened = asks(job)
        shown = opened.json()
        assert (opened.status_code, shown["state"]) == (200, "pending")
        assert shown["action_digest"] == asked_digest(body())
        for line in (
            r"command make deploy\u202e",
            "agent job, by its token",
            "actor-says Alice set it off, so says the agent",
            "not-by job, alice, bot[bot]",
            "reference run 7",
            "needs 1 of level 3 (separate) or higher",
        ):
            assert f"\n{line}\n" in shown["statement"]
        assert "what it is, is the agent's word" in shown["warnings"][0]
        assert asks(job).json()["id"] == shown["id"]  # the same bytes find it
        assert uses(job, shown) == [409, "not_pending"]
        assert answers(house, "carol", shown) == [200, "approved"]
        assert job.get(f"{ALL}/{shown['id']}?wait=1").json()["votes"][0]["by"].startswith("carol@")
        assert uses(job, shown, reference="run 8") == [409, "approval_mismatch"]
        assert uses(job, shown) == [200, "consumed"]
        assert uses(job, shown) == [409, "not_pending"]
        replayed = asks(job).json()
        assert (replayed["id"], replayed["state"]) == (shown["id"], "consumed")


def test_who_set_it_off_says_no_and_not_yes(house):
    with agent(house, "job-2") as job:
        shown = asks(job, actor="bot[bot]").json()
        for name in ("alice", "ALICE"):  # whoever it says set it off
            status, said = answers(house, name, shown)
            assert (status, f"{name}@1000 via api set it off" in said) == (409, True)
        assert house.desk.get(shown["id"]).votes == ()
        assert answers(house, "alice", shown, "deny") == [200, "denied"]
        assert uses(job, shown) == [409, "not_pending"]


def test_a_token_asks_and_sees_its_own_and_nothing_else(house):
    others = house.asks()
    with agent(house, "job-3") as job, agent(house, "job-4") as thief:
        shown = asks(job).json()
        one = f"{ALL}/{shown['id']}"
        assert [row["id"] for row in job.get(ALL).json()["approvals"]] == [shown["id"]]
        assert thief.get(ALL).json()["approvals"] == []
        assert asks(thief).json()["id"] != shown["id"]
        for web, path in ((thief, one), (job, f"{ALL}/{others.id}")):
            unknown = web.get(path)
            assert (unknown.status_code, unknown.json()["error"]) == (404, "not_found")
        sent = {"answer": "approve", "seen_digest": shown["request_digest"]}
        for web in (job, thief):
            assert web.post(f"{one}/decisions", json=sent).status_code == 403
            assert web.get("/page/news").status_code == 403
        assert answers(house, "carol", shown) == [200, "approved"]
        assert uses(thief, shown) == [404, "not_found"]
        assert uses(job, shown) == [200, "consumed"]
        with house.client(**house.token("carol")) as carol, house.page() as page:
            for web in (carol, page):
                assert asks(web).status_code == 403
                assert web.post(f"{one}/use", json={"action_digest": "x"}).status_code == 403


def test_the_owner_answers_where_the_token_says_that_they_set_nothing_off(house):
    with house.page() as page, agent(house, "job-5") as job:
        with agent(house, "job-6", owner_answers=True) as other:
            shown = [asks(job, level="owner").json(), asks(other, level="owner").json()]
            higher = asks(other, reference="2", level="separate").json()
        states = []
        for one in (*shown, higher):
            sent = {"answer": "approve", "seen_digest": one["request_digest"]}
            states.append(page.post(f"{ALL}/{one['id']}/decisions", json=sent).status_code)
    assert states == [409, 200, 409]


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"actor": "mallory"}, 403, "mallory is not one of those"),
        ({"agent": "job"}, 403, "This is the token of job-7"),
        ({"facts": [{"key": "not-by", "text": "nobody"}]}, 400, "ours to state"),
        ({"facts": [{"key": "request", "text": "0"}]}, 409, "not a free lowercase key"),
        ({"facts": [{"key": "A b", "text": "0"}]}, 400, "facts.0.key"),
        ({"level": "attested"}, 400, "level"),
        ({"for_session": ["x"]}, 400, "for_session"),
        ({"preview": "x" * (1 << 20)}, 413, "longer than"),
    ],
)
def test_what_an_agent_may_not_say_is_refused_and_nobody_is_asked(house, changes, status, why):
    with agent(house, "job-7") as job:
        refused = asks(job, **changes)
        assert (refused.status_code, why in refused.json()["message"]) == (status, True)
        assert job.get(ALL).json()["approvals"] == []


def test_no_gate_of_this_host_finds_the_yes_of_an_agent_elsewhere(house):
    with agent(house, "job-8") as job:
        shown = asks(job).json()
    assert answers(house, "carol", shown) == [200, "approved"]
    digest = shown["action_digest"]
    with pytest.raises(NotPending):
        house.desk.consume(shown["id"], digest, "s1")
    here = house.desk.open(question(action_digest=digest, session="s1"))
    assert (here.state, here.id == shown["id"]) == (State.PENDING, False)
    with pytest.raises(Mismatch):
        house.desk.consume(shown["id"], "0" * 64, "agent:job-8")


@pytest.mark.parametrize(
    ("name", "role", "actors", "why"),
    [
        ("job", "agent", (), "names 1 to 64 people"),
        ("job", "agent", ("a b",), "names 1 to 64 people"),
        ("carol", "approver", ("alice",), "no other token does"),
        ("a b", "agent", ("alice",), "no name for an approver"),
    ],
)
def test_a_token_without_its_people_is_not_made(tmp_path, name, role, actors, why):
    with pytest.raises(ApprovalError, match=why):
        new_token(tmp_path / "approvers.json", name, role, actors)


@pytest.mark.parametrize(
    "line",
    [
        {"role": "agent"},
        {"role": "agent", "actors": ["a b"]},
        {"role": "approver", "actors": ["alice"]},
        {"role": "reader", "owner_answers": True},
    ],
)
def test_a_file_that_says_so_lets_nobody_in(tmp_path, line):
    path = tmp_path / "approvers.json"
    path.write_text(json.dumps({"approvers": [{"name": "a", "sha256": "0" * 64, **line}]}))
    path.chmod(0o600)
    with pytest.raises(ApprovalError, match="cannot be read as approvers"):
        approver_of(path, "pgt_x")


# An answer that was given at another server.


def test_an_answer_from_elsewhere_counts_with_its_proof_and_for_each_of_its_people(house):
    people = [Principal("server", 1000, name, Level.SEPARATE) for name in ("carol", "dave")]
    pending = house.asks(need=Need(Level.SEPARATE, quorum=2))
    votes = [Vote(Answer.APPROVE, by) for by in people]
    assert house.desk.vote_proven(pending.id, votes[:1], "proof") is State.PENDING
    assert house.desk.vote_proven(pending.id, votes[1:], "proof") is State.APPROVED
    voted = [one["approval"] for one in house.log.records if one["event"] == "approval.voted"]
    assert [one["proof"] for one in voted[-2:]] == ["proof", "proof"]
    with pytest.raises(NotPending):
        house.desk.vote_proven(pending.id, votes, "proof")


def test_an_answer_from_elsewhere_is_weighed_as_any_other(house):
    weak = Vote(Answer.APPROVE, Principal("server", 1000, "carol", Level.OWNER))
    alice = Vote(Answer.APPROVE, Principal("server", 1000, "Alice", Level.SEPARATE))
    pending = house.asks(need=Need(Level.SEPARATE), set_off_by=("alice",))
    for vote, proof, why in (
        (weak, "proof", "does not reach the level"),
        (alice, "proof", "set it off"),
        (weak, "p" * 30_000, "nobody could check it later"),
    ):
        with pytest.raises(ApprovalError, match=why):
            house.desk.vote_proven(pending.id, [vote], proof)
    assert house.desk.get(pending.id).votes == ()
    assert house.store.load(pending.id).question.set_off_by == ("alice",)
