"""Variables that steer programs, and those that do not."""

import pytest

from policy.model import Access
from policy.programs.environment import poison


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/x"), ("PATH", "/x"), ("PAGER", "sh -c x"), ("EDITOR", "vi"), ("IFS", ","),
        ("GIT_SSH_COMMAND", "x"), ("PS4", "$(x)"), ("BASH_ENV", "x"), ("CDPATH", "/"), ("ENV", "x"),
        ("NODE_OPTIONS", "-r x"), ("PYTHONPATH", "."), ("PERL5OPT", "-Mx"), ("LC_ALL", "../x"),
        ("TAR_OPTIONS", "x"), ("JAVA_TOOL_OPTIONS", "x"), ("GOFLAGS", "x"), ("CC", "x"),
        ("HTTPS_PROXY", "x"), ("MY_PAGER", "x"), ("LESSOPEN", "|x"), ("HOME", "/x"),
    ],
)  # fmt: skip
def test_a_variable_that_steers_a_program_is_poison(name, value):
    assert poison(name, value, "ls") == (Access("env.poison", name, "exact", "ls"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOO", "x"), ("NODE_ENV", "test"), ("PAGER", "cat"), ("GIT_PAGER", ""), ("LC_ALL", "C"),
        ("LANG", "en_US.UTF-8"), ("GOOS", "linux"), ("CI", "1"), ("i", "0"),
    ],
)  # fmt: skip
def test_other_variables_are_not(name, value):
    assert poison(name, value) == ()
