"""Program entries against the option lists that the installed programs print themselves.

An entry may differ from its program in three ways, worst first: it takes a value where the program
takes none (the next file name is hidden from the rules), it takes none where the program does (the
value is read as a file name), or it does not know the option (every use of it asks). Programs are
only ever run with their help option, from the list below, without input.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import pytest

from policy.footprint import footprint
from policy.model import Context, Exec
from policy.programs.index import heads, packaged
from policy.programs.spec import Option, Spec

CONTEXT = Context(workspace="/home/dev/work", home="/home/dev", user="dev", host="builder")
PLACES = "/usr/bin:/bin:/usr/sbin:/sbin"

# Programs whose help option only prints, by the words that ask for it.
HELP = {
    "--help": """
        [ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown cksum comm cp
        csplit cut date df dir dircolors dirname du env expand expr factor fmt fold groups head
        hostid id install join link ln logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl
        nohup nproc numfmt od paste pathchk pinky pr printenv ptx pwd readlink realpath rm rmdir
        runcon seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split
        stat stdbuf stty sum sync tac tail tee timeout touch tr truncate tsort tty uname unexpand
        uniq unlink uptime users vdir wc who whoami
        grep egrep fgrep sed diff diff3 cmp sdiff patch tar gzip gunzip bzip2 xz unxz xzcat zstd
        ar nm objdump readelf size strings strip addr2line c++filt file xargs locate
        jq wget rsync make python3 iconv gettext envsubst ngettext gpg gpgv man apropos whatis
        choom chrt column dmesg fallocate findmnt flock getopt hardlink hexdump ionice ipcs last
        lscpu lsblk lsipc lslocks lslogins lsmem lsns mcookie mesg more mountpoint namei nsenter
        prlimit rename rev runuser script scriptlive scriptreplay setarch setpriv setsid su
        taskset ul unshare uuidgen uuidparse wall whereis utmpdump blkid mount umount losetup
        swapon swapoff free pgrep pidwait pmap skill slabtop tload top vmstat w watch
        dpkg dpkg-deb dpkg-query systemctl journalctl systemd-analyze systemd-cat systemd-cgls
        systemd-cgtop systemd-run loginctl hostnamectl timedatectl localectl networkctl
        resolvectl busctl coredumpctl useradd usermod userdel groupadd groupdel groupmod chage
        gpasswd passwd chpasswd rg fd fdfind fzf sd mlr
    """,
    "--help all": "curl",
}
# Where a help text says something else than its program does.
HELP_IS_WRONG = {
    "a list of defaults": "tar:-b20 tar:-f-",
    "leaves out the value it takes": "file:-P file:--parameter chpasswd:-s chpasswd:--sha-rounds"
        " wget:--hsts-file wget:--max-redirect git-am:--resolvemsg",
    "shows a value that can only be attached":
        "git-rev-list:--abbrev git-rev-list:--no-abbrev git-diff-files:--abbrev"
        " git-diff-index:--abbrev git-diff-tree:--abbrev",
    "stands for a number, or for several names":
        "pr:-COLUMN git-archive:-NUM git-grep:-NUM diff:--LTYPE-line-format"
        " diff:--GTYPE-group-format",
    "prose that begins with an option": "numfmt:-M",
    "a flag here, a value for the long option beside it":
        "systemd-cgtop:-c systemd-cgtop:-i systemd-cgtop:-m systemd-cgtop:-p systemd-cgtop:-t",
    "an action: the words after it are bound as positionals of its mode":
        "dpkg:--listfiles dpkg:-L dpkg:--search dpkg:-S dpkg:-Dh dpkg-deb:--contents dpkg-deb:-c"
        " dpkg-deb:--ctrl-tarfile dpkg-deb:--fsys-tarfile dpkg-deb:--show dpkg-deb:-W dpkg-deb:-S"
        " dpkg-deb:-Z dpkg-query:--control-list dpkg-query:--listfiles dpkg-query:-L"
        " dpkg-query:--search dpkg-query:-S",
    "shows the long option with the value that the short one stands for":
        "ls:-p dir:-p vdir:-p sort:-c sort:-C sort:--check ptx:-O ptx:-T objdump:-EB objdump:-EL"
        " objdump:-WK objdump:-Wk objdump:-WN readelf:-wK readelf:-wk readelf:-wN",
}  # fmt: skip

_SHORT_THEN_LONG = re.compile(r"^(\s*-\S,?) +(?=--)")
_HEAD = re.compile(r"^ {0,14}(?=-)(?P<head>\S.*?)(?:\s*$|\t|  .*)")
_SPLIT = re.compile(r",\s*|\s*\|\s*|\s+(?=-)| or ")
_OPTION = re.compile(r"(?P<name>--?(?:\[no-\])?[A-Za-z0-9?#@](?:[\w-]|\.\d)*)(?P<value>.*)", re.S)
_OPTIONAL = re.compile(r"\[[^\]]*\](?:\.\.\.)?")
_REQUIRED = re.compile(
    r"""=?(?:<[^>]*>|\(\S*\)|"[^"]*"|\{\S*\}|[^\s\[<(.]\S*)(?:\.\.\.)?(?:\[\S*\])?"""
)


