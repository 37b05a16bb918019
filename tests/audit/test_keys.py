import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from audit import keys
from audit.errors import AuditTampered
from audit.keys import FileSigner

pytestmark = pytest.mark.threat("T23")


def test_a_key_is_made_once_private_and_found_again(tmp_path):
    path = tmp_path / "keys" / "audit.pem"
    made = FileSigner.open(path, name="a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert FileSigner.open(path, name="a").public_key == made.public_key
    assert [entry.name for entry in path.parent.iterdir()] == ["audit.pem"]
    made.public_key.check(b"text", made.sign(b"text"))


def test_a_first_start_that_comes_second_takes_the_first_one_s_key(tmp_path, monkeypatch):
    path = tmp_path / "keys" / "audit.pem"
    found = []
    real = keys._pem

    def slow(key):
        monkeypatch.setattr(keys, "_pem", real)
        monkeypatch.setattr("os.getpid", lambda: 1)
        found.append(FileSigner.open(path, name="a"))
        return real(key)

    monkeypatch.setattr(keys, "_pem", slow)
    assert FileSigner.open(path, name="a").public_key == found[0].public_key


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o4600])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "keys" / "audit.pem"
    FileSigner.open(path, name="a")
    path.chmod(mode)
    with pytest.raises(AuditTampered, match="chmod 0600"):
        FileSigner.open(path, name="a")


def test_a_key_behind_a_symlink_is_refused(tmp_path):
    path = tmp_path / "keys" / "audit.pem"
    FileSigner.open(path, name="a")
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(AuditTampered, match="symlink"):
        FileSigner.open(path, name="a")


def test_a_dangling_symlink_is_no_invitation_to_make_a_key_there(tmp_path):
    path = tmp_path / "keys" / "audit.pem"
    FileSigner.open(path, name="a")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditTampered, match="symlink"):
        FileSigner.open(path, name="a")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["text", "ec"])
def test_a_file_that_holds_no_ed25519_key_is_refused(tmp_path, kind):
    path = tmp_path / "keys" / "audit.pem"
    FileSigner.open(path, name="a")
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.write_bytes(other if kind == "ec" else b"nonsense")
    with pytest.raises(AuditTampered, match="Restore it"):
        FileSigner.open(path, name="a")


def test_a_waiting_key_takes_a_place_that_is_empty_and_what_is_gone_is_destroyed(tmp_path):
    path = tmp_path / "keys" / "audit.pem"
    old = FileSigner.open(path, name="a")
    new = old.next()
    old.destroy()
    old.destroy()
    assert old.successor(new.public_key).public_key == new.public_key
    assert [entry.name for entry in path.parent.iterdir()] == ["audit.pem"]
