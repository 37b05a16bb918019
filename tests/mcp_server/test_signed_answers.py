"""A yes that an SSH key signs, through the installed command: by key file, agent or ssh-keygen."""

import os
import subprocess
from pathlib import Path

import pytest

from approvals.request import ApprovalError
from approvals.voters import NAMESPACE
from mcp_server.cli.signing import signature
from mcp_server.config import ApprovalSettings, ConfigError, parse_config
from mcp_server.policies import PolicyFiles, quick_load
from mcp_server.reach import check_levels
from policy.document import PolicyError
from tests.approvals.keys import keygen, sign
from tests.mcp_server.indoors import Indoors, append

SEPARATE = """\
version: 1
name: separate-for-tests
default: ask
rules:
  - id: separate
    ask: {operations: [fs.write, fs.create], level: separate}
    resources: ["${workspace}/owner/**"]
"""
SECRET = "sk-ant-api03-" + "aB3" * 30


@pytest.fixture
def agent(tmp_path: Path):
    """Return the environment of an ssh-agent without keys."""
    place = str(tmp_path / "agent")
    running = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.PIPE)
    running.stdout.readline()  # it listens
    yield {"SSH_AUTH_SOCK": place}
    running.kill()
    running.communicate()


def add_key(agent, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], env={**os.environ, **agent}, check=True)


@pytest.fixture
def house(tmp_path: Path):
    """A server whose owner is asked, and whose configuration lets alice sign."""
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "key"))
    made = _house(tmp_path)
    yield made
    made.app.close()


def _house(base: Path) -> Indoors:
    signers = base / "signers"
    signers.write_text(f'alice namespaces="{NAMESPACE}" {(base / "key.pub").read_text()}')
    signers.chmod(0o644)
    base.joinpath("separate.yaml").write_text(SEPARATE)
    config = f"approvals: {{wait_s: 0, signers: {signers}, separate: [alice]}}\n"
    file = base / "config" / "permitgate" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(config)
    file.chmod(0o600)
    return Indoors.make(base, config, ("separate.yaml",))


async def asked(client, command=None) -> str:
    result = await client.call_tool("exec", command or append("owner"))
    assert result.structured_content["status"] == "pending", result.content[0].text
    return result.structured_content["approval"]["id"]


async def ran(client, approval_id: str) -> dict[str, object]:
    result = await client.call_tool("approval_status", {"approval_id": approval_id})
    return result.structured_content["result"]


async def digest_of(house: Indoors, approval_id: str) -> str:
    statement = (await house.cli("approvals", "statement", approval_id)).stdout
    return statement.partition("\nrequest ")[2].split()[0]


async def test_a_key_file_signs_a_yes_of_its_own_level(house):
    async with house.connected("auto") as client:
        approval_id = await asked(client)
        command = ("approvals", "approve", approval_id, "--sign", str(house.base / "key"))
        refused = await house.cli(*command, stdin="yes\n")
        assert (refused.returncode, "say to what" in refused.stderr) == (2, True)
        wrong = await house.cli(*command, "--digest", "0" * 64)
        assert (wrong.returncode, "Nothing was signed" in wrong.stderr) == (2, True)
        digest = await digest_of(house, approval_id)
        said = await house.cli(*command, "--digest", digest)
        assert said.stdout == f"{approval_id} is approved.\n", said.stderr
        result = await ran(client, approval_id)
    assert (result["status"], result["approval"]["level"]) == ("ok", 3)
    assert result["approval"]["by"].startswith("alice@")
    assert house.runs("owner") == 1


