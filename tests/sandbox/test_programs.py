from pathlib import Path

import pytest

from sandbox.programs import resolve, safe_entries

pytestmark = pytest.mark.as_user


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_a_name_is_the_first_executable_file_of_the_path(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tool").touch(mode=0o644)
    (tmp_path / "b" / "tool").mkdir(parents=True)
    found = program(tmp_path / "c" / "tool")
    entries = tuple(str(tmp_path / name) for name in "abc")
    assert resolve("tool", entries) == str(found)
    assert resolve("absent", entries) is None
    assert resolve("", entries) is None


def test_a_name_with_a_slash_is_not_searched_for(tmp_path):
    found = program(tmp_path / "tool")
    assert resolve(str(found), ()) == str(found)
    assert resolve("./tool", (str(tmp_path),)) is None
    assert resolve(str(tmp_path / "absent"), ()) is None


@pytest.mark.threat("T06")
def test_path_entries_that_others_could_fill_are_left_out(tmp_path):
    good, shared, own = tmp_path / "good", tmp_path / "shared", tmp_path / "w" / "bin"
    for directory in (good, shared, own):
        directory.mkdir(parents=True)
    shared.chmod(0o777)
    path = f"{good}:{shared}:{own}:relative::{tmp_path}/absent:{good}"
    assert safe_entries(path, str(tmp_path / "w")) == (str(good),)
