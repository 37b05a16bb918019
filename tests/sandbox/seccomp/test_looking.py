"""Programs that look at the host, under the filter that is their only layer."""

import errno
import os
import resource
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from sandbox import bpf, seccomp
from tests.sandbox.seccomp.cases import AMONG_OTHERS, BY_ARGUMENT, MISSING, ON_THE_HOST, REFUSED
from tests.sandbox.seccomp.trial import MACHINE, MARK, Filter, asked, install, marked, number

pytestmark = [pytest.mark.as_user, pytest.mark.threat("T12")]
PROGRAM = seccomp.looking_only(MACHINE)
# Not in the tables, since nothing that is listed there is near them; x86_64 alone has them all.
CHANGES = {"rename": 82, "unlink": 87, "mkdir": 83, "rmdir": 84, "link": 86, "symlink": 88,
           "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "mkdirat": 258,
           "ftruncate": 77, "fallocate": 285, "sync": 162, "pwrite64": 18, "copy_file_range": 326,
           "sendfile": 40, "execve": 59}  # fmt: skip


def look(words: list[str], *, is_held: bool = True) -> tuple[int, str, str]:
    """Return exit status, output and errors of a program executed by its descriptor."""
    found = shutil.which(words[0], path="/usr/bin:/bin:/usr/sbin:/sbin")
    assert found, f"{words[0]} is needed: install lsof, psmisc and iproute2"
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        program = os.open(found, os.O_PATH | os.O_CLOEXEC)
        for ours, theirs in ((os.open(os.devnull, os.O_RDONLY), 0), (out_end, 1), (err_end, 2)):
            os.dup2(ours, theirs)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        if is_held:
            install(PROGRAM)
        os.execve(program, words, {"PATH": "/usr/bin:/usr/sbin", "LC_ALL": "C"})
    os.close(out_end)
    os.close(err_end)
    with os.fdopen(out) as output, os.fdopen(err) as errors:
        said = output.read(), errors.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *said


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "command",
    ["ss -H -tlnp sport = :{port}", "ss -H -tlnpe sport = :{port}", "ss -H -tlnpmi sport = :{port}",
     "lsof -nP -iTCP:{port}", "lsof {file}", "lsof -nP -p {pid} -a -d 0-2,txt",
     "fuser -v -n tcp {port}", "fuser {file}", "df --output=source,fstype,target", "mount",
     "findmnt -rn", "lsblk -rn"],
)  # fmt: skip
def test_what_they_say_is_what_they_say_without_the_filter(command, port, tmp_path):
    (tmp_path / "open").write_text("")
    with (tmp_path / "open").open() as file:
        words = command.format(port=port, file=file.name, pid=os.getpid()).split()
        held, free = look(words), look(words, is_held=False)
    assert held[:2] == free[:2]
    assert held[0] == 0
    assert str(os.getpid()) in held[1] or words[0] in ("df", "mount", "findmnt", "lsblk")


def test_they_end_no_process_and_write_no_file(tmp_path):
    victim = subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path)
    status, _, said = look(["fuser", "-k", "-v", str(tmp_path)])
    assert (status, victim.poll()) == (1, None)
    assert "Operation not permitted" in said
    victim.kill()
    victim.wait()
    status, _, said = look(["bash", "-c", "echo written > written; /bin/true"])
    assert status != 0
    assert said.count("Read-only file system") >= 2
    assert not Path("written").exists()


def test_what_the_deny_list_refuses_is_refused_here_too():
    allowed = {"renameat2", "name_to_handle_at"}  # the one by no argument, the other is a look
    cases = [*REFUSED, *MISSING, *BY_ARGUMENT, *AMONG_OTHERS, *ON_THE_HOST]
    cases = [each for each in cases if number(each.name) is not None and each.name not in allowed]
    answers = asked(marked(PROGRAM), [(number(each.name) or 0, *each.arguments) for each in cases])
    assert [str(c) for c, answer in zip(cases, answers, strict=True) if answer < MARK] == []


@pytest.mark.skipif(MACHINE != "x86_64", reason="numbers of x86_64")
def test_calls_that_change_files_find_a_read_only_world():
    answers = asked(marked(PROGRAM), [(each, -1, 1, -1, 1, -1) for each in CHANGES.values()])
    assert dict(zip(CHANGES, answers, strict=True)) == dict.fromkeys(CHANGES, errno.EROFS + MARK)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("openat", (0, 1, os.O_RDONLY | os.O_CLOEXEC), 0), ("openat", (0, 1, os.O_RDWR), 0),
        ("openat", (0, 1, os.O_WRONLY), errno.EROFS), ("openat", (0, 1, 3), errno.EROFS),
        ("openat", (0, 1, os.O_RDWR | os.O_APPEND), errno.EROFS),
        ("openat", (0, 1, os.O_RDONLY | os.O_TRUNC), errno.EROFS),
        ("openat", (0, 1, os.O_RDONLY | os.O_CREAT), errno.EROFS),
        ("openat", (0, 1, os.O_RDWR | os.O_TMPFILE), errno.EROFS),
        ("openat", (0, 1, os.O_RDWR | os.O_CLOEXEC), errno.EROFS),
        ("mmap", (0, 1, 1, 2, 3), 0), ("mmap", (0, 1, 1, 1, 3), errno.EPERM),
        ("mmap", (0, 1, 1, 3, 3), errno.EPERM), ("connect", (3, 1, 16), errno.EPERM),
        ("bind", (3, 1, 12), 0), ("bind", (3, 1, 16), errno.EPERM),
        ("sendto", (3, 1, 1, 0, 0, 0), 0), ("sendto", (3, 1, 1, 0, 1, 16), errno.EPERM),
        ("sendto", (3, 1, 1, 0, 1, 28), errno.EPERM), ("sendto", (3, 1, 1, 0, 1, 12), 0),
        ("socket", (16, 3, 4), 0), ("socket", (16, 3, 9), errno.EPERM),
        ("socket", (1, 1, 0), errno.EAFNOSUPPORT), ("socket", (2, 1, 0), errno.EPERM),
        ("socket", (10, 2, 0), errno.EAFNOSUPPORT), ("socket", (2, 2, 0), 0),
        ("fcntl", (3, 2, 1), 0), ("fcntl", (3, 1024, 1), errno.EPERM),
        ("ioctl", (3, 0x5413), 0), ("ioctl", (3, 0x5412), errno.ENOTTY),
        ("prlimit64", (0, 7, 0, 1), 0), ("prlimit64", (1, 7, 0, 1), errno.EPERM),
        ("clone", (0x01200011,), 0), ("clone3", (1, 88), errno.ENOSYS),
        ("openat2", (0, 1, 1, 24), errno.ENOSYS), ("execveat", (3, 1, 1, 1, 0x1000), 0),
        ("kill", (1, 0), errno.EPERM), ("file_setattr", (0, 1, 1, 24), errno.ENOSYS),
    ],
)  # fmt: skip
def test_arguments_tell_looking_from_changing(machine, name, arguments, answer):
    program = Filter(seccomp.looking_only(machine))
    answered = program.answer(seccomp.AUDIT_ARCH[machine], number(name, machine) or 0, *arguments)
    assert answered == (bpf.ERRNO | answer if answer else bpf.ALLOW)
