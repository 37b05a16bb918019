"""Commitments to redacted values, and the salts that open them, kept apart from the log.

May touch: `openings.jsonl` below the log (0600) and the system's randomness. The file holds salts,
never values: who knows a value can show that it is the one. Delete the file, and nobody ever can.
"""

import json
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import final

from audit.directory import LogDirectory
from audit.errors import AuditError, AuditUnavailable

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
        except OSError as error:
            place = self._directory.path / OPENINGS
            raise AuditUnavailable(f"{place}: {error.strerror}. Nothing ran.") from error
        finally:
            os.close(descriptor)
        return digest


def salts(path: Path) -> dict[str, bytes]:
    """Return the salt of each commitment in a log's openings; empty where they were deleted.

    Raises:
        AuditError: the file cannot be read, or a line is none of ours.
    """
    try:
        directory = LogDirectory.open(path)
        try:
            descriptor = directory.file(OPENINGS, os.O_RDONLY)
        finally:
            directory.close()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AuditError(f"{path / OPENINGS}: cannot be read: {error.strerror}") from None
    found: dict[str, bytes] = {}
    with os.fdopen(descriptor, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                found[str(entry["sha256"])] = bytes.fromhex(entry["salt"])
            except (ValueError, KeyError, TypeError):
                raise AuditError(f"{path / OPENINGS}:{number}: is not an opening") from None
    return found
