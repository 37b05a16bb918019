"""Every packaged program entry loads, promises little, and agrees with the program's own help."""

import re
import shutil
import subprocess
from importlib.resources import files

import pytest
import yaml

from policy.footprint import footprint
from policy.model import Context, Exec
from policy.programs.index import Programs, heads, packaged
from policy.programs.spec import NO_COMMAND, STRONG, Spec

WORKSPACE = "/home/dev/work"
CONTEXT = Context(workspace=WORKSPACE, home="/home/dev", user="dev", host="builder")
SOURCES = {
    entry.name: entry.read_text(encoding="utf-8")
    for entry in sorted(files("policy.programs").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".yaml")
}


# Reading the files


def test_the_names_found_in_the_text_are_those_of_the_entries():
    """All files at once, so that a program described in two of them is an error too."""
    assert set(Programs(SOURCES)) == set(packaged())
    for source, text in SOURCES.items():
        assert sorted(heads(text)) == sorted(Programs({source: text}))


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_opens_with_its_subject_and_its_sources(name):
    card = SOURCES[name].split("\n\n")[0]
    assert all(line.startswith("#") for line in card.splitlines())
    assert re.search(r"^# Sources?: ", card, re.M)


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_means_the_same_without_the_c_parser(name):
    assert yaml.compose(SOURCES[name], Loader=yaml.SafeLoader) is not None


@pytest.mark.parametrize("name", SOURCES)
def test_no_option_is_given_two_meanings(name):
    root = yaml.compose(SOURCES[name], Loader=yaml.SafeLoader)
    for options in mappings_called("options", root):
        names = [word for key, _ in options.value for word in key.value.split()]
        assert sorted(names) == sorted(set(names)), options.start_mark


def mappings_called(word, node):
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == word and isinstance(value, yaml.MappingNode):
                yield value
            yield from mappings_called(word, value)


def test_every_entry_loads():
    programs = packaged()
    assert len(programs) >= 150
    assert all(isinstance(programs[name], Spec) for name in programs)


def test_most_used_programs_are_described():
    assert not [name for name in MOST_USED.split() if name not in packaged()]


MOST_USED = """
    ls cat head tail wc stat du df file tree cp mv rm ln mkdir rmdir touch chmod chown dd tee
    cut sort uniq tr diff patch sed awk jq yq base64 xxd date echo printf seq env xargs find
    grep rg fd git tar gzip xz zstd zip unzip 7z sudo doas su timeout nice nohup time watch
    parallel flock chroot unshare nsenter strace script busybox sh bash dash zsh fish python3
    node ruby perl php lua deno bun java make cmake ninja cargo go gcc clang rustc tsc eslint
    prettier jest vitest mocha pytest tox ruff mypy black pip uv poetry conda npm pnpm yarn npx
    gem bundle composer mvn gradle apt dpkg dnf rpm pacman apk snap brew systemctl service
    journalctl crontab at ps top free lsof ss ip ifconfig netstat uname lscpu lsblk dmesg mount
    umount mkfs fdisk sysctl useradd passwd iptables nft ufw kill pkill reboot curl wget nc
    socat ssh scp sftp rsync dig ping nmap tcpdump docker podman kubectl helm terraform aws
    gcloud az psql mysql sqlite3 redis-cli mongosh vim nano emacs less man openssl gpg gh hg svn
"""


# A promise that nothing unlisted writes, runs or sends


def specs_below(spec):
    yield spec
    for child in (*spec.commands.values(), *spec.modes.values()):
        yield from specs_below(child)


# Programs whose every option was read in the manual and only changes what is printed.
PRINTERS = frozenset({"echo", "printf", "true", "false", "yes", "expr", "factor", ":"})


@pytest.mark.threat("T02")
def test_only_printers_promise_that_their_unlisted_options_are_harmless():
    programs = packaged()
    promised = {name for name in programs if any(s.harmless for s in specs_below(programs[name]))}
    assert promised == PRINTERS


