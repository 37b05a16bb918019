"""`permitgate exec` in a job: it waits, leaves or says no, and its exit code tells which."""

import json

import pytest

from tests.mcp_server.rig import until
from tests.mcp_server.test_cli import Line, asking, line

__all__ = ["asking", "line"]  # fixtures
WRITES = ("--", "echo ran >> asks/ran.txt")
pytestmark = pytest.mark.threat("T08")


def configured(asking: Line, headless: str) -> None:
    config = asking.rig.base / "config" / "permitgate" / "config.yaml"
    config.write_text(config.read_text() + f"approvals: {{wait_s: 0.2, headless: {headless}}}\n")


def waiting(asking: Line) -> list[dict[str, object]]:
    ended = asking.run("approvals", "list", "--json")
    return json.loads(ended.stdout) if ended.returncode == 0 else []


def approve(asking: Line, *grant: str) -> str:
    (one,) = waiting(asking)
    digest = str(one["request_digest"])
    said = asking.run("approvals", "approve", str(one["id"]), "--digest", digest, *grant)
    assert said.returncode == 0, said.stderr
    return str(one["id"])


def ran(asking: Line) -> int:
    written = asking.rig.workspace / "asks" / "ran.txt"
    return len(written.read_text().splitlines()) if written.exists() else 0


@pytest.mark.parametrize(
    ("config", "flags", "code", "waits"),
    [
        ("exit", (), 10, True),
        ("wait", (), 10, True),
        ("deny", (), 11, False),
        ("deny", ("--headless", "exit"), 10, True),
        ("exit", ("--headless", "deny"), 11, False),
        ("deny", ("--wait-s", "0.1"), 10, True),
        ("exit", ("--headless", "deny", "--wait-s", "9"), 2, False),
    ],
)
def test_without_a_yes_nothing_runs_and_the_code_says_why(asking, config, flags, code, waits):
    configured(asking, config)
    ended = asking.run("exec", *flags, *WRITES)
    assert (ended.returncode, ended.stdout, ran(asking)) == (code, "", 0)
    (approval_id,) = [one["id"] for one in waiting(asking)] or ("nobody is asked",)
    assert bool(waiting(asking)) is waits
    assert code == 2 or approval_id in ended.stderr


def test_a_job_that_left_is_run_again_after_the_yes_and_runs_once(asking):
    assert asking.run("exec", *WRITES).returncode == 10
    approval_id = approve(asking)
    proof = asking.rig.base / "proof"
    again = asking.run("exec", "--json", "--proof", str(proof), *WRITES)
    assert (again.returncode, json.loads(again.stdout)["approval"]["id"]) == (0, approval_id)
    proven = asking.run("audit", "verify-proof", str(proof)).stdout
    assert f'"id":"{approval_id}"' in proven
    assert '"answer":"approve","by":{"channel":"terminal"' in proven
    assert asking.run("exec", *WRITES).returncode == 10
    assert ran(asking) == 1


def test_a_job_that_waits_runs_at_the_yes(asking):
    job = asking.rig.start("exec", "--headless", "wait", "--wait-s", "30", *WRITES)
    until(lambda: waiting(asking))
    approve(asking)
    assert job.wait(timeout=20) == 0
    assert ran(asking) == 1


def test_where_nobody_is_asked_a_grant_still_counts_and_only_as_often_as_it_may(asking):
    touch = ("exec", "--headless", "deny", "--", "touch", "asks/a")
    assert asking.run(*touch).returncode == 11
    assert asking.run("exec", "--", "touch", "asks/a").returncode == 10
    approve(asking, "--grant", "exact", "--uses", "1")
    codes = [asking.run("exec", "--", "touch", "asks/a").returncode, asking.run(*touch).returncode]
    assert codes == [0, 0]
    assert asking.run(*touch).returncode == 11


def test_the_commands_own_code_and_its_time_limit_come_through(asking):
    for command, code in (("exit 3", 3), ("rm -rf /", 11)):
        assert asking.run("exec", "--headless", "deny", "--", command).returncode == code
    slow = asking.run("exec", "--timeout-s", "0.2", "--", "sleep", "9")
    assert slow.returncode == 124
