"""Trust policies and witnesses. Sources: c2sp.org/tlog-policy, c2sp.org/tlog-cosignature."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.errors import NoteError, PolicyUnmet
from audit.keys import FileSigner
from audit.note import COSIGNATURE, PublicKey, open_checkpoint, open_note
from audit.prove import prove, verify_proof
from audit.trust import TrustPolicy
from audit.verify import Code, verify

pytestmark = pytest.mark.threat("T15")

LOG = FileSigner("log.example", Ed25519PrivateKey.from_private_bytes(bytes(range(32)))).public_key


class Witness:
    def __init__(self, number: int) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        raw = self.private.public_key().public_bytes_raw()
        self.key = PublicKey(f"witness.example/{number}", raw, COSIGNATURE)

    def line(self, text: bytes, time: int = 1679315147) -> bytes:
        message = b"cosignature/v1\ntime %d\n" % time + text
        raw = self.key.key_id + time.to_bytes(8, "big") + self.private.sign(message)
        return f"— {self.key.name} {base64.b64encode(raw).decode()}\n".encode()


WITNESSES = [Witness(number) for number in range(1, 7)]


def cosigned(house, *witnesses, size=None):
    """Put down the log's checkpoint with these cosignatures, as the witness sink does."""
    note = (house.path / "checkpoint").read_bytes().rstrip(b"\n") + b"\n"
    text = note.partition(b"\n\n")[0] + b"\n"
    size = size or int(text.split(b"\n")[1])
    (house.path / "cosignatures").mkdir(exist_ok=True)
    lines = b"".join(witness.line(text) for witness in witnesses)
    (house.path / "cosignatures" / str(size)).write_bytes(note + lines)
    return note + lines


def policy(*lines: str) -> TrustPolicy:
    named = [f"witness W{n} {witness.key.vkey}" for n, witness in enumerate(WITNESSES, 1)]
    return TrustPolicy.parse("\n".join([*named, *lines, ""]).encode())


# The shape of the example in c2sp.org/tlog-policy: two of three, and any of three others.
EXAMPLE = (
    "  # two organisations",
    "",
    "group X-witnesses 2 W1 W2 W3",
    "group\tY-witnesses  any W4 W5 W6",
    "group X-and-Y all X-witnesses Y-witnesses",
    "quorum X-and-Y",
)


@pytest.mark.parametrize(
    ("signed_by", "is_met"),
    [("124", True), ("236", True), ("14", False), ("123", False), ("456", False), ("", False)],
)
def test_the_published_example_is_met_by_two_of_one_group_and_one_of_the_other(
    house, signed_by, is_met
):
    house.filled(3)
    chosen = [WITNESSES[int(number) - 1] for number in signed_by]
    cosigned(house, *chosen)
    trusted = policy(*EXAMPLE).trusting(house.keys)
    report = verify(house.path, trusted)
    assert report.code is (Code.VERIFIED if is_met else Code.UNMET)
    assert report.witnessed == (3 if is_met else 0)
    proof = prove(house.path, 1)
    if is_met:
        assert verify_proof(proof, trusted).index == 1
    else:
        assert "X-and-Y is not met" in report.findings[0].message
        with pytest.raises(PolicyUnmet, match="X-and-Y is not met"):
            verify_proof(proof, trusted)


def test_an_older_checkpoint_that_was_witnessed_enough_counts(house):
    house.filled(3)
    cosigned(house, WITNESSES[0])
    house.open().close()
    cosigned(house)
    trusted = policy("quorum W1").trusting(house.keys)
    assert verify(house.path, trusted).witnessed == 3
    assert verify_proof(prove(house.path, 2), trusted).checkpoint.size == 3
    assert verify_proof(prove(house.path, 3), house.keys).checkpoint.size == 4
    assert verify(house.path, house.keys).witnessed is None


def test_a_witnessed_checkpoint_that_the_records_do_not_meet_is_tampering(house, tmp_path):
    house.filled(5)
    lines = house.lines()
    saved = {n: (house.path / n).read_bytes() for n in ("checkpoint", "checkpoint.durable")}
    log = house.open()
    log.append({"event": "x"})
    log.close()
    cosigned(house, WITNESSES[0])
    house.put(lines)  # rolled back, but a witness saw more
    for name, data in saved.items():
        (house.path / name).write_bytes(data)
    report = verify(house.path, house.keys)
    assert (report.code, report.findings[-1].kind) == (Code.TAMPERED, "cut")
    assert "cosignatures/7" in report.findings[-1].message


