import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import AuditError, NoteError
from audit.keys import FileSigner
from audit.merkle import leaf_hash, tree_root
from audit.note import (
    Checkpoint,
    PublicKey,
    is_signed_by,
    make_proof,
    open_checkpoint,
    open_note,
    pad_note,
    proof_parts,
    sign_note,
    unpad_note,
)
from audit.proofs import ProofTree

# The example of c2sp.org/signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKu"
    "wHjG1Yu72IneyaQM=\n"
).encode()
SIGNER = FileSigner("log.example", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = FileSigner("log.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
KEYS = [SIGNER.public_key]
RECORDS = [b"record %d" % number for number in range(7)]
LEAVES = [leaf_hash(record) for record in RECORDS]
NOTE = sign_note(Checkpoint("log.example", 7, tree_root(LEAVES)).text(), SIGNER)
PROOF = make_proof(RECORDS[4], 4, ProofTree(b"".join(LEAVES)).proof(4), NOTE)


def test_the_published_note_opens_with_the_published_key():
    key = PublicKey.parse(SPEC_KEY)
    assert key.vkey == SPEC_KEY
    assert open_note(SPEC_NOTE, [key]) == (b"This is an example message.\n", (key,))
    with pytest.raises(NoteError, match="does not verify"):
        open_note(SPEC_NOTE.replace(b"example message", b"exampel message"), [key])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000+AAAA",
        SPEC_KEY.replace("530d903a", "530d903b"),
        SPEC_KEY.replace("+Aek", "+Bek"),
        SPEC_KEY.replace("example.com/foo", "exa mple"),
    ],
)
def test_a_text_that_is_not_exactly_a_key_is_refused(vkey):
    with pytest.raises(NoteError):
        PublicKey.parse(vkey)


def test_a_note_by_several_keys_names_those_that_are_known():
    line = sign_note(b"", STRANGER).removeprefix(b"\n")
    both = NOTE + line
    assert open_note(both, KEYS)[1] == (SIGNER.public_key,)
    assert open_note(NOTE + NOTE.splitlines(keepends=True)[-1], KEYS)[1] == (SIGNER.public_key,)
    with pytest.raises(NoteError, match="no signature by a key you trust"):
        open_note(NOTE, [STRANGER.public_key])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NOTE[:-1],
        NOTE.replace(b"log.example\n", b"log.\texample\n"),
        NOTE + b"\xff\n",
        NOTE + b"x log.example AAAAAAAA\n",
        NOTE + "— log.example AAAA\n".encode(),
        NOTE + "— log.example !!!!\n".encode(),
        NOTE + "— log.example AAAAAAAB=\n".encode(),
        NOTE + "— log.example AAAAAAAA x\n".encode(),
        NOTE + "—\n".encode(),
        NOTE + "— x AAAAAAAA\n".encode() * 101,
        b"x" * (1 << 21),
    ],
    ids=range(14),
)
def test_a_malformed_note_is_refused(note):
    with pytest.raises(NoteError):
        open_note(note, KEYS)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"log.example\n7\n",
        b"log.example\n07\n" + base64.b64encode(bytes(32)) + b"\n",
        b"log.example\n-7\n" + base64.b64encode(bytes(32)) + b"\n",
        b"log.example\n" + b"9" * 17 + b"\n" + base64.b64encode(bytes(32)) + b"\n",
        b"log.example\n7\n" + base64.b64encode(bytes(31)) + b"\n",
        b"log.example\n7\n" + base64.b64encode(bytes(32)) + b"\nmore\n",
        b"\n7\n" + base64.b64encode(bytes(32)) + b"\n",
        b"log.example\n7\n" + base64.b64encode(bytes(32)).replace(b"AA=", b"AB=") + b"\n",
        b"\xff\n7\n\n",
    ],
    ids=range(10),
)
def test_a_checkpoint_has_one_spelling(text):
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_counts_only_if_the_log_s_own_key_signed_it():
    other = sign_note(Checkpoint("other.example", 7, bytes(32)).text(), SIGNER)
    with pytest.raises(NoteError, match="not signed its own"):
        open_checkpoint(other, KEYS)
    assert open_checkpoint(NOTE, KEYS).size == 7
    assert unpad_note(pad_note(NOTE)) == NOTE


@pytest.mark.threat("T15")
def test_a_signer_at_hand_knows_its_own_notes_and_no_others():
    assert is_signed_by(NOTE, SIGNER)
    assert not is_signed_by(NOTE, STRANGER)
    text, separator, line = NOTE.partition(b"\n\n")
    cosigned = sign_note(text + b"\n", STRANGER).partition(b"\n\n")[2]
    for other in (
        text.replace(b"7", b"8") + separator + line,
        text + separator + line.replace(b"=", b""),
        text + separator + line + cosigned,
        text + separator + cosigned,
        text,
        b"",
    ):
        assert not is_signed_by(other, SIGNER)


def open_proof(data, keys):
    parts = proof_parts(data)
    return parts.under(open_checkpoint(parts.note, keys))


def test_a_proof_gives_back_its_record():
    proof = open_proof(PROOF, KEYS)
    assert (proof.record, proof.index, proof.checkpoint.size) == (RECORDS[4], 4, 7)


@given(st.integers(0, len(PROOF) - 1), st.integers(1, 255))
def test_no_changed_byte_makes_a_proof_prove_something_else(place, mask):
    changed = bytearray(PROOF)
    changed[place] ^= mask
    try:
        proof = open_proof(bytes(changed), KEYS)
    except NoteError:
        return
    assert (proof.record, proof.index) == (RECORDS[4], 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c2sp.org/tlog-proof@v1", b"c2sp.org/tlog-proof@v2"),
        (b"index 4", b"index 5"),
        (b"index 4", b"index 9"),
        (b"index 4", b"index 04"),
        (b"index 4", b"4"),
        (b"extra ", b"extras "),
        (b"\n", b" "),
    ],
)
def test_an_altered_proof_is_refused(old, new):
    with pytest.raises(NoteError):
        open_proof(PROOF.replace(old, new, 1 if old != b"\n" else -1), KEYS)


def test_a_proof_cut_anywhere_is_refused():
    for size in range(len(PROOF)):
        with pytest.raises(NoteError):
            open_proof(PROOF[:size], KEYS)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "x" * 256])
def test_a_name_that_no_key_can_have_is_refused(name):
    with pytest.raises(AuditError, match="cannot name"):
        FileSigner(name, Ed25519PrivateKey.generate())
