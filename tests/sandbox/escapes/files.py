"""Reads and writes of files: outside the workspace, and of what policy denies inside it.

`.env` in {ws} and in {ws}/conf is denied, and so is every .pem below a directory `secrets`.
"""

from tests.sandbox.escapes.attempt import CONFINED, WRITES, Attempt, does, py, sh

ONE = "process 1 may live in another tree"


def leaked(text: str) -> str:
    return f"{text} | grep -q canary"


OUTSIDE = [
    sh("read a file outside", "T10", "grep -q canary {out}/secret"),
    sh("read outside through a link", "T10",
       "ln -sfn {out}/secret $TMPDIR/lnk$$ && grep -q canary $TMPDIR/lnk$$"),
    sh("read outside through /proc/self/root", "T10", "grep -q canary /proc/self/root{out}/secret"),
    sh("read outside through process 1", "T10", "grep -q canary /proc/1/root{out}/secret",
       why_not_shown=ONE),
    sh("read outside through the directories of others", "T10",
       leaked("cat /proc/[0-9]*/cwd/secret /proc/[0-9]*/root{out}/secret")),
    sh("climb out with ..", "T10", "cd {ws} && grep -q canary ../out/secret"),
    sh("list outside", "T10", "ls {out} | grep -q secret"),
    sh("read the password hashes", "T10", "head -c 1 /etc/shadow | grep -q .", only_root=True),
    sh("read a host key", "T10", leaked("sed s/PRIVATE/canary/ /etc/ssh/ssh_host_*_key"),
       only_root=True, why_not_shown="not every host has one"),
    sh("append outside", "T09", "echo pwn >> {out}/victim"),
    sh("append outside through a link", "T09",
       "ln -sfn {out}/victim $TMPDIR/l$$ && echo pwn >> $TMPDIR/l$$"),
    sh("truncate outside", "T09", "truncate -s 0 {out}/victim"),
    sh("delete outside", "T09", "rm {out}/victim", alone=True),
    sh("change a mode outside", "T09", "chmod 777 {out}/victim"),
    sh("change times outside", "T09", "test -e {out}/victim && touch -d 2001-01-01 {out}/victim"),
    py("change an owner outside", "T09",
       'os.chown("{out}/victim", os.getuid(), os.getgid()); return True'),
    py("change an attribute outside", "T09",
       'os.setxattr("{out}/victim", "user.pwn", b"x"); return True'),
    sh("hard-link outside into the workspace", "T09", "ln {out}/victim {ws}/hard"),
    sh("rename into the outside", "T09", "touch {ws}/m$$ && mv {ws}/m$$ {out}/m"),
    sh("rename out of the outside", "T09", "mv {out}/victim {ws}/v$$", alone=True),
    sh("create outside", "T09", "mkdir {out}/new"),
    py("write to the system", "T09", """
return any(os.access(path, os.W_OK) for path in ("/usr/bin", "/etc/passwd", "/etc/ld.so.cache"))
""", only_root=True),
    py("name a file by a handle", "T10", """
struct.pack_into("I", BUFFER, 0, 128)
return call("name_to_handle_at", -100, b"{ws}", BUFFER, ctypes.byref(ctypes.c_int()), 0) == 0
"""),
    py("open a file by a handle", "T10", """
struct.pack_into("I", BUFFER, 0, 128)
call("name_to_handle_at", -100, b"{out}/secret", BUFFER, ctypes.byref(ctypes.c_int()), 0)
return b"canary" in os.read(call("open_by_handle_at", os.open("{out}", 0), BUFFER, 0), 99)
""", only_root=True),
    py("open below another root", "T10", """
struct.pack_into("QQQ", BUFFER, 0, 0, 0, 0)
return b"canary" in os.read(call("openat2", -100, b"{out}/secret", BUFFER, 24), 99)
"""),
    py("swap a directory for a link while it is written", "T09", """
os.makedirs("{ws}/d"); open("{ws}/d/victim", "w").close(); os.symlink("{out}", "{ws}/l")
for _ in range(400):
    call("renameat2", -100, b"{ws}/d", -100, b"{ws}/l", 2)
    try:
        open("{ws}/d/victim", "a").write("pwn")
    except OSError:
        pass
return "pwn" in open("{out}/victim").read()
""", profiles=WRITES),
]  # fmt: skip

