"""SSH signatures: what stock ssh-keygen signs we accept, and nothing else; both agree on keys."""

import base64
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.sshsig import BadSignature, read_signers, verify
from tests.approvals.keys import TOUCHED, UNTOUCHED, Token, armor, field, keygen, sign

NAMESPACE = "policy@permitgate"
MESSAGE = b"version: 1\nrules: []\n"
NOW = 1_800_000_000.0
KINDS = [("ed25519", 0), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def signed(request, tmp_path_factory):
    """A message that ssh-keygen signed, with a key of each kind."""
    folder = tmp_path_factory.mktemp("keys")
    kind, bits = request.param
    size = ["-b", str(bits)] if bits else []
    keygen("-q", "-t", kind, *size, "-N", "", "-C", "", "-f", str(folder / "key"))
    return sign(folder, MESSAGE, NAMESPACE), (folder / "key.pub").read_text()


def signers(public, namespaces=NAMESPACE, more=""):
    return read_signers(f'alice namespaces="{namespaces}"{more} {public}', "signers")


def test_what_ssh_keygen_signs_is_accepted(signed):
    signature, public = signed
    found = verify(MESSAGE, signature, NAMESPACE, signers(public), NOW)
    assert found.principals == ("alice",)
    assert found.fingerprint.startswith("SHA256:")
    assert not found.touched


@pytest.mark.threat("T26")
def test_another_byte_is_refused(signed):
    signature, public = signed
    with pytest.raises(BadSignature, match="the bytes or the key are others"):
        verify(MESSAGE + b" ", signature, NAMESPACE, signers(public), NOW)


def test_another_purpose_is_refused(signed):
    signature, public = signed
    with pytest.raises(BadSignature, match="not for 'approval@permitgate'"):
        verify(MESSAGE, signature, "approval@permitgate", signers(public, "*"), NOW)


def test_a_signer_for_another_purpose_is_refused(signed):
    signature, public = signed
    with pytest.raises(BadSignature, match="not among those who may sign"):
        verify(MESSAGE, signature, NAMESPACE, signers(public, "git"), NOW)


def test_a_signer_counts_only_in_its_time(signed):
    signature, public = signed
    lasting = signers(public, more=',valid-after="20200101",valid-before="203001010000Z"')
    assert verify(MESSAGE, signature, NAMESPACE, lasting, NOW).principals == ("alice",)
    for wrong in (',valid-after="20350101"', ',valid-before="20200101000000"'):
        with pytest.raises(BadSignature, match="may sign this now"):
            verify(MESSAGE, signature, NAMESPACE, signers(public, more=wrong), NOW)


def test_a_stranger_is_refused(signed, tmp_path):
    keygen("-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key"))
    public = (tmp_path / "key.pub").read_text()
    with pytest.raises(BadSignature, match="not among those who may sign"):
        verify(MESSAGE, signed[0], NAMESPACE, signers(public), NOW)


def test_a_key_of_another_name_is_refused(signed):
    """Its bytes put below another principal's key do not become that principal's."""
    signature, public = signed
    (one,) = signers(public)
    with pytest.raises(BadSignature):
        verify(MESSAGE, signature, NAMESPACE, [replace(one, key=one.key[:-1] + b"\0")], NOW)


def test_a_short_rsa_key_is_refused(tmp_path):
    keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(tmp_path / "key"))
    public = (tmp_path / "key.pub").read_text()
    with pytest.raises(BadSignature, match="too weak"):
        verify(MESSAGE, sign(tmp_path, MESSAGE, NAMESPACE), NAMESPACE, signers(public), NOW)


# Security keys: a token in software, and ssh-keygen agrees with what we say of it.


