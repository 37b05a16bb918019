"""The log's signing key in a file: made on first use, private, never followed through a link.

May touch: one file. May not touch: the log. Later signers (an agent, a token) meet `note.Signer`.
"""

import os
from pathlib import Path
from typing import final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from audit.directory import PRIVATE_FILE, LogDirectory
from audit.errors import AuditError, AuditTampered
from audit.note import PublicKey, is_key_name

MAX_NAME_BYTES = 255


@final
class FileSigner:
    """An Ed25519 key kept in a file of mode 0600, in a directory of mode 0700."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not is_key_name(name) or len(name.encode()) > MAX_NAME_BYTES:
            raise AuditError(f"{name!r} cannot name a log: no spaces, no '+', at most 255 bytes")
        self._key = key
        self._public = PublicKey(name, key.public_key().public_bytes_raw())

    @classmethod
    def open(cls, path: Path, *, name: str) -> "FileSigner":
        """Return the signer whose key is in `path`; a missing key is made.

        Raises:
            AuditUnavailable: the file or its directory cannot be made or read.
            AuditTampered: either is a symlink, another user's, or open to others; or no key.
        """
        directory = LogDirectory.prepare(path.parent)
        try:
            if directory.size(path.name) is None:
                _create(directory, path.name)
            descriptor = directory.own_file(path.name, os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as stream:
                return cls(name, _parse(path, stream.read()))
        finally:
            directory.close()

    @property
    def public_key(self) -> PublicKey:
        """Return the key that verifies what this signer signs."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, 64 bytes."""
        return self._key.sign(message)


def _create(directory: LogDirectory, name: str) -> None:
    # A link from a temporary name, so that two first starts agree on one whole key.
    temporary = f"{name}.{os.getpid()}.new"
    descriptor = directory.own_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        os.write(descriptor, _pem(Ed25519PrivateKey.generate()))
        os.fsync(descriptor)
        os.link(temporary, name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)
    except FileExistsError:
        pass  # another process was first; its key is the log's key
    finally:
        os.close(descriptor)
        directory.remove(temporary)
    directory.sync()


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _parse(path: Path, pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditTampered(
            f"{path}: not an unencrypted Ed25519 private key (PEM, PKCS #8). Restore it from "
            "your backup; a new key cannot continue the old log."
        )
    return key
