"""Names that make the owner's tools run code, left in the workspace, a home or the system."""

import os

from tests.sandbox.escapes.attempt import CONFINED, Attempt, Harm, Places, does, py, sh

NAMES = (
    ".envrc", ".vscode/tasks.json", ".idea/workspace.xml", ".mcp.json", ".claude/settings.json",
    ".cursor/mcp.json", ".codex/config.toml", ".husky/pre-commit", ".github/workflows/x.yml",
    ".gitlab-ci.yml", ".circleci/config.yml", ".pre-commit-config.yaml",
    ".devcontainer/devcontainer.json", ".devcontainer.json", "Jenkinsfile", ".zshrc", ".profile",
    ".permitgate.yaml", ".gitmodules", ".ssh/authorized_keys", "nested/.vscode/tasks.json",
    "new/deep/.envrc", "new\nline/.envrc",
)  # fmt: skip


def left(*names: str) -> Harm:
    """Return whether one of the names is there and can be used, with something evil in it."""

    def check(places: Places, _: object) -> bool:
        paths = [places.ws / name for name in names]
        return any(path.is_file() and "evil" in path.read_text() for path in paths)

    return check


def plant(name: str, text: str, *names: str, **more: object) -> Attempt:
    return does(name, "T09", f"cd {{ws}}\n{text}", left(*names), **more)


CREATED = [
    plant(f"create {name!r}", f"mkdir -p '{name.rpartition('/')[0] or '.'}'; echo evil > '{name}'",
          name, alone=False)
    for name in NAMES
]  # fmt: skip
LONG = """
import os
fd = os.open("{ws}", 0)
for _ in range(22):
    os.mkdir("a" * 200, dir_fd=fd); fd = os.open("a" * 200, 0, dir_fd=fd)
os.write(os.open(".envrc", os.O_CREAT | os.O_WRONLY, dir_fd=fd), b"evil")
"""


def left_deep(places: Places, _: object) -> bool:
    """Return whether something is left where no path reaches."""
    fd = os.open(places.ws, os.O_RDONLY)
    try:
        for _step in range(22):
            below = os.open("a" * 200, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        return ".envrc" in os.listdir(fd)  # noqa: PTH208  # no path is that long
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)


CHANGED = [
    plant("append to a start-up file", "echo evil >> .bashrc", ".bashrc"),
    plant("replace a start-up file", "echo evil > n; mv -f n .bashrc", ".bashrc"),
    plant("remove and write a start-up file", "rm -f .bashrc; echo evil > .bashrc", ".bashrc"),
    plant("write a start-up file through a link", "ln -s .bashrc l; echo evil > l", ".bashrc"),
    plant("exchange a start-up file", """echo evil > n
python3 -c 'import ctypes; ctypes.CDLL(None).renameat2(-100, b".bashrc", -100, b"n", 2)'""",
          ".bashrc"),
    plant("write to a protected directory", "echo evil > nested/.vscode/x.json",
          "nested/.vscode/x.json"),
    plant("move the directory around a protected one",
          "mv nested n; mkdir -p nested/.vscode; echo evil > nested/.vscode/tasks.json",
          "nested/.vscode/tasks.json"),
    plant("replace a protected link", "rm .envrc; ln -s evil .envrc; echo evil > evil", ".envrc"),
    plant("write behind a protected link", "echo evil > dot", "dot"),
    plant("create a name by a hard link", "echo evil > n; ln n .envrc.d; ln n nested/.envrc",
          "nested/.envrc"),
    plant("create a name by renaming", "echo evil > n; mv n nested/.envrc", "nested/.envrc"),
    plant("create a name by a link", "echo evil > n; ln -s ../n nested/.envrc", "nested/.envrc"),
]  # fmt: skip
HIDDEN = [
    plant("turn back the clock", "echo evil > conf/.envrc; touch -d @1000000000 conf",
          "conf/.envrc"),
    plant("leave a directory that cannot be listed",
          "mkdir d; echo evil > d/.envrc; chmod 0311 d", "d/.envrc"),
    plant("leave a workspace that cannot be listed", "echo evil > .mcp.json; chmod 0311 .",
          ".mcp.json"),
    plant("leave a directory that cannot be changed",
          "mkdir d; echo evil > d/.envrc; chmod 0555 d", "d/.envrc"),
    plant("leave a protected name that cannot be moved",
          "mkdir .vscode; echo evil > .vscode/tasks.json; chmod 0555 .vscode",
          ".vscode/tasks.json"),
    plant("leave a protected name with a pipe in it",
          "mkdir .vscode; echo evil > .vscode/tasks.json; mkfifo .vscode/p", ".vscode/tasks.json"),
    does("leave a name too deep to be named", "T09", f"python3 -c '{LONG}'", left_deep),
]  # fmt: skip


def at_home(name: str) -> Attempt:
    """Return an attempt to leave something in the owner's home."""
    text = f"mkdir -p ~/$(dirname {name}); echo evil > ~/{name}"
    return does(f"leave ~/{name}", "T09", text.replace("~", "$HOME"),
                lambda places, _: (places.home / name).exists(), alone=False,
                profiles=CONFINED)  # fmt: skip


ELSEWHERE = [
    *(
        at_home(name)
        for name in (
            ".bash_permitgate_escape", ".config/systemd/user/permitgate-escape.service",
            ".config/autostart/permitgate-escape.desktop", ".local/bin/permitgate-escape",
            ".ssh/permitgate-escape",
        )
    ),
    py("leave something in the system", "T09", """
places = ("/etc/profile.d", "/etc/cron.d", "/var/spool/cron/crontabs", "/etc/systemd/system",
          "/etc/ld.so.conf.d", "/usr/local/bin", "/usr/lib/python3/dist-packages", "/etc/init.d")
return any(os.access(place, os.W_OK) for place in places)
""", only_root=True),
    sh("leave a job for later", "T14",
       "echo true | at now + 1 hour || echo '@daily true' | crontab - || echo true | batch",
       why_not_shown="it would leave one"),
    sh("have the manager start something", "T14",
       "systemd-run --user --no-block true || systemd-run --no-block true",
       why_not_shown="it would start it"),
    py("exchange a program of a toolchain", "T09", """
return any(os.access(entry, os.W_OK) for entry in os.environ["PATH"].split(":"))
""", why_not_shown="a user may have none"),
]  # fmt: skip

ATTEMPTS: list[Attempt] = [*CREATED, *CHANGED, *HIDDEN, *ELSEWHERE]
