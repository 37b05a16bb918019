import json
import os
import re
import shutil
import threading

import pytest

from audit.canonical import encode
from audit.chain import FIRST_PREV
from audit.errors import AuditTampered
from audit.keys import FileSigner
from audit.merkle import leaf_hash, tree_root
from audit.note import CHECKPOINT_BYTES, Checkpoint, pad_note, sign_note
from audit.verify import Code, verify
from tests.audit.house import ORIGIN

COUNT = 20


def rechained(lines):
    """What an attacker without the key can do: recompute every `@prev` and `@seq`."""
    prev, found = FIRST_PREV.decode(), []
    for seq, line in enumerate(lines):
        body = encode({k: v for k, v in json.loads(line).items() if not k.startswith("@")})
        new = b'{"@prev":"%s","@seq":%d,' % (prev.encode(), seq) + body[1:]
        prev = leaf_hash(new).hex()
        found.append(new + b"\n")
    return found


def edit(lines):
    lines[10] = lines[10].replace(b'"number":10', b'"number":11')
    return lines


def edit_the_first(lines):
    lines[0] = lines[0].replace(b'"v":1', b'"v":2')
    return lines


def edit_the_last(lines):
    lines[-1] = lines[-1].replace(b'"v":1', b'"v":2')
    return lines


def edit_the_frame(lines):
    lines[10] = b'{"@prev":"xx' + lines[10][12:]
    return lines


def edit_with_a_zero_byte(lines):
    lines[10] = lines[10][:-2] + b"\0}\n"
    return lines


def edit_beyond_recognition(lines):
    lines[10] = b"nonsense\n"
    return lines


def edit_the_first_frame(lines):
    lines[0] = b'{"@prev":"1' + lines[0][11:]
    return lines


def insert_a_copy(lines):
    return [*lines[:10], lines[9], *lines[10:]]


def insert_a_chained_record(lines):
    forged = rechained([*lines[:10], b'{"event":"forged"}'])[-1]
    return [*lines[:10], forged, *lines[10:]]


def delete(lines):
    return lines[:10] + lines[11:]


def delete_the_first(lines):
    return lines[1:]


def reorder(lines):
    lines[10], lines[11] = lines[11], lines[10]
    return lines


def duplicate_key(lines):
    lines[10] = lines[10].replace(b'"v":1', b'"v":1,"v":2')
    return lines


def blank_line(lines):
    return [*lines[:10], b"\n", *lines[10:]]


def cut_the_tail(lines):
    return lines[:15]


def cut_one(lines):
    return lines[:-1]


def cut_all(lines):
    return []


def rewrite_and_chain(lines):
    return rechained(edit(lines))


def rewrite_longer(lines):
    return rechained([*edit(lines), *lines[5:]])


TAMPERINGS = [
    (edit, "edited", 10, ":11", "record 10 .* edited"),
    (edit_the_first, "edited", 0, ":1", "record 0 .* edited"),
    (edit_the_last, "rewritten", 19, "records 0 to 19", "altered"),
    (edit_the_frame, "edited", 10, ":11", "record 10 was edited"),
    (edit_with_a_zero_byte, "edited", 10, ":11", "not JSON"),
    (edit_beyond_recognition, "edited", 10, ":11", "not a record of this log"),
    (edit_the_first_frame, "edited", 0, ":1", "does not start a log"),
    (insert_a_copy, "inserted", 9, ":11", "record 9 stands a second time"),
    (insert_a_chained_record, "inserted", 10, ":12", "record 10 stands a second time"),
    (delete, "deleted", 10, ":11", "records 10 to 10 were deleted"),
    (delete_the_first, "swapped", 0, ":1", "holds records from 1"),
    (reorder, "reordered", 10, ":11", "records 10 and 11 changed places"),
    (duplicate_key, "edited", 10, ":11", "duplicate key 'v'"),
    (blank_line, "blank", 10, ":11", "blank line where record 10"),
    (cut_the_tail, "cut", 15, "record 14", "end was cut"),
    (cut_one, "cut", 19, "record 18", "end was cut"),
    (cut_all, "cut", 0, "", "end was cut"),
    (rewrite_and_chain, "rewritten", 19, "records 0 to 19", "recomputed"),
    (rewrite_longer, "rewritten", 19, "records 0 to 19", "recomputed"),
]


