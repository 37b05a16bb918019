"""Random trees, and random edits that can be made twice: on an overlay, and outside of one."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
modes = st.sampled_from((0o644, 0o600, 0o755, 0o700, 0o500, 0o444, 0o000))
texts = st.sampled_from(("", "1", "2", "22"))
Edit = tuple[str, str, object]

starts = st.lists(
    st.one_of(
        st.tuples(st.just("write"), paths, texts),
        st.tuples(st.just("mkdir"), paths, st.none()),
        st.tuples(st.just("symlink"), paths, paths),
        st.tuples(st.just("xattr"), paths, texts),
        st.tuples(st.just("chmod"), paths, st.sampled_from((0o755, 0o700, 0o500))),
    ),
    max_size=12,
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), paths, texts),
        st.tuples(st.just("write"), paths, texts),
        st.tuples(st.just("replace"), paths, texts),
        st.tuples(st.just("mkdir"), paths, st.none()),
        st.tuples(st.just("remove"), paths, st.none()),
        st.tuples(st.just("remake"), paths, st.none()),
        st.tuples(st.just("rename"), paths, paths),
        st.tuples(st.just("link"), paths, paths),
        st.tuples(st.just("symlink"), paths, paths),
        st.tuples(st.just("chmod"), paths, modes),
        st.tuples(st.just("xattr"), paths, texts),
        st.tuples(st.just("time"), paths, st.integers(1, 9)),
    ),
    min_size=1,
    max_size=10,
)


def make(root: Path, todo: Sequence[Edit]) -> list[str]:
    """Make edits below a root; return what became of each: "" or the name of an error."""
    return [_made(root, *edit) for edit in todo]


def _made(root: Path, what: str, path: str, argument: object) -> str:
    try:
        _edit(root, what, root / path, argument)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def _edit(root: Path, what: str, place: Path, argument: object) -> None:
    text, number = str(argument), argument if isinstance(argument, int) else 0
    todo: dict[str, Callable[[], object]] = {
        "write": lambda: _write(place, text),
        "replace": lambda: _replace(place, text),
        "mkdir": lambda: place.mkdir(parents=True),
        "remove": lambda: _remove(place),
        "remake": lambda: (_remove(place), place.mkdir()),
        "rename": lambda: place.rename(root / text),
        "link": lambda: os.link(place, root / text, follow_symlinks=False),
        "symlink": lambda: place.symlink_to(text),
        "chmod": lambda: place.is_symlink() or place.chmod(number),
        "xattr": lambda: os.setxattr(place, "user.note", text.encode(), follow_symlinks=False),
        "time": lambda: os.utime(place, ns=(number, number), follow_symlinks=False),
    }
    todo[what]()


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def _replace(place: Path, text: str) -> None:
    new = place.with_name("new")
    new.write_text(text)
    new.rename(place)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()
