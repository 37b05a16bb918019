"""A job asks the people of another Permitgate: the example workflow's own steps, to their end."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
import pytest
import yaml
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from approvals.request import Level, Need
from approvals.web import api
from approvals.web.approvers import new_token
from approvals.web.shapes import shown
from audit.keys import FileSigner
from audit.note import PublicKey
from audit.prove import verify_proof
from mcp_server.config import ApprovalSettings, ConfigError, parse_config
from mcp_server.reach import lacking, reach
from tests.approvals.web_rig import free_port
from tests.mcp_server.indoors import Indoors, append
from tests.mcp_server.rig import Rig, until
from tests.mcp_server.test_approval_page import configured
from tests.mcp_server.test_cli import Line

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ci"
ACTORS = ("--actor", "alice", "--actor", "bob")
_numbers = count()
pytestmark = pytest.mark.threat("T31")


@dataclass
class Team:
    """A Permitgate that shows the page, and its people."""

    indoors: Indoors
    url: str

    @property
    def key(self) -> str:
        return self.indoors.app.public_key

    @property
    def approvers(self) -> Path:
        return self.indoors.base / "config" / "permitgate" / "approvers.json"

    def agent(self, name: str = "release-job") -> str:
        made = self.line.run("approvals", "token", name, "--agent", *ACTORS)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    @property
    def line(self) -> Line:
        return Line(Rig(self.indoors.base))

    def decided(self) -> str:
        """Return the proof of some other decision."""
        with self.by(self.agent("some-job")) as agent:
            asked = {
                "reference": str(next(_numbers)),
                "agent": "some-job",
                "actor": "alice",
                "tool": "t",
                "facts": [{"key": "a", "text": "b"}],
            }
            agent.post("/api/v1/approvals", json=asked)
            waits = self.waits()
            assert self.says("carol", waits) == 200
            return agent.get(f"/api/v1/approvals/{waits['id']}").json()["proof"]

    def proves(self, proof: Path) -> bytes:
        """Return the record that a proof proves to be in the team's log."""
        key = PublicKey.parse(self.key)
        return verify_proof(proof.read_bytes(), [key]).record

    def waits(self) -> dict[str, str]:
        """Return the one request that waits, whole, once it does."""
        found: list[dict[str, str]] = []
        with self.person("dave") as dave:
            until(lambda: found.extend(dave.get("/api/v1/approvals").json()["approvals"]) or found)
            return dave.get(f"/api/v1/approvals/{found[0]['id']}").json()

    def says(self, name: str, waits: dict[str, str], answer: str = "approve", why: str = "") -> int:
        sent = {"answer": answer, "seen_digest": waits["request_digest"], "reason": why}
        with self.person(name) as person:
            return person.post(f"/api/v1/approvals/{waits['id']}/decisions", json=sent).status_code

    def person(self, name: str) -> httpx2.Client:
        return self.by(new_token(self.approvers, name, "approver"))

    def by(self, token: str) -> httpx2.Client:
        header = {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=self.url, headers=header, trust_env=False, timeout=20)


@contextmanager
def serving(base: Path) -> Iterator[Team]:
    port = free_port()
    config = configured(base, port, "wait_s: 0")
    indoors = Indoors.make(base, config)
    team = Team(indoors, f"http://127.0.0.1:{port}")
    with start_blocking_portal() as portal:
        task = portal.start_task_soon(indoors.app.serve_owner)
        try:
            with httpx2.Client(trust_env=False) as web:
                until(lambda: answers(web, team.url))
            yield team
        finally:
            task.cancel()
    indoors.app.close()


def answers(web: httpx2.Client, url: str) -> bool:
    try:
        return web.get(url).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with serving(tmp_path_factory.mktemp("team")) as team:
        yield team


@dataclass
class Runner:
    """A runner of CI, as far as the example's steps look at it."""

    rig: Rig
    given: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (job,) = yaml.safe_load((EXAMPLE / "workflow.yml").read_text())["jobs"].values()
        self.steps = {step["name"]: step for step in job["steps"] if "run" in step}
        temp, workspace = self.rig.base / "temp", self.rig.workspace
        temp.mkdir()
        (workspace / "release").mkdir()
        (workspace / "examples").symlink_to(EXAMPLE.parent)
        self.env = {
            **self.rig.environment,
            "PATH": f"{Path(self.rig.permitgate).parent}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(temp),
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_ENV": str(temp / "env"),
            "GITHUB_RUN_ID": "1",
            "GITHUB_ACTOR": "alice",
            **self.filled(job["env"]),
        }

    def filled(self, env: dict[str, str]) -> dict[str, str]:
        """Return the entries with what stands in `${{ }}` given."""
        return {
            key: re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: self.given[found[1]], value)
            for key, value in env.items()
        }

    @property
    def released(self) -> str:
        """Return what the job put into release/."""
        app = self.rig.workspace / "release" / "app"
        return app.read_text() if app.exists() else ""

    def configure(self) -> None:
        code, said = self.run("Configure")
        assert code == 0, said

    def start(self, name: str) -> subprocess.Popen[str]:
        step = self.steps[name]
        kept = self.rig.base / "temp" / "env"
        exported = (
            dict(line.split("=", 1) for line in kept.read_text().splitlines())
            if kept.exists()
            else {}
        )
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.rig.workspace,
            env={**self.env, **exported, **self.filled(step.get("env", {}))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str) -> tuple[int, str]:
        process = self.start(name)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said


