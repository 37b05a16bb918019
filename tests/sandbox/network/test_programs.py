"""Programs as people run them, unchanged: each fetches through the broker and lands what it got."""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.network.conftest import Net, refusals
from tests.sandbox.remote.sshd import SSHD, keygen
from tests.world import HELLO, OTHER4

pytestmark = [pytest.mark.threat("T28"), pytest.mark.untraced]
HTTPS = "https://ok.test"
NODE = "fetch('https://ok.test/').then(r => r.text()).then(t => console.log(t))"
ASYNCIO = """
import asyncio, ssl

async def main():
    reader, writer = await asyncio.open_connection("ok.test", 443, ssl=ssl.create_default_context())
    writer.write(b"GET / HTTP/1.1\\r\\nHost: ok.test\\r\\nConnection: close\\r\\n\\r\\n")
    print(await reader.readuntil(b"0\\n"))

asyncio.run(main())
"""


@pytest.fixture
def online(net: Net) -> Net:
    net.allowed = {"ok.test:*"}
    net.network = replace(net.network, ports=(22, 80, 443))
    return net


@pytest.mark.as_user
@pytest.mark.parametrize(
    "command",
    [
        "curl -sS --http1.1 https://ok.test/ http://ok.test/",
        "wget -q -O - https://ok.test/ http://ok.test/",
        f"node -e {json.dumps(NODE)}; curl -sS http://ok.test/",
        f"python3 - <<'END'\n{ASYNCIO}\nEND\ncurl -sS http://ok.test/",
    ],
    ids=["curl", "wget", "node", "asyncio"],
)
async def test_what_fetches_over_tls_and_without_just_works(online: Net, command: str):
    outcome = await online.run(command)
    said = (outcome.stdout.head + outcome.stderr.head).decode()
    assert said.count(HELLO) == 2, said
    assert not refusals(outcome.contacts)


async def test_both_families_of_addresses_work(online: Net):
    outcome = await online.run("curl -sS -4 http://ok.test/; curl -sS -6 http://ok.test/")
    assert outcome.stdout.head.decode().count(HELLO) == 2


async def test_a_static_program_that_knows_no_proxy_and_asks_the_name_server_itself(online: Net):
    source = Path(__file__).with_name("client.c")
    program = online.rig.workspace / "client"
    subprocess.run(["gcc", "-static", "-o", str(program), str(source)], check=True)  # noqa: ASYNC221
    outcome = await online.run("./client ok.test; ./client other.test")
    assert outcome.stdout.head.decode().count(HELLO) == 1
    assert "no such name" in outcome.stdout.head.decode()
    assert [one.host for one in refusals(outcome.contacts)] == ["other.test"]


async def test_a_program_that_hard_codes_an_address_is_refused_and_told(online: Net):
    outcome = await online.run(f"curl -sS -m5 http://{OTHER4}/")
    (refused,) = refusals(outcome.contacts)
    assert (refused.host, refused.port) == (OTHER4, 80)
    assert online.world.seen() == []


@pytest.mark.threat("T28")
@pytest.mark.parametrize("profile", ["read", "write", "live"])
async def test_no_connection_can_be_handed_to_a_command_without_a_network(net: Net, profile: str):
    # A connection is handed on by a local socket, for which /tmp, the session's, has room.
    opens = "socket.socketpair(); print(1, flush=True); socket.socket(socket.AF_UNIX)"
    outcome = await net.run(f"python3 -c 'import socket; {opens}'", profile)
    assert outcome.stdout.head == b"1\n", outcome
    assert b"Address family not supported" in outcome.stderr.head