@pytest.mark.threat("T02")
def test_an_unlisted_option_never_vanishes():
    harmless = {"fs.list", "fs.read", "sys.inspect", "proc.inspect", "git.read", "git.write"}
    silent = [
        name
        for name in sorted(packaged().keys() - PRINTERS)
        if operations_of([name, "--an-option-nobody-knows=/x"]) <= harmless
    ]
    assert silent == []


def operations_of(argv):
    found = footprint(Exec(command=None, argv=tuple(argv), cwd=WORKSPACE), CONTEXT)
    return {access.operation for access in found.accesses}


# The program's own help, where it is installed

# Programs whose `--help` only prints. Each takes file names, so that an option wrongly said to take
# a value would hide a file from the rules.
COMPARED = [
    "ls", "cat", "tac", "nl", "head", "tail", "wc", "du", "df", "stat", "od", "sort", "uniq",
    "cut", "paste", "comm", "join", "fold", "fmt", "expand", "unexpand", "split", "csplit", "shuf",
    "base64", "md5sum", "sha256sum", "b2sum", "cksum", "realpath", "readlink", "cp", "mv", "ln",
    "rm", "mkdir", "rmdir", "touch", "truncate", "chmod", "chown", "chgrp", "shred", "tee",
    "install", "mktemp", "grep", "diff", "cmp", "sdiff", "diff3", "patch", "sed", "tar", "gzip",
    "xz", "file", "strings", "nm", "size", "objdump", "readelf", "less",
]  # fmt: skip
PLACES = "/usr/bin:/bin:/usr/local/bin"
_HEAD = re.compile(r"^\s{1,12}(-\w)?(?:, ?|  ?|\|)?(--[a-z][\w-]*)?(\[?=|\[| ?[A-Z<{])?")


def help_of(program):
    path = str(shutil.which(program, path=PLACES))
    run = subprocess.run(
        [path, "--help"], capture_output=True, text=True, check=False, timeout=10,
        stdin=subprocess.DEVNULL, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )  # fmt: skip
    return run.stdout + run.stderr


def options_in(text):
    """Yield every option of a help text with whether it takes a value."""
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head is None or not (head[1] or head[2]):
            continue
        for name in filter(None, (head[1], head[2])):
            yield name, head[3] is not None


@pytest.mark.threat("T02")
@pytest.mark.parametrize("program", [p for p in COMPARED if shutil.which(p, path=PLACES)])
def test_an_option_that_takes_no_value_hides_no_file_name(program):
    spec = packaged()[program]
    found = list(options_in(help_of(program)))
    takes_value = {name for name, takes in found if takes}
    takes_value |= SILENT.get(program, set())
    swallowed = [n for n, _ in found if n not in takes_value and hides_the_next_word(spec, n)]
    assert swallowed == []


# Help texts that leave out the value an option takes.
SILENT = {"file": {"-P", "--parameter"}}


def hides_the_next_word(spec, name):
    option = spec.options.get(name)
    if option is None or option.takes is None or option.takes.optional:
        return False
    return option.takes.name == "text"


def test_options_that_the_help_lists_and_the_entry_lacks_are_few(record_property):
    lacking = {}
    for program in COMPARED:
        if shutil.which(program, path="/usr/bin:/bin:/usr/local/bin") is None:
            continue
        listed = {name for name, _ in options_in(help_of(program))} - {"--help", "--version"}
        missing = sorted(listed - packaged()[program].options.keys())
        if missing:
            lacking[program] = " ".join(missing)
    record_property("options not described (each one asks)", lacking)
    assert sum(len(names.split()) for names in lacking.values()) <= 25, lacking


# Patterns


def test_every_name_of_a_sub_command_is_reachable():
    """A pattern behind one that already takes all its words would be dead text."""
    for name in packaged():
        for spec in specs_below(packaged()[name]):
            patterns = [pattern for pattern in spec.commands if pattern != NO_COMMAND]
            assert "*" not in patterns[:-1], f"{name}: nothing after * can match"


def test_what_counts_as_strong_covers_the_roles_that_reach_out():
    assert {"fs.write", "fs.delete", "net.connect", "code.exec", "shell", "command"} <= STRONG
