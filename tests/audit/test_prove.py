import json
import os
import threading

import pytest

from audit.errors import AuditError, AuditTampered, NoteError
from audit.merkle import leaf_hash
from audit.note import Checkpoint, make_proof, sign_note, unpad_note
from audit.proofs import ProofTree
from audit.prove import prove, verify_proof

pytestmark = pytest.mark.threat("T15")


def test_every_record_proves_offline(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 1500)
    house.filled(23)
    for seq in range(23):
        proof = verify_proof(prove(house.path, seq), house.keys)
        assert proof.index == json.loads(proof.record)["@seq"] == seq


def test_a_record_that_is_not_signed_cannot_be_proven(house):
    house.filled(3)
    with house.segment.open("ab") as stream:
        stream.write(b"more\n")
    for seq in (-1, 3):
        with pytest.raises(AuditError, match="no signed record"):
            prove(house.path, seq)
    assert verify_proof(prove(house.path, 2), house.keys).index == 2


def test_an_altered_log_proves_nothing(house):
    house.filled(3)
    house.put(house.lines()[::-1])
    with pytest.raises(AuditTampered, match="signed root"):
        prove(house.path, 0)


def test_a_log_that_is_not_there_is_said(house):
    with pytest.raises(AuditError, match="cannot be read"):
        prove(house.path, 0)


def test_a_record_proven_at_another_place_is_refused(house):
    house.filled(2)
    lines = [line[:-1] for line in house.lines()]
    leaves = [leaf_hash(line) for line in lines]
    note = unpad_note((house.path / "checkpoint").read_bytes())
    path = ProofTree(b"".join(leaves)).proof(1)
    good = make_proof(lines[1], 1, path, note)
    assert verify_proof(good, house.keys).index == 1
    with pytest.raises(NoteError):
        verify_proof(make_proof(lines[1], 0, path, note), house.keys)


def test_a_record_signed_under_another_number_than_its_own_is_refused(house):
    record = b'{"@prev":"%s","@seq":5,"a":1}' % (b"0" * 64)
    head = Checkpoint(house.signer.public_key.name, 1, leaf_hash(record))
    proof = make_proof(record, 0, [], sign_note(head.text(), house.signer))
    with pytest.raises(NoteError, match="another @seq"):
        verify_proof(proof, house.keys)


def test_a_checkpoint_that_is_being_overwritten_is_read_again(house):
    house.filled(3)
    good = (house.path / "checkpoint").read_bytes()
    descriptor = os.open(house.path / "checkpoint", os.O_WRONLY)
    os.pwrite(descriptor, b"#" * 200, 0)
    healing = threading.Timer(0.05, os.pwrite, [descriptor, good, 0])
    healing.start()
    assert verify_proof(prove(house.path, 1), house.keys).index == 1
    healing.join()
    os.close(descriptor)
