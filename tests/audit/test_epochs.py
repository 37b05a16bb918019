"""Rotation of the key: who signed what, who cannot any more, and crashes at any step of it."""

import errno
import os
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import heads
from audit.canonical import encode
from audit.chain import Chain
from audit.directory import LogDirectory
from audit.epochs import ROTATE, KeyRing, Rotation, is_rotation, rotation_record
from audit.errors import AuditTampered, AuditUnavailable, NoteError, RecordRefused
from audit.keys import FileSigner
from audit.log import AuditLog
from audit.merkle import leaf_hash
from audit.note import Checkpoint, make_proof, pad_note, sign_note
from audit.prove import prove, verify_proof
from audit.query import records
from audit.verify import Code, verify
from tests.audit.house import ORIGIN, Clock

SIGNER = FileSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))

pytestmark = pytest.mark.threat("T15")


def events(house):
    return [record["event"] for record in records(house.path)]


@pytest.fixture
def first(house):
    """The key that began the log, and three records by it."""
    house.filled(3)
    return house.signer.public_key


def test_a_rotated_log_verifies_with_the_key_that_began_it(house, first):
    old_file = os.open(house.root / "keys" / "audit.pem", os.O_RDONLY)
    house.rotated()
    second = house.signer.public_key
    assert second != first
    assert os.pread(old_file, 4096, 0).strip(b"\0") == b""  # the old key is overwritten
    os.close(old_file)
    assert [entry.name for entry in (house.root / "keys").iterdir()] == ["audit.pem"]
    house.rotated().open().close()
    report = verify(house.path, [first], deep=True, strict=True)
    assert (report.code, report.epochs) == (Code.VERIFIED, 3)
    assert events(house)[3:6] == ["log.open", ROTATE, "log.open"]
    assert [record["key"] for record in records(house.path) if "key" in record][-1] == (
        house.signer.public_key.vkey
    )
    late = verify(house.path, [second])
    assert late.code is Code.TAMPERED
    assert "Give the key that began the log" in late.findings[0].message


def test_a_proof_from_any_epoch_needs_the_first_key_alone_and_accepts_a_later_one(house, first):
    house.rotated().rotated()
    for seq in range(len(events(house))):
        assert verify_proof(prove(house.path, seq), [first]).index == seq
    assert verify_proof(prove(house.path, 0), house.keys).index == 0
    with pytest.raises(NoteError, match="no signature by a key you trust"):
        verify_proof(prove(house.path, 0), [SIGNER.public_key])


def test_what_follows_the_record_in_a_proof_is_rotations_or_refused(house, first):
    house.rotated()
    note = (house.path / "checkpoint").read_bytes().rstrip(b"\n") + b"\n"
    with pytest.raises(NoteError, match="no proof of a key's rotation"):
        verify_proof(make_proof(b"record", 0, [], note, [b"nonsense"]), [first])


def test_a_thief_of_todays_key_cannot_rewrite_a_closed_epoch(house, first):
    house.rotated()
    thief = house.signer
    bodies = [b"{" + line[:-1].partition(b",")[2].partition(b",")[2] for line in house.lines()]
    bodies[1] = encode({"event": "tool.classified", "number": 99})
    chain = Chain()
    lines = [chain.extend(body) + b"\n" for body in bodies]
    house.put(lines)
    note = sign_note(Checkpoint(ORIGIN, chain.size, chain.frontier.root()).text(), thief)
    for name in ("checkpoint", "checkpoint.durable"):
        (house.path / name).write_bytes(pad_note(note))
    report = verify(house.path, [first])
    assert (report.code, report.findings[-1].kind) == (Code.TAMPERED, "rewritten")
    assert "epochs/000000000005.proof" in report.findings[-1].message
    # Without the proof of the rotation, the new key has no way in; with one of their own, neither.
    kept = house.epochs[0].read_bytes()
    house.epochs[0].unlink()
    assert verify(house.path, [first]).code is Code.TAMPERED
    closing = Chain()
    path = [closing.extend(body) for body in bodies[:4]] and closing.frontier.peaks[::-1]
    line = closing.extend(bodies[4])
    forged = sign_note(Checkpoint(ORIGIN, 5, closing.frontier.root()).text(), thief)
    (house.path / "epochs" / "000000000005.proof").write_bytes(make_proof(line, 4, path, forged))
    report = verify(house.path, [first])
    assert (report.code, report.findings[0].kind) == (Code.TAMPERED, "rotation")
    assert kept != forged


