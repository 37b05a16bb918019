"""Each safeguard is taken away for real, and the canary says so."""

import os
import shlex
import shutil
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import Limits
from sandbox.canary import Canary, Stage
from sandbox.enforcement import CONFINED, CONTROLS
from sandbox.host import HostFacts
from sandbox.outcome import Output
from sandbox.profile import Profile, ProfileName
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
# A bubblewrap that was told something else: its options are read, changed and passed on.
DECEIVED = """#!{python}
import os, sys
fd = int(sys.argv[sys.argv.index("--args") + 1])
options = os.pread(fd, 1 << 20, 0).decode().split("\\0")
{change}
out = os.memfd_create("options", 0)
os.write(out, "\\0".join(options).encode())
os.lseek(out, 0, 0)
sys.argv[sys.argv.index("--args") + 1] = str(out)
os.execv({bwrap!r}, [{bwrap!r}, *sys.argv[1:]])
"""

Change = tuple[str, str, str]
NO_LANDLOCK: Change = ("landlock.py", "_syscall(RESTRICT_SELF, ruleset, 0)", "0")
WITH_NETWORK = "options.remove('--unshare-net')"
WRITABLE = "options = ['--bind' if o == '--ro-bind' else o for o in options]"


def canary(rig: Rig) -> Canary:
    """Return a canary that runs its program as the runner's own does."""
    return Canary(rig.host, rig.state, rig.runner._try_out)


def deceived(tmp_path: Path, change: str) -> HostFacts:
    wrapper = tmp_path / "bwrap"
    wrapper.write_text(
        DECEIVED.format(python=HOST.interpreter, bwrap=HOST.bwrap, change=change), "utf-8"
    )
    wrapper.chmod(0o755)
    return replace(HOST, bwrap=str(wrapper))


def weaker(tmp_path: Path, host: HostFacts, *changes: Change) -> HostFacts:
    """Return the host with stages inside the sandbox that lack a safeguard."""
    package = tmp_path / "weaker" / "sandbox"
    shutil.copytree(HOST.package, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, safeguard, instead in changes:
        text = (package / file).read_text("utf-8")
        assert safeguard in text
        (package / file).write_text(text.replace(safeguard, instead), "utf-8")
    return replace(host, package=str(package))


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("profile", "has_network"),
    [*((name, False) for name in CONFINED), ("read", True), ("write", True), ("live", True)],
)
async def test_every_control_of_a_profile_is_seen_to_hold(tmp_path, profile, has_network):
    tried = canary(Rig(tmp_path))
    rows = await tried.rows((profile, has_network))
    assert [row.name for row in rows] == [law.name for law in CONTROLS if profile in law.profiles]
    assert {row.name: row.evidence for row in rows if row.seen == "absent"} == {}
    assert all(row.evidence for row in rows)
    assert await tried.refusal((profile, has_network)) is None


async def test_what_inspect_shows_on_purpose_is_said(tmp_path):
    rows = await canary(Rig(tmp_path)).rows(("inspect", False))
    assert {row.name: row.seen for row in rows}["processes"] == "partial"


@pytest.mark.threat("T25")
async def test_outside_the_sandbox_the_same_program_can_do_it_all(tmp_path):
    rig = Rig(tmp_path)
    laws = [law for law in CONTROLS if law.name != "memory"]
    with ExitStack() as stack:
        stage = Stage(rig.state / "stage", stack)
        command = stage.command("live", laws, HOST)
        outcome = await rig.run(replace(command, profile=Profile("unconfined", command.cwd)))
        heard = stage.heard()
    lines = [line.split("\t") for line in outcome.stdout.head.decode().splitlines()]
    refused = {what for _, what, state, _ in lines if state == "refused"} - heard
    # What an ordinary user may not do anyway, and what may be bounded from without.
    bounded = {"start more processes than the limit"}
    beyond = {"read /etc/shadow", "create a file in /usr", "hold a capability", "mount"}
    assert refused <= (bounded | beyond | {"clone a mount"} if os.getuid() else bounded)


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("profile", "control", "change"),
    [
        ("read", "network", WITH_NETWORK),
        ("live", "sockets", WITH_NETWORK),
        pytest.param("inspect", "writes", WRITABLE, marks=pytest.mark.root_only),
        ("inspect", "workspace", WRITABLE),
    ],
)
async def test_what_bubblewrap_leaves_out_is_seen_and_nothing_runs(
    tmp_path, profile, control, change
):
    host = weaker(tmp_path, deceived(tmp_path, change), NO_LANDLOCK)
    await is_seen_and_nothing_runs(Rig(tmp_path, host=host), profile, control)


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("profile", "control", "change"),
    [
        ("inspect", "processes", NO_LANDLOCK),
        ("read", "workspace", ("mounting.py", "(0 if is_open else", "(0 if True else")),
        ("live", "protected names", ("mounting.py", "(0 if is_open else", "(0 if True else")),
        (
            "write",
            "workspace copy",
            (
                "mounting.py",
                'if kind == b"overlay":\n        laid',
                'if kind == b"":\n        laid',
            ),
        ),
        ("live", "kernel", ("privileges.py", "    if not program:", "    if True:")),
        ("live", "set-id", ("privileges.py", "_libc.capset(header, bytes(24))", "0")),
    ],
)
async def test_what_our_own_stage_leaves_out_is_seen_and_nothing_runs(
    tmp_path, profile, control, change
):
    host = weaker(tmp_path, HOST, *{NO_LANDLOCK, change})
    await is_seen_and_nothing_runs(Rig(tmp_path, host=host), profile, control)