DENIED = [
    sh("read what is denied", "T10", "grep -q canary {ws}/.env"),
    sh("read what is denied by a pattern", "T10", leaked("cat {ws}/.[e]nv")),
    sh("search a tree with something denied", "T10", leaked("grep -r canary {ws}")),
    sh("pack a tree with something denied", "T10", leaked("tar -C {ws} -cf - conf")),
    sh("copy a tree with something denied", "T10",
       leaked("cp -r {ws}/conf $TMPDIR/conf$$; cat $TMPDIR/conf$$/.env"), profiles=CONFINED),
    sh("read what is denied through a link", "T10",
       leaked("ln -s {ws}/.env $TMPDIR/e$$; cat $TMPDIR/e$$"), profiles=CONFINED),
    sh("read what is denied through a hard link", "T10",
       leaked("ln {ws}/.env {ws}/e$$; cat {ws}/e$$"), profiles=WRITES),
    sh("compare with what is denied", "T10",
       leaked("git diff --no-index /dev/null {ws}/.env")),
    sh("run what is denied", "T10", leaked("bash {ws}/.env 2>&1")),
    sh("read what is denied through process 1", "T10", leaked("cat /proc/1/root{ws}/.env"),
       why_not_shown=ONE),
    sh("move what is denied", "T10", leaked("mv {ws}/.env {ws}/m$$; cat {ws}/m$$"),
       profiles=WRITES, alone=True),
    sh("move the directory of what is denied", "T10",
       leaked("mv {ws}/conf {ws}/c$$; cat {ws}/c$$/.env"), profiles=WRITES, alone=True),
    sh("write to what is denied", "T09", "echo x >> {ws}/.env", alone=True),
    sh("uncover what is denied", "T10", leaked("umount -l {ws}/.env; cat {ws}/.env"),
       why_not_shown="nothing is covered there"),
    py("open what is denied from its directory", "T10", """
top = os.open("{ws}/conf", os.O_PATH)
return b"canary" in os.read(os.open(".env", 0, dir_fd=top), 99)
"""),
    py("map what is denied", "T10", """
return b"canary" in mmap.mmap(os.open("{ws}/.env", 0), 0, prot=1)[:]
"""),
    py("splice what is denied", "T10", """
out = os.memfd_create("x"); os.sendfile(out, os.open("{ws}/.env", 0), 0, 99)
return b"canary" in os.pread(out, 99, 0)
"""),
]  # fmt: skip

READ = "grep -rqs canary {ws}/gone && echo ESCAPED"
DEEP = """
import os
fd = os.open("{ws}", 0)
for _ in range(22):
    os.mkdir("a" * 200, dir_fd=fd); fd = os.open("a" * 200, 0, dir_fd=fd)
os.rename("{ws}/conf", "conf", dst_dir_fd=fd)
"""


def later(name: str, text: str, then: str, **more: object) -> Attempt:
    """Return an attempt of two commands: one prepares, the next one reads."""
    return does(name, "T10", text, lambda *_: False, then=then, **more)


LATER = [
    later("move a directory, then read what was denied in it", "mv {ws}/conf {ws}/gone", READ),
    later("rename what a rule speaks of", "mv {ws}/secrets {ws}/gone", READ),
    later("move a directory and turn back the clock",
          "mv {ws}/conf {ws}/gone; touch -d @1000000000 {ws} {ws}/gone", READ),
    later("hide a directory from whoever lists it", "mv {ws}/conf {ws}/gone; chmod 0311 {ws}/gone",
          "grep -q canary {ws}/gone/.env && echo ESCAPED"),
    later("hide the workspace from whoever lists it", "chmod 0311 {ws}",
          "grep -q canary {ws}/.env && echo ESCAPED"),
    later("move a directory too deep to be named", f"python3 -c '{DEEP}'",
          "cd {ws}; for i in $(seq 22); do cd a*; done; grep -q canary conf/.env && echo ESCAPED"),
    later("have the outside shown as a toolchain",
          "mkdir -p {ws}/.venv/bin; ln -s {out}/python {ws}/.venv/bin/python",
          "grep -q canary {out}/secret && echo ESCAPED"),
    later("leave a link where the next command looks",
          "ln -s {out} {ws}/sub; ln -s {out} $TMPDIR/sub",
          "grep -q canary {ws}/sub/secret $TMPDIR/sub/secret && echo ESCAPED"),
]  # fmt: skip

ATTEMPTS = [*OUTSIDE, *DENIED, *LATER]
