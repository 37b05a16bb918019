"""The API against its own OpenAPI document, by schemathesis over real HTTP.

Its checks: nothing fails with 5xx; status, content type and body are as documented; what breaks
the schema is refused; another method is 405 and names those that are allowed; without the token, or
with another one, nothing is answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import schemathesis
from hypothesis import settings
from schemathesis import Case, GenerationMode

from approvals.request import Answer, Pending
from approvals.web.document import document
from approvals.web.entry import WINDOW_S
from approvals.web.listener import application
from tests.approvals.conftest import ALICE
from tests.approvals.test_grants import OFFERS
from tests.approvals.web_rig import House, serving

# Its plugin costs every other run of pytest half a second, so only this module loads it.
pytest_plugins = ("schemathesis.pytest.plugin",)
pytestmark = pytest.mark.untraced
CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
API = schemathesis.openapi.from_dict(document(), config=CONFIG)


@dataclass
class Rig:
    """A served API, a token for it, and a request that nobody has to wait for."""

    house: House
    token: dict[str, str]
    answered: Pending


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with serving(tmp_path_factory.mktemp("house") / "approvals") as house:
        denied = house.asks(preview="-old\n+new", warnings=("careful",))
        house.desk.vote(denied.id, Answer.DENY, ALICE, denied.request_digest, "no")
        yield Rig(house, house.token(), denied)


def test_the_document_is_openapi_and_names_every_door(rig):
    with rig.house.client() as web:
        assert web.get("/api/v1/openapi.json").json() == document()
    API.validate()
    doors = {route.path for route in application(rig.house.site).routes}
    named = {path for path in doors if path.startswith("/api/")} - {"/api/v1/openapi.json"}
    assert set(document()["paths"]) == named


@pytest.mark.threat("T18")
@pytest.mark.threat("T19")
@API.parametrize()
@settings(max_examples=20)
def test_what_is_documented_is_what_happens(case: Case, rig: Rig):
    rig.house.clock.now_s += WINDOW_S + 1  # trying other tokens is no guessing here
    if case.meta and case.meta.generation.mode is GenerationMode.POSITIVE:
        about_a_request(case, rig)
    case.call_and_validate(base_url=rig.house.url, headers=rig.token)


def about_a_request(case: Case, rig: Rig) -> None:
    """Let a case that fits the schema be about a request that there is."""
    if "approvals/{id}" not in case.path:
        return
    case.path_parameters["id"] = rig.answered.id
    if case.method == "POST":
        pending = rig.house.asks(offers=OFFERS)
        case.path_parameters["id"] = pending.id
        case.body["seen_digest"] = pending.request_digest
        for key, value in case.body.items():
            # An integer of JSON Schema may be written 5.0; here 5.0 is not one.
            case.body[key] = int(value) if isinstance(value, float) else value
