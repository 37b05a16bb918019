"""Facts about git in an overlay: its own work passes and is as it is outside; what others hide
among it is held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.changes.git.work import judge
from tests.sandbox.changes.git.repositories import Bench, copy, protected, quick_directory, sh

PROJECT = """
git init -q .
mkdir -p .github/workflows .vscode .husky src deep/er
echo 'on: push' > .github/workflows/ci.yml
echo '{"editor.tabSize": 4}' > .vscode/settings.json
echo 'export A=1' > .envrc
printf '#!/bin/sh\\nexit 0\\n' > .husky/pre-commit; chmod 755 .husky/pre-commit
seq 30 > README; echo 'print(1)' > src/a.py; echo x > deep/er/x
git add -A; git commit -q -m first
git branch plain; git branch old
git checkout -q -b feature
echo 'on: [push, pull_request]' > .github/workflows/ci.yml
mkdir -p .github/actions/own; echo 'name: own' > .github/actions/own/action.yml
echo 'image: x' > .gitlab-ci.yml; git rm -q .envrc; chmod 644 .husky/pre-commit
echo 'print(2)' > src/b.py
git add -A; git commit -q -m 'feature: other CI'
git checkout -q plain
sed -i 's/^3$/three/' README; git commit -q -a -m 'plain: three'
echo 'print(3)' > src/c.py; git add -A; git commit -q -m 'plain: c'
git checkout -q -b clash main
sed -i 's/^3$/drei/' README; git commit -q -a -m 'clash: drei'
git checkout -q main
sed -i 's/^20$/twenty/' README; git commit -q -a -m 'main: twenty'
git repack -q -a -d -f --depth=50
echo 'print(4)' > src/d.py; git add -A; git commit -q -m 'main: d'
git tag v1
"""
LIBRARY = """
git init -q .
mkdir .circleci; echo 'jobs: {}' > .circleci/config.yml; echo lib > lib.c
git add -A; git commit -q -m lib
echo more >> lib.c; git commit -q -a -m more
git branch side HEAD~1
"""
LARGE = """
awk 'BEGIN {
    print "commit refs/heads/large\\ncommitter A <a@b> 1700000000 +0000\\ndata 1\\nx"
    for (n = 0; n < 20000; n++) {
        printf "M 644 inline d%d/f%d\\ndata %d\\n%d\\n", n % 100, n, length(n), n
    }
}' | git fast-import --quiet
git checkout -q large
"""
LOCAL = "git -c protocol.file.allow=always"
ADD_SUB = f"{LOCAL} submodule add -q ../library sub"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with quick_directory() as home:
        for name, script in (("project", PROJECT), ("library", LIBRARY)):
            (home / name).mkdir()
            sh(home / name, script)
        yield home


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    """A copy of the project beside the library."""
    with quick_directory() as base:
        (base / "library").symlink_to(home / "library")
        copy(home / "project", base / "project")
        (base / "scratch").mkdir()
        yield Bench(base / "project", base / "scratch")


def held(bench: Bench) -> tuple[tuple[str, str], ...]:
    paths = protected(bench.upper, bench.base)
    return judge(paths, str(bench.upper), str(bench.base), is_git=True).held


def prepare(bench: Bench, script: str) -> None:
    sh(bench.base, f"{script}; git update-index -q --refresh || :")


@dataclass(frozen=True)
class Row:
    """One line of the table: what is there, and what is done."""

    command: str
    before: str = ":"
    status: int = 0

    def __str__(self) -> str:
        return f"{self.before} | {self.command}" if self.before != ":" else self.command


ROWS = (
    Row("git add src && git commit -q -m more", "echo new > src/new.py"),
    Row("git commit -q -a -m more", "echo new >> src/a.py"),
    Row("git commit -q -a -m ci", "echo new >> .github/workflows/ci.yml"),
    Row("git commit -q --amend -m other"),
    Row("git branch new && git branch -m new newer && git branch -D newer && git branch -d old"),
    Row("git branch -d old", "git config branch.old.remote .; git config branch.old.merge x"),
    Row("git branch -q -u plain old && git branch -q --set-upstream-to=main plain"),
    Row("git branch -q --unset-upstream old", "git branch -q -u plain old"),
    Row("git branch config && git branch hooks/HEAD && git branch Jenkinsfile"),
    Row("git checkout -q plain"),
    Row("git checkout -q feature"),
    Row("git checkout -q main", "git checkout -q feature"),
    Row("git checkout -q --detach v1~1"),
    Row("git checkout -q main", "git checkout -q --detach feature"),
    Row("git checkout -q -b topic --track plain"),
    Row("git switch -q -c topic && git switch -q feature && git switch -q -"),
    Row("git checkout -q -- .github src", "rm .github/workflows/ci.yml; echo x > src/a.py"),
    Row("git restore .envrc", "rm .envrc"),
    Row("git merge -q --ff-only main", "git checkout -q old"),
    Row("git merge -q --no-ff -m merged main", "git checkout -q old"),
    Row("git merge -q --no-edit plain"),
    Row("git merge -q --no-edit feature"),
    Row("git merge -q clash", "git checkout -q plain", 1),
    Row("git merge --abort", "git checkout -q plain; git merge -q clash || :"),
    Row(
        "git add README && git commit -q -m both",
        "git checkout -q plain; git merge -q clash || :; echo both > README",
    ),
    Row("git rebase -q main", "git checkout -q plain"),
    Row("git rebase -q main", "git checkout -q feature"),
    Row("git rebase -q --apply main", "git checkout -q feature"),
    Row("git rebase -q --onto old main plain"),
    Row("git rebase -q clash", "git checkout -q plain", 1),
    Row("git rebase -q --apply clash", "git checkout -q plain", 1),
    Row("git rebase -q -i clash", "git checkout -q plain", 1),
    Row("git rebase -q -Xours -s recursive --signoff clash", "git checkout -q plain"),
    Row("git rebase --abort", "git checkout -q plain; git rebase -q clash || :"),
    Row("git rebase --quit", "git checkout -q plain; git rebase -q clash || :"),
    Row("git rebase --skip", "git checkout -q plain; git rebase -q clash || :"),
    Row(
        "git add README && git rebase --continue",
        "git checkout -q plain; git rebase -q clash || :; echo both > README",
    ),
    Row("git cherry-pick plain"),
    Row("git cherry-pick feature"),
    Row("git cherry-pick -x plain~1 plain", "git checkout -q clash", 1),
    Row("git cherry-pick --abort", "git checkout -q clash; git cherry-pick plain~1 plain || :"),
    Row(
        "git add README && git cherry-pick --continue",
        "git checkout -q clash; git cherry-pick plain~1 plain || :; echo both > README",
    ),
    Row("git revert --no-edit HEAD"),
    Row("git revert --no-edit HEAD", "git checkout -q feature"),
    Row("git stash push -q", "echo x >> src/a.py; echo x >> .envrc"),
    Row("git stash push -q -u", "echo x >> src/a.py; echo y > src/z.py"),
    Row("git stash pop -q", "echo x >> src/a.py; git stash push -q"),
    Row("git reset -q --hard HEAD~1", "echo x > .github/workflows/ci.yml"),
    Row("git reset -q --hard feature"),
    Row("git reset -q --soft HEAD~1 && git reset -q"),
    Row("git tag v2 && git tag -a -m three v3 && git tag -d v2"),
    Row("git worktree add -q wt feature"),
    Row("git worktree add -q -b other wt && git -C wt checkout -q --detach feature"),
    Row("git worktree list && git -C wt commit -q --allow-empty -m x", "git worktree add -q wt"),
    Row("git -C wt rebase -q clash", "git worktree add -q wt plain", 1),
    Row("git -C wt checkout -q feature", "git worktree add -q wt plain"),
    Row("git worktree remove wt", "git worktree add -q wt feature"),
    Row("git worktree lock wt && git worktree list", "git worktree add -q wt feature"),
    Row("git worktree prune", "git worktree add -q wt feature; rm -r wt"),
    Row(ADD_SUB),
    Row(f"{ADD_SUB} && git commit -q -m sub"),
    Row(f"{LOCAL} submodule add -q -b side --name a/b ../library sub"),
    Row(f"{LOCAL} submodule update -q --init", f"{ADD_SUB}; git commit -q -m s; git submodule -q "
        "deinit -f sub; rm -r .git/modules"),
    Row(f"{LOCAL} submodule update -q --init", f"{ADD_SUB}; git commit -q -m s; git submodule -q "
        "deinit -f sub"),
    Row("git submodule -q deinit -f sub", f"{ADD_SUB}; git commit -q -m s"),
    Row("git -C sub checkout -q --detach HEAD~1", f"{ADD_SUB}; git commit -q -m s"),
    Row("git rm -q -f sub", f"{ADD_SUB}; git commit -q -m s"),
    Row("git submodule -q sync && git submodule -q set-branch -b side sub", ADD_SUB),
    Row("git sparse-checkout set src"),
    Row("git sparse-checkout set --no-cone '/src/*' && git sparse-checkout list"),
    Row("git sparse-checkout set --sparse-index src"),
    Row("git sparse-checkout add deep", "git sparse-checkout set src"),
    Row("git sparse-checkout disable", "git sparse-checkout set src"),
    Row("git sparse-checkout set src", f"{ADD_SUB}; git commit -q -m s"),
    Row("git checkout -q feature", "git sparse-checkout set src"),
    Row("git gc -q"),
    Row("git repack -q -a -d && git pack-refs --all && git prune && git checkout -q feature"),
    Row("git notes add -m noted && git notes append -m more HEAD~1"),
    Row("git remote add up ../library && git remote rename up down && git remote remove down"),
    Row("git remote remove up", "git remote add --no-tags up ../library"),
    Row(
        "git remote set-url up https://example.org/a#b && git remote set-url --push up git@h:x "
        "&& git remote set-branches up main",
        "git remote add up ../library",
    ),
    Row("git remote add up ../library && git fetch -q up && git checkout -q -b theirs up/main"),
    Row("git fetch -q ../library main && git tag got FETCH_HEAD"),
    Row("git pull -q --rebase up main --allow-unrelated-histories", "git remote add up ../library"),
    Row("git push -q here main:pushed", "git init -q --bare ../here; git remote add here ../here"),
    Row("git mv src/a.py src/moved.py && git commit -q -m moved"),
    Row("git rm -q src/a.py deep/er/x && git commit -q -m gone"),
    Row("git rm -q .envrc && git commit -q -m gone"),
    Row("git mv .gitlab-ci.yml deep && git commit -q -m moved", "git checkout -q feature"),
    Row("git clean -q -f -d -x", "touch junk .envrc.local src/junk; mkdir .idea; touch .idea/x"),
    Row("git init -q sub && git -C sub commit -q --allow-empty -m one"),
    Row("git init -q"),
    Row("git clone -q ../library sub"),
    Row("git clone -q --no-local --depth 1 file://$PWD/../library sub"),
    Row("git bisect start HEAD v1~2 && git bisect good && git bisect reset"),
    Row("git apply p && git commit -q -a -m p", "git diff HEAD plain -- src > p"),
    Row("git am -q 0*", "git format-patch -q -1 plain"),
    Row("git am -q 0*", "git format-patch -q -1 clash; echo 3 > README; git commit -qam x", 128),
)  # fmt: skip


@pytest.mark.as_user
@pytest.mark.ordinary_only
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_git_on_an_overlay_does_what_it_does_outside_and_nothing_is_held(row: Row, bench: Bench):
    prepare(bench, row.before)
    outside = bench.outside(row.command)
    assert outside.status == row.status, outside.look
    assert bench.overlaid(row.command) == outside.status
    assert held(bench) == ()
    assert bench.land() == outside.look


@pytest.mark.as_user
@pytest.mark.ordinary_only
def test_git_on_an_overlay_over_a_large_repository_is_as_outside(bench: Bench):
    prepare(bench, f"{LARGE}\ntouch d1/*9; echo x > d2/f7; echo y > d3/new")
    script = "git status --porcelain > /dev/null && git add -A && git commit -q -m large"
    outside = bench.outside(script)
    assert outside.status == bench.overlaid(script) == 0
    assert held(bench) == ()
    assert bench.land() == outside.look
