from dataclasses import replace

import pytest

from sandbox import bwrap, landlock, view
from sandbox.host import Control, HostFacts, SystemPaths
from sandbox.profile import Profile
from sandbox.view import Mount, Sight

HOST = HostFacts(
    rung="namespaces",
    controls=(),
    bwrap="/usr/bin/bwrap",
    interpreter="/usr/bin/python3",
    interpreter_prefix="",
    package="/opt/p/sandbox",
    machine="x86_64",
    landlock_abi=7,
    uid=1000,
    user="u",
    home="/home/u",
    path_entries=("/usr/bin",),
    system=SystemPaths(
        ("/usr", "/etc"), (("/bin", "usr/bin"),), ("/etc/shadow",), ("/etc/ssl/private",),
        ("/sys", "/var/log"), ("/proc/kcore",),
    ),
)  # fmt: skip
WORKSPACE = "/home/u/w"
SIGHT = Sight(
    read=("/data",), listed=("/names",), writable=("/elsewhere/file",),
    mount_points=(f"{WORKSPACE}/.git",), guarded=(f"{WORKSPACE}/.git/hooks",),
    masked_files=(f"{WORKSPACE}/.env",), masked_directories=(f"{WORKSPACE}/private",),
)  # fmt: skip


def mounts(name, sight=SIGHT):
    return view.view(Profile(name, WORKSPACE), HOST, sight, "/state/empty")


def options(name):
    return bwrap.arguments(Profile(name, WORKSPACE), HOST, mounts(name), 1 << 20).split(b"\0")


@pytest.mark.threat("T09")
@pytest.mark.parametrize("name", ["read", "inspect"])
def test_profiles_that_only_look_have_no_writable_mount_but_private_ones(name):
    assert not [mount for mount in mounts(name) if mount.kind == "rw"]


@pytest.mark.threat("T09")
def test_live_writes_the_workspace_and_permitted_paths_alone():
    writable = {mount.path for mount in mounts("live") if mount.kind == "rw"}
    assert writable == {WORKSPACE, f"{WORKSPACE}/.git", "/elsewhere/file"}


@pytest.mark.parametrize("name", ["read", "inspect", "live"])
def test_parents_are_mounted_before_what_lies_in_them(name):
    seen = []
    for mount in mounts(name):
        assert not any(earlier.startswith(mount.path + "/") for earlier in seen)
        seen.append(mount.path)


@pytest.mark.threat("T10")
@pytest.mark.parametrize("name", ["read", "inspect", "live"])
def test_denied_and_secret_paths_are_covered_in_every_profile(name):
    masked = {mount.path for mount in mounts(name) if mount.kind == "mask"}
    expected = {"/etc/shadow", "/etc/ssl/private", f"{WORKSPACE}/.env", f"{WORKSPACE}/private"}
    assert masked == expected | ({"/proc/kcore"} if name == "inspect" else set())


@pytest.mark.threat("T10")
def test_the_home_is_empty_and_the_workspace_is_seen_in_it():
    kinds = {mount.path: mount.kind for mount in mounts("read")}
    assert (kinds["/home/u"], kinds[WORKSPACE]) == ("tmpfs", "ro")


@pytest.mark.threat("T11")
def test_only_inspect_shares_the_network_and_the_processes_of_the_host():
    for name in ("read", "live"):
        assert {b"--unshare-net", b"--unshare-pid", b"--unshare-user"} <= set(options(name))
    assert not {b"--unshare-net", b"--unshare-pid"} & set(options("inspect"))


@pytest.mark.threat("T12")
@pytest.mark.parametrize("name", ["read", "inspect", "live"])
def test_no_capability_no_environment_no_terminal_no_survivor(name):
    given = options(name)
    assert given[given.index(b"--cap-drop") + 1] == b"ALL"
    assert {b"--clearenv", b"--new-session", b"--die-with-parent", b"--unshare-ipc"} <= set(given)


def test_names_may_be_listed_where_contents_may_not_be_read():
    allowed = dict(view.rules(mounts("read")))
    assert (allowed["/names"], allowed["/data"]) == (landlock.LIST, landlock.RUN)
    assert allowed[WORKSPACE] == landlock.RUN
    assert dict(view.rules(mounts("live")))[WORKSPACE] == landlock.CHANGE


def test_an_interpreter_outside_the_system_is_shown_with_its_prefix():
    host = replace(HOST, interpreter="/home/u/py/bin/python3", interpreter_prefix="/home/u/py")
    assert bwrap.interpreter(host) == "/run/permitgate/python/bin/python3"
    shown = view.view(Profile("read", WORKSPACE), host, Sight(), "/state/empty")
    assert Mount("ro", "/run/permitgate/python", "/home/u/py") in shown


@pytest.mark.threat("T25")
def test_a_host_meets_its_own_rung_and_weaker_ones():
    assert HOST.meets("namespaces")
    assert HOST.meets("landlock")
    weak = replace(HOST, rung="none", controls=(Control("x", "absent", "no x", "get x"),))
    assert not weak.meets("landlock")
    assert weak.meets("none")
    assert not HOST.meets("misspelt")
    assert "no x; get x" in weak.advice
    assert replace(weak, controls=()).advice


def test_a_path_that_is_permitted_twice_is_mounted_once_as_what_it_was_permitted_for_last():
    twice = replace(SIGHT, read=("/data", "/elsewhere/file"), listed=("/data",))
    found = [mount for mount in mounts("live", twice) if mount.path in twice.read]
    assert [(mount.kind, mount.path) for mount in found] == [
        ("ro", "/data"), ("rw", "/elsewhere/file")
    ]  # fmt: skip
    covered = replace(SIGHT, masked_directories=("/data",))
    assert [mount.kind for mount in mounts("read", covered) if mount.path == "/data"] == ["mask"]


@pytest.mark.threat("T02")
def test_inspect_runs_nothing_but_the_system_and_lists_homes_as_empty():
    allowed = dict(view.rules(mounts("inspect", replace(SIGHT, homes=("/root",)))))
    runs = {path for path, rights in allowed.items() if rights & landlock.EXECUTE}
    assert runs == {"/usr", "/etc", "/run/permitgate/sandbox"}
    assert allowed["/root"] == allowed["/home/u"] == landlock.LIST
    assert not allowed[WORKSPACE] & landlock.WRITE_FILE


@pytest.mark.threat("T10")
def test_inspect_shows_no_more_of_the_system_than_its_list():
    host = replace(HOST, system=replace(HOST.system, directories=("/usr", "/etc", "/opt")))
    assert view.system_directories(host, "inspect") == ("/usr", "/etc", "/sys", "/var/log")
    assert view.system_directories(host, "read") == ("/usr", "/etc", "/opt")


@pytest.mark.threat("T09")
def test_the_one_file_of_a_redirect_is_all_that_inspect_writes():
    sight = replace(SIGHT, output=(f"{WORKSPACE}/out", "/state/redirects/1"))
    found = [mount for mount in mounts("inspect", sight) if mount.kind == "rw"]
    assert [(mount.path, mount.source) for mount in found] == [sight.output]
