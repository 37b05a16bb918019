"""Signed policy files: who may write what allows, and that nobody puts an older one back.

May touch: the signers file, signatures beside policies, the book of revisions. `ssh-keygen -Y sign
-n policy@permitgate` signs. Where signers are named, a file that is not signed, carries no
revision, is older than one that was in force, or is gone, refuses the policy.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from approvals.sshsig import BadSignature, Signer, read_signers, verify
from mcp_server.policies import SIGNATURE
from policy.document import PolicyError
from policy.rules import Policy, Source

NAMESPACE: Final = "policy@permitgate"
MAX_BYTES: Final = 1 << 20

Book = Mapping[str, tuple[int, str]]  # path → newest revision, sha256 hex of its text


@dataclass(frozen=True, slots=True)
class PolicySigners:
    """Who may sign policies."""

    file: Path
    signers: tuple[Signer, ...]

    @classmethod
    def read(cls, file: Path) -> "PolicySigners":
        """Return the signers of a file in ssh-keygen's ALLOWED SIGNERS format.

        Raises:
            PolicyError: it is missing, others may write it, or a line cannot be read.
        """
        try:
            found = file.stat()
            if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
                raise PolicyError(f"{file}: others may write who signs policies; chmod 600 it")
            signers = read_signers(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise PolicyError(f"{file}: the signers of policies cannot be read: {what}") from None
        except BadSignature as error:
            raise PolicyError(str(error)) from None
        return cls(file, signers)

    def check(self, path: Path, text: str) -> None:
        """Return when the text of a policy file is signed by one of them.

        Raises:
            PolicyError: it is not; the message says how to sign it.
        """
        beside = path.with_name(path.name + SIGNATURE)
        how = f"sign it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY {path}"
        try:
            with beside.open("rb") as file:
                armored = file.read(MAX_BYTES).decode("ascii", "replace")
            verify(text.encode(), armored, NAMESPACE, self.signers, time.time())
        except FileNotFoundError:
            raise PolicyError(
                f"{path}:1:1: has no signature, {self.file} asks for one; {how}"
            ) from None
        except OSError as error:
            raise PolicyError(f"{beside}: cannot be read: {error.strerror}; {how}") from None
        except BadSignature as error:
            raise PolicyError(f"{beside}: {error}; {how}") from None


class RevisionBook:
    """The newest revision of each signed file that was ever in force here."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, files: Iterable[tuple[Path, Source]], policy: Policy) -> Book:
        """Return what the book says with this policy in force.

        Raises:
            PolicyError: a file is older than before, has other text at the same revision, carries
                no revision, or is gone.
        """
        book = self._read()
        now = {str(path): _entry(one, policy) for path, one in files}
        for path, (revision, digest) in now.items():
            newest, known = book.get(path, (0, digest))
            if revision < newest or (revision == newest and digest != known):
                raise PolicyError(
                    f"{path}:1:1: is revision {revision}, and revision {newest} "
                    "was in force with another text; write a higher `revision` and sign it again"
                )
        gone = sorted(path for path in book.keys() - now.keys() if not Path(path).exists())
        if gone:
            raise PolicyError(
                f"{gone[0]}:1:1: was in force at revision {book[gone[0]][0]} and is gone; put it "
                f"back, or take its line out of {self._path}"
            )
        return {**book, **now}

    def write(self, book: Book) -> None:
        """Keep the book; a crash leaves the old one or the new one.

        Raises:
            PolicyError: it cannot be written, so an older policy could be put back unseen.
        """
        lines = {path: list(entry) for path, entry in sorted(book.items())}
        beside = self._path.with_suffix(".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor
                file.write(json.dumps(lines, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise PolicyError(f"{self._path}: cannot be written: {error.strerror}") from None

    def _read(self) -> Book:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(path): (int(one[0]), str(one[1])) for path, one in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            raise PolicyError(
                f"{self._path}: the revisions of policies cannot be read, so an older one could "
                "not be told; restore the file, or remove it to begin anew"
            ) from None


def _entry(one: Source, policy: Policy) -> tuple[int, str]:
    revision = policy.revisions.get(one.name)
    if revision is None:
        raise PolicyError(f"{one.name}:1:1: has no revision; add `revision: 1` and sign it again")
    return revision, hashlib.sha256(one.text.encode()).hexdigest()
