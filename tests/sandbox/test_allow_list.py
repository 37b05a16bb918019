from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import allow_list, landlock
from sandbox.profile import is_within
from sandbox.view import Mount

pytestmark = pytest.mark.as_user
TREE = ("a/deep/one", "a/deep/two", "a/plain", "b/secret", "b/plain", "top")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def rules(root: Path, files=(), folders=(), kind="ro") -> dict[str, int]:
    mounts = [Mount(kind, str(root), str(root))]
    mounts += [Mount("mask", f"{root}/{name}", "/empty") for name in files]
    mounts += [Mount("mask", f"{root}/{name}") for name in folders]
    return {path: r for path, r in allow_list.rules(tuple(mounts)) if is_within(path, str(root))}


@pytest.mark.threat("T10")
@given(files=st.sets(st.sampled_from(TREE)), folders=st.sets(st.sampled_from(["a", "b", "a/deep"])))
def test_nothing_covered_is_ever_allowed_and_all_else_is(tree, files, folders):
    found = rules(tree, files, folders)
    covered = {f"{tree}/{name}" for name in files | folders}
    for path in (f"{tree}/{name}" for name in TREE):
        allowed = [rights for rule, rights in found.items() if is_within(path, rule)]
        is_covered = any(is_within(path, one) for one in covered)
        assert any(rights & landlock.READ_FILE for rights in allowed) == (not is_covered)
    for folder in (f"{tree}/{name}" for name in folders):
        assert not any(is_within(folder, rule) for rule in found)  # its names are not listed


@pytest.mark.threat("T10")
@pytest.mark.parametrize("mask", [{"files": ["top"]}, {"folders": ["a"]}])
def test_what_is_covered_in_a_directory_that_may_be_written_refuses_the_run(tree, mask):
    assert rules(tree, kind="rw") == {str(tree): landlock.CHANGE}
    with pytest.raises(landlock.LandlockError, match="cannot cover it"):
        rules(tree, kind="rw", **mask)


def test_too_many_neighbours_of_a_denied_file_refuse_the_run(tree, monkeypatch):
    monkeypatch.setattr(allow_list, "MAX_RULES", 16)
    with pytest.raises(landlock.LandlockError, match="too many entries"):
        rules(tree, files=["a/plain"])


def test_what_is_not_the_hosts_own_is_not_allowed(tree):
    mounts = (Mount("tmpfs", str(tree)), Mount("dev", "/dev"), Mount("proc", "/proc"),
              Mount("ro", "/run/permitgate/sandbox", str(tree)))  # fmt: skip
    allowed = {path for path, _ in allow_list.rules(mounts)}
    assert allowed == {*allow_list.DEVICES, *allow_list.PROC}