# What a help text says


@dataclass(frozen=True, slots=True)
class Listed:
    """An option as a help text shows it: `value` is "", "optional", "required" or "unclear"."""

    name: str
    value: str


def listed(text: str) -> Iterator[Listed]:
    """Yield the options of a GNU-style help text."""
    for line in text.expandtabs().splitlines():
        head = _HEAD.match(_SHORT_THEN_LONG.sub(r"\1 ", line))
        if head is None:
            continue
        parts = [part for part in map(_OPTION.fullmatch, _SPLIT.split(head["head"])) if part]
        values = [value_of(part) for part in parts]
        # `-w, --width=COLUMNS`: the last one shows the value that all of them take.
        last = next((value for value in reversed(values) if value), "")
        for part, value in zip(parts, values, strict=True):
            if not part["name"].endswith("-"):  # `--force-...` stands for many
                yield Listed(part["name"].replace("[no-]", ""), value or last)
            if "[no-]" in part["name"]:
                yield Listed(part["name"].replace("[no-]", "no-"), "")


def value_of(part: re.Match[str]) -> str:
    """Return how an option is followed by a value."""
    text = part["value"].strip()
    if not text or text == "...":
        return ""
    if _OPTIONAL.fullmatch(text):
        return "optional"
    if not _REQUIRED.fullmatch(text) or text[0] in "#.":
        return "unclear"  # prose, or a value that can only be attached
    return "required"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  -a, --all                 show all", {"-a": "", "--all": ""}),
        ("  -w, --width=COLS          set it", {"-w": "required", "--width": "required"}),
        ("      --color[=WHEN]        colors", {"--color": "optional"}),
        ("  -c  --format=FORMAT       as stat", {"-c": "required", "--format": "required"}),
        (" -n, --lines <number>       how many", {"-n": "required", "--lines": "required"}),
        ("    -v, --[no-]verbose      say more", {"-v": "", "--verbose": "", "--no-verbose": ""}),
        ("  -T#                       threads", {"-T": "unclear"}),
        ("  -1 .. -9                  level", {"-1": "unclear", "-9": "unclear"}),
        ("the --terse option is long", {}),
    ],
)
def test_a_line_of_help_is_read_as_a_person_would(line, expected):
    assert {one.name: one.value for one in listed(line)} == expected


# Asking the programs


@cache
def help_texts() -> Mapping[str, str]:
    """Return the help text of every installed program of the list, and of git's own commands."""
    asked = {
        program: (program, *words.split())
        for words, programs in HELP.items()
        for program in programs.split()
        if shutil.which(program, path=PLACES)
    }
    asked |= {f"git {name}": ("git", name, "-h") for name in git_commands()}
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(asked, pool.map(help_text, asked.values()), strict=True))


