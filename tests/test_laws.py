"""The laws of the house that only its whole text can show: who starts processes, who knows whom.

Walks the syntax tree of every module, so a new file is held to them the moment it exists.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.untraced

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("policy", "audit", "sandbox", "approvals")
HOUSE = (*ROOMS, "mcp_server")

# The modules that may start a process, and what each starts.
STARTERS = {
    "sandbox/supervise.py": "a permitted command inside its confinement",
    "sandbox/cell.py": "a cell, by a constant argument vector; it holds no command yet",
    "sandbox/seat.py": "the command itself, from the seat that waited for it",
    "sandbox/confine.py": "the command itself, as the last step inside",
    "sandbox/reaper.py": "the command's tree outside the sandbox, held until it ends",
    "sandbox/init.py": "the command's stage, which waits for its end",
    "sandbox/probe.py": "constant canaries, before any permit exists",
    "sandbox/tries.py": "each try of the probe in a process of its own",
    "sandbox/cgroup.py": "one constant process, to try a move of it",
    "mcp_server/cli/processors.py": "copies of the verifying process, which read a log",
    "sandbox/network/brokerage.py": "the broker, by a constant argument vector",
}
# Of the broker: a loop of its own, which could start a process and does not.
LOOPERS = {
    f"sandbox/network/{name}.py" for name in ("broker", "connection", "line", "relay", "upstream")
}
# The first runs permitted commands there; the second appends to a copy of the log, and cannot run.
# The third takes keys and the ssh-agent from the library, and reaches none.
OTHER_HOSTS = {"sandbox/remote/ssh.py", "audit/sinks/ssh.py", "mcp_server/cli/signing.py"}
# What can start a process or load code by name; `os.` calls by their first letters.
STARTING_MODULES = {
    "subprocess", "_posixsubprocess", "multiprocessing", "pty", "pexpect", "runpy", "asyncio",
    "concurrent.futures", "cffi",
}  # fmt: skip
STARTING_CALLS = re.compile(
    r"os\.(exec\w+|fork\w*|posix_spawn\w*|spawn\w+|system|popen|startfile)"
    r"|.*\.(create_subprocess_\w+|subprocess_\w+|open_process|run_process|to_process)"
)
CODE_BY_NAME = {"eval", "exec", "compile", "__import__"}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    paths = [path for room in HOUSE for path in sorted((PROJECT / room).rglob("*.py"))]
    return [(str(path.relative_to(PROJECT)), ast.parse(path.read_text())) for path in paths]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def renamed(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported under another name, where a call would hide."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.asname)


@cache
def attributes(tree: ast.AST) -> list[str]:
    """Return every dotted name that is used, and every bare name that is called."""
    nodes = list(ast.walk(tree))
    dotted = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return dotted + [func.id for func in called if isinstance(func, ast.Name)]


def starts(tree: ast.AST) -> set[str]:
    """Return what in a module could start a process."""
    names = {*imported(tree), *attributes(tree)}
    by_import = {n for n in names if any(n == m or n.startswith(f"{m}.") for m in STARTING_MODULES)}
    by_import |= {alias for alias in renamed(tree) if alias in ("os", "anyio", "builtins")}
    by_call = {name for name in names if STARTING_CALLS.fullmatch(name)}
    return by_import | by_call | (names & CODE_BY_NAME)


@pytest.mark.threat("T05")
def test_only_the_modules_that_say_so_start_processes():
    found = {name: starts(tree) for name, tree in modules() if starts(tree)}
    assert set(found) == {*STARTERS, *LOOPERS}
    for name in LOOPERS:
        assert not {what for what in found[name] if not what.startswith("asyncio")}
        assert not {what for what in found[name] if STARTING_CALLS.fullmatch(what)}


@pytest.mark.threat("T05")
@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "from subprocess import run",
        "import os\nos.system('x')",
        "import os\nf = os.execvp",
        "import os as quiet\nquiet.system('x')",
        "from os import fork",
        "from os import posix_spawn as quiet",
        "import anyio\nanyio.run_process(['x'])",
        "from anyio import open_process",
        "import asyncio",
        "import asyncio.subprocess",
        "loop.subprocess_exec(p, 'x')",
        "from multiprocessing import Process",
        "from concurrent.futures import ProcessPoolExecutor",
        "from anyio import to_process",
        "eval('x')",
        "__import__('subprocess')",
    ],
)
def test_the_walk_sees_every_way_to_start_a_process(text):
    assert starts(ast.parse(text))


@pytest.mark.threat("T05")
def test_only_the_modules_that_say_so_reach_other_hosts():
    found = {
        n for n, tree in modules() if any(i.split(".")[0] == "asyncssh" for i in imported(tree))
    }
    assert found == OTHER_HOSTS


@pytest.mark.threat("T05")
def test_every_runner_takes_one_permit_and_nothing_else_and_redeems_it_itself():
    runners = {}
    for name, tree in modules():
        for node in ast.walk(tree):
            if name.startswith("sandbox/") and isinstance(node, ast.ClassDef):
                runners |= {node.name: node} if node.name.endswith("Runner") else {}
    assert set(runners) == {
        "ChangeRunner",
        "CommandRunner",
        "FileRunner",
        "PatchRunner",
        "RemoteRunner",
    }
    for name, runner in runners.items():
        public = [
            method
            for method in runner.body
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
            and not method.name.startswith("_")
            # These run nothing of a caller's.
            and method.name not in ("close", "no_copy", "sees_all", "tried")
        ]
        assert [method.name for method in public] == ["run"], name
        assert ast.unparse(public[0].args) == "self, permit: Permit", name
        assert "self._office.redeem(permit," in ast.unparse(public[0]), name


@pytest.mark.threat("T05")
def test_permits_are_issued_in_one_place():
    issuing = [
        name for name, tree in modules() if any(a.endswith(".issue") for a in attributes(tree))
    ]
    assert issuing == ["mcp_server/gate.py"]


def test_the_rooms_do_not_know_one_another():
    for name, tree in modules():
        room = name.split("/")[0]
        strangers = set(HOUSE) - {room} if room != "mcp_server" else set()
        met = {module.split(".")[0] for module in imported(tree)} & strangers
        assert not met, f"{name} imports {met}"


def test_an_init_holds_the_rooms_card_and_nothing_else():
    for room in HOUSE:
        (card,) = ast.parse((PROJECT / room / "__init__.py").read_text()).body
        assert isinstance(card, ast.Expr), room


def test_every_module_opens_with_a_card():
    for name, tree in modules():
        assert ast.get_docstring(tree), name


# --- the threat model ---------------------------------------------------------------------------

MARK = re.compile(r"""mark\.threat\(\s*"(T\d+)"\s*\)""")
ROW = re.compile(r"^\| (T\d\d) \|", re.MULTILINE)


def test_every_threat_has_a_test_and_every_mark_a_threat():
    model = ROW.findall((PROJECT / "docs" / "threat-model.md").read_text())
    assert len(model) == len(set(model))
    marked = {
        found
        for path in (PROJECT / "tests").rglob("*.py")
        for found in MARK.findall(path.read_text())
    }
    assert set(model) - marked == set(), "a threat without a test"
    assert marked - set(model) == set(), "a mark without a threat"
