import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import masks, watch
from sandbox.masks import Walker, find

pytestmark = pytest.mark.as_user


def is_env(path: str) -> bool:
    return path.endswith(("/.env", "/private"))


@pytest.mark.threat("T10")
def test_denied_names_are_found_at_any_depth(tmp_path):
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    (tmp_path / ".env").touch()
    (deep / ".env").touch()
    (deep / "private").mkdir()
    (deep / "private" / "inner").touch()
    masks = find([str(tmp_path)], is_env)
    assert masks.files == (str(tmp_path / ".env"), str(deep / ".env"))
    assert masks.directories == (str(deep / "private"),)
    assert masks.complete


@pytest.mark.threat("T10")
def test_a_denied_link_is_covered_where_it_points_to_inside_only(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "outside").touch()
    (tmp_path / "w" / "real").touch()
    (tmp_path / "w" / ".env").symlink_to("real")
    (tmp_path / "w" / "sub").mkdir()
    (tmp_path / "w" / "sub" / ".env").symlink_to(tmp_path / "outside")
    assert find([str(tmp_path / "w")], is_env).files == (str(tmp_path / "w" / "real"),)


def test_links_are_not_followed(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "up").symlink_to("/")
    assert find([str(tmp_path)], lambda path: path.startswith("/etc")).files == ()


@pytest.mark.threat("T13")
def test_sockets_and_fifos_are_doors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("sock")
        found = find([str(tmp_path)], lambda _: False).files
    assert found == (str(tmp_path / "pipe"), str(tmp_path / "sock"))


@pytest.mark.threat("T10")
def test_a_walk_that_reaches_its_bound_says_so(tmp_path):
    for number in range(5):
        (tmp_path / str(number)).touch()
    assert not find([str(tmp_path)], is_env, max_entries=4).complete
    assert find([str(tmp_path)], is_env, max_entries=5).complete


@pytest.mark.threat("T10")
def test_a_walk_that_reached_its_bound_is_not_remembered(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/.env").touch()
    walker = Walker(is_env)
    assert not walker.find([str(tmp_path)], max_entries=4).complete
    assert len(walker.find([str(tmp_path)]).files) == 5


@pytest.mark.threat("T10")
def test_a_remembered_directory_is_listed_again_once_it_changed(tmp_path):
    os.utime(tmp_path, (1, 1))
    walker = Walker(is_env)
    assert walker.find([str(tmp_path)]).files == ()
    (tmp_path / ".env").touch()
    assert walker.find([str(tmp_path)]).files == (str(tmp_path / ".env"),)


def test_an_unchanged_directory_is_asked_about_once(tmp_path, monkeypatch):
    mounts = tmp_path.with_name("mounts")
    mounts.write_text(watch.MOUNTS.read_text())
    monkeypatch.setattr(watch, "MOUNTS", mounts)  # other tests mount and unmount meanwhile
    (tmp_path / "a").touch()
    os.utime(tmp_path, (1, 1))
    asked = []
    walker = Walker(lambda path: bool(asked.append(path)))
    walker.find([str(tmp_path)])
    walker.find([str(tmp_path)])
    assert asked.count(str(tmp_path / "a")) == 1


@pytest.mark.threat("T09")
def test_git_internals_and_protected_names_are_found(tmp_path):
    git = tmp_path / "sub" / ".git"
    for name in ("objects", "refs", "hooks"):
        (git / name).mkdir(parents=True)
    for name in ("HEAD", "config", "index"):
        (git / name).touch()
    (tmp_path / ".vscode").mkdir()
    (tmp_path / ".permitgate.yaml").touch()
    (tmp_path / ".git").touch()
    masks = find([str(tmp_path)], lambda _: False)
    assert masks.git_directories == (str(git),)
    assert {path.removeprefix(str(tmp_path)) for path in masks.protected} == {
        "/.vscode", "/.permitgate.yaml", "/.git", "/sub/.git/hooks", "/sub/.git/config",
    }  # fmt: skip


def test_a_denied_root_and_a_root_that_vanished_are_no_trouble(tmp_path):
    (tmp_path / "private").mkdir()
    masks = find([str(tmp_path / "private"), str(tmp_path / "gone")], is_env)
    assert masks.directories == (str(tmp_path / "private"),)


# What is remembered, and what may change behind it


class Editions:
    """A predicate whose policy can be exchanged."""

    def __init__(self):
        self.edition, self.names = 1, set()

    def __call__(self, path):
        return Path(path).name in self.names


@pytest.fixture(params=["told", "not told"])
def walker(request, monkeypatch):
    """Return a walker on a filesystem that the kernel tells of, and on one that it does not."""
    if request.param == "not told":
        monkeypatch.setattr(watch, "LOCAL", frozenset())
        monkeypatch.setattr(masks, "FRESH_NS", 0)
    return Walker(is_env)


@pytest.mark.threat("T10")
def test_a_forged_time_hides_no_change(walker, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / ".env").touch()
    os.utime(tmp_path, (1, 1))
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/conf/.env",)
    (tmp_path / "conf").rename(tmp_path / "conf2")
    os.utime(tmp_path, (1, 1))
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/conf2/.env",)


@pytest.mark.threat("T10")
def test_directories_that_change_places_are_not_taken_for_each_other(walker, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "x").mkdir(parents=True)
    (tmp_path / "a" / "x" / ".env").touch()
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/a/x/.env",)
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/b/x/.env",)


@pytest.mark.threat("T10")
def test_a_workspace_that_was_replaced_is_searched_anew(walker, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / ".env").touch()
    assert walker.find([f"{tmp_path}/w"]).files == ()
    (tmp_path / "w").rename(tmp_path / "u")
    (tmp_path / "v").rename(tmp_path / "w")
    assert walker.find([f"{tmp_path}/w"]).files == (f"{tmp_path}/w/.env",)


@pytest.mark.threat("T10")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.sampled_from("mkrx"), *[st.integers(0, 5)] * 2), max_size=12))
def test_a_walk_that_remembers_finds_what_a_fresh_one_finds(moves, tmp_path_factory):
    base = tmp_path_factory.mktemp("w")
    walker = Walker(is_env)
    for kind, one, other in moves:
        change(base, kind, one, other)
        assert walker.find([str(base)]) == find([str(base)], is_env)


