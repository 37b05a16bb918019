"""Grants on the owner's socket: offered, made with a yes, listed, revoked."""

import json
from dataclasses import replace

import pytest

from approvals.request import State
from approvals.scope import Terms
from approvals.terminal import Reply, respond
from tests.approvals.conftest import OWNER
from tests.approvals.test_grants import granted, push
from tests.approvals.test_terminal import VOTERS


def said(desk, **line: object) -> Reply:
    reply = respond(desk, OWNER, json.dumps(line).encode(), VOTERS)
    assert Reply.model_validate_json(reply.model_dump_json()) == reply
    return reply


def terms(**changes: object) -> dict[str, object]:
    return {"scope": "program", "uses": 2, "minutes": 5, **changes}


def test_a_grant_is_offered_made_listed_and_revoked(desk):
    pending = desk.open(push())
    shown = said(desk, do="show", id=pending.id).shown
    assert shown.offers == ("exact", "program", "host")
    assert "  program      git push with any arguments" in shown.lines
    yes = {"do": "approve", "id": pending.id, "seen_digest": pending.request_digest}
    made = said(desk, **yes, terms=terms())
    assert (made.error, made.state) == ("", State.APPROVED)
    listed = said(desk, do="grants").grants
    assert listed == made.grants
    assert (listed[0].uses_left, listed[0].by) == (2, ("owner@1000 via terminal",))
    assert said(desk, do="revoke", id=listed[0].id).grants[0].id == listed[0].id
    assert said(desk, do="grants").grants == ()
    assert said(desk, do="revoke", id=listed[0].id).error == "not_pending"


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"terms": terms(scope="everything")}, "malformed"),
        ({"terms": terms(uses=None)}, "malformed"),
        ({"terms": terms(uses="9")}, "malformed"),
        ({"terms": terms(more=1)}, "malformed"),
        ({"terms": terms(scope="argv-prefix")}, "refused"),
        ({"terms": terms(), "seen_digest": "0" * 64}, "approval_mismatch"),
        ({"terms": terms(), "id": "ap_0"}, "not_pending"),
    ],
)
def test_terms_that_are_none_approve_nothing(desk, asked, error):
    pending = desk.open(push())
    line = {"do": "approve", "id": pending.id, "seen_digest": pending.request_digest}
    assert said(desk, **{**line, **asked}).error == error
    assert desk.get(pending.id).state is State.PENDING


@pytest.mark.threat("T24")
def test_a_listed_grant_is_printable_whatever_it_covers(desk):
    (offer, *_) = push().offers
    hostile = replace(offer, covers=("\x1b[2J\u202e",))
    grant = granted(desk, Terms(offer.scope, 1, 1), push(offers=(hostile,)))
    (listed,) = said(desk, do="grants").grants
    assert (listed.id, listed.covers) == (grant.id, ("\\x1b[2J\\u202e",))
