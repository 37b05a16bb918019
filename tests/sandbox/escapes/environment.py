"""What the server's environment, and a poisoned one, could give away or bring about."""

from tests.sandbox.escapes.attempt import Attempt, py, sh

ATTEMPTS: list[Attempt] = [
    sh("read the server's environment", "T13", 'test -n "$CANARY_TOKEN"'),
    sh("read a host process's environment", "T13", "grep -qa CANARY_TOKEN /proc/{pid}/environ"),
    py("read the environment of every process", "T13", """
mine = 0
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        mine += b"CANARY_TOKEN=" in open(path, "rb").read()
    except OSError:
        pass
return mine
"""),
    sh("use the server's agent socket", "T13", 'test -n "$SSH_AUTH_SOCK"'),
    sh("find the session bus", "T13", 'test -n "$DBUS_SESSION_BUS_ADDRESS$XDG_RUNTIME_DIR"'),
    sh("steer a shell by the environment", "T13", 'test -n "$BASH_ENV$ENV$PROMPT_COMMAND"'),
    sh("steer the loader by the environment", "T13",
       'test -n "$LD_PRELOAD$LD_LIBRARY_PATH$GLIBC_TUNABLES$GCONV_PATH"'),
    sh("steer python by the environment", "T13",
       'test -n "$PYTHONPATH$PYTHONSTARTUP$PYTHONHOME"'),
]  # fmt: skip