def change(base, kind, one, other):
    """Do one thing to a small tree; what cannot be done is left."""
    here, there = base / f"d{one % 3}", base / f"d{other % 3}" / f"e{one}"
    with suppress(OSError):
        match kind:
            case "m":
                there.mkdir(parents=True)
            case "k":
                here.rename(there)
            case "r":
                (there / ".env").touch()
            case _:
                os.link(there / ".env", base / f"n{other}")


@pytest.mark.threat("T10")
@pytest.mark.threat("T26")
def test_another_policy_is_another_search(tmp_path):
    (tmp_path / "later").touch()
    denied = Editions()
    walker = Walker(denied)
    assert walker.find([str(tmp_path)]).files == ()
    denied.names, denied.edition = {"later"}, 2
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/later",)


@pytest.mark.threat("T10")
def test_too_many_changes_to_be_told_are_a_search_of_everything(tmp_path, monkeypatch):
    walker = Walker(is_env)
    assert walker.find([str(tmp_path)]).files == ()
    monkeypatch.setattr(walker._watch, "changed", lambda: None)
    (tmp_path / ".env").touch()
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/.env",)


def test_without_watches_left_everything_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "MAX_WATCHES", 0)
    walker = Walker(is_env)
    assert walker.find([str(tmp_path)]).files == ()
    (tmp_path / ".env").touch()
    assert walker.find([str(tmp_path)]).files == (f"{tmp_path}/.env",)


# Ways around a mask


@pytest.mark.threat("T10")
def test_other_names_of_a_denied_file_are_covered_too(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").touch()
    (tmp_path / ".env").touch()
    (tmp_path / "sub").mkdir()
    os.link(tmp_path / ".env", tmp_path / "sub" / "harmless")
    os.link(tmp_path / "private" / "key", tmp_path / "spare")
    found = find([str(tmp_path)], is_env)
    assert found.files == tuple(f"{tmp_path}/{n}" for n in (".env", "spare", "sub/harmless"))


@pytest.mark.threat("T10")
def test_directories_above_a_denied_name_are_pinned(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / ".env").touch()
    (tmp_path / "c").mkdir()
    assert find([str(tmp_path)], is_env).pins == (f"{tmp_path}/a", f"{tmp_path}/a/b")


@pytest.mark.threat("T10")
@pytest.mark.ordinary_only
@pytest.mark.parametrize("mode", [0o311, 0o444, 0o000])
def test_a_directory_that_cannot_be_looked_into_is_covered_whole(tmp_path, mode):
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / ".env").touch()
    shut.chmod(mode)
    try:
        found = find([str(tmp_path)], is_env)
    finally:
        shut.chmod(0o700)
    assert found.directories == found.unsearched == (str(shut),)


@pytest.mark.threat("T10")
def test_what_lies_too_deep_to_be_named_is_covered_whole(tmp_path):
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(22):
        os.mkdir("d" * 200, dir_fd=at)
        at, before = os.open("d" * 200, os.O_RDONLY, dir_fd=at), at
        os.close(before)
    os.close(os.open(".env", os.O_CREAT, dir_fd=at))
    os.close(at)
    found = find([str(tmp_path)], is_env)
    assert len(found.unsearched) == 1
    assert found.directories == found.unsearched
    shutil.rmtree(tmp_path / ("d" * 200))


@pytest.mark.threat("T10")
@pytest.mark.root_only
def test_as_root_what_others_may_not_read_below_etc_is_covered(tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "PRIVATE_TO_ROOT", str(tmp_path))
    (tmp_path / "admin.conf").touch(0o600)
    (tmp_path / "hosts").touch(0o644)
    (tmp_path / "keys").mkdir(0o700)
    found = find([str(tmp_path)], lambda _: False)
    assert (found.files, found.directories) == (
        (f"{tmp_path}/admin.conf",), (f"{tmp_path}/keys",)
    )  # fmt: skip


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    ("names", "protected"),
    [
        ([".git/commondir"], "/.git/commondir"),
        (["x/.git/HEAD", "x/.git/commondir"], "/x/.git/commondir"),
        ([".git/HEAD", ".git/worktrees/wt/commondir"], "/.git/worktrees/wt/commondir"),
        ([".git/HEAD", ".git/modules/m/hooks/post-checkout"], "/.git/modules/m/hooks"),
        (["bare/HEAD", "bare/commondir"], "/bare/commondir"),
    ],
)
def test_every_shape_of_git_directory_is_known(tmp_path, names, protected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find([str(tmp_path)], is_env)
    assert len(found.git_directories) == 1
    assert f"{tmp_path}{protected}" in found.protected
