"""Facts about reading the commit that is checked out: as git has it, or not at all."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.changes.git.index import LeftOut
from sandbox.changes.git.objects import Commit, TreeEntry
from sandbox.changes.layers import UnreadableError, layers
from sandbox.dirfd import PathRefusedError
from tests.sandbox.changes.git.repositories import sh

HISTORY = """
git init -q {0} .
mkdir many; for n in $(seq 150); do echo $n > many/file-with-a-name-$n; done
mkdir -p a/b; echo x > a/b/c; ln -s c a/b/link; echo r > run; chmod 755 run
git add -A; git commit -q -m first
for n in 7 70 140; do echo more >> many/file-with-a-name-$n; git commit -q -a -m $n; done
git checkout -q --detach HEAD~1
{1}
"""
FORMS = {
    "loose": ("", ":"),
    "packed": ("", "git checkout -q main; git gc -q --aggressive; git pack-refs --all"),
    "packed by names": ("", "git -c repack.useDeltaBaseOffset=false repack -q -a -d -f --depth=9"),
    "packed with an old index": ("", "git -c pack.indexVersion=1 repack -q -a -d -f"),
    "packed twice": ("", "git repack -q; git commit -q --allow-empty -m x; git repack -q"),
    "SHA-256, loose": ("--object-format=sha256", ":"),
    "SHA-256, packed": ("--object-format=sha256", "git gc -q"),
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("packed").resolve(), "packed")


def made(base: Path, form: str) -> Path:
    for name in ("upper", "root"):
        (base / name).mkdir()
    sh(base / "root", HISTORY.format(*FORMS[form]))
    return base


@contextmanager
def opened(base: Path) -> Iterator[Commit]:
    with layers(str(base / "upper"), str(base / "root")) as view:
        yield Commit(view.now, ".git", ".git")


def listed(base: Path) -> dict[str, TreeEntry]:
    """Return everything in the commit, as far as our reader has it."""
    with opened(base) as commit:
        lines = sh(base / "root", "git ls-tree -r -t HEAD 2>/dev/null || :").splitlines()
        paths = [line.partition("\t")[2] for line in lines] or ["run"]
        found = {path: commit.entry(tuple(path.split("/"))) for path in paths}
        return {path: entry for path, entry in found.items() if entry is not None}


def by_git(base: Path) -> dict[str, TreeEntry]:
    found = {}
    for line in sh(base / "root", "git ls-tree -r -t HEAD").splitlines():
        (mode, _, name), path = line.partition("\t")[0].split(), line.partition("\t")[2]
        found[path] = TreeEntry(int(mode, 8), name)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_the_commit_is_read_as_git_reads_it(form: str, tmp_path: Path):
    base = made(tmp_path.resolve(), form)
    assert listed(base) == by_git(base)
    with opened(base) as commit:
        assert commit.entry(("many", "none")) is None
        assert commit.entry(("run", "x")) is None
        entry = commit.entry(("run",))
        assert entry is not None
        assert commit.hashed(b"r\n") == entry.object_id


def the_object(root: Path, name: str) -> Path:
    found = sh(root, f"git rev-parse {name}").strip()
    return root / ".git" / "objects" / found[:2] / found[2:]


def break_loose(root: Path) -> None:
    path = the_object(root, "HEAD:")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])


def remove_tree(root: Path) -> None:
    the_object(root, "HEAD:many").unlink()


def put_another(root: Path) -> None:
    path, other = the_object(root, "HEAD:many"), the_object(root, "HEAD~1:many")
    path.chmod(0o644)
    path.write_bytes(other.read_bytes())


def put_a_blob(root: Path) -> None:
    path, blob = the_object(root, "HEAD:many"), the_object(root, "HEAD:run")
    path.unlink()
    path.write_bytes(blob.read_bytes())


def link_an_object(root: Path) -> None:
    path = the_object(root, "HEAD:")
    path.rename(root / "elsewhere")
    path.symlink_to(root / "elsewhere")


def lend(root: Path) -> None:
    (root / ".git/objects/info/alternates").write_text("/srv/objects\n")


def other_references(root: Path) -> None:
    (root / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")


def no_commit_yet(root: Path) -> None:
    (root / ".git/HEAD").write_text("ref: refs/heads/none\n")


def symbolic_loop(root: Path) -> None:
    (root / ".git/HEAD").write_text("ref: refs/heads/loop\n")
    (root / ".git/refs/heads/loop").write_text("ref: refs/heads/loop\n")


BREAKS = (
    break_loose, remove_tree, put_another, put_a_blob, link_an_object, lend,
    other_references, symbolic_loop, no_commit_yet,
)  # fmt: skip


@pytest.mark.threat("T09")
@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_missing_or_not_what_its_name_says_is_an_error(broken, tmp_path: Path):
    base = made(tmp_path.resolve(), "loose")
    broken(base / "root")
    with pytest.raises((UnreadableError, PathRefusedError)), opened(base) as commit:
        commit.entry(("many", "file-with-a-name-1"))


HUGE = """
tree=$(head -c 48M /dev/zero | git hash-object -t tree --literally -w --stdin)
commit=$(echo "tree $tree" | git hash-object -t commit --literally -w --stdin)
echo $commit > .git/HEAD
"""
PACK = "printf '%s\\n' $tree $commit | git pack-objects -q .git/objects/pack/pack; git prune-packed"


@pytest.mark.threat("T18")
@pytest.mark.parametrize("kept", ["loose", "packed"])
def test_an_object_that_is_small_on_disk_and_huge_in_memory_is_not_unpacked(
    kept: str, tmp_path: Path
):
    base = made(tmp_path.resolve(), "loose")
    sh(base / "root", HUGE + (PACK if kept == "packed" else ""))
    with pytest.raises(UnreadableError):
        listed(base)  # what decodes is loaded now
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError), opened(base):
            pass
        assert tracemalloc.get_traced_memory()[1] < 24 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.threat("T18")
@given(st.data())
@settings(max_examples=60)
def test_a_broken_pack_gives_the_truth_or_an_error(packed: Path, data: st.DataObject):
    ending = data.draw(st.sampled_from(["pack", "idx"]))
    objects = packed / "root/.git/objects/pack"
    (whole,) = objects.glob(f"*.{ending}")
    text = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del text[data.draw(st.integers(0, len(text))) :]
    above = packed / "upper/.git/objects/pack" / whole.name
    above.parent.mkdir(parents=True, exist_ok=True)
    above.write_bytes(text)
    try:
        found = listed(packed)
    except UnreadableError:
        return
    finally:
        above.unlink()
    assert found == by_git(packed)


def test_names_that_a_sparse_checkout_leaves_out_are_those_git_marks(tmp_path: Path):
    base = made(tmp_path.resolve(), "loose")
    for options in ("set a", "set --no-cone /run /many/*7", "set --sparse-index a", "disable"):
        sh(base / "root", f"git checkout -q main; git sparse-checkout {options}")
        left_out = LeftOut((base / "root/.git/index").read_bytes())
        marks = [line.split() for line in sh(base / "root", "git ls-files -t").splitlines()]
        assert {path for _, path in marks if left_out.has(path)} == {
            path for mark, path in marks if mark == "S"
        }
        assert left_out.has("many") == (not (base / "root" / "many").exists())
        assert not left_out.has("none")
        assert not left_out.has("ru")


@given(st.binary(max_size=200))
def test_no_index_raises_anything_but_a_value_error(text: bytes):
    for start in (b"", b"DIRC\0\0\0\2\0\0\0\2", b"DIRC\0\0\0\4\0\0\0\2"):
        try:
            LeftOut(start + text).has("x")
        except ValueError:
            continue
