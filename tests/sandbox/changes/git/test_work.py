"""Facts about what is not git's own work, however much it looks like it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.changes.git.work import Judgement, judge
from tests.sandbox.changes.git.repositories import protected, sh
from tests.sandbox.changes.git.test_table import ADD_SUB, LIBRARY, PROJECT
from tests.sandbox.changes.git.traps import CI, CONFIG, HEAD, HELD, PASSES, SUB, Put, Text, gone


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a worktree, a submodule, and a rebase and an am that were interrupted."""
    home = tmp_path_factory.mktemp("work").resolve()
    for name, script in (("library", LIBRARY), ("project", PROJECT)):
        (home / name).mkdir()
        sh(home / name, script)
    sh(home / "project", f"{ADD_SUB}; git commit -q -m sub; git worktree add -q wt plain")
    sh(home / "project/wt", "! git rebase -q clash 2>&1")
    sh(home / "project/sub", "echo mine >> lib.c; git commit -q -a -m mine")
    sh(home / "project/sub", "git format-patch -q -1; git reset -q --hard @~1; echo > lib.c")
    sh(home / "project/sub", "git commit -q -a -m none; ! git am -q 0001* 2>&1")
    return home / "project"


@contextmanager
def layer(base: Path, root: Path, puts: dict[str, Put]) -> Iterator[Path]:
    """An upper layer that a command could have left."""
    upper = base / "upper"
    upper.mkdir()
    for path, put in puts.items():
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        put(upper / path, root / path)
    yield upper


def judged(
    base: Path, root: Path, puts: dict[str, Put], *also: str, is_git: bool = True
) -> Judgement:
    with layer(base.resolve(), root, puts) as upper:
        return judge([*also, *protected(upper, root)], str(upper), str(root), is_git=is_git)


@pytest.mark.as_user
@pytest.mark.threat("T09")
@pytest.mark.parametrize("name", HELD)
def test_what_makes_other_tools_run_code_is_held(name: str, root: Path, tmp_path: Path):
    path, puts = HELD[name]
    found = judged(tmp_path, root, puts, path)
    assert path in dict(found.held), found
    assert all(dict(found.held).values())


@pytest.mark.as_user
@pytest.mark.parametrize("name", PASSES)
def test_the_same_without_the_trap_passes(name: str, root: Path, tmp_path: Path):
    found = judged(tmp_path, root, PASSES[name])
    assert found.passes
    assert found.held == ()


@pytest.mark.threat("T09")
@pytest.mark.parametrize("name", PASSES)
def test_nothing_but_head_passes_when_other_code_ran(name: str, root: Path, tmp_path: Path):
    found = judged(tmp_path, root, PASSES[name], is_git=False)
    assert found.passes <= {f"{SUB}/HEAD"}


def test_a_head_passes_whoever_wrote_it(root: Path, tmp_path: Path):
    found = judged(tmp_path, root, {HEAD: Text("ref: refs/heads/plain\n")}, is_git=False)
    assert found == Judgement(frozenset({HEAD}))


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A workspace that holds a repository and, beside it, a worktree of it."""
    root = tmp_path.resolve() / "root"
    (root / "main").mkdir(parents=True)
    sh(root / "main", f"{PROJECT}\ngit worktree add -q ../two plain")
    return root


def test_what_a_worktree_held_goes_with_it(beside: Path, tmp_path: Path):
    removed: dict[str, Put] = {"two": gone, "main/.git/worktrees/two": gone}
    assert judged(tmp_path, beside, removed, "two/.envrc", "two/.github").held == ()


@pytest.mark.threat("T09")
def test_what_is_removed_from_a_worktree_that_stays_is_held(beside: Path, tmp_path: Path):
    found = judged(tmp_path, beside, {"two/.envrc": gone})
    assert dict(found.held).keys() == {"two/.envrc"}


@pytest.mark.threat("T09")
def test_a_new_directory_answers_for_all_that_is_in_it(beside: Path, tmp_path: Path):
    sh(beside, "rm -r two/.vscode")
    put: dict[str, Put] = {"two/.vscode/settings.json": Text('{"editor.tabSize": 4}\n')}
    with layer(tmp_path, beside, put) as upper:
        ask = ["two/.vscode"]
        assert judge(ask, str(upper), str(beside), is_git=True).passes == {*ask}
        (upper / "two/.vscode/tasks.json").touch()
        assert judge(ask, str(upper), str(beside), is_git=True).passes == frozenset()


@pytest.mark.threat("T09")
def test_files_pass_with_the_new_repository_they_come_from(root: Path, tmp_path: Path):
    ask = ["new/.circleci/config.yml"]
    with layer(tmp_path.resolve(), root, {}) as upper:
        sh(upper, f"git clone -q {root.parent}/library new")
        assert judge(ask, str(upper), str(root), is_git=True).passes == {*ask}
        (upper / "new/.git/evil").touch()
        assert judge(ask, str(upper), str(root), is_git=True).passes == frozenset()


@pytest.mark.threat("T09")
def test_a_whole_repository_below_a_protected_name_is_held(root: Path, tmp_path: Path):
    base = tmp_path.resolve() / "root"
    base.mkdir()
    sh(base, f"git clone -q {root} .idea && echo mine > .idea/README")
    clone = judged(tmp_path, base, {".idea/README": Text((root / "README").read_text())})
    assert dict(clone.held) == {".idea/README": "its whole repository lies below a protected name"}


@pytest.mark.threat("T09")
def test_a_repository_around_the_workspace_is_not_asked(root: Path, tmp_path: Path):
    put: dict[str, Put] = {".envrc": Text("export A=1\n"), "er/.envrc": Text("")}
    inside = judged(tmp_path, root / "deep", put)
    assert dict(inside.held) == dict.fromkeys(put, "no repository of the workspace has it")


@pytest.mark.threat("T09")
def test_a_workspace_that_is_a_worktree_of_one_outside_has_no_commit(beside: Path, tmp_path: Path):
    found = judged(tmp_path, beside / "two", {".envrc": Text("export A=1\n")})
    assert "leads to no submodule or worktree" in dict(found.held)[".envrc"]


@pytest.mark.threat("T09")
def test_a_change_set_that_cannot_be_read_passes_nothing(root: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(root)
    for upper in (tmp_path / "none", tmp_path / "link"):
        found = judge([HEAD, CONFIG], str(upper.absolute()), str(root), is_git=True)
        assert found.passes == frozenset()
        assert "cannot be read" in dict(found.held)[HEAD]


@pytest.mark.threat("T09")
def test_a_file_too_large_to_compare_is_held(root: Path, tmp_path: Path):
    found = judged(tmp_path, root, {CI: Text(b"x" * (5 * 1024 * 1024 + 1))})
    assert "larger than" in dict(found.held)[CI]


@pytest.mark.threat("T09")
def test_a_path_too_deep_to_follow_is_held(root: Path, tmp_path: Path):
    path = f".vscode/{'d/' * 90}x"
    assert path in dict(judged(tmp_path, root, {path: Text("")}).held)


def test_objects_are_only_read_for_working_files(root: Path, tmp_path: Path):
    script = """
import sys
from sandbox.changes.git.work import judge
upper, root, *paths = sys.argv[1:]
assert judge(paths, upper, root, is_git=True).held == ()
print(any(name.startswith("dulwich") for name in sys.modules))
"""
    puts: dict[str, Put] = {**PASSES["a remote"], HEAD: Text("ref: refs/heads/old\n")}
    with layer(tmp_path.resolve(), root, puts) as upper:
        command = [sys.executable, "-c", script, upper, root, *puts]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
