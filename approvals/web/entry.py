"""Who speaks over HTTP: sessions of the page, kept as hashes in memory, and failed attempts.

May touch: memory and a source of randomness. INVARIANT: a session takes two secrets, a cookie and
a key that the page sends as a header. A cookie goes to every port of its host, so it alone opens
nothing.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

SESSION_S = 8 * 3600
MOST_SESSIONS = 64
WINDOW_S = 60
MOST_FAILURES = 10
MOST_PEERS = 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """The secrets of a new session, which are not kept."""

    cookie: str
    key: str
    ends_s: float


@dataclass(frozen=True, slots=True)
class _Session:
    key_sha256: bytes
    ends_s: float


@dataclass(slots=True)
class Sessions:
    """The sessions of one server; they end with it."""

    _by_cookie: OrderedDict[bytes, _Session] = field(default_factory=OrderedDict)

    def open(self, now_s: float) -> Opened:
        """Return the secrets of a new session; beyond a number the oldest one ends."""
        opened = Opened(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now_s + SESSION_S)
        self._by_cookie[_sha256(opened.cookie)] = _Session(_sha256(opened.key), opened.ends_s)
        while len(self._by_cookie) > MOST_SESSIONS:
            self._by_cookie.popitem(last=False)
        return opened

    def holds(self, cookie: str, key: str, now_s: float) -> bool:
        """Return whether both secrets are of one session that has not ended."""
        session = self._by_cookie.get(_sha256(cookie))
        if session is None or not secrets.compare_digest(session.key_sha256, _sha256(key)):
            return False
        return now_s < session.ends_s

    def close(self, cookie: str) -> None:
        """End a session."""
        self._by_cookie.pop(_sha256(cookie), None)


@dataclass(slots=True)
class Failures:
    """How often each peer failed to say who it is, within a window of time."""

    _by_peer: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    def wait_s(self, peer: str, now_s: float) -> int:
        """Return for how long a peer is to wait; 0 where it may try."""
        recent = [at for at in self._by_peer.get(peer, ()) if now_s - at < WINDOW_S]
        if len(recent) < MOST_FAILURES:
            return 0
        return int(recent[-MOST_FAILURES] + WINDOW_S - now_s) + 1

    def note(self, peer: str, now_s: float) -> None:
        """Count one failure; beyond a number of peers the one known longest is forgotten."""
        kept = self._by_peer.setdefault(peer, [])
        kept.append(now_s)
        del kept[:-MOST_FAILURES]
        while len(self._by_peer) > MOST_PEERS:
            self._by_peer.popitem(last=False)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
