"""Facts about the small files of a git directory."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.changes.git.texts import gitlink, is_head, is_planned, is_reference_name
from tests.sandbox.changes.git.repositories import ENVIRONMENT

HASH = "0123456789" * 4


@given(st.lists(st.sampled_from([*'ab/.-@{~^:?*[\\ \t\x7f"ö', "..", ".lock", "//"]), max_size=6))
@settings(max_examples=120)
def test_a_name_that_passes_is_one_for_git(pieces: list[str]):
    name = f"refs/heads/{''.join(pieces)}"
    if is_reference_name(name):
        command = ["git", "check-ref-format", name]
        assert subprocess.run(command, env=ENVIRONMENT, check=False).returncode == 0


@pytest.mark.parametrize("name", ["main", "feature/x-1", "a.b", "größe", 'a"b', "v1.0.x", "x@y"])
def test_branches_as_people_name_them_pass(name: str):
    assert is_head(f"ref: refs/heads/{name}\n".encode())
    assert is_head(f"ref: refs/heads/{name}".encode())


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    "text",
    [
        "", "main", "ref: main\n", "ref: refs/heads/\n", "ref: refs/heads/../x\n",
        "ref: refs/heads/a b\n", "ref: refs/heads/.x\n", "ref: refs/heads/-x\n", f"{HASH}x\n",
        f"{HASH}\n{HASH}\n", f" {HASH}\n", HASH[:39], HASH.replace("0", "G"), "ref: refs/heads/x\r",
        "ref: refs/heads/x\n\n", "ref:refs/heads/x\n", "ref: /etc/passwd\n", "ref: refs/tags/x\n",
    ],
)  # fmt: skip
def test_any_other_head_does_not(text: str):
    assert not is_head(text.encode())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("gitdir: ../.git/modules/x\n", "../.git/modules/x"), ("gitdir: /a b\n", "/a b"),
        ("gitdir: x", "x"), ("gitdir: x\ny\n", ""), ("gitdir:x\n", ""), ("", ""), ("x", ""),
        ("gitdir: x\r\n", ""), (" gitdir: x\n", ""),
    ],
)  # fmt: skip
def test_a_git_file_is_one_line(text: str, path: str):
    assert gitlink(text.encode()) == path


@pytest.mark.parametrize(
    ("plan", "name", "text"),
    [
        ("rebase-merge", "git-rebase-todo", f"pick {HASH} exec x\n\n# exec x\nupdate-ref refs/x\n"),
        ("rebase-merge", "git-rebase-todo", "label onto\nreset onto\nmerge -C 12 a # b\nbreak\n"),
        ("rebase-merge", "strategy_opts", " --ours --find-renames=40%\n"),
        ("rebase-merge", "strategy_opts", " '--ours' '--no-renames'\n"),
        ("rebase-merge", "author-script", "GIT_AUTHOR_NAME='O'\\''x'\nGIT_AUTHOR_DATE='@1 +0'\n"),
        ("rebase-merge", "head-name", "refs/heads/a b\n"),
        ("rebase-apply", "0012", "From: exec\n"),
        ("rebase-apply", "apply-opt", " '--whitespace=fix' -C1\n"),
        ("sequencer", "opts", "[options]\n\tedit = true\n\tstrategy-option = ours\n"),
        ("sequencer", "todo", f"revert {HASH} x\n"),
    ],
)
def test_what_git_notes_of_a_plan_passes(plan: str, name: str, text: str):
    assert is_planned(plan, name, text.encode())


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    ("plan", "name", "text"),
    [
        ("rebase-merge", "git-rebase-todo", "exec x\n"), ("rebase-merge", "done", "x y\n"),
        ("rebase-merge", "git-rebase-todo", "pick 1\n\x0bexec x\n"),
        ("rebase-merge", "git-rebase-todo.backup", "\texec x"),
        ("rebase-merge", "git-rebase-todo", "pick 1 \r\n exec\tx\r\n"),
        ("rebase-merge", "strategy", "ort\nx\n"), ("rebase-merge", "strategy", "../x"),
        ("rebase-merge", "strategy_opts", " --ours\0x"), ("rebase-merge", "autostash", "--index"),
        ("rebase-merge", "gpg_sign_opt", "-S$(x)"), ("rebase-merge", "onto", "HEAD"),
        ("rebase-merge", "current-fixups", "exec x"), ("rebase-merge", "message/x", ""),
        ("rebase-merge", "0001", ""), ("rebase-apply", "apply-opt", " '--directory=/'"),
        ("rebase-apply", "apply-opt", " --build-fake-ancestor=x"), ("rebase-apply", "x", ""),
        ("sequencer", "opts", "[options]\n\tstrategy = x\n"),
        ("sequencer", "opts", "[options]\n\tstrategy-option = ours; x\n"),
        ("sequencer", "opts", "[core]\n\tedit = true\n"), ("sequencer", "todo", "exec x\n"),
    ],
)  # fmt: skip
def test_a_plan_that_could_run_something_does_not(plan: str, name: str, text: str):
    assert not is_planned(plan, name, text.encode())


@given(st.sampled_from(["strategy_opts", "git-rebase-todo", "author-script"]), st.text("a- '=\\\n"))
def test_no_plan_takes_long(name: str, text: str):
    is_planned("rebase-merge", name, (text * 400).encode())
