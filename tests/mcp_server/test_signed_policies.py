"""Signed policies: with signers named, only a signed file that is not older than before counts."""

import subprocess
from pathlib import Path

import pytest

from mcp_server import policies
from mcp_server.live_policy import Checks, LivePolicy
from mcp_server.policies import PolicyFiles
from mcp_server.signed_policies import RevisionBook
from policy.document import PolicyError
from tests.mcp_server.rig import Rig

RULES = """\
version: 1
revision: {}
rules:
  - id: {}
    deny: [fs.read]
    resources: ["**/secret"]
"""


class Signing:
    """A policy directory, a key, and the signers file that names it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        (base / "policy.d").mkdir(parents=True)
        keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(base / "key"))
        public = (base / "key.pub").read_text()
        self.signers = base / "signers"
        self.signers.write_text(f'ops namespaces="policy@permitgate" {public}')
        self.signers.chmod(0o600)

    @property
    def file(self) -> Path:
        return self.base / "policy.d" / "own.yaml"

    def publish(self, revision: int, rule: str = "no-secrets", namespace: str = "policy") -> None:
        self.file.write_text(RULES.format(revision, rule))
        self.file.chmod(0o600)
        self.sign(namespace)

    def sign(self, namespace: str = "policy") -> None:
        self.file.with_name("own.yaml.sig").unlink(missing_ok=True)
        arguments = ["-n", f"{namespace}@permitgate", "-f", str(self.base / "key")]
        keygen("-q", "-Y", "sign", *arguments, str(self.file))

    def files(self) -> PolicyFiles:
        return PolicyFiles(("dev-safe",), self.base / "policy.d", signers=self.signers)

    def open(self) -> LivePolicy:
        book = RevisionBook(self.base / "book.json")
        checks = Checks(lambda _: None, lambda _: None, book)
        return LivePolicy(self.files(), checks, is_server=False)


def keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "house")


def test_a_signed_policy_is_in_force_and_survives_a_restart(signing: Signing):
    signing.publish(1)
    for _ in range(2):
        assert "no-secrets" in {rule.id for rule in signing.open().current().rules}


def test_a_newer_revision_follows_and_a_newer_signature_is_no_reason_to_stop(signing: Signing):
    signing.publish(1)
    live = signing.open()
    signing.publish(2, "other")
    assert "other" in {rule.id for rule in live.current().rules}
    signing.sign()
    assert not live.problem


@pytest.mark.threat("T26")
def test_an_unsigned_policy_is_refused_with_the_command_that_signs_it(signing: Signing):
    signing.publish(1)
    signing.file.with_name("own.yaml.sig").unlink()
    with pytest.raises(PolicyError, match=r"own\.yaml:1:1: has no signature.*ssh-keygen -Y sign"):
        signing.open()


@pytest.mark.threat("T26")
def test_a_changed_policy_is_refused(signing: Signing):
    signing.publish(1)
    signing.file.write_text(signing.file.read_text().replace("deny", "ask"))
    with pytest.raises(PolicyError, match="the bytes or the key are others"):
        signing.open()


@pytest.mark.threat("T26")
def test_a_signature_for_something_else_is_refused(signing: Signing):
    signing.publish(1, namespace="file")
    with pytest.raises(PolicyError, match="signed for 'file@permitgate'"):
        signing.open()


@pytest.mark.threat("T26")
def test_an_older_revision_is_refused_at_start_and_while_the_server_runs(signing: Signing):
    signing.publish(3, "newest")
    live = signing.open()
    signing.publish(2, "old")
    assert "newest" in {rule.id for rule in live.current().rules}
    assert "revision 3 was in force" in live.problem
    with pytest.raises(PolicyError, match="is revision 2, and revision 3 was in force"):
        signing.open()


@pytest.mark.threat("T26")
def test_another_text_at_the_same_revision_is_refused(signing: Signing):
    signing.publish(1)
    signing.open()
    signing.publish(1, "other")
    with pytest.raises(PolicyError, match="in force with another text"):
        signing.open()


@pytest.mark.threat("T26")
def test_a_file_that_was_in_force_may_not_go_missing(signing: Signing):
    signing.publish(1)
    signing.open()
    signing.file.unlink()
    with pytest.raises(PolicyError, match="was in force at revision 1 and is gone"):
        signing.open()


def test_a_signed_policy_without_a_revision_is_refused(signing: Signing):
    signing.publish(1)
    signing.file.write_text("version: 1\nrules: []\n")
    signing.sign()
    with pytest.raises(PolicyError, match="add `revision: 1`"):
        signing.open()


def test_packs_and_a_projects_file_need_no_signature(signing: Signing):
    """A pack is part of the program; a project's file can only tighten."""
    signing.publish(1)
    (signing.base / ".permitgate.yaml").write_text("version: 1\nrules: []\n")
    files = PolicyFiles(("dev-safe",), signing.file.parent, (signing.base,), signing.signers)
    assert [one.name.rpartition("/")[2] for one in files.sources()] == [
        "dev-safe.yaml", "own.yaml", ".permitgate.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [("nonsense", "signers:1: not a line"), (None, "cannot be read: No such file"), (b"\xff", "")],
)
def test_signers_that_cannot_be_read_refuse_everything(
    signing: Signing, text: str | bytes | None, says: str
):
    signing.publish(1)
    if text is None:
        signing.signers.unlink()
    else:
        signing.signers.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError, match=says or "not UTF-8"):
        signing.files().sources()


