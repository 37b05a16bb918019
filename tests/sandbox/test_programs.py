from pathlib import Path

import pytest

from sandbox.programs import is_program_tree, resolve, safe_entries, toolchains

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


def test_what_the_virtual_environment_points_at_is_shown_whole(tmp_path):
    python = program(tmp_path / "uv/python/cpython-3.12/bin/python3.12")
    (python.parent.parent / "lib").mkdir()
    link = tmp_path / "w/.venv/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(python)
    assert toolchains((), str(tmp_path / "w"), "/home/u") == (str(python.parent.parent),)


@pytest.mark.threat("T10")
def test_a_home_is_never_shown_because_it_has_a_bin(tmp_path):
    (tmp_path / "lib").mkdir()
    program(tmp_path / "bin" / "tool")
    (tmp_path / ".local" / "lib").mkdir(parents=True)
    program(tmp_path / ".local" / "bin" / "tool")
    entries = (str(tmp_path / "bin"), str(tmp_path / ".local/bin"), "/usr/bin")
    assert toolchains(entries, "/w", str(tmp_path)) == (entries[1], entries[0])


def test_programs_linked_into_a_bin_bring_their_installation(tmp_path):
    real = program(tmp_path / "pipx/venvs/tool/bin/tool")
    (real.parent.parent / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").symlink_to(real)
    found = toolchains((str(tmp_path / "bin"),), "/w", "/home/u")
    assert str(real.parent.parent) in found
    assert is_program_tree(str(real.parent.parent))
    assert not is_program_tree("/home/u/work/bin")


def test_rust_programs_bring_their_toolchains(tmp_path):
    (tmp_path / ".cargo/bin").mkdir(parents=True)
    (tmp_path / ".rustup").mkdir()
    found = toolchains((str(tmp_path / ".cargo/bin"), str(tmp_path / "gone")), "/w", "/home/u")
    assert found == (str(tmp_path / ".cargo/bin"), str(tmp_path / ".rustup"))