@pytest.mark.threat("T15")
@pytest.mark.parametrize(
    ("tamper", "kind", "seq", "place", "message"),
    TAMPERINGS,
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_every_tampering_is_found_named_and_refused_by_the_writer(
    house, *, tamper, kind, seq, place, message
):
    house.filled(COUNT)
    assert verify(house.path, house.keys, deep=True, strict=True).code is Code.VERIFIED
    house.put(tamper(house.lines()))
    report = verify(house.path, house.keys)
    assert report.code is Code.TAMPERED
    found = report.findings[-1]
    assert (found.kind, found.seq) == (kind, seq)
    assert place in found.place
    assert re.search(message, found.message)
    with pytest.raises(AuditTampered, match="evidence"):
        house.open()


@pytest.mark.threat("T15")
def test_a_key_that_the_verifier_does_not_trust_proves_nothing(house, tmp_path):
    house.filled(COUNT)
    stranger = FileSigner.open(tmp_path / "other" / "key", name=ORIGIN)
    leaves = [leaf_hash(line[:-1]) for line in house.lines()]
    note = sign_note(Checkpoint(ORIGIN, len(leaves), tree_root(leaves)).text(), stranger)
    (house.path / "checkpoint").write_bytes(pad_note(note))
    report = verify(house.path, house.keys)
    assert report.code is Code.TAMPERED
    assert "no signature by a key you trust" in report.findings[0].message
    assert verify(house.path, [stranger.public_key]).code is Code.TAMPERED  # the durable copy
    (house.path / "checkpoint.durable").unlink()
    with pytest.raises(AuditTampered, match="no checkpoint by this log's key"):
        house.open()


@pytest.mark.threat("T15")
def test_a_full_roll_back_is_found_by_a_checkpoint_kept_elsewhere(house, tmp_path):
    house.filled(10)
    shutil.copytree(house.path, tmp_path / "old")
    log = house.open()
    kept = log.append({"event": "tool.classified"}).note.encode()
    log.close()
    shutil.rmtree(house.path)
    shutil.copytree(tmp_path / "old", house.path)
    assert verify(house.path, house.keys).code is Code.VERIFIED  # nothing local can tell
    report = verify(house.path, house.keys, pinned=kept)
    assert report.code is Code.TAMPERED
    assert report.findings[0].kind == "cut"
    assert "pinned checkpoint" in report.findings[0].message


@pytest.mark.threat("T15")
def test_a_fork_is_found_by_a_checkpoint_kept_elsewhere(house, tmp_path):
    house.filled(10)
    shutil.copytree(house.path, tmp_path / "old")
    log = house.open()
    kept = log.append({"event": "tool.classified", "branch": "a"}).note.encode()
    log.close()
    shutil.rmtree(house.path)
    shutil.copytree(tmp_path / "old", house.path)
    log = house.open()
    log.append({"event": "tool.classified", "branch": "b"})
    log.close()
    report = verify(house.path, house.keys, pinned=kept)
    assert report.code is Code.TAMPERED
    assert report.findings[0].kind == "forked"


@pytest.mark.threat("T15")
def test_a_checkpoint_rolled_back_alone_is_found_by_its_durable_copy(house):
    log = house.open()
    old = (house.path / "checkpoint").read_bytes()
    log.append({"event": "tool.classified"})
    log.close()
    (house.path / "checkpoint").write_bytes(old)
    report = verify(house.path, house.keys)
    assert report.code is Code.TAMPERED
    assert report.findings[0].kind == "rolled_back"


def test_a_pinned_file_that_is_no_checkpoint_is_a_usage_error(house):
    house.filled(3)
    assert verify(house.path, house.keys, pinned=b"nonsense").code is Code.UNUSABLE


def test_a_directory_that_is_not_there_is_a_usage_error(house):
    report = verify(house.path, [])
    assert report.code is Code.UNUSABLE
    assert "No such file" in report.findings[0].message


def test_without_any_checkpoint_the_log_is_unsigned_not_tampered(house):
    house.filled(5)
    (house.path / "checkpoint").write_bytes(b"")
    assert verify(house.path, house.keys).findings[0].kind == "no_checkpoint"
    (house.path / "checkpoint.durable").unlink()
    report = verify(house.path, house.keys)
    assert report.code is Code.INCOMPLETE
    assert (report.records, report.signed) == (5, 0)


def test_an_unsigned_record_after_the_checkpoint_is_named(house):
    house.filled(5)
    house.put([*house.lines(), rechained([*house.lines(), b'{"event":"forged"}'])[-1]])
    report = verify(house.path, house.keys)
    assert report.code is Code.INCOMPLETE
    assert (report.records, report.signed) == (6, 5)
    assert report.findings[0].message == "records 5 to 5 are not signed"


@pytest.fixture
def segmented(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 1500)
    return house.filled(40)


def test_a_log_of_many_segments_verifies_and_goes_on(segmented):
    assert len(list(segmented.path.glob("seg-*"))) > 3
    assert verify(segmented.path, segmented.keys, deep=True).code is Code.VERIFIED
    log = segmented.open()
    log.append({"event": "tool.classified"})
    log.close()
    assert verify(segmented.path, segmented.keys).records == 42


def test_two_writers_follow_each_other_into_new_segments(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 1500)
    one, two = house.open(), house.open()
    for number in range(20):
        one.append({"event": "tool.classified", "number": number})
        two.append({"event": "tool.classified", "number": number})
    one.close()
    two.close()
    assert verify(house.path, house.keys, strict=True).code is Code.VERIFIED


@pytest.mark.threat("T15")
@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_removed_segment_is_found_and_named(segmented, which):
    gone = sorted(segmented.path.glob("seg-*"))[which]
    gone.unlink()
    report = verify(segmented.path, segmented.keys)
    assert report.code is Code.TAMPERED
    seq = int(gone.name[4:-6])
    assert report.findings[0].kind == ("cut" if which == -1 else "removed")
    assert report.findings[0].seq == seq
    with pytest.raises(AuditTampered):
        segmented.open()


@pytest.mark.threat("T15")
def test_a_segment_that_nothing_leads_to_is_found_and_named(house):
    house.filled(3)
    (house.path / "seg-000000000007.jsonl").touch(mode=0o600)
    finding = verify(house.path, house.keys).findings[0]
    assert (finding.kind, finding.seq) == ("removed", 3)
    with pytest.raises(AuditTampered, match="records 3 to 6 are missing"):
        house.open()


@pytest.mark.threat("T15")
def test_swapped_segments_are_found_and_named(segmented):
    one, two = sorted(segmented.path.glob("seg-*"))[1:3]
    one_bytes = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(one_bytes)
    found = verify(segmented.path, segmented.keys).findings[0]
    assert found.kind == "swapped"
    assert found.place == f"{one.name}:1"


@pytest.mark.threat("T15")
def test_a_segment_cut_in_the_middle_of_the_log_is_tampering(segmented):
    one = sorted(segmented.path.glob("seg-*"))[1]
    one.write_bytes(one.read_bytes()[:-10])
    assert verify(segmented.path, segmented.keys).code is Code.TAMPERED


@pytest.mark.threat("T23")
def test_a_symlinked_segment_or_log_is_not_read(house):
    house.filled(3)
    house.segment.rename(house.root / "moved")
    house.segment.symlink_to(house.root / "moved")
    assert verify(house.path, house.keys).code is Code.UNUSABLE
    (house.root / "link").symlink_to(house.path)
    assert verify(house.root / "link", house.keys).code is Code.UNUSABLE


def test_verifying_writes_nothing_and_takes_no_lock(house):
    house.filled(3)
    log = house.open()
    before = {path: path.stat().st_mtime_ns for path in house.path.rglob("*")}
    with log._exclusive():
        assert verify(house.path, house.keys).code is Code.VERIFIED
    assert {path: path.stat().st_mtime_ns for path in house.path.rglob("*")} == before
    log.close()


def test_a_note_that_is_being_overwritten_is_read_again(house):
    house.filled(3)
    good = (house.path / "checkpoint").read_bytes()
    torn = good[:40] + b"#" * 40 + good[80:]
    (house.path / "checkpoint").write_bytes(torn)
    descriptor = os.open(house.path / "checkpoint", os.O_WRONLY)
    healing = threading.Timer(0.05, os.pwrite, [descriptor, good, 0])
    healing.start()
    assert verify(house.path, house.keys).code is Code.VERIFIED
    healing.join()
    os.close(descriptor)


def test_records_signed_while_the_verifier_reads_are_not_called_unsigned(house):
    house.filled(3)
    old = (house.path / "checkpoint").read_bytes()
    (house.path / "checkpoint.durable").unlink()
    log = house.open()
    log.append({"event": "tool.classified"})
    new = (house.path / "checkpoint").read_bytes()
    (house.path / "checkpoint").write_bytes(old)
    (house.path / "checkpoint.durable").unlink()
    signing = threading.Timer(0.05, (house.path / "checkpoint").write_bytes, [new])
    signing.start()
    assert verify(house.path, house.keys).code is Code.VERIFIED
    signing.join()
    log.close()


@pytest.mark.threat("T15")
def test_a_later_checkpoint_over_other_records_is_tampering(house):
    house.filled(3)
    old = (house.path / "checkpoint").read_bytes()
    (house.path / "checkpoint.durable").unlink()
    log = house.open()
    new = (house.path / "checkpoint").read_bytes()
    log.close()
    (house.path / "checkpoint.durable").unlink()
    house.put(rechained([*house.lines()[:3], b'{"event":"forged"}']))
    (house.path / "checkpoint").write_bytes(old)
    signing = threading.Timer(0.05, (house.path / "checkpoint").write_bytes, [new])
    signing.start()
    report = verify(house.path, house.keys)
    signing.join()
    assert report.code is Code.TAMPERED
    assert report.findings[-1].kind == "rewritten"


def test_deep_checks_name_open_intents_and_a_second_use_of_an_approval(house):
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "a"})
    log.append({"event": "exec.outcome", "action_id": "a"}, is_outcome=True)
    log.append({"event": "exec.intent", "action_id": "b"})
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED
    report = verify(house.path, house.keys, deep=True, strict=True)
    assert report.code is Code.INCOMPLETE
    assert [(f.kind, f.seq) for f in report.findings] == [("open_intent", 3)]
    log.append({"event": "approval.consumed", "approval": {"id": "x"}})
    log.append({"event": "approval.consumed", "approval": {"id": "x"}})
    log.append({"event": "approval.consumed"})
    log.close()
    report = verify(house.path, house.keys, deep=True)
    assert report.code is Code.TAMPERED
    assert [(f.kind, f.seq) for f in report.findings] == [("approval_reused", 5), ("form", 6)]


