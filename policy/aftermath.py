"""What one command of a text leaves for another: files that are then run, links, names of files.

May touch: accesses, arguments, and what trees mention. May not touch: rules.
INVARIANT: accesses are only added. What a command wrote was read by nobody, unless it was made of
the workspace's own files by a tool that runs them (a build, a format, a compiler).
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

import policy.shell.tree as t
from policy.model import PATH_OPERATIONS, Access
from policy.programs.words import HOLE, Argument, Place
from policy.shell.walk import nodes

_WRITES = frozenset({"fs.write", "fs.create"})
_READS = frozenset({"fs.read", "fs.list", "fs.delete"})
_NAMES_FILES = frozenset({"", "touch", "tee", "cp", "mv", "ln", "mkdir"})  # "": a redirection
_CONNECTS = frozenset({"net.connect", "remote.exec"})
# What these write does not show in what they read: it was packed, or comes from the command.
_UNPACKS = frozenset(
    """
    tar gtar bsdtar star unzip 7z 7za 7zr 7zz p7zip cpio ar unar unrar rar cabextract jar gunzip
    uncompress gzip bzip2 bunzip2 xz unxz zstd unzstd lz4 lzip zcat bzcat xzcat zstdcat base64
    base32 basenc xxd uudecode openssl gpg gpg2 age sops ansible-vault patch dpkg dpkg-deb
    sed gsed ssed perl awk gawk mawk nawk ed ex tee sponge dd jq yq
    """.split()  # noqa: SIM905 - a list of names reads better so
)
LINKERS = frozenset({"ln", "cp", "mount", "mv", "rsync"})
_COPIES = re.compile(r"-[A-Za-z]*[arR][A-Za-z]*|--(?:archive|recursive)")
_MOST_LINKS = 8
_MOST_FOLLOWED = 100
_MOST_PATHS = 12
_FILE_OPERATIONS = PATH_OPERATIONS - {"fs.list", "code.exec"}
_MOST_COMMANDS = 6
_PROGRAMS = ("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")
_NO_FILES = ("//", "/dev/", *_PROGRAMS)
# Files that a build or test tool runs without being told their names.
_BUILD_FILE = re.compile(
    r"(?:GNU)?[Mm]akefile|CMakeLists\.txt|package\.json|pyproject\.toml|(?:setup|conftest|tasks)\.py"
    r"|setup\.cfg|tox\.ini|(?:build|settings)\.gradle(?:\.kts)?|build\.(?:rs|xml|zig)|pom\.xml"
    r"|Cargo\.toml|Rakefile|Gemfile|[Jj]ustfile|Taskfile\.ya?ml|G(?:runt|ulp)file\.js|gulpfile\.js"
)
_PIECES = re.compile(r"[\s:;,'\"=(){}<>\[\]@%|&!`]+")
# The names by which the usual secrets go, wherever they lie.
_SECRETIVE = re.compile(
    r"(?:^|/)(?:\.(?:env|ssh|aws|gnupg|kube|netrc|npmrc|pgpass)\b|id_(?:rsa|dsa|ecdsa|ed25519)\b)"
    r"|\.(?:pem|key|p12|pfx|jks|kdbx)$"
)
_COMMAND = re.compile(
    r"(?<![\w.-])(?:rm|shred|dd|chmod|chown|mkfs\.\w+|cat|tee)(?: +[^\s;|&()'\"`<>]+)+"
)


class Step(NamedTuple):
    """The accesses of one command, kept apart to see what one writes and another runs."""

    accesses: tuple[Access, ...]
    connected: bool
    fed_by_network: bool = False


class Link(NamedTuple):
    """A second name for a file, or a second tree of the same files, made by a command."""

    path: str
    target: Argument
    is_copy: bool = False  # what is done to it is not done to the first


# --- files that are written and then run ---------------------------------------------------------


def fresh_code(steps: Sequence[Step], workspace: str) -> list[Access]:
    """Return the code that one command writes and another then runs: its path says nothing."""
    found, unread = list[Access](), set[str]()
    runs = [
        (index, access.resource)
        for index, step in enumerate(steps)
        for access in step.accesses
        if access.operation == "code.exec" and access.resource[:1] != "<"
    ]
    for index, step in enumerate(steps) if runs else ():
        # A folder that is made holds nothing yet.
        written = [
            access
            for access in step.accesses
            if access.operation in _WRITES and access.program != "mkdir"
        ]
        if not written or (not step.connected and _is_own_work(step, workspace, unread)):
            continue
        unread |= {access.resource for access in written}
        for later, path in runs:
            if later != index and (origin := _origin(step, written, path, later > index)):
                found.append(Access("code.exec", origin, "dynamic"))
    return found


def _is_fetched_build(step: Step, written: Sequence[Access], folder: str) -> bool:
    """Return whether a step fetched what builds the project of a folder."""
    names = (one.resource.removeprefix(f"{folder}/") for one in written if one.how == "exact")
    return step.connected and any(map(_BUILD_FILE.fullmatch, names))


def _is_own_work(step: Step, workspace: str, unread: AbstractSet[str]) -> bool:
    """Return whether all that a command wrote was made of the workspace's own files."""
    accesses = step.accesses
    if any(one.operation == "code.exec" and one.resource[:1] != "<" for one in accesses):
        return True
    if any(one.program.partition(" ")[0] in _UNPACKS for one in accesses):
        return False
    read = [one.resource for one in accesses if one.operation in _READS]
    inside = all(f"{path}/".startswith(f"{workspace}/") for path in read)
    return bool(read) and inside and unread.isdisjoint(read)