@pytest.mark.threat("T23")
def test_signers_that_others_may_write_are_refused(signing: Signing):
    signing.publish(1)
    signing.signers.chmod(0o660)
    with pytest.raises(PolicyError, match="others may write who signs"):
        signing.files().sources()


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"a": ["x", "y"]}'])
def test_a_broken_book_of_revisions_refuses_rather_than_forgets(signing: Signing, text: str):
    signing.publish(1)
    (signing.base / "book.json").write_text(text)
    with pytest.raises(PolicyError, match="an older one could not be told"):
        signing.open()


def test_a_book_that_cannot_be_written_refuses(signing: Signing):
    signing.publish(1)
    (signing.base / "book.new").mkdir()
    with pytest.raises(PolicyError, match="cannot be written: Is a directory"):
        signing.open()


def test_a_signature_that_cannot_be_read_refuses(signing: Signing):
    signing.publish(1)
    beside = signing.file.with_name("own.yaml.sig")
    beside.unlink()
    beside.mkdir()
    with pytest.raises(PolicyError, match=r"own\.yaml\.sig: cannot be read: Is a directory"):
        signing.open()


def test_the_administrators_signers_stand_before_the_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    theirs = tmp_path / "policy_signers"
    monkeypatch.setattr(policies, "ADMINISTRATORS_SIGNERS", theirs)
    assert policies.signers_file(Path("mine")) == Path("mine")
    theirs.touch()
    assert policies.signers_file(Path("mine")) == theirs
    assert policies.signers_file(None) == theirs


def test_the_command_line_and_the_server_ask_for_signatures_when_configured(tmp_path: Path):
    rig = Rig.make(tmp_path)
    signing = Signing(rig.base / "signing")
    rig.configure(f"policy_signers: {signing.signers}\npolicy: [dev-safe, {signing.file}]\n")
    signing.publish(1)
    assert rig.run("classify", "--", "cat secret").returncode == 0
    assert rig.run("exec", "--", "cat secret").returncode == 11
    signing.file.with_name("own.yaml.sig").unlink()
    for arguments in (("classify", "--", "ls"), ("exec", "--", "ls"), ("doctor",)):
        done = rig.run(*arguments)
        assert done.returncode not in (0, 11), arguments
        assert "has no signature" in done.stderr, arguments
