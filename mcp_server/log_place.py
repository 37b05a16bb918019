"""Which log, which key: the names under which this host and user keep their audit log.

May touch: the key files, and through them the log. Each host and user owns one log (one origin).
The key that began a log is pinned beside the keys when the log is first opened: it identifies the
log for ever, whatever key signs it today.
"""

import os
import socket
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from audit.directory import PRIVATE_FILE, LogDirectory
from audit.errors import AuditError, AuditTampered
from audit.held_key import held_signer
from audit.keys import FileSigner
from audit.log import AuditLog
from audit.note import PublicKey, Signer
from mcp_server.config import Config
from mcp_server.places import Places

KEY_FILE = "audit.pem"
IN_FILE = "file"


def origin() -> str:
    """Return the log's name."""
    return f"permitgate/{socket.gethostname()}/{os.geteuid()}"


def log_directory(config: Config, where: Places) -> Path:
    """Return the directory of the log."""
    return config.audit.directory or where.audit


def signer(place: str, where: Places) -> Signer:
    """Return the signer that `audit.signer` names; a key file is made on first use.

    Raises:
        AuditError: it cannot be used; the message says why.
    """
    if place == IN_FILE:
        return FileSigner.open(where.keys / KEY_FILE, name=origin())
    return held_signer(place, name=origin())


def open_log(config: Config, where: Places) -> AuditLog:
    """Return the log, open for appending; key and directory are made on first use.

    Raises:
        AuditError: it cannot be written, or is not what was signed.
    """
    key_file, pin_file = where.keys / KEY_FILE, _pin_file(config, where)
    if config.audit.signer == IN_FILE and pin_file.exists() and not key_file.exists():
        raise AuditError(
            f"{key_file}: the key that goes on with the log is not here. Set audit.signer to where "
            f"it is, or restore the file. If you removed log and key, remove {pin_file} too."
        )
    log = AuditLog.open(
        log_directory(config, where),
        signer(config.audit.signer, where),
        origin=origin(),
        clock=lambda: datetime.now(UTC),
    )
    try:
        _pin(log.first_key, pin_file)
    except AuditError:
        log.close()
        raise
    return log


def public_key(config: Config, where: Places) -> PublicKey:
    """Return the key that began this user's log, which verifies all of it.

    Raises:
        AuditError: nothing was recorded here yet, so there is none.
    """
    path = _pin_file(config, where)
    try:
        return PublicKey.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    # Logs that were begun before keys were pinned had one key, in the file.
    key_file = where.keys / KEY_FILE
    if config.audit.signer != IN_FILE or not key_file.exists():
        raise AuditError(f"{path}: there is no key yet, because nothing was recorded here.")
    return FileSigner.open(key_file, name=origin()).public_key


def _pin_file(config: Config, where: Places) -> Path:
    if config.audit.directory is None:
        return where.keys / "audit.pub"
    digest = sha256(os.fsencode(config.audit.directory)).hexdigest()
    return where.keys / f"audit-{digest[:16]}.pub"


def _pin(first: PublicKey, path: Path) -> None:
    directory = LogDirectory.prepare(path.parent)
    try:
        pinned = directory.read(path.name)
        if pinned is None:
            directory.replace(path.name, f"{first.vkey}\n".encode(), PRIVATE_FILE)
        elif pinned.decode(errors="replace").strip() != first.vkey:
            raise AuditTampered(
                f"{path}: the log that was begun here has the key {pinned.decode().strip()}; the "
                f"one that lies there now was begun with {first.vkey}. Restore the log. If you "
                f"removed it yourself, remove {path} too."
            )
    finally:
        directory.close()
