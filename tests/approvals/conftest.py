"""Parts every test of the room needs: a clock that moves when told, a log in memory, a desk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from approvals.desk import Desk
from approvals.request import Level, Need, Principal, Question
from approvals.store import Store

AGENT = Principal("mcp", 1000, "agent:codex", Level.POLICY)
CLIENT = Principal("elicitation", 1000, "client:codex", Level.ATTESTED)
OWNER = Principal("terminal", 1000, "owner", Level.OWNER)
ROOT = Principal("terminal", 0, "root", Level.SEPARATE)
ALICE = Principal("api", 1000, "alice", Level.SEPARATE)
BOB = Principal("api", 1000, "bob", Level.SEPARATE)
ACTION = "a" * 64


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now_s: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Log:
    """A log in memory that can fill up; `room` is how many records it still takes."""

    records: list[dict[str, object]] = field(default_factory=list)
    room: int | None = None

    def __call__(self, record: Mapping[str, object]) -> None:
        if self.room is not None:
            if self.room == 0:
                raise OSError("No space left on device")
            self.room -= 1
        self.records.append(json.loads(json.dumps(record)))

    def events(self) -> list[str]:
        return [str(record["event"]).removeprefix("approval.") for record in self.records]


def question(need: Need | None = None, **changes) -> Question:
    given = {
        "action_digest": ACTION,
        "tool": "exec",
        "facts": (("argv", "systemctl restart nginx"), ("cwd", "/srv")),
        "session": "s1",
        "requester": AGENT,
        "need": need or Need(),
    }
    return Question(**{**given, **changes})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "approvals" / "approvals.sqlite"


@pytest.fixture
def store(path: Path):
    store = Store(path)
    yield store
    store.close()


@pytest.fixture
def desk(store: Store, log: Log, clock: Clock) -> Desk:
    return Desk(store, log, clock=clock)