def git_commands() -> list[str]:
    """Return the commands built into git: `-h` prints their usage before anything is done."""
    if not shutil.which("git", path=PLACES):
        return []
    names = help_text(("git", "--list-cmds=builtins")).split()
    return [name for name in names if spec_of(f"git {name}") is not None]


def help_text(argv: tuple[str, ...]) -> str:
    """Return what a program prints when it is asked for help, without input and for 5 s at most."""
    path = shutil.which(argv[0], path=PLACES) or argv[0]
    run = subprocess.run(
        [path, *argv[1:]], capture_output=True, check=False, timeout=60, cwd="/",
        stdin=subprocess.DEVNULL,
        env={"LC_ALL": "C", "PATH": PLACES, "COLUMNS": "200", "HOME": "/nonexistent"},
    )  # fmt: skip
    return (run.stdout + run.stderr).decode("utf-8", "replace")


# Comparing


SOURCES = {
    entry.name: frozenset(heads(entry.read_text(encoding="utf-8")))
    for entry in sorted(files("policy.programs").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".yaml")
}


def specs_below(spec: Spec) -> Iterator[Spec]:
    yield spec
    for child in (*spec.commands.values(), *spec.modes.values()):
        yield from specs_below(child)


def spec_of(program: str) -> Spec | None:
    name, _, command = program.partition(" ")
    spec = packaged().get(name)
    if spec is None or not command:
        return spec
    return next((s for p, s in spec.commands.items() if fnmatchcase(command, p)), None)


def differences(program: str, text: str) -> Iterator[str]:
    """Yield what the entry of a program says differently from its help text."""
    spec = spec_of(program)
    if spec is None:
        return
    below = list(specs_below(spec))
    wrong = " ".join(HELP_IS_WRONG.values()).split()
    manual = program.replace(" ", "-")  # git log has the page git-log
    found: dict[str, str] = {}
    for one in listed(text):
        same = found.setdefault(one.name, one.value) == one.value
        found[one.name] = one.value if same else "unclear"
    for name, value in sorted(found.items()):
        options = [each.options[name] for each in below if name in each.options]
        if name in ("--help", "--version", "-h") or f"{manual}:{name}" in wrong:
            continue
        if not options and not (name[1:].isdigit() and "-#" in spec.options):
            yield f"{program} {name}: not described"
        elif options and not any(agrees(option, value) for option in options):
            yield f"{program} {name}: takes {value or 'nothing'} there, not here"


def agrees(option: Option, value: str) -> bool:
    """Return whether the entry takes the next word exactly when the program does."""
    takes_next_word = option.takes is not None and not option.takes.optional
    return value == "unclear" or (value == "required") == takes_next_word


@pytest.mark.threat("T02")
@pytest.mark.parametrize("file", SOURCES)
def test_entries_agree_with_the_help_of_installed_programs(file):
    found = [
        line
        for program, text in help_texts().items()
        if program.split()[0] in SOURCES[file]
        for line in differences(program, text)
    ]
    assert found == []


def test_enough_programs_are_compared():
    """Any machine with coreutils, findutils, grep, sed, tar, git and make has as many."""
    compared = {p: len(list(listed(t))) for p, t in help_texts().items() if spec_of(p) is not None}
    assert len(compared) >= 100
    assert sum(compared.values()) >= 1500


# What is not described


@pytest.mark.threat("T02")
@pytest.mark.parametrize("program", ["ls", "grep", "tar", "sort", "git log", "xargs", "make"])
def test_an_option_that_no_entry_describes_asks(program):
    argv = (*program.split(), "--option-of-a-newer-version")
    found = footprint(Exec(command=None, argv=argv, cwd=CONTEXT.workspace), CONTEXT)
    assert "opaque" in {access.operation for access in found.accesses}
