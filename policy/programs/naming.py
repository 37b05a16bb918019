"""Which program a name means, and what may be said of one that nobody described.

May touch: arguments, places, the names of the described programs. What a described program's
arguments mean is interpret.py's.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from policy.model import Access
from policy.programs.run import Run
from policy.programs.spec import Role, Spec
from policy.programs.words import FETCHED, Argument, Place, Stdin, shown

_SYSTEM = frozenset(
    {
        "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/libexec",
    }
)  # fmt: skip
_PROJECT = frozenset({".venv/bin", "venv/bin", "env/bin", "node_modules/.bin", "vendor/bin"})
_HIDDEN = (
    "rm", "dd", "cat", "sh", "bash", "nc", "mv", "tee", "curl", "wget", "chmod", "chown", "shred",
    "base64", "python3",
)  # fmt: skip
# By what some programs are known that go by no name.
_LOOKS = {
    "rm": re.compile(r"-(?=[a-zA-Z]*r)(?=[a-zA-Z]*f)[a-zA-Z]+\Z|--recursive\Z", re.I),
    "dd": re.compile(r"of="),
    "sh": re.compile(r"-[a-z]*c\Z"),
    "chmod": re.compile(r"0?777\Z"),
}
_MOST_COMMANDS = 4  # that are looked for in the words of an unknown program


def unknown_name(first: Argument, stdin: Stdin) -> list[Access]:
    """Return what can be said of a program whose name is not known."""
    found = [Access("opaque", f"the program's name is not known: {shown(first.text)!r}", "dynamic")]
    if stdin.network or FETCHED in first.text:
        found.append(Access("code.exec", "<network>", "dynamic"))
    return found


def fitting(words: Sequence[Argument]) -> list[str]:
    """Return which dangerous programs a name that is not known may mean.

    They are those that the pattern of a name fits, or that the words after it look like.
    """
    first, *rest = words
    last = first.text.rpartition("/")[2]
    if first.how == "pattern" and any(map(str.isalnum, last)):
        return [name for name in _HIDDEN if fnmatchcase(name, last)]
    looks = ((name, look.match) for name, look in _LOOKS.items())
    return [name for name, match in looks if any(match(word.text) for word in rest)]


def text_written_to(run: Run) -> None:
    """Read what an earlier command wrote to the file that is run, as a shell would."""
    for access in tuple(run.accesses):
        text = run.nested.written(access.resource) if access.operation == "code.exec" else None
        if text is not None:
            run.shell(Argument.of(text))


def read_everything(run: Run, words: Sequence[Argument], programs: Mapping[str, Spec]) -> None:
    """Add all that the words of an unknown program may mean: paths, and commands it may start.

    What is found can only make an answer stricter: an unknown program is never allowed.
    """
    commands = 0
    for at, word in enumerate(words):
        text = word.text
        if text.startswith(("/", "~", "./", "../")):
            run.operation(Role("fs.read"), word)
        if commands < _MOST_COMMANDS and word.how == "exact" and _names_command(text, programs):
            commands += 1
            if " " in text:
                run.shell(word)
            else:
                run.argv(words[at:])


def _names_command(text: str, programs: Mapping[str, Spec]) -> bool:
    """Return whether text begins with the name of a described program."""
    folder, _, name = text.partition(" ")[0].rpartition("/")
    return name in programs and (not folder or folder in _SYSTEM)


def program(word: Argument, place: Place, programs: Mapping[str, Spec]) -> tuple[str, list[Access]]:
    """Return the name to look up, and what its being named by a path adds."""
    text = word.text
    if "/" not in text or text in programs:
        return text, []
    path = place.resolve(word)
    folder, base = posixpath.split(path.text)
    if folder in _SYSTEM:
        return base, []
    if path.how != "exact":
        return text, [Access("opaque", "a program whose folder is not known", "dynamic", base)]
    # A tool of the project's own is its code, and does what its name says besides.
    root = f"{place.context.workspace}/"
    own = folder.removeprefix(root) in _PROJECT
    if base not in programs or own or (path.text.startswith(root) and programs[base].builds):
        return base, [Access("code.exec", path.text, "exact", base)]
    unusual = f"<unknown program {text}, not the usual {base}>"
    return text, [
        Access("code.exec", path.text, "exact", base),
        Access("code.exec", unusual, "dynamic", base),
    ]
