"""Who may say yes by a signature: the names whose SSH keys count, and how much each proves.

May touch: one file of allowed signers, for reading, at each signature: a line taken out of it
counts at once. INVARIANT: a key belongs to one name, so no key is two voters of a quorum; and a
name that is not listed as another person is the owner, whatever key they hold.
Source: approvals/sshsig.py; ALLOWED SIGNERS in ssh-keygen(1).
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from approvals.request import OWN_KEY, ApprovalError, Level, Principal
from approvals.sshsig import BadSignature, Signed, Signer, read_signers, verify

NAMESPACE: Final = "approval@permitgate"
MAX_SIGNATURE_CHARS: Final = 8192
MAX_SIGNERS_BYTES: Final = 1 << 20
_PATTERN = frozenset("*?!")


@dataclass(frozen=True, slots=True)
class Voters:
    """Who answers at the owner's socket: the owner by word, and signers by their keys."""

    uid: int
    signers: Path | None = None
    separate: frozenset[str] = frozenset()  # names of the file that are not the owner

    def signer(self, statement: bytes, armored: str, at_s: float) -> Principal:
        """Return who signed this statement, if they may at this time.

        Raises:
            BadSignature: it is no such signature, or not by anybody who may say yes now.
            ApprovalError: no signers are configured, or their file cannot be trusted.
        """
        if len(armored) > MAX_SIGNATURE_CHARS:
            raise BadSignature(f"a signature has at most {MAX_SIGNATURE_CHARS} characters")
        return self._principal(verify(statement, armored, NAMESPACE, self._read(), at_s))

    def reach(self, at_s: float) -> dict[str, Level]:
        """Return the names that could sign at this time, and the most a yes of each counts as.

        Raises:
            ApprovalError: the file cannot be trusted or read.
        """
        levels: dict[str, Level] = {}
        for one in self._read() if self.signers else ():
            if one.may_sign(NAMESPACE, at_s):
                (name,) = one.principals
                level = self._level(name, is_touched=b"sk-" in one.key[4:7])
                levels[name] = max(level, levels.get(name, level))
        return levels

    def _principal(self, signed: Signed) -> Principal:
        (name,) = signed.principals
        channel = "signature" if name in self.separate else OWN_KEY
        return Principal(channel, self.uid, name, self._level(name, is_touched=signed.touched))

    def _level(self, name: str, *, is_touched: bool) -> Level:
        if is_touched:
            return Level.PRESENT
        return Level.SEPARATE if name in self.separate else Level.OWNER

    def _read(self) -> tuple[Signer, ...]:
        if self.signers is None:
            raise ApprovalError(
                "no signature counts here: the configuration names no approvals.signers."
            )
        signers = read_signers(_trusted_text(self.signers), str(self.signers))
        owners: dict[bytes, str] = {}
        for one in signers:
            name = one.principals[0]
            if len(one.principals) > 1 or _PATTERN & set(name):
                raise ApprovalError(
                    f"{self.signers}: {','.join(one.principals)!r} is not one plain name. A key "
                    "that stands for several could vote for each of them; write one name."
                )
            if owners.setdefault(one.key, name) != name:
                raise ApprovalError(
                    f"{self.signers}: one key stands under {owners[one.key]!r} and {name!r}, so "
                    "it could vote as both; leave it to one of them."
                )
        return signers


def _trusted_text(path: Path) -> str:
    """Return the text of a file that only the owner or root could have written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor
            found = os.fstat(file.fileno())
            mode = stat.S_IMODE(found.st_mode)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                raise ApprovalError(
                    f"{path}: is not a file of yours or root's; no signature counts."
                )
            if mode & 0o022:
                raise ApprovalError(
                    f"{path}: mode {mode:04o} lets others write who may say yes, so no signature "
                    f"counts. Run: chmod 0644 {path}"
                )
            return file.read(MAX_SIGNERS_BYTES).decode("utf-8")
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}, so no signature counts.") from error
    except UnicodeDecodeError as error:
        raise ApprovalError(f"{path}: is not UTF-8 text, so no signature counts.") from error