def test_the_old_key_signs_nothing_after_its_epoch(house, first, tmp_path):
    shutil.copytree(house.root / "keys", tmp_path / "stolen")
    stolen = FileSigner.open(tmp_path / "stolen" / "audit.pem", name=ORIGIN)
    house.rotated()
    chain = Chain()
    for line in house.lines():
        chain.follow_block([line])
    note = sign_note(Checkpoint(ORIGIN, chain.size, chain.frontier.root()).text(), stolen)
    report = verify(house.path, [first], pinned=note)
    assert (report.code, report.findings[0].kind) == (Code.TAMPERED, "forked")
    (house.path / "checkpoint").write_bytes(pad_note(note))
    report = verify(house.path, [first])
    assert report.code is Code.TAMPERED
    assert "was in force" in report.findings[0].message
    (house.path / "checkpoint.durable").unlink()
    with pytest.raises(AuditTampered, match="no checkpoint by this log's key"):
        house.open()


def test_a_rotation_whose_proof_is_gone_is_named_by_its_record(house, first):
    house.rotated()
    house.epochs[0].unlink()
    (house.path / "checkpoint.durable").unlink()
    chain = Chain()
    for line in house.lines():
        chain.follow_block([line])
    other = FileSigner.open(house.root / "other" / "key", name=ORIGIN)
    note = sign_note(Checkpoint(ORIGIN, chain.size, chain.frontier.root()).text(), other)
    (house.path / "checkpoint").write_bytes(pad_note(note))
    report = verify(house.path, [other.public_key])
    assert (report.code, report.findings[0].kind, report.findings[0].seq) == (
        Code.TAMPERED, "rotation", 4,
    )  # fmt: skip


def test_a_rotation_that_was_never_sealed_is_cut_and_recorded_never_kept(house, first):
    chain = Chain()
    for line in house.lines():
        chain.follow_block([line])
    attacker = FileSigner.open(house.root / "attacker" / "key", name=ORIGIN)
    body = encode(rotation_record(first, attacker, chain.size))
    with house.segment.open("ab") as stream:
        stream.write(chain.extend(encode({"event": "kept"})) + b"\n")
        stream.write(chain.extend(body) + b"\n")
    report = verify(house.path, [first])
    assert (report.code, report.findings[0].kind) == (Code.INCOMPLETE, "rotation")
    house.open().close()
    assert events(house)[3:] == ["kept", "log.recovered", "log.open"]
    assert verify(house.path, [first]).code is Code.VERIFIED


def test_words_of_a_rotation_inside_other_records_rotate_nothing(house, first):
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "a", "request": {"event": ROTATE}})
    log.close()
    assert verify(house.path, [first], deep=True).code is Code.VERIFIED
    assert not is_rotation(b'{"event":"key.rotate", }')


def test_only_a_rotation_writes_a_rotation(house):
    log = house.open()
    with pytest.raises(RecordRefused, match="alone"):
        log.append({"event": ROTATE})
    log.close()


def test_a_key_never_comes_back_and_keeps_its_name(house, first, tmp_path):
    shutil.copytree(house.root / "keys", tmp_path / "kept")
    house.rotated()
    log = house.open()
    for path, name in ((tmp_path / "kept", ORIGIN), (tmp_path / "new", "other")):
        with pytest.raises(RecordRefused, match="cannot take over"):
            log.rotate(lambda: FileSigner.open(path / "audit.pem", name=name))  # noqa: B023
    log.append({"event": "x"})
    log.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        log.rotate(house.signer.next)
    assert verify(house.path, [first]).code is Code.VERIFIED


def test_servers_that_share_a_log_go_on_with_the_new_key(house, first):
    one, two, three = house.open(), house.open(), house.open()
    two.append({"event": "x"})
    assert one.rotate(house.signer.next)[0] == first
    two.append({"event": "x"})
    two.rotate(house.signer.next)
    for log_ in (one, two, three):
        log_.append({"event": "x"})
        assert log_.first_key == first
        log_.close()
    report = verify(house.path, [first], deep=True, strict=True)
    assert (report.code, report.epochs) == (Code.VERIFIED, 3)


