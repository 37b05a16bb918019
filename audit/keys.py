"""The log's signing key in a file: made on first use, private, never followed through a link.

May touch: the key's directory. May not touch: the log. In a rotation the new key waits in
`NAME.next`; once the log says so (epochs.py) it takes the place of the old, which is overwritten.
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
from audit.errors import AuditError, AuditTampered, AuditUnavailable
from audit.note import PublicKey, is_key_name

MAX_NAME_BYTES = 255
NEXT = ".next"


@final
class FileSigner:
    """An Ed25519 key kept in a file of mode 0600, in a directory of mode 0700."""

    def __init__(self, name: str, key: Ed25519PrivateKey, path: Path = Path()) -> None:
        if not is_key_name(name) or len(name.encode()) > MAX_NAME_BYTES:
            raise AuditError(f"{name!r} cannot name a log: no spaces, no '+', at most 255 bytes")
        self._key = key
        self._path = path
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
            return cls(name, _read(directory, path.name), path)
        finally:
            directory.close()

    @property
    def public_key(self) -> PublicKey:
        """Return the key that verifies what this signer signs."""
        return self._public

    @property
    def is_here(self) -> bool:
        """Return True: the key is in this process."""
        return True

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, 64 bytes."""
        return self._key.sign(message)

    def next(self) -> "FileSigner":
        """Return a new key, durable beside this one; `successor` puts it in this one's place.

        INVARIANT: the log's lock is held, so no other rotation waits with a key of its own.

        Raises:
            AuditUnavailable, AuditTampered: as `open`.
        """
        directory = LogDirectory.prepare(self._path.parent)
        try:
            directory.remove(self._path.name + NEXT)  # of a rotation that never was recorded
            _create(directory, self._path.name + NEXT)
            key = _read(directory, self._path.name + NEXT)
            return FileSigner(self._public.name, key, self._path)
        finally:
            directory.close()

    def successor(self, key: PublicKey) -> "FileSigner":
        """Return the signer of `key`; if it still waits, it takes this one's place for good.

        Raises:
            AuditUnavailable: neither file holds it.
        """
        directory = LogDirectory.prepare(self._path.parent)
        try:
            for name in (self._path.name, self._path.name + NEXT):
                if directory.size(name) is None:
                    continue
                found = FileSigner(self._public.name, _read(directory, name), self._path)
                if found.public_key == key:
                    if name != self._path.name:
                        _take_place(directory, name, self._path.name)
                    return found
        finally:
            directory.close()
        raise AuditUnavailable(
            f"the log goes on with the key {key.vkey}, which {self._path} does not hold. Set "
            "audit.signer to where that key is, and start again."
        )

    def destroy(self) -> None:
        """Overwrite and remove the key's file, once the log goes on with another's."""
        directory = LogDirectory.prepare(self._path.parent)
        try:
            if directory.size(self._path.name) is not None:
                descriptor = directory.own_file(self._path.name, os.O_RDWR)
                directory.remove(self._path.name)
                _overwrite(descriptor)
                directory.sync()
        finally:
            directory.close()


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


def _take_place(directory: LogDirectory, name: str, of: str) -> None:
    """Rename one key over another and overwrite the other's bytes."""
    try:
        old = directory.own_file(of, os.O_RDWR)
    except AuditUnavailable:
        old = -1  # it is gone already
    os.rename(name, of, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)
    directory.sync()
    if old >= 0:
        _overwrite(old)


def _overwrite(descriptor: int) -> None:
    # Best effort: a file system that copies on write, or a flash disk, may keep the old bytes.
    try:
        os.pwrite(descriptor, b"\0" * os.fstat(descriptor).st_size, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(directory: LogDirectory, name: str) -> Ed25519PrivateKey:
    descriptor = directory.own_file(name, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as stream:
        return _parse(directory.path / name, stream.read())


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
