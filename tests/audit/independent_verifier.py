"""A verifier written from docs/audit-format.md alone: SHA-256, Ed25519, and nothing of ours."""

import base64
import hashlib
import json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEADER = b"c2sp.org/tlog-proof@v1\n"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\x01" + root(leaves[:k]) + root(leaves[k:]))


def opened(note: bytes, vkey: str) -> tuple[int, bytes]:
    """Return the size and root that a checkpoint signs (The checkpoint)."""
    name, key_id, encoded = vkey.split("+", 2)
    tagged = base64.b64decode(encoded)
    assert sha(name.encode() + b"\n\x01" + tagged[1:])[:4].hex() == key_id, "another key's id"
    text, _, signatures = (note.rstrip(b"\n") + b"\n").partition(b"\n\n")
    origin, size, encoded_root = text.decode().split("\n")
    assert origin == name, "signed by another log"
    for line in signatures.decode().splitlines():
        dash, signer, blob = line.split(" ")
        raw = base64.b64decode(blob)
        if (dash, signer, raw[:4].hex()) == ("\u2014", name, key_id):
            Ed25519PublicKey.from_public_bytes(tagged[1:]).verify(raw[4:], text + b"\n")
            return int(size), base64.b64decode(encoded_root)
    raise AssertionError("not signed by the key in force")


def parts(proof: bytes) -> tuple[bytes, int, list[bytes], list[bytes], bytes]:
    """Return a proof's line, index, path, earlier rotations and checkpoint."""
    head, _, note = proof.partition(b"\n\n")
    title, extra, index, *siblings = head.decode().split("\n")
    assert title + "\n" == HEADER.decode(), "not a proof"
    line, _, turns = base64.b64decode(extra.removeprefix("extra ")).partition(b"\n")
    path, before = map(base64.b64decode, siblings), turns.split(HEADER)[1:]
    return line, int(index.removeprefix("index ")), [*path], [HEADER + one for one in before], note


def walked(line: bytes, place: int, path: list[bytes], size: int) -> bytes:
    own, last = sha(b"\x00" + line), size - 1
    for sibling in path:
        if place & 1 or place == last:
            own = sha(b"\x01" + sibling + own)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            own = sha(b"\x01" + own + sibling)
        place, last = place >> 1, last >> 1
    assert last == 0, "the path has another length"
    return own


class Keys:
    """The key that began the log, and each that took over (Key epochs)."""

    def __init__(self, first: str) -> None:
        self.turns = [(-1, first.strip())]
        self.ends: list[tuple[int, bytes]] = []

    def open(self, note: bytes) -> tuple[int, bytes]:
        size = int(note.split(b"\n")[1])
        return opened(note, next(key for end, key in reversed(self.turns) if size > end))

    def take(self, proof: bytes) -> None:
        line, index, path, _, note = parts(proof)
        event, old, new, pop = (json.loads(line)[key] for key in ("event", "old", "new", "pop"))
        assert (event, old) == ("key.rotate", self.turns[-1][1]), "no link to it"
        size, signed_root = opened(note, old)
        assert (index + 1, walked(line, index, path, size)) == (size, signed_root), "not its end"
        agreed = f"permitgate-key-rotate-v1\n{old.split('+')[0]}\n{old}\n{new}\n{index}\n"
        raw = base64.b64decode(new.split("+", 2)[2])[1:]
        Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(pop), agreed.encode())
        self.turns.append((size, new))
        self.ends.append((size, signed_root))


def proven(proof: bytes, vkey: str) -> bytes:
    """Return the record that a proof file proves, or fail (A proof of one record)."""
    (line, index, path, turns, note), keys = parts(proof), Keys(vkey)
    for turn in turns:
        keys.take(turn)
    size, signed_root = keys.open(note)
    assert f'"@seq":{index},'.encode() in line[:110], "another record"
    assert walked(line, index, path, size) == signed_root, "the path leads to another root"
    return line


def read(path: Path) -> bytes:
    is_there = path.is_symlink() or path.exists()
    if is_there and (
        path.is_symlink() or not path.is_file() or path.owner() != path.parent.owner()
    ):
        raise OSError("not the log's own file")
    return path.read_bytes() if is_there else b""


def verify(directory: Path, vkey: str, kept: bytes | None = None) -> int:
    """Return the exit code (To verify)."""
    try:
        return steps(directory, Keys(vkey), kept)
    except OSError:
        return 2
    except (AssertionError, InvalidSignature, ValueError, KeyError, IndexError):
        return 1


def steps(directory: Path, keys: Keys, kept: bytes | None) -> int:
    code, leaves, rest, _ = 0, list[bytes](), b"", directory.stat()
    for path in sorted((directory / "epochs").glob("*.proof")):  # 2
        keys.take(read(path))
        assert path.name == f"{keys.turns[-1][0]:012d}.proof", "another epoch's file"
    notes = [read(directory / name) for name in ("checkpoint", "checkpoint.durable")]  # 3
    asked = [int(path.name) for path in (directory / "cosignatures").glob("[0-9]*")]
    notes += [read(directory / "cosignatures" / str(size)) for size in sorted(asked)[-1:]]
    heads = [keys.open(note) if note.strip(b"\0\n") else None for note in notes]
    assert not heads[0] or not heads[1] or heads[1][0] <= heads[0][0], "rolled back"
    top = max((head[0] for head in [*heads, *keys.ends] if head), default=0)
    for segment in sorted(directory.glob("seg-*")):  # 4, 5
        assert segment.name == f"seg-{len(leaves):012d}.jsonl", "a segment is missing"
        rest = read(segment)
        while rest:
            line, end, after = rest.partition(b"\n")
            previous = leaves[-1].hex().encode() if leaves else b"0" * 64
            frame = b'{"@prev":"%s","@seq":%d,' % (previous, len(leaves))
            if not (line.startswith(frame) and line.endswith(b"}") and end and len(line) < 65536):
                break
            if b'"event":"log.open"' in line and json.loads(line).get("v", 1) > 1:
                code = 2
            leaves, rest = [*leaves, sha(b"\x00" + line)], after
            if b'"event":"key.rotate"' in line and json.loads(line)["event"] == "key.rotate":
                assert len(leaves) in dict(keys.ends) or len(leaves) > top, "no proof of it"
                code = code if len(leaves) in dict(keys.ends) else code or 3
    for head in [*heads, *keys.ends, keys.open(kept) if kept else None]:  # 6, 7
        assert not head or len(leaves) >= head[0], "the end was cut"
        assert not head or root(leaves[: head[0]]) == head[1], "not what was signed"
    return code or (3 if rest or not heads[0] or len(leaves) > top else 0)  # 8