def test_a_server_that_cannot_reach_the_new_key_stops(house, first, tmp_path):
    log = house.open()
    other = AuditLog.open(house.path, house.signer, origin=ORIGIN, clock=Clock())
    elsewhere = tmp_path / "elsewhere" / "audit.pem"
    other.rotate(lambda: FileSigner.open(elsewhere, name=ORIGIN))
    other.close()
    house.signer.destroy()
    house.signer.destroy()
    with pytest.raises(AuditUnavailable, match=r"audit\.signer"):
        log.append({"event": "x"})
    log.close()
    with pytest.raises(AuditUnavailable, match=r"audit\.signer"):
        house.open()
    shutil.rmtree(house.root / "keys")
    shutil.copytree(elsewhere.parent, house.root / "keys")
    house.open().close()
    assert verify(house.path, [first]).code is Code.VERIFIED


def test_a_rotation_while_a_verifier_reads_is_no_tampering(house, first):
    log, rotated = house.open(), []

    def rotate(_):
        if not rotated:
            rotated.append(log.rotate(house.signer.next))

    report = verify(house.path, [first], progress=rotate)
    assert (report.code, report.signed) == (Code.VERIFIED, 6)
    log.close()
    assert verify(house.path, [first]).code is Code.VERIFIED


def test_a_rotation_between_two_looks_is_found_on_the_second(house, first, monkeypatch):
    log = house.open()
    log.append({"event": "x"})
    real = heads.Heads.load_ring

    def then_rotate(self):
        real(self)
        monkeypatch.setattr(heads.Heads, "load_ring", real)
        log.rotate(house.signer.next)

    monkeypatch.setattr(heads.Heads, "load_ring", then_rotate)
    assert verify(house.path, [first]).code is Code.VERIFIED
    log.close()


class Crash:
    """Ends the process at the n-th call that changes the disk."""

    NAMES = ("write", "pwrite", "fdatasync", "fsync", "rename", "link", "unlink", "ftruncate")

    def __init__(self, at: int) -> None:
        self.left = at
        for name in self.NAMES:
            setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, real):
        def call(*arguments, **keywords):
            self.left -= 1
            if self.left == 0:
                os._exit(9)
            return real(*arguments, **keywords)

        return call


def rotate_and_crash(house, at: int) -> bool:
    """Return whether the rotation ended before the crash."""
    child = os.fork()
    if child == 0:
        log = house.open()
        signer = house.signer
        Crash(at)
        log.rotate(signer.next)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.threat("T16")
def test_a_crash_at_any_step_of_a_rotation_leaves_the_old_key_or_the_new(house, first, tmp_path):
    outcomes, step = set(), 0
    shutil.copytree(house.root, tmp_path / "before", ignore=shutil.ignore_patterns("before"))
    is_done = False
    while not is_done:
        step += 1
        shutil.rmtree(house.root / "log")
        shutil.rmtree(house.root / "keys")
        for name in ("log", "keys"):
            shutil.copytree(tmp_path / "before" / name, house.root / name)
        is_done = rotate_and_crash(house, step)
        assert verify(house.path, [first]).code in (Code.VERIFIED, Code.INCOMPLETE), step
        log = house.open()
        log.append({"event": "after"})
        log.close()
        is_new = house.signer.public_key != first
        assert is_new == bool(house.epochs), step
        outcomes.add(is_new)
        report = verify(house.path, [first], deep=True)
        assert (report.code, report.epochs) == (Code.VERIFIED, 1 + is_new), step
        house.rotated()
        assert verify(house.path, [first]).code is Code.VERIFIED, step
    assert outcomes == {False, True}
    assert step > 15


