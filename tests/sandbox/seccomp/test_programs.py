"""Programs people use say under the widest filter what they say without it."""

import shutil
import subprocess
import sys

import pytest

from sandbox import seccomp
from sandbox.seccomp import Calls
from tests.sandbox.seccomp.trial import MACHINE, install

pytestmark = pytest.mark.as_user
READ = seccomp.build(Calls((2, 10), (0,)), MACHINE)
LIVE = seccomp.build(Calls((1, 2, 10), (0,)), MACHINE)
THREADS = """
import multiprocessing, os, signal, socket, sqlite3, subprocess, tempfile, threading
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
threading.Thread(target=print, args=("thread",)).start()
print(multiprocessing.get_context("spawn").Pool(1).map(abs, [-1]), os.pidfd_open(os.getpid()) > 0)
print(subprocess.run(["sh", "-c", "ulimit -n 99; nice true; echo sub"], capture_output=True).stdout)
with tempfile.NamedTemporaryFile() as file, sqlite3.connect(file.name) as base:
    print(base.execute("select 1").fetchall())
os.memfd_create("x"), signal.raise_signal(signal.SIGCONT), os.sched_setaffinity(0, {0})
os.setpriority(os.PRIO_PROCESS, 0, 5), os.copy_file_range, socket.socketpair()
"""
NODE = """
const { Worker, isMainThread } = require('worker_threads'), fs = require('fs');
require('child_process').execFile('echo', ['child'], (e, out) => console.log(e, out));
fs.promises.readFile('/etc/passwd').then(text => console.log(text.length > 0));
new Worker('console.log("worker")', { eval: true });
require('net').createServer().listen(0, '127.0.0.1', function () { this.close(); });
"""
COMPILE = (
    "printf 'int main(void){return 0;}' | gcc -x c -O1 -pipe -o a.out - && ./a.out && echo ran"
)
GIT = """git init -q . && git config user.email a@b && git config user.name a && echo a > a &&
git add a && git commit -q -m a && git gc -q && git status --short && git log --format=%s"""
SHELL = """mkdir -p d/e; chmod 700 d; mkfifo p; ln -s a l; cp -a d f; touch -d 2001-01-01 f;
tar cf t.tar d; tar xf t.tar; mv f g; flock t.tar true; timeout 5 true; nice -n 5 true; sort t.tar |
head -c 0; (sleep 0 & wait $!); ls"""
RUST = """mkdir src && printf 'fn main(){println!("rust");}' > src/main.rs &&
printf '[package]\\nname="a"\\nversion="0.1.0"\\nedition="2021"\\n' > Cargo.toml && cargo -q run"""
TRIED = {
    "python3": [sys.executable, "-c", THREADS],
    "node": ["node", "-e", NODE],
    "java": ["java", "-XX:+UseNUMA", "-XX:TieredStopAtLevel=1", "-version"],
    "gcc": ["sh", "-c", COMPILE],
    "git": ["sh", "-c", GIT],
    "sh": ["sh", "-c", SHELL],
    "cargo": ["sh", "-c", RUST],
    "sqlite3": ["sqlite3", "base", "create table t(a); insert into t values(1); select * from t"],
}


@pytest.mark.parametrize("name", [name for name in TRIED if shutil.which(name)])
def test_programs_work_as_without_the_filter(name, tmp_path):
    said = []
    for program in (b"", LIVE):
        place = tmp_path / ("held" if program else "free")
        place.mkdir()
        ended = subprocess.run(
            TRIED[name],
            cwd=place,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=lambda program=program: program and install(program),
        )
        said.append((ended.returncode, sorted(ended.stdout.splitlines()), ended.stderr))
    assert said[0][0] == 0
    assert said[1] == said[0]
