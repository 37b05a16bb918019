"""A real sshd on loopback with keys and configuration of its own, for tests."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@dataclass(frozen=True)
class Server:
    """Where it listens, whom it lets in, and the known_hosts line that vouches for it."""

    port: int
    user: str
    identity: Path
    known_hosts_line: str
    process: subprocess.Popen[bytes]


def keygen(path: Path, kind: str = "ed25519") -> str:
    """Make a key pair and return its public line without the comment."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], check=True
    )
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def start(base: Path) -> Server:
    """Start sshd; the caller ends `process`."""
    assert SSHD is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    base.mkdir()
    host_key = keygen(base / "host")
    (base / "authorized_keys").write_text(keygen(base / "id") + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (base / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {base / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {base / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        "AllowTcpForwarding yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    with (base / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(base / "config")], stderr=log)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, (base / "log").read_text()
        time.sleep(0.02)
    user = pwd.getpwuid(os.geteuid()).pw_name
    return Server(port, user, base / "id", f"[127.0.0.1]:{port} {host_key}", process)