async def test_pip_installs_into_the_workspace(online: Net):
    simple = online.world.directory / "files" / "simple" / "tiny"
    simple.mkdir(parents=True, exist_ok=True)
    wheel = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(simple / wheel, "w") as archive:
        archive.writestr("tiny.py", f"print({HELLO!r})\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (simple / "index.html").write_text(f'<a href="/simple/tiny/{wheel}">{wheel}</a>')
    outcome = await online.run(
        "python3 -m venv v && v/bin/pip install -q --disable-pip-version-check --no-cache-dir"
        f" --index-url {HTTPS}/simple tiny && v/bin/python -c 'import tiny'",
        "write",
        wall_s=60,
    )
    assert HELLO in outcome.stdout.head.decode(), outcome
    assert outcome.status == "ok"
    assert list((online.rig.workspace / "v").rglob("tiny.py"))


async def test_npm_installs_into_the_workspace(online: Net):
    files = online.world.directory / "files" / "npm"
    files.mkdir(parents=True, exist_ok=True)
    package = {"name": "tiny", "version": "1.0.0", "main": "index.js"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in (
            ("package.json", json.dumps(package)),
            ("index.js", f"console.log({HELLO!r})"),
        ):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    data = packed.getvalue()
    (files / "tiny.tgz").write_bytes(data)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    dist = {"tarball": f"{HTTPS}/npm/tiny.tgz", "integrity": f"sha512-{digest}"}
    versions = {"1.0.0": {**package, "dist": dist}}
    listing = {"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    (files / "tiny").write_text(json.dumps(listing))
    (online.rig.workspace / "package.json").write_text('{"name": "x", "version": "1.0.0"}')
    outcome = await online.run(
        f"npm install --no-audit --no-fund --registry {HTTPS}/npm tiny"
        " && node -e 'require(\"tiny\")'",
        "write",
        wall_s=60,
    )
    assert HELLO in outcome.stdout.head.decode(), outcome
    assert (online.rig.workspace / "node_modules" / "tiny" / "index.js").exists()


def bare(directory: Path) -> None:
    """Make a bare repository with one commit, to be served as files and by git itself."""
    work = directory.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@a.test", "-C", str(work)]
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    (work / "a.txt").write_text(f"{HELLO}\n")
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-q", "-m", "one"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(directory)], check=True)
    subprocess.run(["git", "-C", str(directory), "update-server-info"], check=True)


async def test_git_clones_and_fetches_over_https(online: Net):
    bare(online.world.directory / "files" / "git")
    outcome = await online.run(
        f"git clone -q {HTTPS}/git r && cat r/a.txt && git -C r fetch -q origin && echo fetched",
        "write",
    )
    assert outcome.stdout.head.decode() == f"{HELLO}\nfetched\n", outcome


def served_by_ssh(net: Net, base: Path) -> "subprocess.Popen[bytes]":
    """Start sshd in the world; what lets a client in is in `base` and in the workspace."""
    assert SSHD is not None
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (net.rig.workspace / "known").write_text(f"ok.test {keygen(base / 'host')}\n")
    (base / "authorized_keys").write_text(keygen(net.rig.workspace / "id") + "\n")
    (base / "config").write_text(
        f"Port 22\nHostKey {base / 'host'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {base / 'authorized_keys'}\nPermitRootLogin yes\n"
    )
    entering = ["nsenter", "--target", str(net.world.process.pid), "--net", "--mount"]
    return subprocess.Popen([*entering, SSHD, "-D", "-e", "-f", str(base / "config")])


@pytest.mark.root_only
async def test_git_clones_over_ssh(online: Net, tmp_path: Path):
    bare(tmp_path / "repository.git")
    sshd = served_by_ssh(online, tmp_path)
    try:
        outcome = await online.run(
            "export GIT_SSH_COMMAND='ssh -i id -o UserKnownHostsFile=known -o BatchMode=yes'; "
            "for i in 1 2 3 4 5 6 7 8 9; do "
            f"git clone -q root@ok.test:{tmp_path / 'repository.git'} r && break; sleep 0.2; "
            "done; cat r/a.txt",
            "write",
        )
    finally:
        sshd.kill()
        sshd.wait()
    assert outcome.stdout.head.decode() == f"{HELLO}\n", outcome
