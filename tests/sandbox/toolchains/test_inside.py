"""A project's tests run inside as they do outside, with the toolchains that homes have."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.programs import resolve
from tests.sandbox.rig import HOST, Rig
from tests.sandbox.toolchains.layouts import NODE, Home, outside

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
PROFILES = ("read", "live")
TIMES = re.compile(rb"in [0-9.]+s")
needs_node = pytest.mark.skipif(NODE is None, reason="this host has no node")

PYTHON_TESTS = """\
import sys, unittest
print(sys.prefix, sys.executable)
class Tests(unittest.TestCase):
    def test_right(self): import json, ssl, sqlite3
    def test_wrong(self): self.assertEqual(1, 2)
"""
NODE_TESTS = """\
const assert = require('node:assert')
console.log(process.execPath)
console.log(require('node:child_process').execFileSync('greet').toString())
assert.equal(1, 2)
"""


async def same(home: Home, entries: tuple[str, ...], *argv: str) -> bytes:
    """Run the same inside, in both profiles, and outside; return what was printed."""
    host = home.host(*entries)
    rig = Rig(home.base, host)
    return await same_in(rig, *argv)


async def same_in(rig: Rig, *argv: str) -> bytes:
    code, stdout, stderr = outside(rig.host, rig.workspace, *argv)
    for profile in PROFILES:
        # As the gate does: the program is resolved once, in the profile's view.
        command = rig.vector(*argv, profile=profile)
        found = resolve(argv[0], rig.host.entries(command.profile)) or argv[0]
        outcome = await rig.run(rig.vector(found, *argv[1:], profile=profile))
        assert outcome.exit_code == code, outcome
        assert TIMES.sub(b"", outcome.stdout.head) == TIMES.sub(b"", stdout)
        assert TIMES.sub(b"", outcome.stderr.head) == TIMES.sub(b"", stderr)
    return stdout + stderr


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.path.mkdir()
    return home


@pytest.fixture
def rig(home: Home) -> Rig:
    return Rig(home.base, home.host())


async def test_python_of_pyenv_runs_through_its_shim(home):
    home.pyenv()
    rig = Rig(home.base, home.host(".pyenv/shims", ".pyenv/bin"))
    (rig.workspace / "test_it.py").write_text(PYTHON_TESTS)
    said = await same_in(rig, "python3", "-B", "-m", "unittest", "test_it")
    assert b"/.pyenv/versions/9.9.9" in said
    assert b"FAILED (failures=1)" in said


async def test_a_toolchain_behind_a_link_runs_and_is_covered_at_both_names(home):
    home.pyenv()
    (home.path / ".pyenv").rename(home.base / "pyenv")
    home.link(".pyenv", str(home.base / "pyenv"))
    home.write("../pyenv/versions/9.9.9/pip.conf", "tok-4711")
    rig = Rig(home.base, home.host(".pyenv/shims"))
    said = await same_in(rig, "python3", "-c", "import sys; print(sys.prefix)")
    assert b"/.pyenv/versions/9.9.9" in said
    file = "versions/9.9.9/pip.conf"
    both = f"{home.path}/.pyenv/{file} {home.base}/pyenv/{file}"
    assert await rig.says(f"ls {both} && cat {both}") == both.replace(" ", "\n") + "\n"


async def test_an_environment_of_the_workspace_runs_on_its_python_outside(home):
    home.uv()
    rig = Rig(home.base, home.host())
    home.venv(rig.workspace, ".local/share/uv/python/cpython-9.9/bin/python3")
    (rig.workspace / "test_it.py").write_text(PYTHON_TESTS)
    said = await same_in(rig, f"{rig.workspace}/.venv/bin/python", "-B", "-m", "unittest")
    assert f"{rig.workspace}/.venv {rig.workspace}/.venv/bin/python".encode() in said
    assert b"FAILED (failures=1)" in said


async def test_an_environment_kept_elsewhere_runs_too(home):
    home.python("pythons/9.9.9")
    rig = Rig(home.base, home.host())
    home.venv(home.path / "environments", "pythons/9.9.9/bin/python3")
    (home.path / "environments/.venv/bin/python3").symlink_to("python")
    (rig.workspace / ".venv").symlink_to(home.path / "environments/.venv")
    (rig.workspace / "test_it.py").write_text(PYTHON_TESTS)
    said = await same_in(rig, f"{rig.workspace}/.venv/bin/python", "-B", "-m", "unittest")
    assert b"FAILED (failures=1)" in said


async def test_a_tool_of_uv_runs_from_the_personal_bin(home):
    home.uv()
    assert b"greetings" in await same(home, (".local/bin",), "greet")


@needs_node
async def test_node_of_nvm_runs_with_the_programs_of_an_npm_prefix(home):
    home.nvm()
    host = home.host(".nvm/versions/node/v99.0.0/bin", ".npm-packages/bin")
    rig = Rig(home.base, host)
    (rig.workspace / "test.js").write_text(NODE_TESTS)
    said = await same_in(rig, "node", "test.js")
    assert f"{home.path}/.nvm/versions/node/v99.0.0/bin/node".encode() in said
    assert b"hi true" in said
    assert b"AssertionError" in said


async def test_cargo_runs_through_rustups_proxies_with_its_cache(home):
    home.rust()
    assert b"cargo with rustc 9.9.9" in await same(home, (".cargo/bin",), "cargo", "test")


async def test_go_runs_with_its_module_cache_and_tools(home):
    home.go()
    said = await same(home, ("sdk/go9/bin", "go/bin"), "go", "test")
    assert said == b"go9.9\npackage example\na tool of GOPATH\n"


@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", PROFILES)
async def test_credentials_of_shown_toolchains_are_not_seen(home, profile):
    for lay_out in (home.uv, home.nvm, home.rust, home.go, home.pyenv):
        lay_out()
    entries = (
        ".local/bin", ".nvm/versions/node/v99.0.0/bin", ".npm-packages/bin", ".cargo/bin",
        "sdk/go9/bin", "go/bin", ".pyenv/shims",
    )  # fmt: skip
    rig = Rig(home.base, home.host(*entries))
    before = f"! grep -rl tok-4711 {home.path} 2>/dev/null"
    assert (await rig.run(rig.script(before, profile=profile))).status == "ok"
    # A credential file that appears after the toolchain was first shown.
    home.write(".pyenv/versions/9.9.9/pip.conf", "index-url = https://u:tok-4711@host/")
    assert (await rig.run(rig.script(before, profile=profile))).status == "ok"
    seen = await rig.run(rig.script(f"cat {home.path}/.cargo/config.toml", profile=profile))
    assert seen.stdout.head == b"[build]\njobs = 1\n"
    home.write(".cargo/config.toml", '[registry]\ntoken = "tok-4711"\n')
    assert (await rig.run(rig.script(before, profile=profile))).status == "ok"


@pytest.mark.threat("T06")
async def test_a_toolchain_that_appears_is_seen_and_one_that_everyone_may_write_no_more(home):
    home.rust()
    rig = Rig(home.base, home.host(".cargo/bin"))
    looks = rig.script(f"ls {home.path}/.cargo/git {home.path}/.rustup/toolchains")
    assert (
        await rig.run(looks)
    ).stdout.head == f"{home.path}/.rustup/toolchains:\nstable\n".encode()
    home.write(".cargo/git/found", "")
    assert b"found" in (await rig.run(looks)).stdout.head
    (home.path / ".rustup").chmod(0o777)
    assert b"stable" not in (await rig.run(looks)).stdout.head


async def test_a_result_says_which_credentials_it_passed_by_and_not_what_it_saw(home):
    home.pyenv()
    home.write(".pyenv/versions/9.9.9/pip.conf", "tok-4711")
    rig = Rig(home.base, home.host(".pyenv/shims"))
    command = rig.vector("cat", f"{home.path}/.pyenv/version")
    reads = replace(command.profile, reads=(f"{home.path}/.pyenv",))
    outcome = await rig.run(replace(command, profile=reads))
    assert outcome.stdout.head == b"9.9.9\n"
    assert outcome.hidden == (f"{home.path}/.pyenv/versions/9.9.9/pip.conf",)


@pytest.mark.threat("T10")
async def test_toolchains_cannot_be_written(home):
    home.rust()
    rig = Rig(home.base, home.host(".cargo/bin"))
    text = f"echo x > {home.path}/.cargo/bin/rustup; echo x > {home.path}/.rustup/x; echo x > ~/y"
    outcome = await rig.run(rig.script(text, profile="live"))
    assert outcome.stderr.head.count(b"Read-only file system") == 2
    assert not (home.path / ".rustup/x").exists()
    assert not (home.path / "y").exists()


async def test_the_path_inside_names_only_what_is_shown(home):
    home.rust()
    home.program("tools/bin/mine", "echo mine")
    auto = home.host(".cargo/bin", "tools/bin")
    listed = home.host(".cargo/bin", "tools/bin", choice=("cargo",))
    nothing = home.host(".cargo/bin", "tools/bin", choice="none")
    rig = Rig(home.base, auto)
    read, inspect, host = (
        rig.vector("x", profile=name).profile for name in ("read", "inspect", "unconfined")
    )
    assert resolve("mine", auto.entries(read)) == f"{home.path}/tools/bin/mine"
    assert resolve("cargo", listed.entries(read)) == f"{home.path}/.cargo/bin/cargo"
    assert resolve("mine", listed.entries(read)) is None
    assert resolve("cargo", nothing.entries(read)) is None
    assert resolve("cargo", auto.entries(inspect)) is None
    assert resolve("mine", nothing.entries(host)) == f"{home.path}/tools/bin/mine"
