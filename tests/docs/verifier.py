"""A verifier written from docs/audit-format.md alone: SHA-256, Ed25519, and nothing of ours."""

import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def leaf(line: bytes) -> bytes:
    return sha(b"\x00" + line)


def node(left: bytes, right: bytes) -> bytes:
    return sha(b"\x01" + left + right)


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node(root(leaves[:k]), root(leaves[k:]))


def opened(note: bytes, vkey: str) -> tuple[int, bytes]:
    """Return the size and root that a checkpoint signs (steps 1 and 2)."""
    name, key_id, encoded = vkey.strip().split("+", 2)
    tagged = base64.b64decode(encoded)
    assert tagged[:1] == b"\x01"
    assert sha(name.encode() + b"\n" + tagged)[:4].hex() == key_id, "the id is another key's"
    text, _, signatures = (note.rstrip(b"\n") + b"\n").partition(b"\n\n")
    text += b"\n"
    origin, size, encoded_root = text.decode().splitlines()
    assert origin == name, "signed by another log"
    for line in signatures.decode().splitlines():
        dash, signer, blob = line.split(" ")
        raw = base64.b64decode(blob)
        if (dash, signer, raw[:4].hex()) == ("\u2014", name, key_id):
            Ed25519PublicKey.from_public_bytes(tagged[1:]).verify(raw[4:], text)
            return int(size), base64.b64decode(encoded_root)
    raise AssertionError("not signed by this key")


def verify(directory: Path, vkey: str, kept: bytes | None = None) -> int:
    """Return how many records are signed, or fail (steps 3 to 6)."""
    heads = [opened((directory / "checkpoint").read_bytes(), vkey)]
    for note in ((directory / "checkpoint.durable").read_bytes(), kept):
        heads += [opened(note, vkey)] if note else []
    leaves: list[bytes] = []
    previous = "0" * 64
    for segment in sorted(directory.glob("seg-*.jsonl")):
        assert segment.name == f"seg-{len(leaves):012d}.jsonl", "a segment is missing"
        for line in segment.read_bytes().split(b"\n")[:-1]:
            assert line.startswith(b'{"@prev":"%s","@seq":%d,' % (previous.encode(), len(leaves)))
            leaves.append(leaf(line))
            previous = leaves[-1].hex()
    for size, signed_root in heads:
        assert len(leaves) >= size, "the end was cut"
        assert root(leaves[:size]) == signed_root, "not what was signed"
    return heads[0][0]


def proven(proof: bytes, vkey: str) -> bytes:
    """Return the record that a proof file proves, or fail."""
    head, _, note = proof.partition(b"\n\n")
    title, extra, index, *siblings = head.decode().split("\n")
    assert title == "c2sp.org/tlog-proof@v1"
    size, signed_root = opened(note, vkey)
    line = base64.b64decode(extra.removeprefix("extra "))
    own, place, last = leaf(line), int(index.removeprefix("index ")), size - 1
    assert f'"@seq":{place},'.encode() in line[:110]
    for sibling in map(base64.b64decode, siblings):
        if place & 1 or place == last:
            own = node(sibling, own)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            own = node(own, sibling)
        place, last = place >> 1, last >> 1
    assert (last, own) == (0, signed_root), "the path leads to another root"
    return line
