"""Keys that never enter our process: a real ssh-agent, and a holder from an entry point."""

import socket
import struct
import sys
import threading

import pytest

from audit.agent_key import AgentKey
from audit.errors import AuditError, AuditUnavailable, SignerUnavailable
from audit.held_key import HeldSigner, held_signer
from audit.log import AuditLog
from audit.query import records
from audit.verify import Code, verify
from tests.audit.agents import running_agent
from tests.audit.house import ORIGIN, Clock

pytestmark = pytest.mark.threat("T23")


@pytest.fixture
def agent(tmp_path, monkeypatch):
    with running_agent(tmp_path) as running:
        monkeypatch.setenv("SSH_AUTH_SOCK", running.environment["SSH_AUTH_SOCK"])
        yield running


def opened(house, place):
    return AuditLog.open(house.path, held_signer(place, name=ORIGIN), origin=ORIGIN, clock=Clock())


def test_an_ssh_agent_signs_the_log_and_keeps_the_key(house, agent):
    place = f"ssh-agent:{agent.add()}"
    log = opened(house, place)
    log.append({"event": "exec.intent", "action_id": "a"})
    log.close()
    key = log.first_key
    assert verify(house.path, [key]).code is Code.VERIFIED
    opened(house, place).close()
    assert verify(house.path, [key]).records == 3
    assert not (house.root / "keys").exists()


@pytest.mark.threat("T16")
def test_without_the_agents_key_nothing_runs_and_what_ran_is_kept(house, agent):
    log = opened(house, f"ssh-agent:{agent.add()}")
    agent.remove()
    before = house.segment.read_bytes()
    with pytest.raises(AuditUnavailable, match="refused: the key is gone"):
        log.append({"event": "exec.intent", "action_id": "a"})
    assert house.segment.read_bytes() == before
    with pytest.raises(AuditUnavailable, match="Nothing runs until it signs again"):
        log.append({"event": "exec.outcome", "action_id": "b"}, is_outcome=True)
    assert verify(house.path, [log.first_key]).findings[0].kind == "unsigned"
    log.close()


def test_a_log_goes_on_when_the_agent_signs_again(house, agent):
    fingerprint = agent.add()
    log = opened(house, f"ssh-agent:{fingerprint}")
    locked = threading.Event()
    real = AgentKey.sign

    def refuse(self, message):
        if locked.is_set():
            raise OSError("locked")
        return real(self, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentKey, "sign", refuse)
        locked.set()
        with pytest.raises(AuditUnavailable, match="locked"):
            log.append({"event": "exec.outcome", "action_id": "a"}, is_outcome=True)
        locked.clear()
        log.append({"event": "exec.intent", "action_id": "b"})
    log.close()
    events = [record["event"] for record in records(house.path)]
    assert events == ["log.open", "exec.outcome", "log.recovered", "exec.intent"]
    report = verify(house.path, [log.first_key])
    assert (report.code, report.recovered) == (Code.VERIFIED, ((1, 1),))


def test_a_log_moves_from_a_file_to_an_agent_and_from_key_to_key(house, agent):
    log = house.open()
    one, two = (f"ssh-agent:{agent.add(name)}" for name in ("one", "two"))
    first, _ = log.rotate(lambda: held_signer(one, name=ORIGIN))
    other = opened(house, one)
    log.rotate(lambda: held_signer(two, name=ORIGIN))
    other.append({"event": "x"})  # its signer finds the new key in the same agent
    for open_log in (log, other):
        open_log.close()
    assert verify(house.path, [first], strict=True).epochs == 3
    agent.remove("two")
    with pytest.raises(AuditUnavailable, match="has no key"):
        opened(house, one)


@pytest.mark.parametrize("kind", ["none", "gone", "rsa", "ecdsa"])
def test_what_is_wrong_with_the_agent_is_said(agent, monkeypatch, tmp_path, kind):
    if kind == "none":
        monkeypatch.delenv("SSH_AUTH_SOCK")
        message = "SSH_AUTH_SOCK is not set"
    elif kind == "gone":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
        message = "No such file"
    else:
        message = r"the key is .*, not ssh-ed25519"
    fingerprint = agent.add(kind=kind) if kind in ("rsa", "ecdsa") else "SHA256:x"
    with pytest.raises(SignerUnavailable, match=message):
        held_signer(f"ssh-agent:{fingerprint}", name=ORIGIN)
    if kind == "rsa":
        with pytest.raises(SignerUnavailable, match="no key SHA256:nothing; add it with ssh-add"):
            held_signer("ssh-agent:SHA256:nothing", name=ORIGIN)


def string(data):
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "hung up"),
        (b"\xff\xff\xff\xff", "too long"),
        (string(b"\x05"), "refused"),
        (string(b"\x0e" + b"\0\0\0\x09xx"), "ends too early"),
        (string(b"\x0e" + string(string(b"ssh-rsa") + string(b"x" * 64))), "signed as ssh-rsa"),
        (string(b"\x0e" + string(string(b"ssh-ed25519") + string(b"x" * 64))), "does not verify"),
        (string(b"\x0e" + string(string(b"ssh-ed25519") + string(b"x"))), "does not verify"),
    ],
)
def test_an_agent_that_answers_nonsense_signs_nothing(tmp_path, monkeypatch, answer, message):
    place = str(tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", place)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        key = AgentKey(string(b"ssh-ed25519") + string(b"k" * 32))
        signer = HeldSigner(ORIGIN, "ssh-agent:x", lambda _: key)
        with pytest.raises(SignerUnavailable, match=message):
            signer.sign(b"text")
        thread.join()


PLUGIN = """
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Token:
    def __init__(self, argument):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(argument).ljust(32, b"x"))

    def public_bytes(self):
        return self.key.public_key().public_bytes_raw()

    def sign(self, message):
        return self.key.sign(message)


class Short(Token):
    def public_bytes(self):
        return b"short"
"""


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A distribution that offers holders of keys, as pip would have installed it."""
    site = tmp_path / "site"
    (site / "acme_token-1.0.dist-info").mkdir(parents=True)
    (site / "acme_token.py").write_text(PLUGIN)
    (site / "acme_token-1.0.dist-info" / "METADATA").write_text("Name: acme-token\nVersion: 1.0\n")
    (site / "acme_token-1.0.dist-info" / "entry_points.txt").write_text(
        "[permitgate.signers]\nacme = acme_token:Token\nshort = acme_token:Short\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("acme_token", None)


@pytest.mark.usefixtures("token")
def test_a_holder_of_keys_that_a_distribution_offers_signs_the_log(house):
    log = opened(house, "acme:00")
    log.append({"event": "x"})
    log.close()
    assert verify(house.path, [log.first_key]).code is Code.VERIFIED
    with pytest.raises(AuditUnavailable, match="32 bytes"):
        held_signer("short:00", name=ORIGIN)


@pytest.mark.usefixtures("token")
def test_a_log_that_was_rotated_away_from_a_holder_is_not_opened_with_it(house):
    log = opened(house, "acme:00")
    log.rotate(lambda: held_signer("acme:01", name=ORIGIN))
    log.close()
    opened(house, "acme:01").close()
    with pytest.raises(AuditUnavailable, match=r"Set audit\.signer"):
        opened(house, "acme:00")


def test_a_holder_that_nobody_offers_is_said():
    with pytest.raises(AuditError, match=r"0 installed distributions .* permitgate\.signers"):
        held_signer("nobody:x", name=ORIGIN)
