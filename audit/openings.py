"""Commitments to redacted values, and the salts that open them, kept apart from the log.

May touch: `openings.jsonl` below the log (0600) and the system's randomness. The file holds salts,
never values: who knows a value can show that it is the one. Delete the file, and nobody ever can.
"""

import json
import os
import secrets
from hashlib import sha256
from typing import final

from audit.directory import LogDirectory

OPENINGS = "openings.jsonl"
SALT_BYTES = 32
_TAG = b"permitgate-redact-v1\0"


def commitment(salt: bytes, value: bytes) -> str:
    """Return the hex digest that stands for a value in the log."""
    return sha256(_TAG + salt + value).hexdigest()


@final
class Openings:
    """The salts of one log's commitments."""

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = directory

    def seal(self, value: bytes) -> str:
        """Return a fresh commitment to a value; its salt is kept.

        Raises:
            AuditUnavailable, AuditTampered: the file cannot be used, or is not plainly ours.
        """
        salt = secrets.token_bytes(SALT_BYTES)
        digest = commitment(salt, value)
        line = json.dumps({"salt": salt.hex(), "sha256": digest}) + "\n"
        # Opened each time, so that the file may be deleted while the server runs.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = self._directory.own_file(OPENINGS, flags)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        return digest