@pytest.fixture(params=[b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com"])
def token(request):
    return Token(request.param)


def test_a_touched_security_key_is_accepted_here_and_by_ssh_keygen(token, tmp_path):
    signature = token.sign(MESSAGE, TOUCHED, NAMESPACE)
    assert verify(MESSAGE, signature, NAMESPACE, signers(token.public), NOW).touched
    (tmp_path / "signature").write_text(signature)
    (tmp_path / "signers").write_text(f'alice namespaces="{NAMESPACE}" {token.public}\n')
    arguments = ["-I", "alice", "-n", NAMESPACE, "-s", str(tmp_path / "signature")]
    said = keygen("-Y", "verify", "-f", str(tmp_path / "signers"), *arguments, stdin=MESSAGE)
    assert "Good" in said


@pytest.mark.threat("T07")
def test_a_security_key_that_nobody_touched_is_refused(token):
    with pytest.raises(BadSignature, match="was not touched"):
        verify(
            MESSAGE,
            token.sign(MESSAGE, UNTOUCHED, NAMESPACE),
            NAMESPACE,
            signers(token.public),
            NOW,
        )


# Bad input


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("alice", "not a line"),
        ("alice ssh-ed25519 AAAA", "says not what the key may sign"),
        ('alice namespaces="" ssh-ed25519 AAAA', "says not what"),
        ('alice cert-authority,namespaces="x" ssh-ed25519 AAAA', "'cert-authority' is not supp"),
        ('alice namespaces="x" ssh-ed25519 A', "the key or a time"),
        ('alice namespaces="x",valid-after="yesterday" ssh-ed25519 AAAA', "the key or a time"),
        ('alice namespaces="x",valid-after="2026" ssh-ed25519 AAAA', "the key or a time"),
    ],
)
def test_a_signers_line_that_is_not_plain_is_an_error_with_its_line(line, what):
    with pytest.raises(BadSignature, match=f"^signers:3: .*{what}"):
        read_signers(f"# who may sign\n\n{line}", "signers")


def test_broken_base64_is_refused():
    text = "-----BEGIN SSH SIGNATURE-----\nA\n-----END SSH SIGNATURE-----\n"
    with pytest.raises(BadSignature, match="base64"):
        verify(MESSAGE, text, NAMESPACE, (), NOW)


@pytest.mark.parametrize(
    ("envelope", "what"),
    [
        (b"SSHSIG", "cut short"),
        (b"SSHSIG" + struct.pack(">I", 2), "version 1"),
        (b"SSHSIX" + struct.pack(">I", 1), "version 1"),
        (b"SSHSIG" + struct.pack(">I", 1) + field(b"k") * 5, "not known"),
        (b"SSHSIG" + struct.pack(">I", 1) + field(b"k") * 5 + b"x", "after its end"),
    ],
)
def test_a_broken_envelope_is_refused(envelope, what):
    with pytest.raises(BadSignature, match=what):
        verify(MESSAGE, armor(envelope), NAMESPACE, (), NOW)


@pytest.mark.parametrize("kind", [b"ssh-ed25519", b"ssh-dss", b"sk-x", b"\xff"])
def test_a_key_that_is_none_is_refused(kind):
    parts = (NAMESPACE.encode(), b"", b"sha512")
    key = field(kind) + field(b"") + field(b"ssh:")
    signature = field(kind) + field(b"x") + (b"\1\0\0\0\0" if kind[:3] == b"sk-" else b"")
    envelope = b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(field, (key, *parts, signature)))
    with pytest.raises(BadSignature, match="cannot be read"):
        verify(MESSAGE, armor(envelope), NAMESPACE, (), NOW)


def test_a_key_that_signs_by_anothers_algorithm_is_refused(token):
    signature = base64.b64decode("".join(token.sign(MESSAGE, TOUCHED, NAMESPACE).split("\n")[1:-2]))
    wrong = signature.replace(field(token.kind) + field(b""), b"")
    at = wrong.rindex(token.kind)
    swapped = wrong[:at] + b"x" + wrong[at + 1 :]
    with pytest.raises(BadSignature, match="does not sign by"):
        verify(MESSAGE, armor(swapped), NAMESPACE, signers(token.public), NOW)


@given(st.text(max_size=80), st.binary(max_size=120))
def test_nothing_but_a_refusal_comes_of_noise(text, envelope):
    for armored in (text, armor(envelope), armor(b"SSHSIG" + struct.pack(">I", 1) + envelope)):
        with pytest.raises(BadSignature):
            verify(MESSAGE, armored, NAMESPACE, (), NOW)
