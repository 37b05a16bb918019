import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.remedy import Remedies

pytestmark = pytest.mark.as_user
USERNS = "user namespaces are refused: bwrap: No permissions to create new namespace"
SYSCTL = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"


def host(root: Path, **files: str) -> Remedies:
    """Return the remedies of a host that has these files; `__` stands for a slash."""
    given = {"proc/self/ns/user": "", "proc/sys/user/max_user_namespaces": "100"}
    given |= {name.replace("__", "/"): text for name, text in files.items()}
    for name, text in given.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Remedies("/usr/bin/bwrap", is_root=False, root=root)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("usr__bin__apt-get", "apt install bubblewrap"),
        ("usr__bin__dnf", "dnf install bubblewrap"),
        ("sbin__apk", "apk add bubblewrap"),
        ("usr__bin__other", "install bubblewrap (apt install bubblewrap, dnf"),
    ],
)
def test_bubblewrap_is_installed_by_what_this_host_has(tmp_path, program, command):
    assert command in host(tmp_path, **{program: ""}).install()
    assert "install bubblewrap" in Remedies("", is_root=False, root=tmp_path).namespaces("")


def test_a_bubblewrap_that_lacks_an_option_is_too_old(tmp_path):
    fix = host(tmp_path).namespaces("bwrap: Unknown option --size")
    assert "older than 0.7" in fix
    assert "--size" in fix
    assert "install a newer bubblewrap" in fix


@pytest.mark.parametrize(
    ("files", "said", "expected"),
    [
        ({"proc__sys__user__max_user_namespaces": "0"}, USERNS,
         "sysctl -w user.max_user_namespaces=15000"),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0"}, USERNS,
         "sysctl -w kernel.unprivileged_userns_clone=1"),
        ({SYSCTL: "1"}, USERNS, "apparmor_parser -r /etc/apparmor.d/permitgate-bwrap"),
        ({SYSCTL: "1", "etc__apparmor.d__bwrap-userns-restrict": ""}, USERNS,
         "apparmor_parser -R /etc/apparmor.d/bwrap-userns-restrict"),
        ({".dockerenv": ""}, USERNS, "--security-opt seccomp=unconfined"),
        ({".dockerenv": ""}, "bwrap: Can't mount proc on /newroot/proc", "systempaths=unconfined"),
        ({"run__.containerenv": ""}, USERNS, "--security-opt unmask=ALL"),
        ({"run__systemd__container": "lxc"}, USERNS, "security.nesting true"),
        ({"var__run__secrets__kubernetes.io": ""}, USERNS, "procMount: Unmasked"),
        ({"proc__self__mountinfo": "1 2 0:3 / /proc rw - proc proc rw,hidepid=2"},
         "Can't mount proc", "remount,hidepid=0 /proc"),
        ({"proc__self__mountinfo": "1 2 0:3 / /proc/keys rw - tmpfs tmpfs rw"},
         "Can't mount proc", "Covered: /proc/keys"),
        ({}, USERNS, "ask who runs this machine"),
    ],
)  # fmt: skip
def test_what_forbids_namespaces_here_is_named_with_its_fix(tmp_path, files, said, expected):
    assert expected in host(tmp_path, **files).namespaces(said)


def test_a_kernel_without_user_namespaces_is_named(tmp_path):
    remedies = host(tmp_path)
    (tmp_path / "proc/self/ns/user").unlink()
    assert "CONFIG_USER_NS" in remedies.namespaces(USERNS)


def test_root_is_not_told_of_a_switch_for_others(tmp_path):
    host(tmp_path, proc__sys__kernel__unprivileged_userns_clone="0")
    fix = Remedies("/usr/bin/bwrap", is_root=True, root=tmp_path).namespaces(USERNS)
    assert "unprivileged" not in fix


def test_the_apparmor_profile_is_printed_whole(tmp_path):
    first, *text = host(tmp_path, **{SYSCTL: "1"}).cells("").split("\n")
    assert "AppArmor" in first
    profile = "\n".join(text[: text.index("}") + 1])
    assert profile.startswith(
        "abi <abi/4.0>,\ninclude <tunables/global>\nprofile permitgate-bwrap "
    )
    assert "/usr/bin/bwrap flags=(unconfined) {\n  userns,\n" in profile
    if parser := shutil.which("apparmor_parser"):
        done = subprocess.run([parser, "-QK"], input=profile, text=True, check=False)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("files", "said", "expected"),
    [
        ({"sys__kernel__security__lsm": "lockdown,yama,apparmor"}, "",
         "lsm=landlock,lockdown,yama,apparmor"),
        ({}, "create ruleset: Operation not supported", "put landlock first in lsm="),
        ({".dockerenv": ""}, "create ruleset: Operation not permitted", "Docker"),
        ({}, "create ruleset: Function not implemented", "CONFIG_SECURITY_LANDLOCK"),
    ],
)  # fmt: skip
def test_what_keeps_landlock_away_is_named(tmp_path, files, said, expected):
    assert expected in host(tmp_path, **files).landlock(said)
