"""The policy while the server runs: read again when it changes, kept when it cannot be."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mcp import Client

from audit.errors import AuditError
from mcp_server.live_policy import Checks, LivePolicy
from mcp_server.policies import PolicyFiles
from mcp_server.signed_policies import RevisionBook
from policy.document import PolicyError
from policy.rules import Policy
from tests.mcp_server.indoors import Indoors
from tests.mcp_server.rig import Rig, Wire

EMPTY = "version: 1\nrules: []\n"
NO_NOTES = """\
version: 1
rules:
  - id: no-notes
    deny: [fs.read]
    resources: ["${workspace}/notes.txt"]
"""
ALSO_NO_DATA = NO_NOTES + '  - id: no-data\n    ask: [fs.read]\n    resources: ["**/data"]\n'


@dataclass
class House:
    """A policy directory, a workspace and the notes that went to the log."""

    base: Path
    notes: list[dict[str, object]] = field(default_factory=list)
    disk_is_full: bool = False

    def __post_init__(self) -> None:
        for name in ("policy.d", "workspace"):
            (self.base / name).mkdir()

    def note(self, record: dict[str, object]) -> None:
        if self.disk_is_full:
            raise AuditError("the disk is full")
        self.notes.append(record)

    def open(self) -> LivePolicy:
        files = PolicyFiles(("dev-safe",), self.base / "policy.d", (self.base / "workspace",))
        book = RevisionBook(self.base / "book.json")
        return LivePolicy(files, Checks(reachable, self.note, book), is_server=True)

    def write(self, text: str, name: str = "policy.d/own.yaml") -> None:
        path = self.base / name
        path.write_text(text)
        path.chmod(0o600)

    @property
    def events(self) -> list[object]:
        return [note["event"] for note in self.notes]


def reachable(policy: Policy) -> None:
    if any(rule.id == "nobody-may-answer" for rule in policy.rules):
        raise PolicyError("own.yaml:3:5: nobody could answer")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ids(policy: Policy) -> set[str]:
    return {rule.id for rule in policy.rules}


def test_a_file_that_appears_changes_or_goes_is_in_force_at_the_next_look(house: House):
    live = house.open()
    assert "no-notes" not in ids(live.current())
    house.write(NO_NOTES)
    assert "no-notes" in ids(live.current())
    house.write(ALSO_NO_DATA)
    assert {"no-notes", "no-data"} <= ids(live.current())
    (house.base / "policy.d" / "own.yaml").unlink()
    assert "no-notes" not in ids(live.current())
    assert house.events == ["policy.loaded"] * 4


def test_files_that_did_not_change_are_not_read_again(house: House):
    live = house.open()
    assert live.current() is live.current()
    assert house.events == ["policy.loaded"]


@pytest.mark.threat("T26")
@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("version: 1\nrules: [", "own.yaml:"),
        ("version: 1\nrules:\n  - id: x\n    alow: [fs.read]\n", "own.yaml:4:5: a rule has no key"),
        (NO_NOTES + "    match: [ls]\n", "does not match its example"),
        (NO_NOTES.replace("no-notes", "nobody-may-answer"), "nobody could answer"),
    ],
)
def test_a_reload_that_fails_keeps_the_policy_and_says_so(house: House, broken: str, says: str):
    house.write(NO_NOTES)
    live = house.open()
    before = live.current()
    house.write(broken)
    assert live.current() is before
    assert says in live.problem
    assert before.digest[:16] in live.problem
    assert says in str(house.notes[-1]["error"])
    assert live.current() is before
    assert house.events == ["policy.loaded", "policy.refused"]
    house.write(ALSO_NO_DATA)
    assert "no-data" in ids(live.current())
    assert not live.problem


@pytest.mark.threat("T16")
def test_a_policy_that_the_log_cannot_name_is_not_in_force(house: House):
    live = house.open()
    before = live.current()
    house.write(NO_NOTES)
    house.disk_is_full = True
    assert live.current() is before
    assert "the disk is full" in live.problem


@pytest.mark.threat("T26")
@pytest.mark.parametrize("looser", [None, EMPTY, NO_NOTES.replace("deny:", "ask:"), "rules: ["])
def test_a_projects_rules_cannot_be_taken_back_while_the_server_runs(
    house: House, looser: str | None
):
    house.write(NO_NOTES, "workspace/.permitgate.yaml")
    live = house.open()
    if looser is None:
        (house.base / "workspace" / ".permitgate.yaml").unlink()
    else:
        house.write(looser, "workspace/.permitgate.yaml")
    assert "no-notes" in ids(live.current())
    assert live.problem


def test_a_projects_default_cannot_be_taken_back_either(house: House):
    house.write("version: 1\ndefault: deny\nrules: []\n", "workspace/.permitgate.yaml")
    live = house.open()
    house.write(EMPTY, "workspace/.permitgate.yaml")
    assert live.current().default.name == "DENY"


def test_a_projects_rules_may_be_added_to(house: House):
    house.write(NO_NOTES, "workspace/.permitgate.yaml")
    live = house.open()
    house.write("# more\n" + ALSO_NO_DATA, "workspace/.permitgate.yaml")
    assert "no-data" in ids(live.current())
    assert not live.problem


def test_a_running_server_obeys_a_changed_policy_and_outlives_a_broken_one(tmp_path: Path):
    rig = Rig.make(tmp_path)
    directory = rig.base / "config" / "permitgate" / "policy.d"
    directory.mkdir(parents=True)
    file = directory / "own.yaml"
    wire = Wire(rig.start("serve", "--workspace", str(rig.workspace)))
    try:
        wire.handshake()
        assert status(wire) == "ok"
        file.write_text(NO_NOTES)
        file.chmod(0o600)
        assert status(wire) == "denied"
        file.write_text("rules: [")  # in the middle of an edit
        assert status(wire) == "denied"
        file.write_text(EMPTY)
        assert status(wire) == "ok"
    finally:
        rig.stop_all()
    shown = rig.run("audit", "show", "--text", "policy.", "--last", "50", "--json").stdout
    assert shown.count("policy.refused") == 1


def status(wire: Wire) -> object:
    """Return how reading the file through the sandbox, whose masks change too, ended."""
    answer = wire.tool("exec", command="cat notes.txt")
    return answer["structuredContent"]["status"]


async def test_the_masks_of_the_sandbox_follow_the_policy(tmp_path: Path):
    indoors = Indoors.make(tmp_path)
    try:
        async with indoors.connected("auto") as client:
            assert "alpha" in await everything_read(client)
            house_file = tmp_path / "config" / "permitgate" / "policy.d" / "own.yaml"
            house_file.parent.mkdir(parents=True)
            house_file.write_text(NO_NOTES)
            house_file.chmod(0o600)
            assert "alpha" not in await everything_read(client)
    finally:
        indoors.app.close()


async def everything_read(client: Client) -> str:
    result = await client.call_tool("exec", {"command": "grep -r a ."})
    return json.dumps(result.structured_content["stdout"])