@pytest.fixture
def runner(team: Team, tmp_path: Path) -> Runner:
    given = {
        "vars.PERMITGATE_APPROVALS_URL": team.url,
        "vars.PERMITGATE_APPROVALS_KEY": team.key,
        "secrets.PERMITGATE_AGENT_TOKEN": team.agent(),
    }
    return Runner(Rig.make(tmp_path / "job"), given)


def test_the_workflows_own_steps_ask_wait_run_and_prove(team, runner):
    for name in ("Install", "Configure", "Work"):
        code, said = runner.run(name)
        assert code == 0, said
    job = runner.start("Release")
    assert re.fullmatch(
        rf"permitgate: waiting for approval ap_[0-9a-f]+: {team.url}\n", job.stdout.readline()
    )
    waits = team.waits()
    assert "\nactor-says alice set it off, so says the agent\n" in waits["statement"]
    assert team.says("alice", waits) == 409  # who set it off
    assert not runner.released
    assert team.says("carol", waits) == 200
    said, _ = job.communicate(timeout=60)
    assert (job.returncode, runner.released) == (0, "release 1\n"), said
    code, said = runner.run("Prove")
    assert code == 0
    decision = json.loads(said.splitlines()[1])["approval"]
    assert (decision["id"], decision["state"]) == (waits["id"], "approved")
    assert [vote["by"]["name"] for vote in decision["votes"]] == ["carol"]


class Job:
    """The same job in this process: it leaves at once, and is run again after the answer."""

    def __init__(self, runner: Runner) -> None:
        runner.configure()
        self.runner, self.line = runner, Line(runner.rig)
        self.proof = runner.rig.base / "proof"
        self.config = runner.rig.base / "temp" / "permitgate.yaml"
        runner.rig.workspace.joinpath("build").mkdir()
        runner.rig.workspace.joinpath("build", "app").write_text("app\n")

    def change(self, was: str, now: str) -> None:
        text = self.config.read_text()
        assert text.count(was) == 1
        self.config.write_text(text.replace(was, now))

    def run(self, *flags: str) -> tuple[int, str]:
        ended = self.line.run(
            *("exec", "--headless", "exit", "--proof", str(self.proof), *flags),
            *("--", "cp", "build/app", "release/app"),
            PERMITGATE_CONFIG=str(self.config),
        )
        return ended.returncode, ended.stderr


@pytest.fixture
def job(runner: Runner) -> Job:
    return Job(runner)


def test_a_yes_from_elsewhere_runs_the_job_once_and_both_logs_hold_up(team, job):
    assert job.run()[0] == 10
    waits = team.waits()
    assert team.says("carol", waits) == 200
    assert (job.run()[0], job.runner.released) == (0, "app\n")
    (job.runner.rig.workspace / "release" / "app").unlink()
    assert waits["id"].encode() in team.proves(job.proof)
    with team.by(job.runner.given["secrets.PERMITGATE_AGENT_TOKEN"]) as agent:
        there = agent.get(f"/api/v1/approvals/{waits['id']}").json()
    assert (there["state"], there["proof"]) == ("consumed", job.proof.read_text())
    code, _ = job.run()
    assert (code, job.runner.released) == (10, "")  # a yes is one run: people are asked anew
    assert team.says("carol", team.waits(), "deny", "not before noon") == 200
    code, said = job.run()
    assert (code, job.runner.released) == (11, "")
    assert "They said: not before noon" in said
    assert b'"state":"denied"' in team.proves(job.proof)
    verified = job.line.run("audit", "verify", "--deep", PERMITGATE_CONFIG=str(job.config))
    assert verified.returncode == 0, verified.stdout
    log = team.indoors.app.log_directory
    key = ("--key", team.key)
    assert job.line.run("audit", "verify", "--deep", str(log), *key).returncode == 0


def test_a_yes_that_the_log_does_not_prove_runs_nothing_and_the_proven_one_is_not_lost(
    team, job, monkeypatch
):
    other, key = team.decided(), team.key
    assert job.run()[0] == 10
    assert team.says("carol", team.waits()) == 200
    with monkeypatch.context() as patch:
        patch.setattr(api, "shown", lambda pending, _: shown(pending, other))
        code, said = job.run()
    assert (code, "is about another request" in said, job.runner.released) == (11, True, ""), said
    private = job.config.with_name("own")
    private.mkdir(mode=0o700)
    strange = FileSigner.open(private / "pem", name=key.partition("+")[0]).public_key.vkey
    job.change(key, strange)
    code, said = job.run()
    assert (code, "its proof proves no decision" in said, job.runner.released) == (11, True, "")
    job.change(strange, key)
    assert (job.run()[0], job.runner.released) == (0, "app\n")