@pytest.mark.threat("T07")
async def test_the_owners_bare_word_does_not_stand_for_the_signer(house):
    async with house.connected("auto") as client:
        approval_id = await asked(client)
        digest = await digest_of(house, approval_id)
        said = await house.cli("approvals", "approve", approval_id, "--digest", digest)
    assert (said.returncode, "does not reach the level 3" in said.stderr) == (2, True)
    assert house.runs("owner") == 0


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_an_agent_signs_and_without_one_nothing_is_signed(tmp_path, agent, kind, monkeypatch):
    bits = ("-b", "2048") if kind == "rsa" else ()
    keygen("-q", "-t", kind, *bits, "-N", "", "-C", "", "-f", str(tmp_path / "key"))
    public = tmp_path / "key.pub"
    for place in ("", agent["SSH_AUTH_SOCK"]):  # no agent; an agent that has no such key
        monkeypatch.setenv("SSH_AUTH_SOCK", place)
        with pytest.raises(ApprovalError, match="Nothing was signed"):
            signature(public, b"any")
    add_key(agent, tmp_path / "key")
    (tmp_path / "sig").write_text(signature(public, b"any"))
    assert "Good" in keygen(
        *("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(tmp_path / "sig")), stdin=b"any"
    )


async def test_ssh_keygen_signs_and_verifies_it_from_the_written_log_alone(house, tmp_path):
    """Though the command held a secret, which neither the statement nor the log shows."""
    async with house.connected("auto") as client:
        command = {"command": f"echo {SECRET} >> owner/ran.txt"}
        approval_id = await asked(client, command)
        statement = (await house.cli("approvals", "statement", approval_id)).stdout
        (tmp_path / "sig").write_text(sign(tmp_path, statement.encode(), NAMESPACE))
        handed = ("approvals", "approve", approval_id, "--signature", str(tmp_path / "sig"))
        assert (await house.cli(*handed)).stdout == f"{approval_id} is approved.\n"
        assert (await ran(client, approval_id))["status"] == "ok"
    (vote,) = [one["approval"] for one in house.records() if one["event"] == "approval.voted"]
    signed = vote["signed"]
    assert SECRET not in signed["statement"]
    (tmp_path / "logged").write_text(signed["signature"])
    said = keygen(
        *("-Y", "verify", "-f", str(tmp_path / "signers"), "-n", NAMESPACE),
        *("-I", signed["principal"], "-s", str(tmp_path / "logged")),
        stdin=signed["statement"].encode(),
    )
    assert "Good" in said

    deep = ("audit", "verify", "--deep")
    assert "1 signatures of votes were not checked" in (await house.cli(*deep)).stdout
    proven = await house.cli(*deep, "--signers", str(tmp_path / "signers"))
    assert (proven.returncode, "not checked" in proven.stdout) == (0, False)
    (tmp_path / "others").write_text("# nobody\n")
    unproven = await house.cli(*deep, "--signers", str(tmp_path / "others"))
    assert (unproven.returncode, "does not prove this vote" in unproven.stdout) == (1, True)
    useless = await house.cli("audit", "verify", "--signers", str(tmp_path / "signers"))
    assert useless.returncode == 2


@pytest.mark.parametrize(
    ("name", "what"), [("absent", "No such"), ("text", "Nothing was"), ("locked", "ssh-add")]
)
def test_what_is_no_usable_key_is_an_error_that_says_what_to_do(tmp_path, name, what):
    keygen("-q", "-t", "ed25519", "-N", "locked", "-f", str(tmp_path / "locked"))
    (tmp_path / "text").write_text("no key")
    with pytest.raises(ApprovalError, match=what):
        signature(tmp_path / name, b"any")


@pytest.mark.parametrize(
    ("text", "what"), [(None, "No such"), ("no key", "no request"), ("x" * 9000, "too long")]
)
def test_a_file_that_holds_no_signature_answers_nothing(rig, text, what):
    file = rig.base / "sig"
    if text is not None:
        file.write_text(text)
    said = rig.run("approvals", "approve", "ap_1", "--signature", str(file))
    assert (said.returncode, said.stdout) == (2, "")
    assert what in said.stderr or "nothing waits" in said.stderr


def test_one_yes_is_given_in_one_way(rig):
    both = ("--session", "--sign", "key")
    assert rig.run("approvals", "approve", "ap_1", *both).returncode == 2


# Settings


def test_a_level_that_only_a_signer_reaches_loads_with_that_signer_and_not_without(tmp_path):
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "key"))
    tmp_path.joinpath("separate.yaml").write_text(SEPARATE)
    policy = quick_load(PolicyFiles((str(tmp_path / "separate.yaml"),), tmp_path))
    signers = tmp_path / "signers"
    signers.write_text(f'alice namespaces="{NAMESPACE}" {(tmp_path / "key.pub").read_text()}')
    signers.chmod(0o600)
    check_levels(policy, ApprovalSettings(signers=signers, separate=("alice",)))
    for settings in (
        ApprovalSettings(),
        ApprovalSettings(signers=signers),
        ApprovalSettings(signers=signers, separate=("bob",)),
    ):
        with pytest.raises(PolicyError, match=r"separate\.yaml:5:5: .*level separate"):
            check_levels(policy, settings)
    signers.chmod(0o666)
    with pytest.raises(PolicyError, match="others write who may say yes"):
        check_levels(policy, ApprovalSettings(signers=signers, separate=("alice",)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("separate: [alice]", "none is named"),
        ("signers: signers", "not an absolute path"),
        ("{channels: [elicitation], signers: /s}", "add it to channels"),
    ],
)
def test_settings_that_would_do_nothing_are_errors(text, what):
    inner = text if text.startswith("{") else f"{{{text}}}"
    with pytest.raises(ConfigError, match=what):
        parse_config(f"approvals: {inner}\n", "config.yaml")
