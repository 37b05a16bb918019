"""Which socket one reading sub-command of a daemon's client may speak to.

Pure: a table. The sandbox cannot stop a client from asking its daemon for more than it said, so
the socket is shown to a lone vector of root's own program, whose whole footprint is looking, and
whose first words stand here: two independent readings of the same command line must agree.
"""

from dataclasses import dataclass

BUS = ("/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket")
MANAGER = (*BUS, "/run/systemd/private")
DOCKER = ("/run/docker.sock", "/var/run/docker.sock")
# Directories a client looks at before it speaks; shown as they are, without their sockets.
BESIDE = {"systemctl": ("/run/systemd/system", "/run/systemd/units", "/run/systemd/transient")}
FLAGS = frozenset(
    {"--no-pager", "--failed", "--all", "-a", "-l", "--full", "--no-legend", "-q", "--quiet",
     "--plain", "--value"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Client:
    """One client: where its daemon listens, and the first words that only ask."""

    sockets: tuple[str, ...]
    asks: str  # sub-commands, "a.b" for two words, "-" for none at all


CLIENTS = {
    "systemctl": Client(
        MANAGER,
        "- status show cat list-units list-unit-files list-timers list-sockets list-jobs "
        "list-paths list-dependencies list-automounts is-active is-enabled is-failed "
        "is-system-running get-default",
    ),
    "loginctl": Client(
        BUS,
        "- list-sessions session-status show-session list-users user-status show-user list-seats "
        "seat-status show-seat",
    ),
    "hostnamectl": Client(BUS, "- status"),
    "timedatectl": Client(BUS, "- status show timesync-status show-timesync"),
    "localectl": Client(BUS, "- status"),
    "networkctl": Client(BUS, "- list status"),
    "busctl": Client(BUS, "- list"),
    "docker": Client(
        DOCKER,
        "ps images info version logs top port stats history container.ls container.list image.ls "
        "image.list volume.ls network.ls system.df",
    ),
}


def is_client(program: str) -> bool:
    """Return whether a program says little without its daemon."""
    return program in CLIENTS


def sockets_of(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sockets a lone vector may speak to; none unless its first words only ask."""
    client = CLIENTS.get(argv[0].rpartition("/")[2]) if argv else None
    if client is None:
        return ()
    words = list(argv[1:])
    while words and words[0] in FLAGS:
        del words[0]
    asked = {"-"} if not words else {words[0], ".".join(words[:2])}
    return client.sockets if asked & set(client.asks.split()) else ()


def beside(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the directories a client looks at before it speaks to its daemon."""
    return BESIDE.get(argv[0].rpartition("/")[2], ()) if argv else ()
