"""Safeguards that `make mutants` takes away and that no other test would miss."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.action import (
    Command,
    ListDirectory,
    PatchFiles,
    ReadFile,
    SearchFiles,
    UndoChanges,
    digest,
)
from sandbox.changes.run import ChangeRunner
from sandbox.files import FileRunner
from sandbox.patches.edits import Edit
from sandbox.patches.plan import plan
from sandbox.patches.run import PatchRunner
from sandbox.permit import Permit, PermitError, PermitOffice, no_connection
from tests.sandbox.remote.sshd import SSHD, start
from tests.sandbox.remote.test_ssh import command, host_of, run
from tests.sandbox.rig import HOST, Rig

confined = pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def office() -> PermitOffice:
    return PermitOffice()


def permit(office: PermitOffice, action) -> Permit:
    return office.issue(action, approved_digest=digest(action), approval_id=None)


@pytest.mark.threat("T05")
def test_nobody_but_the_office_makes_a_permit(rig: Rig):
    with pytest.raises(PermitError):
        Permit(object(), rig.vector("true"), None, session="", connects=no_connection)


@pytest.mark.threat("T06")
def test_no_permit_is_issued_for_an_action_that_was_not_decided(rig: Rig, office: PermitOffice):
    decided, other = rig.vector("true"), rig.vector("rm")
    with pytest.raises(PermitError, match="approval_mismatch"):
        office.issue(other, approved_digest=digest(decided), approval_id="ap_1")


@pytest.mark.threat("T06")
def test_an_action_altered_after_its_permit_is_not_handed_out(rig: Rig, office: PermitOffice):
    action = rig.vector("true")
    issued = permit(office, action)
    object.__setattr__(action, "argv", ("rm",))  # frozen, but this is Python
    with pytest.raises(PermitError, match="altered"):
        office.redeem(issued, Command)


@pytest.mark.threat("T05")
def test_a_permit_is_for_one_kind_of_action(rig: Rig, office: PermitOffice):
    with pytest.raises(PermitError, match="not ReadFile"):
        office.redeem(permit(office, rig.vector("true")), ReadFile)


@pytest.mark.threat("T05")
@pytest.mark.parametrize("kind", [ListDirectory, SearchFiles])
async def test_looking_spends_its_permit(rig: Rig, office: PermitOffice, kind: type):
    path = str(rig.workspace)
    looks = {
        ListDirectory: lambda: ListDirectory(path, 10, "0" * 64),
        SearchFiles: lambda: SearchFiles(path, "x", False, None, 10, "0" * 64),
    }
    issued, runner = permit(office, looks[kind]()), FileRunner(office, lambda _: False)
    assert (await runner.run(issued)).status == "ok"
    with pytest.raises(PermitError):
        await runner.run(issued)


@pytest.mark.threat("T05")
async def test_undoing_spends_its_permit(rig: Rig, office: PermitOffice):
    runner = PatchRunner(office, rig.store)
    planned = plan(str(rig.workspace), [Edit("a", "", "text\n")], "0" * 64)
    assert isinstance(planned, PatchFiles)
    undo_id = (await runner.run(permit(office, planned))).undo_id
    undo = UndoChanges(undo_id or "", str(rig.workspace), None, False, "0" * 64)
    issued, changes = permit(office, undo), ChangeRunner(office, rig.store)
    assert (await changes.run(issued)).status == "ok"
    with pytest.raises(PermitError):
        await changes.run(issued)


@confined
@pytest.mark.as_user
@pytest.mark.threat("T10")
@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["read", "live"])
async def test_a_command_sees_only_what_is_listed(rig: Rig, profile):
    shown = (await rig.says("ls -A /var /run", profile)).split()
    assert shown == ["/run:", "/var:", "tmp"]


@confined
@pytest.mark.threat("T13")
async def test_nothing_that_is_started_has_the_servers_environment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    canary = f"canary-{os.getpid()}"
    monkeypatch.setenv("SERVER_TOKEN", canary)
    text = f"cat /proc/[0-9]*/environ 2>/dev/null | grep -ac {canary[:-1]}[{canary[-1]}]"
    for profile in ("live", "unconfined"):
        assert (await rig.says(text, profile)).strip() == "0"


@confined
@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["inspect", "live", "unconfined"])
async def test_a_command_holds_no_descriptor_but_its_own(rig: Rig, profile):
    outcome = await rig.run(rig.vector("/bin/ls", "/proc/self/fd", profile=profile))
    assert outcome.stdout.head.split() == [b"0", b"1", b"2", b"3"]  # the last is the listing


@confined
@pytest.mark.threat("T25")
async def test_a_command_whose_limits_cannot_be_set_does_not_run(rig: Rig):
    impossible = replace(rig.vector("/bin/touch", "ran", profile="live"), cwd="/")
    limits = replace(impossible.limits, open_files=-5)
    outcome = await rig.run(replace(impossible, limits=limits))
    assert outcome.status == "error"
    assert "could not be set up" in outcome.message
    assert outcome.stdout.total_bytes == 0


@pytest.mark.skipif(SSHD is None, reason="no sshd on this machine")
@pytest.mark.threat("T22")
async def test_a_jump_whose_key_was_not_permitted_is_not_trusted(tmp_path: Path):
    server = start(tmp_path / "sshd")
    try:
        behind = host_of(server)
        gate = replace(behind, name="gate", fingerprints=("SHA256:other",))
        through = command(replace(behind, jumps=(gate,)), script=f"touch {tmp_path}/ran")
        assert (await run(through)).hosts[0].status == "blocked"
    finally:
        server.process.kill()
        server.process.wait()
    assert not (tmp_path / "ran").exists()
