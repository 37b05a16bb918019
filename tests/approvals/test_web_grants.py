"""Grants over HTTP: offered, made with a yes, listed, revoked; by whoever may answer."""

from collections.abc import Iterator

import pytest

from approvals.reach import Counted, Earlier
from approvals.request import State
from tests.approvals.conftest import AGENT
from tests.approvals.test_grants import OFFERS, act, push
from tests.approvals.web_rig import House, serving

TERMS = {"scope": "program", "uses": 2, "minutes": 5}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house") / "approvals") as house:
        yield house


def asks_to_push(house: House, **changes):
    given = {"offers": OFFERS, "act": act("ours net.connect", program=("git push",))}
    return house.asks(**{**given, **changes})


def granting(pending, **changes: object) -> tuple[str, dict[str, object]]:
    body = {"seen_digest": pending.request_digest, **TERMS, **changes}
    return f"/api/v1/approvals/{pending.id}/grants", body


def test_a_grant_is_offered_made_with_a_yes_listed_and_revoked(house):
    before = asks_to_push(house, session="s1")
    pending = asks_to_push(house, session="s1")
    house.earlier = Earlier(1, (Counted(0), Counted(1, ({"ts": "2027"},)), Counted()), "too many")
    with house.page() as web:
        answered = web.get(f"/api/v1/approvals/{pending.id}/offers").json()
        offers = answered["offers"]
        assert (answered["left_out"], offers[1]["missed_such"]) == ("too many", [])
        assert offers[1]["covered_such"] == ["2027  a longer statement"]
        assert [one["scope"] for one in offers] == ["exact", "program", "host"]
        assert [(one["covered"], one["missed"]) for one in offers] == [(0, 1), (1, 0), (None, None)]
        assert offers[1]["covers"] == ["git push with any arguments"]
        path, body = granting(pending)
        made = web.post(path, json=body).json()
        assert (made["state"], made["grant"]["uses_left"]) == ("approved", 2)
        assert web.get("/api/v1/grants").json()["grants"] == [made["grant"]]
        spent = house.desk.covered(push("1" * 64, requester=AGENT))
        assert (spent.grant, spent.id) == (made["grant"]["id"], pending.id)
        gone = web.post(f"/api/v1/grants/{spent.grant}/revoke", json={})
        assert (gone.status_code, gone.json()["uses_left"]) == (200, 1)
        assert web.get("/api/v1/grants").json()["grants"] == []
        again = web.post(f"/api/v1/grants/{spent.grant}/revoke", json={})
        assert (again.status_code, again.json()["error"]) == (409, "not_pending")
        nothing = house.asks()
        assert web.get(f"/api/v1/approvals/{nothing.id}/offers").json()["offers"] == []
    assert house.desk.covered(push("2" * 64, requester=AGENT)) is None
    assert house.desk.get(before.id).state is State.PENDING


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"scope": "everything"}, 400, "malformed"),
        ({"uses": 0}, 400, "malformed"),
        ({"uses": 1001}, 400, "malformed"),
        ({"uses": None}, 400, "malformed"),
        ({"minutes": 24 * 60 + 1}, 400, "malformed"),
        ({"more": 1}, 400, "malformed"),
        ({"scope": "argv-prefix"}, 409, "refused"),
        ({"seen_digest": "0" * 64}, 409, "approval_mismatch"),
    ],
)
def test_terms_that_were_not_offered_grant_nothing_and_are_no_yes(house, changes, status, word):
    pending = asks_to_push(house)
    path, body = granting(pending, **changes)
    with house.client(**house.token()) as web:
        refused = web.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]) == (status, word)
        assert web.get("/api/v1/grants").json()["grants"] == []
    assert house.desk.get(pending.id).votes == ()


@pytest.mark.threat("T29")
def test_a_reader_and_a_stranger_neither_see_nor_move_a_grant(house):
    pending = asks_to_push(house)
    path, body = granting(pending)
    for headers, status in ((house.token("eve", "reader"), 403), ({}, 401)):
        with house.client(**headers) as web:
            said = [
                web.get(f"/api/v1/approvals/{pending.id}/offers"),
                web.post(path, json=body),
                web.get("/api/v1/grants"),
                web.post("/api/v1/grants/gr_0/revoke", json={}),
            ]
        assert [one.status_code for one in said] == [status] * 4
    with house.client(**house.token()) as web:
        for path in ("/api/v1/approvals/ap_0/offers", "/api/v1/nothing"):
            assert web.get(path).json()["error"] == "not_found"
    assert house.desk.get(pending.id).votes == ()
