"""The whole table: which profile carries out an operation, by where its resource is.

Read it aloud: the row is what policy calls the operation, the column is where the resource lies,
the word is the least powerful profile that can do it. `-` where the host itself is needed:
unconfined, after a human's yes to exactly that.
"""

import itertools

import pytest

from policy.model import OPERATIONS
from sandbox.profile import PLACES, TABLE, NoProfile, Profile, Touch, derive, place

W = "/home/dev/work"
COLUMNS = {
    "workspace": [(f"{W}/a.py", "exact"), (W, "exact"), (f"{W}/*.py", "pattern")],
    "unknown": [("$X", "dynamic"), ("/opt/app/*", "pattern")],
    "scratch": [("/tmp/a", "exact"), ("/var/tmp/a", "exact"), ("/dev/shm/a", "exact")],
    "elsewhere": [("/srv/data.csv", "exact"), ("/home/dev/notes", "exact"), (f"{W}2/a", "exact")],
    "system": [("/usr/bin/python3", "exact"), ("/etc/hosts", "exact"), ("/var/log/x", "exact")],
    "machine": [("/proc", "exact"), ("/proc/1/status", "exact"), ("/proc/net/tcp", "exact"),
                ("/sys/class/net", "exact"), ("/proc/*/comm", "pattern"),
                ("/var/log/*.log", "pattern")],
    "kernel": [("/proc/cpuinfo", "exact"), ("/proc/self/status", "exact")],
    "device": [("/dev/null", "exact"), ("/dev/stderr", "exact")],
}  # fmt: skip
FULL = """
operation           workspace unknown scratch elsewhere system  machine kernel   device
fs.read             read      read    read    read      read    inspect read    read
fs.list             read      read    read    read      read    inspect read    read
git.read            read      read    read    read      read    read    read    read
credential.read     read      read    read    read      read    inspect read    read
proc.inspect        inspect   inspect inspect inspect   inspect inspect inspect inspect
sys.inspect         inspect   inspect inspect inspect   inspect inspect inspect inspect
fs.write            write      write    write    write      write    -       -       read
fs.create           write      write    write    write      write    -       -       read
fs.perm             write      write    write    write      write    -       -       read
fs.delete           write      write    write    -         -       -       -       -
git.write           write      write    write    write      write    write    write    write
git.history         write      write    write    write      write    write    write    write
code.exec           write      write    write    write      write    write    write    write
env.poison          write      write    write    write      write    write    write    write
resource.exhaust    write      write    write    write      write    write    write    write
opaque              write      write    write    write      write    write    write    write
net.connect         -         -       -       -         -       -       -       -
net.listen          -         -       -       -         -       -       -       -
proc.signal         -         -       -       -         -       -       -       -
sys.control         -         -       -       -         -       -       -       -
service.control     -         -       -       -         -       -       -       -
pkg.install         -         -       -       -         -       -       -       -
container.exec      -         -       -       -         -       -       -       -
cloud.mutate        -         -       -       -         -       -       -       -
remote.exec         -         -       -       -         -       -       -       -
privilege.escalate  -         -       -       -         -       -       -       -
device.write        -         -       -       -         -       -       -       -
persistence         -         -       -       -         -       -       -       -
audit.tamper        -         -       -       -         -       -       -       -
never.heard.of      -         -       -       -         -       -       -       -
"""
# A set of operations needs what each of its parts needs; inspecting goes with reading alone, and
# with writing one file: `inspect write` is split but for fs.write and fs.create of one path.
SETS = """
read    read    -> read        inspect write   -> split
read    inspect -> inspect     inspect -       -> -
read    write   -> write       write   -       -> -
inspect inspect -> inspect     read    -       -> -
write   write   -> write       -       -       -> -
"""
WRITTEN = {"fs.write", "fs.create"}
HEAD, *ROWS = [line.split() for line in FULL.strip().splitlines()]
CELLS = [
    (row[0], column, resource, how, "unconfined" if word == "-" else word)
    for row in ROWS
    for column, word in zip(HEAD[1:], row[1:], strict=True)
    for resource, how in COLUMNS[column]
]


def name(*touches: Touch) -> str:
    profile = derive(touches, workspace=W, read_roots=())
    return "split" if isinstance(profile, NoProfile) else profile.name


@pytest.mark.threat("T09")
def test_each_operation_has_its_least_profile_wherever_its_resource_is():
    wrong = [
        (*cell, found) for cell in CELLS if (found := name(Touch(cell[0], *cell[2:4]))) != cell[4]
    ]
    assert wrong == []


def test_the_table_has_every_operation_of_policy():
    assert {row[0] for row in ROWS} == OPERATIONS | {"never.heard.of"}
    assert set(TABLE) < OPERATIONS
    assert {len(row) for row in TABLE.values()} == {len(PLACES)}


@pytest.mark.threat("T09")
def test_every_pair_of_operations_has_the_profile_of_both_or_is_split():
    expected = {}
    for line in SETS.strip().splitlines():
        words = line.split()
        for one, other, _, word in (words[:4], words[4:]):
            expected[one, other] = expected[other, one] = "unconfined" if word == "-" else word
    strength = {row[0]: row[1] for row in ROWS}
    for one, other in itertools.product(("sys.inspect", "proc.inspect"), WRITTEN):
        assert name(Touch(one, "", "exact"), Touch(other, f"{W}/b", "exact")) == "inspect"
    wrong = [
        (one, other, found)
        for one, other in itertools.product(strength, repeat=2)
        if "inspect" not in (strength[one], strength[other]) or not WRITTEN & {one, other}
        if (found := name(Touch(one, f"{W}/a", "exact"), Touch(other, f"{W}/b", "exact")))
        != expected[strength[one], strength[other]]
    ]
    assert wrong == []


@pytest.mark.parametrize("resource", [resource for cells in COLUMNS.values() for resource in cells])
def test_every_resource_is_somewhere(resource):
    assert place(Touch("fs.read", *resource), W) in PLACES


@pytest.mark.parametrize(
    ("path", "how", "sees"),
    [
        ("/tmp/a", "exact", True), ("/tmp", "exact", True), ("/tmp/*", "pattern", True),
        ("/tmpfs/a", "exact", False), (f"{W}/tmp", "exact", False), ("/var/tmp/a", "exact", False),
    ],
)  # fmt: skip
def test_a_read_of_tmp_sees_what_the_session_left_there(path, how, sees):
    profile = derive([Touch("fs.read", path, how)], workspace=W, read_roots=())
    assert isinstance(profile, Profile)
    assert profile.sees_session == sees


def test_what_is_shown_is_what_the_touch_names_and_nothing_wider():
    profile = derive([Touch("fs.read", "/sys", "exact")], workspace=W, read_roots=())
    assert isinstance(profile, Profile)
    assert (profile.read_roots, profile.hidden) == ((), ())
