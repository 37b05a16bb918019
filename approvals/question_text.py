"""A question as the store keeps it: JSON out, and the same question back.

May touch: values. Rebuilt by hand: a lone surrogate in an argument must survive, and validators
refuse it. What an older version did not write has its default.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from approvals.request import Level, Need, Principal, Question
from approvals.scope import Act, Offer, Reading, Scope


def as_text(question: Question) -> str:
    """Return the question as JSON."""
    return json.dumps(question, default=_fields)


def _fields(value: Principal | Need | Offer | Act | Reading) -> dict[str, object]:
    """Return what one of our values holds; what is none of ours cannot be kept."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def question_from(text: str) -> Question:
    """Return the question of a JSON text.

    Raises:
        ValueError, KeyError, TypeError: it is not one.
    """
    raw = json.loads(text)
    return Question(
        action_digest=raw["action_digest"],
        tool=raw["tool"],
        facts=tuple((key, value) for key, value in raw["facts"]),
        session=raw["session"],
        requester=Principal(**{**raw["requester"], "level": Level(raw["requester"]["level"])}),
        need=Need(
            **{
                **raw["need"],
                "level": Level(raw["need"]["level"]),
                "roles": tuple(map(tuple, raw["need"].get("roles", ()))),
            }
        ),
        preview=raw["preview"],
        warnings=tuple(raw["warnings"]),
        for_session=tuple(raw.get("for_session", ())),
        offers=tuple(
            Offer(Scope(one["scope"]), tuple(one["keys"]), tuple(one["covers"]))
            for one in raw.get("offers", ())
        ),
        act=_act(raw),
        set_off_by=tuple(raw.get("set_off_by", ())),
    )


def _act(raw: Mapping[str, Any]) -> Act:
    """Return what grants see of a question's JSON object."""
    act = raw.get("act", {"readings": (), "asked": ()})
    return Act(
        tuple(Reading(Scope(one["scope"]), tuple(one["keys"])) for one in act["readings"]),
        tuple(act["asked"]),
    )