def test_a_cosigned_checkpoint_without_the_logs_signature_is_tampering(house):
    house.filled(3)
    note = cosigned(house, WITNESSES[0])
    forged = note.replace(b"\n3\n", b"\n4\n")
    (house.path / "cosignatures" / "3").write_bytes(forged)
    report = verify(house.path, house.keys)
    assert (report.code, report.findings[0].place) == (Code.TAMPERED, "cosignatures/3")


def test_a_forged_cosignature_does_not_count(house):
    house.filled(3)
    other = Witness(9)
    other.key = WITNESSES[0].key
    cosigned(house, other)
    report = verify(house.path, policy("quorum W1").trusting(house.keys))
    assert report.code is Code.UNMET
    assert "does not verify" in report.findings[0].message


def test_the_published_cosigned_checkpoint_is_read():
    # The example of c2sp.org/tlog-cosignature; its keys are not published, its key ids are.
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc"
        "yv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX"
        "3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    with pytest.raises(NoteError, match="no signature by a key you trust"):
        open_note(note, [LOG])
    raw = base64.b64decode(note.split()[-1])
    assert int.from_bytes(raw[4:12], "big") == 1679315147  # the time of the page's message


def test_a_witness_signs_the_checkpoint_with_its_time_and_is_no_log(house):
    house.filled(2)
    note = cosigned(house, WITNESSES[0])
    keys = [WITNESSES[0].key, *house.keys]
    assert open_note(note, keys)[1] == (house.keys[0], WITNESSES[0].key)
    with pytest.raises(NoteError, match="own checkpoint"):
        open_checkpoint(note, keys[:1])
    assert PublicKey.parse(WITNESSES[0].key.vkey, COSIGNATURE) == WITNESSES[0].key
    with pytest.raises(NoteError, match="is not a public key"):
        PublicKey.parse(WITNESSES[0].key.vkey)
    with pytest.raises(NoteError, match="is not a witness's key"):
        PublicKey.parse(LOG.vkey, COSIGNATURE)


def test_a_policy_may_name_its_logs_and_ask_for_no_witness():
    found = TrustPolicy.parse(f"log {LOG.vkey} https://log.example/\nquorum none\n".encode())
    assert found.logs == (LOG,)
    assert found.unmet(b"anything") == ""
    named = f"witness \xe9t\xe9 {WITNESSES[0].key.vkey} https://w.example/\nquorum \xe9t\xe9\n"
    assert TrustPolicy.parse(named.encode("latin-1")).quorum == b"\xe9t\xe9"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "no quorum line"),
        (("quorum W1", "quorum W1"), "line 8 .* not one of"),
        (("quorum nobody",), "line 7 .* 'nobody'|nobody is not defined above"),
        (("group G all",), "not one of"),
        (("group G 3 W1 W2",), "not all, any, or 1 to 2"),
        (("group G 0 W1",), "not all, any"),
        (("group G 01 W1",), "not all, any"),
        (("group G any none",), "none is not defined"),
        (("group G any G",), "G is not defined"),
        (("group W1 any W2",), "W1 is taken"),
        (("group none any W2",), "none is taken"),
        (("group G any W1 W1",), "member already"),
        (("group G any W1", "group H any W1"), "line 8 .* member already"),
        ((f"witness W7 {WITNESSES[0].key.vkey}",), "listed already"),
        ((f"log {LOG.vkey}", f"log {LOG.vkey}"), "listed already"),
        ((f"witness W7 {LOG.vkey}",), "not a witness's key"),
        (("log nonsense",), "not a public key"),
        (("dog x",), "not one of"),
        (("quorum W1\r",), "control characters"),
    ],
)
def test_a_policy_that_says_something_else_is_refused(lines, message):
    with pytest.raises(NoteError, match=message):
        policy(*lines)


def test_a_key_name_that_is_not_text_is_refused():
    with pytest.raises(NoteError, match="not UTF-8"):
        TrustPolicy.parse(b"log \xff+00000000+AAAA\nquorum none\n")