@pytest.mark.threat("T16")
def test_a_rotation_that_finds_no_room_did_not_happen(house, first, monkeypatch):
    log_ = house.open()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditUnavailable, match="the old one stays"):
            log_.rotate(lambda: FileSigner.open(house.root / "b" / "b", name=ORIGIN))
    log_.append({"event": "x"})
    with monkeypatch.context() as patch:
        patch.setattr(LogDirectory, "replace", full)
        with pytest.raises(AuditUnavailable, match="No space left"):
            log_.rotate(house.signer.next)
    log_.close()
    house.open().close()
    assert house.signer.public_key == first
    assert ROTATE not in events(house)
    assert verify(house.path, [first]).code is Code.VERIFIED


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda data: b"", "not a c2sp.org/tlog-proof"),
        (lambda data: data.replace(b"index 4", b"index 3"), "path"),
        (lambda data: data.replace(b"extra ey", b"extra eY"), "hands nothing over"),
    ],
)
def test_a_file_that_proves_no_rotation_is_refused(house, first, tamper, message):
    house.rotated()
    house.epochs[0].write_bytes(tamper(house.epochs[0].read_bytes()))
    report = verify(house.path, [first])
    assert (report.code, report.findings[0].kind) == (Code.TAMPERED, "rotation")
    with pytest.raises(AuditTampered, match="chain of its keys"):
        house.open()


def test_a_proof_under_another_name_is_refused(house, first):
    house.rotated()
    house.epochs[0].rename(house.path / "epochs" / "000000000006.proof")
    (house.path / "epochs" / "notes.txt").touch()
    assert "closes 5 records" in verify(house.path, [first]).findings[0].message


def closing_proof(signer, body, *, more=0):
    chain = Chain()
    path = chain.frontier.peaks
    line = chain.extend(body)
    for _ in range(more):
        chain.extend(encode({"event": "x"}))
    note = sign_note(Checkpoint(ORIGIN, chain.size, chain.frontier.root()).text(), signer)
    if more:
        second = b'{"@prev":"%s","@seq":1,"event":"x"}' % leaf_hash(line).hex().encode()
        path = [leaf_hash(second)]
    return make_proof(line, 0, path, note)


def test_a_rotation_is_the_last_record_of_its_epoch_and_the_new_key_agrees(tmp_path):
    old, new, other = (
        FileSigner.open(tmp_path / name / "key", name=ORIGIN) for name in ("old", "new", "other")
    )
    good = rotation_record(old.public_key, new, 0)
    assert Rotation.open(closing_proof(old, encode(good))).new == new.public_key
    with pytest.raises(NoteError, match="signs 2 records"):
        Rotation.open(closing_proof(old, encode(good), more=1))
    stolen = {**good, "new": other.public_key.vkey}
    with pytest.raises(NoteError, match="does not verify"):
        Rotation.open(closing_proof(old, encode(stolen)))
    for wrong in (
        {**good, "event": "x"},
        {**good, "pop": "?"},
        {**good, "old": "x"},
        rotation_record(FileSigner.open(tmp_path / "n" / "k", name="o").public_key, new, 0),
    ):
        with pytest.raises(NoteError, match="hands nothing over"):
            Rotation.open(closing_proof(old, encode(wrong)))


def test_a_ring_has_no_gaps_and_each_checkpoint_is_its_epoch_s(tmp_path):
    one, two, three = (
        FileSigner.open(tmp_path / name / "key", name=ORIGIN) for name in ("1", "2", "3")
    )
    rotation = Rotation.open(closing_proof(one, encode(rotation_record(one.public_key, two, 0))))
    ring = KeyRing.link([one.public_key], [rotation])
    assert ring.at(0) == ring.at(1) == (one.public_key,)
    assert ring.at(2) == ring.current == (two.public_key,)
    with pytest.raises(NoteError, match="was in force"):
        KeyRing.link([one.public_key], [rotation, rotation])
    with pytest.raises(NoteError, match="Give the key"):
        KeyRing.link([three.public_key], [rotation])
    for size, signer, other in ((1, one, two), (2, two, one)):
        text = Checkpoint(ORIGIN, size, bytes(32)).text()
        assert ring.open(sign_note(text, signer), signer).size == size
        with pytest.raises(NoteError, match="was in force"):
            ring.open(sign_note(text, other), other)
    stranger = FileSigner.open(tmp_path / "4" / "key", name="stranger")
    note = sign_note(Checkpoint(ORIGIN, 1, bytes(32)).text(), stranger)
    with pytest.raises(NoteError, match="own checkpoint"):
        KeyRing((stranger.public_key,)).open(note)
    with pytest.raises(NoteError, match="own checkpoint"):
        KeyRing((stranger.public_key,)).open(note, stranger)