def test_deep_checks_find_a_signed_line_that_is_not_canonical(house):
    house.filled(3)
    lines = house.lines()
    lines[2] = lines[2].replace(b'"event":"tool.classified"', b'"event": "log.recovered"')
    lines[2] = lines[2].replace(b'"number":2', b'"event":"log.recovered"')
    house.put(lines)
    leaves = [leaf_hash(line[:-1]) for line in lines]
    note = pad_note(sign_note(Checkpoint(ORIGIN, 3, tree_root(leaves)).text(), house.signer))
    (house.path / "checkpoint").write_bytes(note)
    (house.path / "checkpoint.durable").write_bytes(note)
    assert verify(house.path, house.keys).code is Code.VERIFIED
    report = verify(house.path, house.keys, deep=True)
    assert report.code is Code.TAMPERED
    assert "record 2" in report.findings[0].message


def test_a_checkpoint_file_keeps_one_length(house):
    house.filled(12)
    assert (house.path / "checkpoint").stat().st_size == CHECKPOINT_BYTES


@pytest.mark.threat("T15")
def test_a_deep_verification_looks_at_each_signed_vote_or_says_that_it_did_not(house):
    log = house.open()
    log.append({"event": "approval.voted", "approval": {"id": "ap_0"}})  # by word
    for name in ("ap_1", "ap_2"):
        log.append({"event": "approval.voted", "approval": {"id": name, "signed": {}}})
    log.close()
    unlooked = verify(house.path, house.keys, deep=True)
    assert (unlooked.code, unlooked.findings[-1].kind) == (Code.VERIFIED, "votes_unchecked")
    assert "2 signatures of votes were not checked" in unlooked.findings[-1].message
    assert not verify(house.path, house.keys).findings

    def not_the_second(vote):
        return "somebody else's" if vote["id"] == "ap_2" else ""

    (found,) = verify(house.path, house.keys, deep=True, vote=not_the_second).findings
    assert (found.kind, found.seq) == ("vote_signature", 3)
    assert "does not prove this vote: somebody else's" in found.message
