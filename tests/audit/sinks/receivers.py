"""Real receivers on this machine: what they got, and how they were told to answer."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.note import PublicKey, open_checkpoint
from audit.sinks.deliver import Delivery, Pace, Sink
from audit.sinks.follow import Follower
from audit.sinks.state import Book
from tests.audit.house import House

FAST = Pace(idle_s=0.01, retry_s=0.01, longest_s=0.05, deadline_s=5, claim_s=0.01)
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """An HTTP receiver; `reply` decides, and keeps, what each request gets."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    reply: Callable[[bytes], Reply] = lambda _: (200, {}, b"")

    def records(self) -> list[dict]:
        return [json.loads(line) for _, _, body in self.requests for line in body.splitlines()]


@contextmanager
def web() -> Iterator[Web]:
    found = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, extra, said = found.reply(body)
            if status < 300:
                found.requests.append((self.path, headers, body))
            self.send_response(status)
            for key, value in {**extra, "Content-Length": str(len(said))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def following(house: House) -> Follower:
    return Follower(house.path, lambda: house.keys)


def delivering(house: House, sink: Sink) -> Delivery:
    book = Book(house.path, sink.name, lambda: datetime(2026, 1, 2, tzinfo=UTC))
    return Delivery(sink, following(house), book, FAST)


@dataclass
class ConformingWitness:
    """A C2SP witness: one log's key, the last tree it cosigned, and its own key."""

    log_key: PublicKey
    name: str = "witness.example/w1"
    now: int = 1_700_000_000
    size: int = 0
    root: bytes = sha256(b"").digest()
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    refused: list[int] = field(default_factory=list)

    @property
    def vkey(self) -> str:
        raw = b"\x04" + self.private.public_key().public_bytes_raw()
        return f"{self.name}+{self._id().hex()}+{base64.b64encode(raw).decode()}"

    def __call__(self, body: bytes) -> Reply:
        status, headers, said = self._answer(body)
        if status != 200:
            self.refused.append(status)
        return status, headers, said

    def _answer(self, body: bytes) -> Reply:
        head, _, note = body.partition(b"\n\n")
        old_line, *proof = head.decode().split("\n")
        old = int(old_line.removeprefix("old "))
        checkpoint = open_checkpoint(note, [self.log_key])
        if old > checkpoint.size:
            return 400, {}, b""
        if old != self.size or (old == checkpoint.size and self.root != checkpoint.root):
            return 409, {"Content-Type": "text/x.tlog.size"}, b"%d\n" % self.size
        hashes = [base64.b64decode(one, validate=True) for one in proof]
        if not consistent(old, checkpoint.size, hashes, self.root, checkpoint.root):
            return 422, {}, b""
        self.size, self.root = checkpoint.size, checkpoint.root
        message = b"cosignature/v1\ntime %d\n%s" % (self.now, checkpoint.text())
        raw = self._id() + self.now.to_bytes(8, "big") + self.private.sign(message)
        return 200, {}, f"— {self.name} {base64.b64encode(raw).decode()}\n".encode()

    def _id(self) -> bytes:
        raw = self.private.public_key().public_bytes_raw()
        return sha256(self.name.encode() + b"\n\x04" + raw).digest()[:4]


def consistent(  # noqa: C901 — the algorithm as it stands there
    old: int, new: int, proof: list[bytes], root1: bytes, root2: bytes
) -> bool:
    """RFC 9162 §2.1.4.2, written from its text."""
    if old in (0, new):
        return not proof and (old == 0 or root1 == root2)
    if old & (old - 1) == 0:
        proof = [root1, *proof]
    if not proof:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for node in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\x01" + node + fr).digest(), sha256(b"\x01" + node + sr).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\x01" + sr + node).digest()
        fn, sn = fn >> 1, sn >> 1
    return (fr, sr, sn) == (root1, root2, 0)
