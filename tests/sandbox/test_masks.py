import os
import socket

import pytest

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
def test_a_remembered_directory_is_listed_again_once_it_changed(tmp_path):
    os.utime(tmp_path, (1, 1))
    walker = Walker(is_env)
    assert walker.find([str(tmp_path)]).files == ()
    (tmp_path / ".env").touch()
    assert walker.find([str(tmp_path)]).files == (str(tmp_path / ".env"),)


def test_an_unchanged_directory_is_asked_about_once(tmp_path):
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
