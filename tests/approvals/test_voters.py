"""A yes by signature: whose it is, what it counts as, and that the log alone proves it later."""

import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from approvals.desk import Desk
from approvals.recorded import why_not
from approvals.request import Answer, ApprovalError, Level, Mismatch, Need, NotPending, State
from approvals.sshsig import BadSignature, armored, read_signers, signed_data
from approvals.statement import statement
from approvals.terminal import peer_principal, respond
from approvals.voters import MAX_SIGNATURE_CHARS, NAMESPACE, Voters
from tests.approvals.conftest import ACTION, OWNER, question
from tests.approvals.keys import TOUCHED, UNTOUCHED, Token, field, keygen, sign

UID = 1000
SECURITY_KEY = b"sk-ssh-ed25519@openssh.com"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Three people's keys; the owner's own is `me`."""
    folders = {}
    for name in ("me", "alice", "bob"):
        folders[name] = tmp_path_factory.mktemp(name)
        keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folders[name] / "key"))
    return folders


def public(folder):
    return (folder / "key.pub").read_text().strip()


def line(name, key, more=""):
    return f'{name} namespaces="{NAMESPACE}"{more} {key}\n'


@pytest.fixture
def voters(keys, tmp_path):
    """Return a maker of voters over a file of signers."""

    def make(*lines, separate=("alice", "bob"), **more) -> Voters:
        file = tmp_path / "signers"
        file.write_text("".join(lines or [line(name, public(keys[name])) for name in keys]))
        file.chmod(0o600)
        return Voters(UID, signers=file, separate=frozenset(separate), **more)

    return make


def signed(desk, keys, pending, name):
    text = statement(desk.get(pending.id))
    return sign(keys[name], text.encode(), NAMESPACE)


@pytest.mark.parametrize(
    ("level", "by"),
    [
        (Level.OWNER, f"me@{UID} via own-key"),
        (Level.SEPARATE, f"alice@{UID} via signature"),
    ],
)
def test_a_plain_key_counts_as_the_owner_or_as_who_is_listed_apart(desk, keys, voters, level, by):
    pending = desk.open(question(Need(level)))
    signature = signed(desk, keys, pending, by.partition("@")[0])
    assert desk.vote_signed(pending.id, signature, voters()) is State.APPROVED
    approval = desk.consume(pending.id, ACTION, "s1")
    assert (approval.level, approval.by) == (level, (by,))


@pytest.mark.threat("T07")
def test_the_owners_plain_key_is_not_another_person(desk, keys, voters):
    pending = desk.open(question(Need(Level.SEPARATE)))
    with pytest.raises(ApprovalError, match="level 2 does not reach the level 3"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "me"), voters())
    assert desk.get(pending.id).state is State.PENDING


@pytest.mark.threat("T07")
def test_where_the_owner_counts_as_attested_so_do_their_plain_key_and_word(
    store, log, clock, keys, voters
):
    desk = Desk(store, log, clock=clock, owner_level=Level.ATTESTED)
    pending = desk.open(question(Need(Level.OWNER)))
    with pytest.raises(ApprovalError, match="level 1 does not reach"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "me"), voters())
    word = peer_principal(UID, voters())
    with pytest.raises(ApprovalError, match="level 1 does not reach"):
        desk.vote(pending.id, Answer.APPROVE, word, pending.request_digest)


@pytest.mark.threat("T07")
def test_presence_is_a_touched_security_key_and_nothing_else(desk, keys, voters):
    token = Token(SECURITY_KEY)
    known = voters(line("alice", token.public), line("bob", public(keys["bob"])))
    pending = desk.open(question(Need(Level.PRESENT)))
    text = statement(pending).encode()
    with pytest.raises(BadSignature, match="was not touched"):
        desk.vote_signed(pending.id, token.sign(text, UNTOUCHED, NAMESPACE), known)
    with pytest.raises(ApprovalError, match="level 3 does not reach the level 4"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "bob"), known)
    assert desk.vote_signed(pending.id, token.sign(text, TOUCHED, NAMESPACE), known) is (
        State.APPROVED
    )


@pytest.mark.threat("T07")
def test_the_owner_is_one_voter_by_word_by_key_and_by_security_key(desk, keys, voters):
    token = Token(SECURITY_KEY)
    known = voters(line("me", public(keys["me"])), line("me-too", token.public))
    pending = desk.open(question(Need(Level.OWNER, quorum=2)))
    assert desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest) is State.PENDING
    again = (
        signed(desk, keys, pending, "me"),
        token.sign(statement(pending).encode(), TOUCHED, NAMESPACE),
    )
    for signature in again:
        with pytest.raises(ApprovalError, match="has said yes already"):
            desk.vote_signed(pending.id, signature, known)


def test_two_people_who_sign_are_a_quorum(desk, keys, voters):
    pending = desk.open(question(Need(Level.SEPARATE, quorum=2)))
    known = voters()
    assert desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), known) is (
        State.PENDING
    )
    with pytest.raises(ApprovalError, match="alice@1000 has said yes already"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), known)
    assert desk.vote_signed(pending.id, signed(desk, keys, pending, "bob"), known) is (
        State.APPROVED
    )


@pytest.mark.threat("T07")
def test_a_signature_is_for_one_request_once(desk, keys, voters):
    known = voters()
    first = desk.open(question())
    other = desk.open(question(session="s2"))
    signature = signed(desk, keys, first, "alice")
    with pytest.raises(BadSignature, match="the bytes or the key are others"):
        desk.vote_signed(other.id, signature, known)
    desk.vote_signed(first.id, signature, known)
    with pytest.raises(NotPending):
        desk.vote_signed(first.id, signature, known)
    with pytest.raises(Mismatch):
        desk.consume(first.id, "b" * 64, "s1")
    assert desk.consume(first.id, ACTION, "s1").for_session is False


def not_yet(name, key):
    return line(name, key, ',valid-after="20400101"')


def over(name, key):
    return line(name, key, ',valid-before="20200101"')


@pytest.mark.threat("T07")
@pytest.mark.parametrize("when", [not_yet, over])
def test_a_key_counts_only_in_its_time_by_the_desks_clock(desk, clock, keys, voters, when):
    pending = desk.open(question())
    signature = signed(desk, keys, pending, "alice")
    known = voters(when("alice", public(keys["alice"])))
    with pytest.raises(BadSignature, match="may sign this now"):
        desk.vote_signed(pending.id, signature, known)
    assert known.reach(clock()) == {}


@pytest.mark.threat("T07")
def test_a_line_that_was_taken_out_counts_no_more(desk, keys, voters):
    pending = desk.open(question())
    signature = signed(desk, keys, pending, "alice")
    known = voters()
    known.signers.write_text(line("bob", public(keys["bob"])))
    with pytest.raises(BadSignature, match="not among those"):
        desk.vote_signed(pending.id, signature, known)


@pytest.mark.threat("T07")
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("alice,carol namespaces=\"{n}\" {alice}\n", "is not one plain name"),
        ("*@example namespaces=\"{n}\" {alice}\n", "is not one plain name"),
        ("alice namespaces=\"{n}\" {alice}\ncarol namespaces=\"{n}\" {alice}\n", "vote as both"),
        ("alice {alice}\n", "says not what the key may sign"),
    ],
)  # fmt: skip
def test_a_file_in_which_one_key_is_two_voters_counts_for_nobody(desk, keys, voters, text, what):
    pending = desk.open(question())
    signature = signed(desk, keys, pending, "alice")
    known = voters(text.format(n=NAMESPACE, alice=public(keys["alice"])))
    with pytest.raises(ApprovalError, match=what):
        desk.vote_signed(pending.id, signature, known)


@pytest.mark.threat("T23")
def test_a_file_of_signers_that_others_could_have_written_counts_for_nobody(
    desk, keys, voters, tmp_path
):
    pending = desk.open(question())
    signature = signed(desk, keys, pending, "alice")
    known = voters()

    def refusal(file=known.signers):
        with pytest.raises(ApprovalError, match="no signature counts") as refused:
            desk.vote_signed(pending.id, signature, Voters(UID, signers=file))
        return str(refused.value)

    known.signers.chmod(0o622)
    assert "chmod 0644" in refusal()
    known.signers.chmod(0o600)
    known.signers.write_bytes(b"\xff")
    assert "not UTF-8" in refusal()
    assert "No such file" in refusal(tmp_path / "absent")
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "not a file of yours" in refusal(tmp_path / "fifo")


def test_without_configured_signers_no_signature_counts(desk, keys):
    pending = desk.open(question())
    with pytest.raises(ApprovalError, match=r"names no approvals\.signers"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), Voters(UID))
    assert Voters(UID).reach(0) == {}


def test_what_each_name_could_reach_is_known_before_anybody_is_asked(clock, keys, voters):
    token = Token(SECURITY_KEY)
    known = voters(
        line("me", public(keys["me"])),
        line("alice", token.public),
        line("alice", public(keys["alice"])),
        line("bob", public(keys["bob"])),
    )
    reached = {"me": Level.OWNER, "alice": Level.PRESENT, "bob": Level.SEPARATE}
    assert known.reach(clock()) == reached


def test_the_log_alone_proves_a_signed_yes_to_stock_ssh_keygen(desk, log, keys, voters, tmp_path):
    known = voters()
    pending = desk.open(question(facts=(("command", "rm -r 'a\nb' \N{BULLET}"),)))
    desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), known)
    (vote,) = [one["approval"] for one in log.records if one["event"] == "approval.voted"]
    (tmp_path / "sig").write_text(vote["signed"]["signature"])
    said = keygen(
        *("-Y", "verify", "-f", str(known.signers), "-n", vote["signed"]["namespace"]),
        *("-I", vote["signed"]["principal"], "-s", str(tmp_path / "sig")),
        stdin=vote["signed"]["statement"].encode(),
    )
    assert 'Good "approval@permitgate" signature for alice' in said
    assert f"request {vote['request_digest']}\n" in vote["signed"]["statement"]


def test_a_signed_yes_that_a_crash_cut_short_counts_at_the_next_start(desk, log, keys, voters):
    pending = desk.open(question(Need(Level.SEPARATE)))
    signature = signed(desk, keys, pending, "alice")
    log.room = 1  # the vote is recorded; that it was applied is not
    with pytest.raises(ApprovalError):
        desk.vote_signed(pending.id, signature, voters())
    log.room = None
    desk.recover(log.records)
    assert desk.consume(pending.id, ACTION, "s1").by == ("alice@1000 via signature",)


def test_a_statement_too_long_for_the_log_takes_no_signature(desk, keys, voters):
    long = tuple((f"f{number}", "x" * 3000) for number in range(10))
    pending = desk.open(question(facts=long))
    with pytest.raises(ApprovalError, match="nobody could check the signature later"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), voters())
    assert desk.get(pending.id).state is State.PENDING


def test_over_the_socket_a_signature_says_itself_who_signed(desk, keys, voters):
    known = voters()
    pending = desk.open(question())

    def said(**ask):
        return respond(desk, OWNER, json.dumps(ask).encode(), known)

    shown = said(do="show", id=pending.id).shown
    signature = sign(keys["alice"], shown.statement.encode(), NAMESPACE)
    assert said(do="approve-signed", id=pending.id, signature="x").error == "refused"
    long = "x" * (MAX_SIGNATURE_CHARS + 1)
    assert said(do="approve-signed", id=pending.id, signature=long).error == "malformed"
    with pytest.raises(BadSignature, match="at most"):
        desk.vote_signed(pending.id, long, known)
    assert said(do="approve-signed", id=pending.id, signature=signature).state is State.APPROVED
    assert desk.get(pending.id).votes[0].by.name == "alice"


def test_stock_ssh_keygen_accepts_what_we_write_around_a_signature(tmp_path):
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kind = field(b"ssh-ed25519")
    signature = kind + field(key.sign(signed_data(b"any", NAMESPACE)))
    (tmp_path / "sig").write_text(armored(kind + field(raw), NAMESPACE, signature))
    checked = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(tmp_path / "sig"))
    assert "Good" in keygen(*checked, stdin=b"any")


@pytest.mark.threat("T07")
def test_a_yes_counts_only_by_a_holder_of_a_role_in_each_list(store, log, clock, keys, voters):
    held = {"ops-lead": frozenset({"alice"}), "dba": frozenset({"alice", "bob"})}
    desk = Desk(store, log, clock=clock, roles=held)
    need = Need(Level.SEPARATE, roles=(("dba",), ("ops-lead", "nobody")))
    pending = desk.open(question(need))
    assert "needs 1 of level 3 (separate) or higher, each by dba, each by ops-lead or nobody\n" in (
        statement(desk.get(pending.id))
    )
    with pytest.raises(ApprovalError, match="bob does not hold the role ops-lead or nobody"):
        desk.vote_signed(pending.id, signed(desk, keys, pending, "bob"), voters())
    said = desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), voters())
    assert said is State.APPROVED


# What a log proves of a signed vote later


@pytest.fixture
def recorded(desk, log, keys, voters):
    """A signed vote as the log has it, and who may sign."""
    pending = desk.open(question())
    known = voters()
    desk.vote_signed(pending.id, signed(desk, keys, pending, "alice"), known)
    (vote,) = [one["approval"] for one in log.records if one["event"] == "approval.voted"]
    return vote, read_signers(known.signers.read_text(), "signers")


def test_a_recorded_vote_is_proven_by_its_record_and_the_signers(recorded):
    vote, signers = recorded
    assert why_not(vote, signers) == ""


FORGED = {
    "another request": lambda vote: {**vote, "request_digest": "0" * 64},
    "another id": lambda vote: {**vote, "id": "ap_other"},
    "another action": lambda vote: {**vote, "action_digest": "b" * 64},
    "another answer": lambda vote: {**vote, "answer": "approve-for-session"},
    "another name": lambda vote: {**vote, "by": {**vote["by"], "name": "bob"}},
    "another level": lambda vote: {**vote, "by": {**vote["by"], "level": 4}},
    "another time": lambda vote: changed(vote, at_ms=1),
    "another statement": lambda vote: changed(
        vote, statement=vote["signed"]["statement"] + "x y\n"
    ),
    "no signature": lambda vote: changed(vote, signature=""),
    "no text": lambda vote: changed(vote, statement=None),
}


def changed(vote, **signed):
    return {**vote, "signed": {**vote["signed"], **signed}}


@pytest.mark.threat("T15")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_recorded_vote_that_was_altered_is_not_proven(recorded, keys, forge):
    vote, _ = recorded
    text = line("alice", public(keys["alice"]), ',valid-after="20200101"')
    assert why_not(forge(vote), read_signers(text, "signers"))
