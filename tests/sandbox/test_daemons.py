import pytest

from sandbox.daemons import BUS, CLIENTS, DOCKER, MANAGER, beside, is_client, sockets_of
from sandbox.profile import Profile, Programs, Touch, derive

LOOKS = [Touch("sys.inspect", "units", "exact")]


@pytest.mark.threat("T13")
@pytest.mark.parametrize(
    ("line", "sockets"),
    [
        ("systemctl", MANAGER), ("systemctl status nginx", MANAGER),
        ("/usr/bin/systemctl --no-pager --failed", MANAGER), ("loginctl list-sessions", BUS),
        ("docker ps -a", DOCKER), ("docker container ls", DOCKER),
        ("systemctl start nginx", ()), ("systemctl --user status", ()),
        ("systemctl -H other status", ()), ("systemctl show-environment", ()),
        ("docker", ()), ("docker run x", ()), ("docker container rm x", ()),
        ("docker -H tcp://x ps", ()), ("docker exec x ps", ()), ("docker inspect x", ()),
        ("busctl call a b c d", ()), ("loginctl terminate-user x", ()), ("cat /etc/hosts", ()),
    ],
)  # fmt: skip
def test_only_sub_commands_that_ask_are_given_a_socket(line, sockets):
    assert sockets_of(tuple(line.split())) == sockets


def test_no_vector_has_no_socket():
    assert sockets_of(()) == beside(()) == ()
    assert all(is_client(name) for name in CLIENTS)


def test_a_client_sees_what_it_looks_for_first():
    assert "/run/systemd/system" in beside(("/usr/bin/systemctl", "status"))


@pytest.mark.threat("T13")
def test_a_socket_needs_a_lone_vector_that_only_looks_and_roots_own_program():
    argv = ("docker", "ps")

    def sockets(touches, programs):
        profile = derive(touches, workspace="/w", read_roots=(), programs=programs)
        return profile.sockets if isinstance(profile, Profile) else "split"

    assert sockets(LOOKS, Programs(argv, argv[:1])) == DOCKER
    assert sockets(LOOKS, Programs((), argv[:1])) == ()
    assert sockets(LOOKS, Programs(argv, argv[:1], foreign=("/home/u/docker",))) == "split"
    more = [*LOOKS, Touch("fs.read", "/w/a", "exact")]
    assert sockets(more, Programs(argv, argv[:1])) == ()


def test_a_client_without_its_socket_says_so():
    profile = derive(LOOKS, workspace="/w", read_roots=(), programs=Programs((), ("docker", "wc")))
    assert isinstance(profile, Profile)
    assert "the daemon behind docker" in " ".join(profile.hidden)
