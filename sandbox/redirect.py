"""The one file that a command which only inspects may write: what its redirect is for.

May touch: that file in the workspace, through descriptors that follow no symbolic link, and a file
of its own in the state directory. INVARIANT: the command writes the second one; only its bytes
reach the first, when it has ended. So whoever swaps names in the workspace diverts nothing.
"""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox import dirfd
from sandbox.names import is_protected
from sandbox.profile import is_within

MAX_BYTES = 16 << 20  # of what is there already; the limits of the command bound the rest
OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CannotRedirectError(OSError):
    """The file cannot be written for the command; the message says why."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A file of the workspace, and the one that stands for it while the command runs."""

    path: str
    stand_in: str

    def finish(self) -> tuple[str, ...]:
        """Put what was written where it belongs; return what went wrong, for a person."""
        try:
            content = Path(self.stand_in).read_bytes()
            opened = _open(self.path)
            try:
                os.ftruncate(opened, 0)
                with os.fdopen(os.dup(opened), "wb") as file:
                    file.write(content)
            finally:
                os.close(opened)
                Path(self.stand_in).unlink()
        except (OSError, dirfd.PathRefusedError) as error:
            return (f"{self.path} (it could not be written: {error}; its text is lost)",)
        return ()


def prepare(path: str, workspace: str, state: Path) -> Redirect:
    """Make the file where it is absent, and its stand-in with what it holds now.

    Raises:
        CannotRedirectError: it is not a plain file of the workspace, or is protected.
    """
    try:
        opened = _open(_allowed(path, workspace))
        try:
            content = os.read(opened, MAX_BYTES + 1)
        finally:
            os.close(opened)
    except (OSError, dirfd.PathRefusedError) as error:
        raise CannotRedirectError(f"the output cannot be written to {path}: {error}") from error
    if len(content) > MAX_BYTES:
        raise CannotRedirectError(f"{path} holds more than {MAX_BYTES} bytes; write to a new file")
    place = state / "redirects"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, stand_in = tempfile.mkstemp(dir=place)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return Redirect(path, stand_in)


def _allowed(path: str, workspace: str) -> str:
    parts = path.removeprefix(workspace).strip("/").split("/")
    kept = [part for part in parts if part == ".git" or is_protected(part, is_directory=True,
                                                                     in_git=False)]  # fmt: skip
    if not is_within(path, workspace) or path == workspace or kept:
        raise CannotRedirectError("it is protected, or not below the workspace")
    return path


def _open(path: str) -> int:
    parent, _, name = path.rpartition("/")
    with dirfd.directory(parent) as inside:
        opened = os.open(name, OPEN, 0o666, dir_fd=inside)
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(opened)
        raise CannotRedirectError("it is not a plain file with one name")
    return opened
