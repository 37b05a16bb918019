"""The tamper matrix: what can be done to a log's files, what is said of it, with which exit code.

What can be done to lines is in test_verify.TAMPERINGS; here the same table goes on with files, keys
and checkpoints, on a log of several segments and two keys.
"""

import os
import re
import shutil

import pytest

from audit.chain import Chain
from audit.keys import FileSigner
from audit.note import Checkpoint, pad_note, sign_note
from audit.prove import prove
from audit.verify import Code, verify
from tests.audit.house import ORIGIN, House
from tests.audit.test_verify import TAMPERINGS, rechained

pytestmark = [pytest.mark.threat("T15"), pytest.mark.threat("T23")]


class Scene:
    """A log of 30 records and a rotation after 20, in segments; with copies from before."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.filled(20)
        self.first = house.signer.public_key
        self.old = house.root / "old"
        shutil.copytree(house.path, self.old)
        shutil.copytree(house.root / "keys", house.root / "old-keys")
        house.rotated()
        self.append(7)
        self.kept = prove(house.path, 25)

    def append(self, count: int, word: str = "more") -> None:
        log = self.house.open()
        for _ in range(count):
            log.append({"event": "tool.classified", "word": word})
        log.close()

    def segments(self):
        return sorted(self.house.path.glob("seg-*"))

    def sign(self, signer: FileSigner, lines: list[bytes]) -> None:
        chain = Chain()
        chain.follow_block(lines)
        note = pad_note(
            sign_note(Checkpoint(ORIGIN, chain.size, chain.frontier.root()).text(), signer)
        )
        for name in ("checkpoint", "checkpoint.durable"):
            (self.house.path / name).write_bytes(note)

    def lines(self) -> list[bytes]:
        return b"".join(path.read_bytes() for path in self.segments()).splitlines(keepends=True)

    def write_all(self, lines: list[bytes]) -> None:
        for path in self.segments():
            path.unlink()
        self.house.segment.write_bytes(b"".join(lines))


def remove_a_segment(scene):
    scene.segments()[1].unlink()


def swap_two_files(scene):
    one, two = scene.segments()[1:3]
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def rewrite_with_another_key(scene):
    lines = rechained(scene.lines())
    lines[3] = lines[3].replace(b'"number":3', b'"number":4')
    lines = rechained(lines)
    scene.write_all(lines)
    scene.sign(FileSigner.open(scene.house.root / "thief" / "key", name=ORIGIN), lines)


def rewrite_a_closed_epoch_with_todays_key(scene):
    lines = scene.lines()
    lines[3] = lines[3].replace(b'"number":3', b'"number":4')
    lines = rechained(lines)
    scene.write_all(lines)
    scene.sign(scene.house.signer, lines)


def fork(scene):
    shutil.rmtree(scene.house.path)
    shutil.rmtree(scene.house.root / "keys")
    shutil.copytree(scene.old, scene.house.path)
    shutil.copytree(scene.house.root / "old-keys", scene.house.root / "keys")
    scene.append(20, "another")


def roll_everything_back_to_its_first_key(scene):
    shutil.rmtree(scene.house.path)
    shutil.copytree(scene.old, scene.house.path)


def roll_the_checkpoint_back(scene):
    shutil.copy(scene.old / "checkpoint", scene.house.path / "checkpoint")


def roll_both_checkpoints_back(scene):
    for name in ("checkpoint", "checkpoint.durable"):
        shutil.copy(scene.old / name, scene.house.path / name)


def truncate_the_last_segment(scene):
    os.truncate(scene.segments()[-1], scene.segments()[-1].stat().st_size - 7)


def truncate_a_middle_segment(scene):
    os.truncate(scene.segments()[1], 30)


def fill_the_end_with_zeros(scene):
    path = scene.segments()[-1]
    size = path.stat().st_size
    os.truncate(path, size - 100)
    os.truncate(path, size)


def append_zeros(scene):
    os.truncate(scene.segments()[-1], scene.segments()[-1].stat().st_size + 4096)


def fill_a_middle_segment_with_zeros(scene):
    path = scene.segments()[1]
    path.write_bytes(bytes(path.stat().st_size))


def put_a_symlink(scene):
    path = scene.segments()[1]
    path.rename(scene.house.root / "moved")
    path.symlink_to(scene.house.root / "moved")


def put_a_directory(scene):
    scene.segments()[1].unlink()
    scene.segments()[0].with_name("seg-000000000005.jsonl").mkdir()


def give_a_segment_to_somebody_else(scene):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(scene.segments()[1], 12345, -1)


def write_a_newer_version(scene):
    log = scene.house.open()
    log._tail.add([b'{"event":"log.open","ts":"2027","v":2}'])
    log.close()


def begin_a_rotation_that_was_never_sealed(scene):
    chain = Chain()
    chain.follow_block(scene.lines())
    with scene.segments()[-1].open("ab") as stream:
        stream.write(chain.extend(b'{"event":"key.rotate","ts":"x","v":1}') + b"\n")


def remove_the_proof_of_a_rotation(scene):
    scene.house.epochs[0].unlink()


def exchange_the_proof_of_a_rotation(scene):
    other = House(scene.house.root / "other").filled(20).rotated()
    shutil.copy(other.epochs[0], scene.house.epochs[0])


def empty_the_checkpoints(scene):
    for name in ("checkpoint", "checkpoint.durable"):
        (scene.house.path / name).write_bytes(b"")


TAMPERED, UNUSABLE, INCOMPLETE = Code.TAMPERED, Code.UNUSABLE, Code.INCOMPLETE
FILES = [
    (remove_a_segment, TAMPERED, "removed", 5, "no file holds records 5 to 11"),
    (swap_two_files, TAMPERED, "swapped", 5, "files were swapped"),
    (rewrite_with_another_key, TAMPERED, "checkpoint", None, "no signature by a key you trust"),
    (
        rewrite_a_closed_epoch_with_todays_key,
        TAMPERED,
        "rewritten",
        21,
        "epochs/.*22.proof",
    ),
    (fork, TAMPERED, "forked", 21, "another root than the pinned checkpoint of size 22"),
    (roll_everything_back_to_its_first_key, TAMPERED, "cut", 20, "pinned checkpoint signed 22"),
    (roll_the_checkpoint_back, TAMPERED, "rolled_back", None, "already 31"),
    (roll_both_checkpoints_back, INCOMPLETE, "unsigned", 22, "22 to 30 are not signed"),
    (truncate_the_last_segment, TAMPERED, "cut", 30, "ends here with 30 records"),
    (truncate_a_middle_segment, TAMPERED, "removed", 5, "no file holds"),
    (fill_the_end_with_zeros, TAMPERED, "cut", 30, "ends here with 30 records"),
    (append_zeros, INCOMPLETE, "torn", None, "what follows record 30 is torn"),
    (fill_a_middle_segment_with_zeros, TAMPERED, "removed", 5, "no file holds"),
    (put_a_symlink, UNUSABLE, "io", 5, "record 5 .* expected a regular file"),
    (put_a_directory, UNUSABLE, "io", 5, "record 5 .* expected a regular file"),
    (give_a_segment_to_somebody_else, UNUSABLE, "foreign", 5, "record 5 .* found one of uid 12345"),
    (write_a_newer_version, UNUSABLE, "version", 32, "expected format version 1, found 2"),
    (begin_a_rotation_that_was_never_sealed, INCOMPLETE, "rotation", 31, "record 31 hands"),
    (remove_the_proof_of_a_rotation, TAMPERED, "checkpoint", None, "key you trust"),
    (exchange_the_proof_of_a_rotation, TAMPERED, "rotation", None, "Give the key that began"),
    (empty_the_checkpoints, INCOMPLETE, "no_checkpoint", None, "no checkpoint"),
]


@pytest.fixture
def scene(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 1000)
    return Scene(house)


def test_the_scene_itself_is_whole(scene):
    assert verify(scene.house.path, [scene.first], pinned=scene.kept).code is Code.VERIFIED
    assert len(scene.lines()) == 31
    assert scene.segments()[1].name == "seg-000000000005.jsonl"
    named = {row[0].__name__ for row in TAMPERINGS}
    assert {"edit", "delete", "reorder", "duplicate_key", "blank_line", "cut_the_tail"} <= named


@pytest.mark.parametrize(
    ("tamper", "code", "kind", "seq", "message"),
    FILES,
    ids=[row[0].__name__ for row in FILES],
)
def test_everything_done_to_the_files_is_found_named_and_judged(
    scene, *, tamper, code, kind, seq, message
):
    tamper(scene)
    pinned = scene.kept if tamper in (fork, roll_everything_back_to_its_first_key) else None
    report = verify(scene.house.path, [scene.first], pinned=pinned)
    found = [one for one in report.findings if one.kind == kind]
    assert found
    assert report.code is code
    assert seq is None or found[-1].seq == seq
    assert re.search(message, found[-1].message)