@pytest.mark.threat("T25")
@pytest.mark.parametrize("profile", CONFINED)
async def test_a_view_that_shows_too_much_is_seen_and_nothing_runs(tmp_path, profile):
    rig = Rig(tmp_path)

    async def run(command):
        wide = replace(command.profile, read_roots=(f"{Path(command.cwd).parent}/outside/secret",))
        return await rig.runner._try_out(replace(command, profile=wide))

    await is_seen_absent(Canary(HOST, rig.state, run), profile, "reads")


@pytest.mark.threat("T25")
async def test_a_bound_that_is_not_there_is_seen_and_nothing_runs(tmp_path):
    rig = Rig(tmp_path)

    async def run(command):
        return await rig.runner._try_out(replace(command, limits=Limits()))

    rows = {row.name: row for row in await Canary(HOST, rig.state, run).rows(("read", False))}
    assert rows["memory"].seen == rows["process count"].seen == "absent"


async def is_seen_and_nothing_runs(rig: Rig, profile: ProfileName, control: str) -> None:
    await is_seen_absent(canary(rig), profile, control)
    ran = await rig.run(rig.script("echo ran", profile))
    assert (ran.status, ran.stdout.total_bytes) == ("error", 0)
    assert f"profile {profile} was tried here and does not hold" in ran.message
    assert "Nothing ran" in ran.message


async def is_seen_absent(canary: Canary, profile: ProfileName, control: str) -> None:
    rows = {row.name: row for row in await canary.rows((profile, False))}
    assert control in rows, rows
    assert rows[control].seen == "absent", rows
    assert "possible: " in rows[control].evidence
    refusal = await canary.refusal((profile, False))
    assert refusal is not None
    assert control in refusal
    assert "permitgate doctor" in refusal


@pytest.mark.threat("T25")
async def test_a_trial_that_ends_early_holds_nothing(tmp_path):
    rig = Rig(tmp_path)

    async def run(command):
        whole = await rig.runner._try_out(command)
        some = b"".join(whole.stdout.head.splitlines(keepends=True)[:4])
        return replace(whole, status="ok", stdout=Output.whole(some))

    rows = await Canary(HOST, rig.state, run).rows(("read", False))
    untried = [row for row in rows if "could not be tried" in row.evidence]
    assert len(untried) >= len(rows) - 2
    assert {row.seen for row in untried} == {"absent"}


@pytest.mark.threat("T25")
async def test_a_bound_that_was_not_reached_is_not_claimed(tmp_path):
    rig = Rig(tmp_path)

    async def run(command):
        whole = await rig.runner._try_out(command)
        lines = whole.stdout.head.splitlines(keepends=True)
        said = b"".join(line for line in lines if not line.startswith(b"process count"))
        return replace(whole, stdout=Output.whole(said))

    rows = {row.name: row for row in await Canary(HOST, rig.state, run).rows(("read", False))}
    assert rows["process count"].evidence == "the whole trial was ended at its limit"
    assert rows["memory"].seen == "partial"
    assert rows["memory"].evidence.startswith("not tried alone")


@pytest.mark.threat("T25")
async def test_what_reaches_the_host_counts_whatever_the_program_inside_says(tmp_path):
    rig = Rig(tmp_path)

    async def run(command):
        told = dict(word.split("=", 1) for word in command.argv[5:])
        await anyio.Path(told["tmp"]).touch()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", int(told["udp"])))
        return await rig.runner._try_out(command)

    rows = {row.name: row for row in await Canary(HOST, rig.state, run).rows(("read", False))}
    assert "possible: leave a file in the host's /tmp" in rows["writes"].evidence
    assert "possible: send to the host's loopback (UDP)" in rows["network"].evidence


@pytest.mark.threat("T25")
async def test_without_landlock_inspect_does_not_run(tmp_path):
    rig = Rig(tmp_path, host=replace(HOST, landlock_abi=0))
    (row,) = await canary(rig).rows(("inspect", False))
    assert (row.name, row.seen) == ("trial", "absent")
    assert "only Landlock keeps apart" in row.evidence


@pytest.mark.threat("T25")
@pytest.mark.ordinary_only
async def test_a_state_directory_that_cannot_be_written_runs_nothing(tmp_path):
    rig = Rig(tmp_path)
    rig.state.mkdir(mode=0o500)
    (row,) = await canary(rig).rows(("read", False))
    assert row.seen == "absent"
    assert f"make {rig.state} writable" in row.fix


async def test_a_profile_that_did_not_hold_is_tried_again(tmp_path):
    rig = Rig(tmp_path)
    trials = []

    async def run(command):
        trials.append(command)
        limits = Limits() if len(trials) == 1 else command.limits
        return await rig.runner._try_out(replace(command, limits=limits))

    mended = Canary(HOST, rig.state, run)
    assert await mended.refusal(("read", False)) is not None
    assert await mended.refusal(("read", False)) is None


async def test_a_profile_that_held_is_not_tried_again_and_nothing_is_left(tmp_path):
    rig = Rig(tmp_path)
    tried = []

    async def run(command):
        tried.append(shlex.join(command.argv[:1]))
        return await rig.runner._try_out(command)

    once = Canary(HOST, rig.state, run)
    await once.rows(("read", False))
    await once.refusal(("read", False))
    assert len(tried) == 1
    assert list(rig.state.glob("canary-*")) == []
    assert not any(name.startswith("permitgate-canary") for name in os.listdir("/tmp"))  # noqa: PTH208  # ASYNC240
