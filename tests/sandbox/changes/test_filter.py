"""What a person should see before it is committed: names at any depth, numbers, modes."""

from pathlib import Path

import pytest

from sandbox.action import Landing
from sandbox.changes.filter import Layers, bounds, grouped, guarded
from sandbox.changes.model import Change, Found, Kind, Operation

GIT = ("HEAD", "config", "objects/x", "refs/x")
# path, kind → rule that holds it, or none
NAMES = [
    (".envrc", "file", "protected-name"),
    ("a/b/.vscode/tasks.json", "file", "protected-name"),
    ("new/dir/.github/workflows/ci.yml", "file", "protected-name"),
    (".claude/settings.json", "file", "protected-name"),
    (".permitgate.yaml", "file", "protected-name"),
    ("x.code-workspace", "file", "protected-name"),
    ("sub/.git", "file", "protected-name"),
    ("sub/.git", "symlink", "protected-name"),
    ("node_modules/p/.vscode/tasks.json", "file", "protected-name"),
    ("node_modules/p/.travis.yml", "file", ""),
    ("venv/lib/site-packages/p/.github/x.yml", "file", ""),
    (".git/hooks/post-commit", "file", "git-directory"),
    (".git/config", "file", "git-directory"),
    (".git/config.worktree", "file", "git-directory"),
    (".git/commondir", "file", "git-directory"),
    (".git/HEAD", "file", "git-directory"),
    (".git/info/attributes", "file", "git-directory"),
    (".git/info/exclude", "file", ""),
    (".git/rebase-merge/git-rebase-todo", "file", "git-directory"),
    (".git/modules/m/hooks/post-checkout", "file", "git-directory"),
    (".git/modules/refs/config", "file", "git-directory"),
    (".git/worktrees/w/commondir", "file", "git-directory"),
    (".git/objects/ab/cdef", "file", ""),
    (".git/refs/heads/config", "file", ""),
    (".git/refs/heads/hooks/x", "file", ""),
    (".git/logs/HEAD", "file", ""),
    (".git/index", "file", ""),
    (".git/objects", "symlink", "git-directory"),
    (".git/refs/heads/x", "symlink", "git-directory"),
    ("bare.git/hooks/update", "file", "git-directory"),
    ("bare.git/config", "file", "git-directory"),
    ("bare.git/info/attributes", "file", "git-directory"),
    ("bare.git/refs/heads/config", "file", ""),
    ("becomes/HEAD", "file", "git-directory"),
    ("head/refs", "directory", "git-directory"),
    ("head/refs/x", "file", "git-directory"),
    ("src/config", "file", ""),
    ("src/hooks/use.ts", "file", ""),
    ("docs/HEAD", "file", ""),
    ("src/main.py", "file", ""),
    ("refs/x", "file", ""),
]


def change(
    path: str,
    kind: Kind = "file",
    operation: Operation = "created",
    *,
    size: int = 0,
    mode: int = 0o644,
) -> Change:
    return Change(path, operation, kind, bytes_after=size, mode_after=mode)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    upper, root = tmp_path / "upper", tmp_path / "root"
    for base, names in (
        (root, [f".git/{name}" for name in GIT]),
        (root, [f"bare.git/{name}" for name in GIT]),
        (root, ["becomes/objects/x", "head/HEAD", "src/x", "docs/x"]),
        (upper, ["becomes/HEAD", "head/refs/x", "docs/HEAD"]),
    ):
        for name in names:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text("")
    return Layers(str(upper), str(root))


@pytest.mark.threat("T27")
@pytest.mark.parametrize(("path", "kind", "rule"), NAMES, ids=[f"{n[0]} ({n[1]})" for n in NAMES])
@pytest.mark.parametrize("operation", ["created", "modified", "deleted", "attributes"])
def test_a_name_that_makes_other_tools_run_code_is_held(layers, path, kind, rule, operation):
    found = guarded(Found((change(path, kind, operation),)), layers)
    assert (found[path].rule if found else "") == rule


@pytest.mark.threat("T27")
def test_what_a_protected_link_leads_to_is_held_like_the_link(layers):
    found = Found((change("dot"), change("conf/a"), change("dots"), change("confer/a")))
    behind = (f"{layers.root}/dot", f"{layers.root}/conf")
    assert set(guarded(found, layers, behind)) == {"dot", "conf/a"}


@pytest.mark.threat("T27")
def test_a_workspace_that_becomes_a_git_directory_itself_is_held(tmp_path):
    for name in ("HEAD", "objects"):
        (tmp_path / "upper" / name).mkdir(parents=True)
    layers = Layers(str(tmp_path / "upper"), str(tmp_path / "root"))
    found = Found((change("HEAD"), change("config"), change("objects", "directory")))
    assert set(guarded(found, layers)) == {"HEAD", "config", "objects"}


@pytest.mark.threat("T27")
@pytest.mark.parametrize(
    ("landing", "rules"),
    [
        (Landing(), []),
        (Landing(preview=True), ["preview"]),
        (Landing(deletions=1), ["deletions"]),
        (Landing(deletions=2), []),
        (Landing(bytes=10), ["bytes"]),
        (Landing(bytes=11), []),
        (Landing(names=("*.lock",)), ["names"]),
        (Landing(names=("/deep/*.lock",)), []),
        (Landing(names=("migrations/",)), ["names"]),
    ],
)
def test_numbers_and_listed_names_hold_the_whole_set(landing, rules):
    found = Found(
        (
            change("a", operation="deleted"),
            change("b", operation="deleted"),
            change("d", "directory", "deleted"),
            change("deeper/x.lock", size=5),
            change("migrations/1.sql", size=6),
        )
    )
    assert [reason.rule for reason in bounds(found, landing)] == rules


@pytest.mark.threat("T27")
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711])
def test_a_file_that_would_run_with_others_rights_is_held(mode):
    found = Found((change("tool", mode=mode), change("shared", "directory", mode=0o2775)))
    (reason,) = bounds(found, Landing())
    assert (reason.rule, reason.paths) == ("set-id", ("tool",))


def test_reasons_of_one_kind_are_one_reason_with_the_first_names(layers):
    found = Found(tuple(change(f"d{n:02}/.envrc") for n in range(30)))
    (reason,) = grouped(guarded(found, layers).items())
    assert len(reason.paths) == 20
    assert reason.text.endswith("(and 10 more)")
