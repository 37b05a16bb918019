"""Facts about the two layers: together they are what the overlay showed."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.changes.layers import OPAQUE, WHITEOUT, Tree, UnreadableError, layers
from sandbox.dirfd import PathRefusedError
from tests.sandbox.changes.git.repositories import ABOVE, ENVIRONMENT

NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "a/b/c", "c", "c/a"])
DEEDS = st.sampled_from(
    [
        "mkdir -p {0}", "echo x > {0}", "echo more >> {0}", "rm -rf {0}", "rm -rf {0}; mkdir {0}",
        "ln -s x {0}", "chmod 700 {0}", "mv {0} {1}", "cp -a {0} {1}", "rmdir {0}",
    ]
)  # fmt: skip
SCRIPTS = st.lists(st.tuples(DEEDS, NAMES, NAMES).map(lambda d: d[0].format(*d[1:])), max_size=8)


def run(*command: str | Path) -> None:
    subprocess.run(command, env=ENVIRONMENT, check=True, stderr=subprocess.DEVNULL)


def walked(tree: Tree, path: str = "") -> Iterator[tuple[str, str, str, bytes | None]]:
    kinds = {"file": "f", "directory": "d", "symlink": "l"}
    for name, entry in tree.children(path).items():
        inside = f"{path}/{name}" if path else name
        assert tree.entry(inside) == entry
        content = tree.read(inside, 99) if entry.kind == "file" else None
        yield inside, kinds[entry.kind], f"{entry.mode:o}", content
        if entry.kind == "directory":
            yield from walked(tree, inside)


def seen(root: Path) -> Iterator[tuple[str, str, str, bytes | None]]:
    for path in root.rglob("*"):
        mode, is_file = path.lstat().st_mode, path.is_file() and not path.is_symlink()
        kind = "l" if path.is_symlink() else "d" if path.is_dir() else "f"
        content = path.read_bytes() if is_file else None
        yield str(path.relative_to(root)), kind, f"{stat.S_IMODE(mode):o}", content


@pytest.mark.as_user
@given(SCRIPTS, SCRIPTS)
@settings(max_examples=25)
def test_both_layers_together_are_what_the_overlay_showed(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str]
):
    base = tmp_path_factory.mktemp("layers").resolve()
    for name in ("root", "upper", "work", "shown"):
        (base / name).mkdir()
    run("sh", "-c", "\n".join((f"cd {base}/root", *before, ":")))
    script = "\n".join((*after, f"cp -a . {base}/shown"))
    run("unshare", "-Urm", "sh", "-c", ABOVE, "sh", base, base / "root", script)
    with layers(str(base / "upper"), str(base / "root")) as view:
        assert sorted(walked(view.now)) == sorted(seen(base / "shown"))
        assert sorted(walked(view.before)) == sorted(seen(base / "root"))
    for path in (base / "work").iterdir():
        path.chmod(0o700)
    shutil.rmtree(base)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    upper, root = tmp_path.resolve() / "upper", tmp_path.resolve() / "root"
    (upper / "d").mkdir(parents=True)
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("below")
    return upper, root


def test_an_opaque_directory_hides_what_is_below(both: tuple[Path, Path]):
    os.setxattr(both[0] / "d", OPAQUE, b"y")
    with layers(*map(str, both)) as view:
        assert view.now.entry("d/file") is None
        assert view.now.children("d") == {}
        assert view.before.read("d/file", 9) == b"below"


def test_a_file_hides_the_directory_below(both: tuple[Path, Path]):
    (both[0] / "d").rmdir()
    (both[0] / "d").touch()
    with layers(*map(str, both)) as view:
        assert view.now.entry("d/file") is None
        assert view.now.children("d") == {}


def test_a_whiteout_may_be_an_attribute(both: tuple[Path, Path]):
    (both[0] / "d" / "file").touch()
    os.setxattr(both[0] / "d" / "file", WHITEOUT, b"")
    with layers(*map(str, both)) as view:
        assert view.now.read("d/file", 9) is None
        assert view.now.entry("d/file") is None
        assert view.now.children("d") == {}


@pytest.mark.threat("T09")
def test_no_link_is_followed_in_either_layer(both: tuple[Path, Path]):
    (both[0] / "link").symlink_to("d")
    (both[1] / "file").symlink_to("d/file")
    with layers(*map(str, both)) as view:
        assert view.now.entry("link/file") is None
        assert view.now.children("link") == {}
        with pytest.raises(PathRefusedError):
            view.now.read("file", 9)


def test_what_stands_for_another_directory_is_not_read(both: tuple[Path, Path]):
    os.setxattr(both[0] / "d", "user.overlay.redirect", b"/etc")
    with layers(*map(str, both)) as view, pytest.raises(UnreadableError):
        view.now.entry("d/file")


@pytest.mark.parametrize("path", ["../root/d", "/d", "d//file", "d/.", "/".join("d" * 99)])
def test_only_plain_paths_below_are_taken(both: tuple[Path, Path], path: str):
    with layers(*map(str, both)) as view, pytest.raises(UnreadableError):
        view.now.entry(path)


def test_no_more_is_read_than_asked_for(both: tuple[Path, Path]):
    with layers(*map(str, both)) as view, pytest.raises(UnreadableError):
        view.now.read("d/file", 4)
