"""What a command finds in its environment: a fixed base and the entries that were permitted.

Pure. Nothing is inherited from the server but where toolchains are, so no token, socket or option
of its owner leaks.
"""

from sandbox.action import Command
from sandbox.host import HostFacts

FIXED = (
    ("CI", "1"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LANG", "C.UTF-8"),
    ("PAGER", "cat"),
    ("TERM", "dumb"),
    ("TMPDIR", "/tmp"),  # noqa: S108  # private to the command
)
# Each names a file of certificates to some programs; none is read by all of them.
CERTIFICATES = (
    "CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "DENO_CERT", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "npm_config_cafile",
)  # fmt: skip
# These change how bash itself reads and runs the script that was permitted.
STEERING_PREFIXES = ("BASH", "LD_", "SHELLOPTS", "PS4", "GLIBC_TUNABLES")
STEERING = frozenset(
    {
        "CDPATH", "ENV", "EXECIGNORE", "FUNCNEST", "GLOBIGNORE", "HISTFILE", "IFS", "MAILPATH",
        "POSIXLY_CORRECT", "PROMPT_COMMAND", "SHELL", "TIMEFORMAT", "TMOUT",
    }
)  # fmt: skip


def build(host: HostFacts, command: Command) -> dict[str, str]:
    """Return the whole environment of a command; a permitted entry replaces a base one."""
    base = dict(FIXED)
    base |= {"HOME": host.home, "USER": host.user, "LOGNAME": host.user}
    base["PATH"] = ":".join(host.entries(command.profile))
    base |= dict(host.variables)
    base |= _git_identity(host.git_config)
    network = command.profile.network
    if network is not None and network.ca_bundle:
        base |= dict.fromkeys(CERTIFICATES, network.ca_bundle)
    if command.profile.sees_session:
        base["TMPDIR"] = "/var/tmp"  # noqa: S108  # its own; /tmp is there to look at
    return base | dict(command.env)


def steering(entries: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the names among `entries` that a script's own bash may not be given."""
    return tuple(
        name for name, _ in entries if name in STEERING or name.startswith(STEERING_PREFIXES)
    )


def _git_identity(config: tuple[tuple[str, str], ...]) -> dict[str, str]:
    entries = {"GIT_CONFIG_COUNT": str(len(config))} if config else {}
    for index, (key, value) in enumerate(config):
        entries |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return entries
