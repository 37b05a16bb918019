"""One-time links, and the lock that says which server shows the page.

May touch: `page.lock` and `links/` in the private directory of the store. A link is a file
there: its name is the hash of the secret, and whoever removes it has used it. INVARIANT: of any
number of servers one holds the lock, and a link is made only while one does.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from approvals.private import locked, private_directory
from approvals.request import ApprovalError

LINK_S = 120
MAX_URL_BYTES = 400


class NoPage(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """No running server shows the page."""


@contextmanager
def showing(directory: Path) -> Iterator[int | None]:
    """Hold the lock for the block; None where another server holds it.

    Raises:
        ApprovalError: the directory or the lock is not private.
    """
    with locked(directory / "page.lock") as lock:
        if lock is None:
            yield None
            return
        os.ftruncate(lock, 0)
        try:
            yield lock
        finally:
            os.ftruncate(lock, 0)


def announce(lock: int, url: str) -> None:
    """Say at which URL the holder of the lock shows the page."""
    os.pwrite(lock, url.encode(), 0)


def shown_at(directory: Path) -> str | None:
    """Return the page's URL; None where no running server shows it."""
    try:
        descriptor = os.open(directory / "page.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, MAX_URL_BYTES, 0).decode("utf-8", "replace") or None
    finally:
        os.close(descriptor)
    return None


def make_link(directory: Path, now_s: float) -> str:
    """Return a link that opens the page once, within two minutes; its secret is in the fragment.

    Raises:
        NoPage: no server shows the page, so whoever listens there is none of ours.
        ApprovalError: the link cannot be kept.
    """
    url = shown_at(directory)
    if url is None:
        raise NoPage(
            f"{directory}: no running server shows the page. Set approvals.page.listen in "
            "config.yaml and start a server (permitgate serve, or your agent's client)."
        )
    links = directory / "links"
    private_directory(links)
    _forget_expired(links, now_s)
    token = secrets.token_urlsafe(32)
    path = links / _name(token)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(str(int(now_s) + LINK_S))
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}. No link was made.") from error
    return f"{url}/#login={token}"


def redeem(directory: Path, token: str, now_s: float) -> bool:
    """Use a link up; return whether it was one that had not been used and is not too old."""
    path = directory / "links" / _name(token)
    try:
        ends_s = int(path.read_text("ascii"))
        path.unlink()  # of any number of callers, one succeeds
    except (OSError, ValueError):
        return False
    return now_s < ends_s <= now_s + LINK_S


def _forget_expired(links: Path, now_s: float) -> None:
    for path in links.iterdir():
        with suppress(OSError, ValueError):
            if int(path.read_text("ascii")) <= now_s:
                path.unlink()


def _name(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