def _origin(step: Step, written: Sequence[Access], path: str, is_later: bool) -> str:
    """Return what the program at `path` may be, after this step; empty if it is not from there."""
    name = path.rpartition("/")[2]
    if _is_fetched_build(step, written, path):
        return "<network>"
    if any(one.resource == path for one in written):
        return (
            "<network>" if step.connected else f"<unknown program {path}, written by this command>"
        )
    folders = (one.resource.rstrip("/") for one in written if one.operation == "fs.write")
    if not any(path.startswith(f"{folder}/") for folder in folders):
        return ""
    if step.fed_by_network or (step.connected and name in _fetched_names(step)):
        return "<network>"
    if step.connected:
        return f"<unknown program {path}, perhaps fetched by this command>"
    return f"<unknown program {path}, perhaps written by this command>" if is_later else ""


def _fetched_names(step: Step) -> Iterator[str]:
    for access in step.accesses:
        if access.operation in _CONNECTS:
            yield access.resource.partition("?")[0].partition("#")[0].rpartition("/")[2]


def named_options(accesses: Iterable[Access]) -> list[Access]:
    """Return the files that are made under the name of an option: a later `tar c *` obeys it."""
    made = (one for one in accesses if one.operation in _WRITES and one.program in _NAMES_FILES)
    return [
        Access("code.exec", f"<a file by the name of the option {name}>", "exact", one.program)
        for one in made
        if (name := one.resource.rpartition("/")[2])[:1] == "-" and len(name) > 1
    ]


# --- links ---------------------------------------------------------------------------------------


def links_made(words: Sequence[Argument], place: Place) -> Iterator[Link]:
    """Yield what `ln`, `cp -s`, `mount --bind`, `cp -a`, `mv` make, by every name it may get."""
    name = words[0].text.rpartition("/")[2]
    options = [word.text for word in words[1:] if word.text[:1] == "-"]
    operands = [word for word in words[1:] if word.text[:1] != "-"]
    is_link = name == "ln" or (name in ("cp", "mount") and any(map(_makes_links, options)))
    is_copy = name == "mv" or (name != "mount" and any(map(_COPIES.fullmatch, options)))
    is_program = name == "cp" and any(_program(one.text) for one in operands[:1])
    if not (is_link or is_copy or is_program):
        return
    if len(operands) == 1:
        operands.append(Argument("."))
    if any(option[:2] == "-t" or option.startswith("--t") for option in options):
        operands.reverse()
    for target in operands[:-1]:
        for link in _names(target, operands[-1], place):
            yield link if is_link else link._replace(is_copy=True)


def _program(path: str) -> str:
    """Return the name of a program of the system; "" of anything else."""
    folder, _, name = path.rpartition("/")
    return name if f"{folder}/" in _PROGRAMS else ""


def _makes_links(option: str) -> bool:
    short = option[:2] != "--" and "s" in option
    return short or option in ("--symbolic-link", "--bind", "--rbind", "-B", "-R")


def _names(target: Argument, link: Argument, place: Place) -> Iterator[Link]:
    path = place.resolve(link).text
    below = f"{path}/{target.text.rstrip('/').rpartition('/')[2]}"
    for one in (path, below):
        yield Link(one, place.resolve(target))
        if target.text[:1] not in ("/", "~"):
            yield Link(one, place.at(Argument(posixpath.dirname(one))).resolve(target))


