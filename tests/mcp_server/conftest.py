"""One Permitgate per test, in its own directories; every process it started is ended."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from jsonschema import Draft202012Validator

from tests.mcp_server.rig import Rig

HTTP_ANY_PORT = "http: {port: 0}\n"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig.make(tmp_path, HTTP_ANY_PORT)
    yield made
    made.stop_all()


@pytest.fixture(scope="session", autouse=True)
def schemas_are_checked_once() -> Iterator[None]:
    """Spare every client of the suite its own check of the same output schemas."""
    check, known = Draft202012Validator.check_schema, set[str]()

    def checked(schema: object, *rest: object) -> None:
        text = json.dumps(schema, sort_keys=True)
        if text not in known:
            check(schema, *rest)
            known.add(text)

    with mock.patch.object(Draft202012Validator, "check_schema", checked):
        yield
