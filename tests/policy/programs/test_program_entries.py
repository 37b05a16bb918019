"""Every packaged program entry loads, promises little, and leaves no option without a meaning."""

import re
from collections import Counter
from functools import cache
from importlib.resources import files

import pytest
import yaml

from policy.footprint import footprint
from policy.model import Context, Exec
from policy.programs.index import heads, packaged
from policy.programs.spec import NO_COMMAND, STRONG, Spec

pytestmark = pytest.mark.untraced

WORKSPACE = "/home/dev/work"
CONTEXT = Context(workspace=WORKSPACE, home="/home/dev", user="dev", host="builder")
SOURCES = {
    entry.name: entry.read_text(encoding="utf-8")
    for entry in sorted(files("policy.programs").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".yaml")
}


# Reading the files


def test_the_names_found_in_the_text_are_those_of_the_entries():
    programs = packaged()
    described = [(name, source) for source in SOURCES for name in programs.file(source)[1]]
    assert described == [(name, source) for source in SOURCES for name in heads(SOURCES[source])]
    assert [
        name for name, times in Counter(name for name, _ in described).items() if times > 1
    ] == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_opens_with_its_subject_and_its_sources(name):
    card = SOURCES[name].split("\n\n")[0]
    assert all(line.startswith("#") for line in card.splitlines())
    assert re.search(r"\bSources?: ", card)


@cache
def composed(name: str) -> yaml.Node | None:
    return yaml.compose(SOURCES[name], Loader=yaml.SafeLoader)


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_means_the_same_without_the_c_parser(name):
    assert composed(name) is not None


@pytest.mark.parametrize("name", SOURCES)
def test_no_option_is_given_two_meanings(name):
    for options in mappings_called("options", composed(name)):
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


@pytest.mark.parametrize("name", SOURCES)
def test_a_promise_says_above_its_entry_why_it_may_be_made(name):
    lines = SOURCES[name].splitlines()
    for at, line in enumerate(lines):
        if re.search(r"^[^#]*\bunknown: harmless", line):
            head = next(back for back in range(at, -1, -1) if not lines[back].startswith(" "))
            assert lines[head - 1].startswith("# "), f"{name}:{head + 1}"


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


# Patterns


def test_every_name_of_a_sub_command_is_reachable():
    """A pattern behind one that already takes all its words would be dead text."""
    for name in packaged():
        for spec in specs_below(packaged()[name]):
            patterns = [pattern for pattern in spec.commands if pattern != NO_COMMAND]
            assert "*" not in patterns[:-1], f"{name}: nothing after * can match"


def test_what_counts_as_strong_covers_the_roles_that_reach_out():
    assert {"fs.write", "fs.delete", "net.connect", "code.exec", "shell", "command"} <= STRONG
