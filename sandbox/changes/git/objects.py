"""The commit that is checked out, read from two layers: loose objects, packs and the index.

May touch: files of a git directory, for reading, through `layers`. dulwich decodes, and is given
bytes that were bounded before; it opens nothing itself, so it follows no link, no alternate and no
configuration, and nothing is mapped that somebody could cut off meanwhile.
INVARIANT: an object is what its name says: every one is hashed before it is used.
Source: gitformat-pack(5), gitrepository-layout(5).
"""

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from sandbox.changes.git import index, texts
from sandbox.changes.layers import Tree, UnreadableError

if TYPE_CHECKING:
    from dulwich.object_format import ObjectFormat
    from dulwich.pack import PackIndex

MAX_OBJECT_BYTES = 5 * 1024 * 1024
MAX_INDEX_BYTES = 64 * 1024 * 1024  # of all packs together: two million objects
MAX_HEADER_BYTES = 64
MAX_CHAIN = 256  # deltas one on another; git makes 50
MAX_SYMBOLIC = 5
EXECUTABLE, PLAIN, DIRECTORY = 0o100755, 0o100644, 0o040000
_COMMIT, _TREE, _KINDS = "commit", "tree", {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_TREE_LINE = b"tree "
# What decoding broken bytes raises, in dulwich's Python and compiled parts.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in the tree of a commit."""

    mode: int
    object_id: str


class Commit:
    """The tree of the commit that a git directory has checked out.

    Args:
        tree: the layers.
        directory: the git directory whose HEAD counts.
        common: the one that holds objects and branches; the same, but for a linked worktree.

    Raises:
        UnreadableError: there is no commit yet, or HEAD or an object is missing, broken, too large,
            or in a form that is not read here.
    """

    def __init__(self, tree: Tree, directory: str, common: str) -> None:
        self._files, self._directory, self._common = tree, directory, common
        head = self._head()
        self._trees: dict[tuple[str, ...], dict[str, TreeEntry]] = {}
        self._left_out: index.LeftOut | None = None
        self._objects = _Objects(tree, f"{common}/objects", len(head))
        with _decoding(f"commit {head}"):
            self._trees[()] = self._root(head)

    def entry(self, parts: tuple[str, ...]) -> TreeEntry | None:
        """Return what the commit has at a path; None when nothing."""
        return self._listed(parts[:-1]).get(parts[-1])

    def hashed(self, content: bytes) -> str:
        """Return the name that a file with this content has."""
        return self._objects.named("blob", content)

    def is_left_out(self, parts: tuple[str, ...]) -> bool:
        """Return whether a sparse checkout leaves a path out of the working tree."""
        if self._objects.is_sha256:
            raise UnreadableError("the index of a repository with SHA-256 is not read")
        if self._left_out is None:
            content = self._files.read(f"{self._directory}/index", index.MAX_BYTES) or b""
            with _decoding("index"):
                self._left_out = index.LeftOut(content)
        return self._left_out.has("/".join(parts))

    def _listed(self, parts: tuple[str, ...]) -> dict[str, TreeEntry]:
        if parts not in self._trees:
            found = self.entry(parts)
            is_tree = found is not None and found.mode == DIRECTORY
            self._trees[parts] = self._objects.tree(found.object_id) if found and is_tree else {}
        return self._trees[parts]

    def _root(self, head: str) -> dict[str, TreeEntry]:
        first = self._objects.read(head, _COMMIT).partition(b"\n")[0]
        if not first.startswith(_TREE_LINE):
            raise UnreadableError(f"commit {head} names no tree")
        return self._objects.tree(first.removeprefix(_TREE_LINE).decode("ascii"))

    def _head(self) -> str:
        """Return the name of the commit that is checked out."""
        text = self._files.read(f"{self._directory}/HEAD", texts.MAX_BYTES) or b""
        if not texts.is_head(text):
            raise UnreadableError("HEAD names no branch and no commit")
        for _ in range(MAX_SYMBOLIC):
            if object_id := texts.object_id(text):
                return object_id
            name = texts.symbolic(text)
            if not texts.is_reference_name(name):
                break
            found = self._files.read(f"{self._common}/{name}", texts.MAX_BYTES)
            text = self._packed(name) if found is None else found
        raise UnreadableError("HEAD leads to no commit")

    def _packed(self, name: str) -> bytes:
        text = self._files.read(f"{self._common}/packed-refs", MAX_INDEX_BYTES) or b""
        line = rb"^([0-9a-f]+) %s$" % re.escape(os.fsencode(name))
        found = re.search(line, text, re.MULTILINE)
        return found[1] if found else b""


class _Objects:
    """The objects below one directory, by their names."""

    def __init__(self, tree: Tree, directory: str, digits: int) -> None:
        from dulwich.object_format import SHA1, SHA256  # noqa: PLC0415  # loads in 0.04 s

        self._files, self._directory = tree, directory
        self.is_sha256 = digits == SHA256.hex_length
        self._format: ObjectFormat = SHA256 if self.is_sha256 else SHA1
        self._packs: dict[str, PackIndex] = {}
        self._waiting = self._names("pack", ".idx")
        self._left = MAX_INDEX_BYTES
        if self._names("info", "alternates"):
            raise UnreadableError("some objects lie elsewhere (objects/info/alternates)")

    def named(self, kind: str, content: bytes) -> str:
        """Return the name of an object."""
        made = self._format.hash_func()
        made.update(f"{kind} {len(content)}\0".encode("ascii"))
        made.update(content)
        return made.hexdigest()

    def read(self, object_id: str, expected: str) -> bytes:
        """Return the content of one object of the kind that is expected."""
        with _decoding(f"{expected} {object_id}"):
            loose = self._loose(object_id)
            kind, content = loose if loose is not None else self._packed(object_id)
        if kind != expected or self.named(kind, content) != object_id:
            raise UnreadableError(f"{expected} {object_id} is not what its name says")
        return content

    def tree(self, object_id: str) -> dict[str, TreeEntry]:
        from dulwich.objects import parse_tree  # noqa: PLC0415

        content = self.read(object_id, _TREE)
        with _decoding(f"tree {object_id}"):
            return {
                os.fsdecode(name): TreeEntry(mode, of.decode("ascii"))
                for name, mode, of in parse_tree(content, self._format.oid_length)
            }

    def _loose(self, object_id: str) -> tuple[str, bytes] | None:
        path = f"{self._directory}/{object_id[:2]}/{object_id[2:]}"
        packed = self._files.read(path, MAX_OBJECT_BYTES)
        if packed is None:
            return None
        text = zlib.decompressobj().decompress(packed, MAX_OBJECT_BYTES + MAX_HEADER_BYTES)
        header, _, content = text.partition(b"\0")
        return header.partition(b" ")[0].decode("ascii"), content

    def _packed(self, object_id: str) -> tuple[str, bytes]:
        """Return (kind, content) of an object in a pack, put together from what it is based on."""
        from dulwich.pack import OFS_DELTA, REF_DELTA  # noqa: PLC0415

        pack, offset = self._place(object_id)
        deltas: list[bytes] = []
        while sum(map(len, deltas)) <= MAX_OBJECT_BYTES and len(deltas) <= MAX_CHAIN:
            kind, base, content = self._unpacked(pack, offset)
            if kind not in (OFS_DELTA, REF_DELTA):
                return _KINDS[kind], _applied(content, deltas)
            deltas.append(content)
            if isinstance(base, bytes):
                pack, offset = self._place(base.hex())
            else:
                offset -= base
        raise UnreadableError(f"object {object_id} is based on too many others")

    def _place(self, object_id: str) -> tuple[str, int]:
        """Return the pack that has an object, and where in it."""
        from dulwich.objects import RawObjectID  # noqa: PLC0415

        raw = RawObjectID(bytes.fromhex(object_id))
        for name, packed in self._indexes():
            with suppress(KeyError):
                return name, packed.object_offset(raw)
        raise UnreadableError(f"object {object_id} is not here; a partial clone may lack it")

    def _indexes(self) -> "Iterator[tuple[str, PackIndex]]":
        from dulwich.pack import load_pack_index_file  # noqa: PLC0415

        yield from self._packs.items()
        while self._waiting:
            name = self._waiting.pop()
            content = self._files.read(f"{self._directory}/pack/{name}.idx", self._left) or b""
            self._left -= len(content)
            with io.BytesIO(content) as file:  # the index keeps the bytes
                self._packs[name] = load_pack_index_file(name, file, self._format)
            yield name, self._packs[name]

    def _unpacked(self, pack: str, offset: int) -> tuple[int, bytes | int, bytes]:
        """Return (kind, what it is based on, content) as it stands in a pack."""
        from dulwich.pack import unpack_object  # noqa: PLC0415

        with self._opened(pack) as file:
            file.seek(offset)
            start = file.read(MAX_HEADER_BYTES)
            size = _declared(start)
            rest = file.read(size + size // 64 + MAX_HEADER_BYTES)
        window = io.BytesIO(start + rest)
        found, _ = unpack_object(window.read, self._format.hash_func)
        return found.pack_type_num, found.delta_base or 0, b"".join(found.decomp_chunks)

    def _opened(self, pack: str) -> BinaryIO:
        opened = self._files.open(f"{self._directory}/pack/{pack}.pack")
        if opened is None:
            raise UnreadableError(f"pack {pack} is gone")
        return opened

    def _names(self, below: str, ending: str) -> list[str]:
        names = self._files.children(f"{self._directory}/{below}")
        return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def _declared(start: bytes) -> int:
    """Return how long an entry of a pack says it is; its numbers must end where a header can."""
    from dulwich.pack import OFS_DELTA, take_msb_bytes  # noqa: PLC0415

    header = io.BytesIO(start)
    first, *more = take_msb_bytes(header.read)[0]
    if (first >> 4) & 7 == OFS_DELTA:
        take_msb_bytes(header.read)
    size = first & 15
    for place, byte in enumerate(more):
        size |= (byte & 127) << (4 + 7 * place)
    return _bounded(size)


def _applied(content: bytes, deltas: list[bytes]) -> bytes:
    from dulwich.pack import apply_delta, take_msb_bytes  # noqa: PLC0415

    for delta in reversed(deltas):
        header = io.BytesIO(delta[:MAX_HEADER_BYTES])
        take_msb_bytes(header.read)  # how long the base is
        longer = take_msb_bytes(header.read)[0]
        _bounded(sum((byte & 127) << (7 * place) for place, byte in enumerate(longer)))
        content = b"".join(apply_delta(content, delta))
    return content


def _bounded(size: int) -> int:
    if size > MAX_OBJECT_BYTES:
        raise UnreadableError(f"an object is larger than {MAX_OBJECT_BYTES} bytes")
    return size


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn whatever broken bytes raise into one error."""
    from dulwich.errors import ApplyDeltaError, FileFormatException  # noqa: PLC0415
    from dulwich.pack import PackFileDisappeared  # noqa: PLC0415

    try:
        yield
    except (*_BROKEN, ApplyDeltaError, FileFormatException, PackFileDisappeared) as error:
        raise UnreadableError(f"{what} cannot be read: {error}") from error