def stood_for(program: Argument, place: Place, links: Sequence[Link]) -> list[str]:
    """Return the names of the programs of the system that a name made by the text stands for."""
    path = place.resolve(program).text if "/" in program.text else ""
    names = (_program(link.target.text) for link in links if link.path == path)
    return list(dict.fromkeys(filter(None, names)))


def followed(accesses: Iterable[Access], links: Sequence[Link]) -> list[Access]:
    """Return the accesses that go through a link, on what it stands for."""
    followed_by = list(dict.fromkeys(links))[:_MOST_LINKS]
    found, fresh = dict[Access, None](), list(accesses)
    while fresh and len(found) < _MOST_FOLLOWED:
        through = dict.fromkeys(one for link in followed_by for one in _through(fresh, link))
        fresh = [one for one in through if one not in found]
        found |= dict.fromkeys(fresh)
    return list(found)


def _through(accesses: Iterable[Access], link: Link) -> Iterator[Access]:
    for access in accesses:
        path, operation = access.resource, access.operation
        # Of a copy, the content is what the first one's was; changes to it are its own.
        is_path = operation == "fs.read" if link.is_copy else operation in PATH_OPERATIONS
        is_path = is_path and access.program != "ln"
        if is_path and f"{path}/".startswith(f"{link.path}/"):
            real = link.target.text.rstrip("/") + path[len(link.path) :]
            how = "dynamic" if HOLE in real else access.how
            yield Access(operation, real or "/", how, access.program)


# --- paths that are not known --------------------------------------------------------------------


def meant(
    accesses: Sequence[Access], trees: Sequence[t.Sequence], place: Place, text: str
) -> list[Access]:
    """Return what a path or code that is not known may be: what the text mentions, what it lists.

    It is a possibility, never a permission: the unknown access stays.
    """
    unknown = {one.operation: one for one in accesses if one.resource[:1] == HOLE}
    touched = [one for one in unknown.values() if one.operation in _FILE_OPERATIONS]
    if has_unread_code(accesses):
        touched.append(Access("fs.read", "", program="<unread code>"))
    if not touched:
        return []
    paths = dict.fromkeys(
        one for piece in (*_mentioned(trees), *_PIECES.split(text)) for one in _path(piece, place)
    )
    for one in accesses:
        if one.operation == "fs.list" and one.resource[:1] != HOLE:
            listed = Argument(f"{one.resource.rstrip('/')}/{HOLE}", "pattern")
            paths[listed if one.how == "exact" else Argument(one.resource, one.how)] = None
    own = f"{place.context.workspace}/"
    outside = [
        path
        for path in paths
        if _SECRETIVE.search(path.text) or not f"{path.text}/".startswith(own)
    ]
    return [
        Access(one.operation, path.text, path.how, one.program)
        for one in touched
        for path in outside[:_MOST_PATHS]
    ]


def is_doubtful(accesses: Iterable[Access]) -> bool:
    """Return whether a path is not known, or something runs that nobody read here."""
    for one in accesses:
        operation, first = one.operation, one.resource[:1]
        if first == HOLE or operation == "opaque" or (first == "<" and operation == "code.exec"):
            return True
    return False


def has_unread_code(accesses: Iterable[Access]) -> bool:
    """Return whether something runs that nobody read here."""
    return any(
        one.operation == "opaque" or (one.operation == "code.exec" and one.resource[:1] == "<")
        for one in accesses
    )


def _mentioned(trees: Sequence[t.Sequence]) -> Iterator[str]:
    for node in nodes(tuple(trees)):
        match node:
            case t.Literal(text=text) | t.Parameter(operand=text):
                yield from _PIECES.split(text)
            case t.Word(parts=(t.Tilde(user=user), t.Literal(text=text), *_)):
                yield f"~{user}{text}"
            case t.Word(parts=(t.Variable(name="HOME"), t.Literal(text=text), *_)):
                yield f"~{text}"
            case _:
                continue


def _path(piece: str, place: Place) -> Iterator[Argument]:
    is_path = piece[:1] in ("/", "~") and len(piece) > 1
    if (is_path and not piece.startswith(_NO_FILES)) or _SECRETIVE.search(piece):
        yield place.resolve(Argument(piece))


def commands_in(trees: Sequence[t.Sequence]) -> Iterator[list[Argument]]:
    """Yield what reads like a dangerous command in the texts that other programs are given."""
    texts = (node.text for node in nodes(tuple(trees)) if isinstance(node, t.Literal))
    found = (match for text in texts if " " in text for match in _COMMAND.finditer(text))
    for match in islice(found, _MOST_COMMANDS):
        yield [Argument(word) for word in match[0].split()]
