"""Which log, which key: the names under which this host and user keep their audit log.

May touch: the key file, and through it the log. Each host and user owns one log (one origin).
"""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from audit.errors import AuditError
from audit.keys import FileSigner
from audit.log import AuditLog
from audit.note import PublicKey
from mcp_server.config import Config
from mcp_server.places import Places

KEY_FILE = "audit.pem"


def origin() -> str:
    """Return the log's name."""
    return f"permitgate/{socket.gethostname()}/{os.geteuid()}"


def log_directory(config: Config, where: Places) -> Path:
    """Return the directory of the log."""
    return config.audit.directory or where.audit


def open_log(config: Config, where: Places) -> AuditLog:
    """Return the log, open for appending; key and directory are made on first use.

    Raises:
        AuditError: it cannot be written, or is not what was signed.
    """
    return AuditLog.open(
        log_directory(config, where),
        FileSigner.open(where.keys / KEY_FILE, name=origin()),
        origin=origin(),
        clock=lambda: datetime.now(UTC),
    )


def public_key(where: Places) -> PublicKey:
    """Return the key that verifies this user's log.

    Raises:
        AuditError: nothing was recorded here yet, so there is none.
    """
    path = where.keys / KEY_FILE
    if not path.exists():
        raise AuditError(f"{path}: there is no key yet, because nothing was recorded here.")
    return FileSigner.open(path, name=origin()).public_key