def test_a_yes_that_was_taken_back_runs_nothing(team, job):
    assert job.run()[0] == 10
    waits = team.waits()
    assert team.says("carol", waits) == 200
    team.indoors.app.desk.revoke(waits["id"])
    code, said = job.run()
    assert (code, "the request there is revoked" in said, job.runner.released) == (11, True, "")


def test_whose_job_it_is_not_gets_nothing(team, job):
    assert job.run()[0] == 10
    assert team.says("carol", team.waits()) == 200
    kept = job.config.with_name("agent-token")
    kept.write_text(team.agent("another-job"))
    code, said = job.run()
    assert (code, "This is the token of another-job" in said) == (11, True)
    kept.write_text("pgt_guess")
    code, said = job.run()
    assert (code, "No approver has this token" in said) == (11, True)
    kept.chmod(0o644)
    code, said = job.run()
    assert (code, "others may read this secret" in said) == (11, True)
    kept.chmod(0o600)
    kept.write_text(job.runner.given["secrets.PERMITGATE_AGENT_TOKEN"])
    job.change('actor: "alice"', 'actor: "mallory"')
    code, said = job.run()
    assert (code, "mallory is not one of those who can set release-job off" in said) == (11, True)
    assert not job.runner.released


@pytest.mark.threat("T23")
def test_no_command_of_the_job_reads_its_token(job):
    kept, inside = job.config.with_name("agent-token"), job.runner.rig.workspace / "token"
    kept.rename(inside)
    job.change(str(kept), str(inside))
    read = job.line.run("exec", "--", "cat", "token", PERMITGATE_CONFIG=str(job.config))
    assert (read.returncode, read.stdout, "is hidden" in read.stderr) == (13, "", True)


def test_nobody_there_is_a_no_and_with_others_to_ask_it_is_asked_of_them(team, job):
    job.change(team.url, "http://127.0.0.1:1")
    code, said = job.run()
    assert (code, "no answer" in said) == (11, True)
    job.change("channels: []", "channels: [terminal]")
    own = job.config.with_name("release.yaml")
    own.write_text((EXAMPLE / "release.yaml").read_text().replace("separate", "owner"))
    job.change(f"{job.runner.rig.workspace}/examples/ci/release.yaml", str(own))
    assert job.run()[0] == 10
    assert not job.runner.released


def test_what_a_token_cannot_be_is_said(team):
    for flags, why in (
        (("--agent",), "--actor NAME"),
        (("--reader", *ACTORS), "--actor NAME"),
        (("--agent", "--reader", *ACTORS), "one of --reader and --agent"),
    ):
        refused = team.line.run("approvals", "token", "job", *flags)
        assert (refused.returncode, refused.stdout, why in refused.stderr) == (2, "", True)


def test_people_elsewhere_reach_what_they_can_and_hold_no_role(tmp_path):
    key = FileSigner.open(tmp_path / "keys" / "pem", name="a").public_key.vkey
    settings = {"url": "https://a.example", "token_file": "/t", "key": key, "actor": "alice"}
    settings["agent"] = "job"
    approvals = ApprovalSettings.model_validate_json(
        json.dumps({"channels": [], "server": settings})
    )
    elsewhere = reach(approvals)
    assert elsewhere.levels == {"server": Level.SEPARATE}
    assert lacking(elsewhere.people, Need(Level.SEPARATE, quorum=2), {}) == ""
    for need in (Need(Level.PRESENT), Need(Level.SEPARATE, roles=(("lead",),))):
        assert "0 of the configured people" in lacking(elsewhere.people, need, {"lead": ("carol",)})
    for change in ({"url": "http://a.example"}, {"key": "a+b"}, {"token_file": "t"}):
        with pytest.raises(ConfigError, match=r"approvals\.server"):
            parse_config(json.dumps({"approvals": {"server": {**settings, **change}}}), "c")


async def test_an_agent_over_mcp_hears_of_a_yes_elsewhere_by_asking_for_the_status(team, tmp_path):
    token = tmp_path / "token"
    token.write_text(team.agent())
    token.chmod(0o600)
    server = {"url": team.url, "token_file": str(token), "agent": "release-job", "actor": "bob"}
    settings = {"channels": [], "wait_s": 0, "server": {**server, "key": team.key}}
    own = Indoors.make(tmp_path, json.dumps({"approvals": settings}))
    async with own.connected("auto") as client:
        asked = (await client.call_tool("exec", append())).structured_content
        assert asked["status"] == "pending"
        waiting = {"approval_id": asked["approval"]["id"]}
        status = (await client.call_tool("approval_status", waiting)).structured_content
        assert status["state"] == "pending"
        waits = await to_thread.run_sync(team.waits)
        assert await to_thread.run_sync(team.says, "carol", waits) == 200
        status = (await client.call_tool("approval_status", waiting)).structured_content
        assert (status["state"], status["result"]["status"]) == ("consumed", "ok")
        assert status["result"]["approval"]["by"] == f"carol@{os.geteuid()} via server"
    own.app.close()
    assert own.runs() == 1
