"""Variables that steer programs, and those that do not."""

import pytest

from policy.model import Access
from policy.programs.environment import command_in, is_own_code, leads_outside, poison


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/x"), ("PATH", "/x"), ("PAGER", "sh -c x"), ("EDITOR", "vi"), ("IFS", ","),
        ("GIT_SSH_COMMAND", "x"), ("PS4", "$(x)"), ("BASH_ENV", "x"), ("CDPATH", "/"), ("ENV", "x"),
        ("NODE_OPTIONS", "-r x"), ("PYTHONPATH", "."), ("PERL5OPT", "-Mx"), ("LC_ALL", "../x"),
        ("TAR_OPTIONS", "x"), ("JAVA_TOOL_OPTIONS", "x"), ("GOFLAGS", "x"), ("CC", "x"),
        ("HTTPS_PROXY", "x"), ("MY_PAGER", "x"), ("LESSOPEN", "|x"), ("HOME", "/x"),
        ("BASH_FUNC_ls%%", "() { x; }"), ("a b", "x"), ("1", "x"), ("GIT_EDITOR", "/opt/true"),
        ("PYTEST_PLUGINS", "x"), ("ANT_ARGS", "x"), ("INPUTRC", "x"), ("MAKEFILES", "x"),
    ],
)  # fmt: skip
def test_a_variable_that_steers_a_program_is_poison(name, value):
    assert poison(name, value, "ls") == (Access("env.poison", name, "exact", "ls"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOO", "x"), ("NODE_ENV", "test"), ("PAGER", "cat"), ("GIT_PAGER", ""), ("LC_ALL", "C"),
        ("LANG", "en_US.UTF-8"), ("GOOS", "linux"), ("CI", "1"), ("i", "0"),
        ("GIT_EDITOR", "/bin/true"), ("GIT_SEQUENCE_EDITOR", ":"), ("MANWIDTH", "80"),
    ],
)  # fmt: skip
def test_other_variables_are_not(name, value):
    assert poison(name, value) == ()


@pytest.mark.parametrize(
    ("value", "command"),
    [
        ("rm -rf /", "rm -rf /"), ("|rm %s", "rm %s"), ("|-rm %s", "rm %s"), ("-O2 -g", ""),
        ("A=1 /bin/rm x", "A=1 /bin/rm x"), ("(rm x)", "(rm x)"), ("vim", ""), ("/usr/bin", ""),
    ],
)  # fmt: skip
def test_the_value_of_a_variable_may_be_a_command(value, command):
    assert command_in(value, frozenset({"rm"}).__contains__) == command


@pytest.mark.threat("T02")
@pytest.mark.parametrize("value", ["/tmp/x", "~/x", "-lib /opt/x", "a:/tmp/x", "unix:path=/tmp/x"])
def test_a_variable_that_names_a_place_outside_the_workspace_is_suspect(value):
    assert leads_outside("M2_HOME", value, "/w")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATA", "/w/data"), ("SHELL_BIN", "/usr/bin/sh"), ("URL", "https://h/x"), ("X", "a/b"),
        ("GOCACHE", "/tmp/x"), ("CARGO_TARGET_DIR", "/tmp/x"), ("X", "1"),
    ],
)  # fmt: skip
def test_places_of_the_project_and_of_the_system_are_not(name, value):
    assert not leads_outside(name, value, "/w")


@pytest.mark.parametrize(
    ("name", "value", "own"),
    [
        ("PYTHONPATH", "src:.", True), ("NODE_PATH", "lib/a", True), ("PYTHONPATH", "/tmp", False),
        ("PYTHONPATH", "../x", False), ("RUBYLIB", "a:", False), ("PYTHONPATH", "a/../../b", False),
        ("LD_LIBRARY_PATH", "lib", False), ("CLASSPATH", "out:lib/*", True),
    ],
)  # fmt: skip
def test_a_search_path_below_the_project_is_its_own_code(name, value, own):
    assert is_own_code(name, value) is own


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_OPTIONS", "--max-old-space-size=4096 --no-warnings"), ("GOFLAGS", "-count=1 -race"),
        ("PYTEST_ADDOPTS", "-q --tb=short -p no:cacheprovider"), ("RUSTFLAGS", "-D warnings"),
        ("CFLAGS", "-O2 -g -Wall -DX=1"), ("CC", "clang-17"), ("CXX", "g++"), ("LESS", "FRX"),
        ("MAKEFLAGS", "-j8"), ("GRADLE_OPTS", "-Xmx2g -Dorg.gradle.daemon=false"),
        ("GIT_EDITOR", "true"), ("GIT_AUTHOR_NAME", "A B"), ("PYTHONWARNINGS", "error"),
        ("PATH", "/usr/bin:/usr/local/go/bin"), ("PATH", "/bin"),
    ],
)  # fmt: skip
def test_values_that_steer_nothing_are_no_poison(name, value):
    assert poison(name, value) == ()


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_OPTIONS", "--no-warnings -r ./x"), ("GOFLAGS", "-toolexec=x"), ("CC", "./gcc"),
        ("CFLAGS", "-Wl,-plugin,x"), ("CFLAGS", "-fplugin=x"), ("RUSTFLAGS", "-C linker=x"),
        ("PATH", "/tmp:\0"), ("PATH", "/usr/../tmp"), ("PATH", ".:\0"), ("PATH", "\0x"),
        ("LESS", "-ofile"), ("EDITOR", "true; x"), ("MAKEFLAGS", "--eval=x"),
        ("PYTHONWARNINGS", "ignore::a.B"), ("PYTEST_ADDOPTS", "-p evil"), ("GRADLE_OPTS", "\0"),
    ],
)  # fmt: skip
def test_values_that_may_steer_stay_poison(name, value):
    assert poison(name, value)
