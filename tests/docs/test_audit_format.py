"""docs/audit-format.md is enough to verify a log: a verifier made from it agrees with ours."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import warm
from tests.audit import independent_verifier as verifier


class Logged:
    """A log that the product wrote, and the commands that read it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"
        self.work.mkdir()
        for command in ("ls", "cat ~/.ssh/id_rsa", "touch notes.txt"):
            self.run("exec", "--workspace", str(self.work), "--", command)
        self.vkey = self.run("audit", "key").decode()
        self.directory = root / "state" / "permitgate" / "audit"

    def run(self, *arguments: str) -> bytes:
        environment = {
            **os.environ,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
        }
        done = subprocess.run(
            [warm.command(), *arguments],
            env=environment,
            cwd=self.work,
            capture_output=True,
            check=False,
        )
        return done.stdout


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return Logged(tmp_path_factory.mktemp("logged"))


@pytest.fixture
def copy(logged: Logged, tmp_path: Path) -> Path:
    return Path(shutil.copytree(logged.directory, tmp_path / "copy"))


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_verify_a_log(logged: Logged):
    lines = (logged.directory / "seg-000000000000.jsonl").read_bytes().count(b"\n")
    assert verifier.verify(logged.directory, logged.vkey) == 0
    assert f"{lines} records".encode() in logged.run("audit", "verify")


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_verify_across_a_rotation_of_the_key(logged: Logged, tmp_path: Path):
    rotated = Logged(tmp_path)
    rotated.run("audit", "rotate")
    rotated.run("exec", "--workspace", str(rotated.work), "--", "ls")
    assert verifier.verify(rotated.directory, rotated.vkey) == 0
    assert verifier.proven(rotated.run("audit", "prove", "1"), rotated.vkey)
    (epoch,) = (rotated.directory / "epochs").iterdir()
    epoch.unlink()
    assert verifier.verify(rotated.directory, rotated.vkey) == 1


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_find_an_edit(logged: Logged, copy: Path):
    segment = copy / "seg-000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"denied"', b'"failed"'))
    assert verifier.verify(copy, logged.vkey) == 1


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_find_a_cut(logged: Logged, copy: Path):
    segment = copy / "seg-000000000000.jsonl"
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-1]))
    assert verifier.verify(copy, logged.vkey) == 1


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_find_a_forged_checkpoint(logged: Logged, copy: Path):
    note = (copy / "checkpoint").read_bytes()
    origin, size, rest = note.split(b"\n", 2)
    (copy / "checkpoint").write_bytes(b"\n".join((origin, b"%d" % (int(size) - 1), rest)))
    assert verifier.verify(copy, logged.vkey) == 1


@pytest.mark.threat("T15")
def test_the_page_is_enough_to_verify_every_proof(logged: Logged):
    lines = (logged.directory / "seg-000000000000.jsonl").read_bytes().splitlines()
    for seq in (0, 3, len(lines) - 1):
        proof = logged.run("audit", "prove", str(seq))
        assert verifier.proven(proof, logged.vkey) == lines[seq]
    with pytest.raises(AssertionError):
        verifier.proven(proof.replace(b"index ", b"index 1"), logged.vkey)


def test_the_verifier_of_the_page_is_small_and_has_nothing_of_ours():
    lines = Path(verifier.__file__).read_text().splitlines()
    assert len(lines) < 150
    imports = {
        line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))
    }
    assert imports <= {"base64", "hashlib", "json", "pathlib", "cryptography"}
