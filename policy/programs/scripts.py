"""Small scanners for text in other languages: inline code, jq, socat addresses, command lists.

May touch: strings. A scanner says what it is sure of and answers Unknown for the rest: a scanner
that overlooks something is a hole. awk.py, sed.py and sql.py hold three of them.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from policy.programs.awk import awk
from policy.programs.findings import Finding, Runs, Touches, Unknown
from policy.programs.sed import sed
from policy.programs.sql import sql

_STRING = re.compile(
    r"""'''(.*?)'''|\"\"\"(.*?)\"\"\"|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|`([^`]*)`""", re.S
)
_JOINED = re.compile(r"""(?<!\\)"[ ]*[+.]?[ ]*"|(?<!\\)'[ ]*[+.]?[ ]*'""")
_RUBY_COMMAND = re.compile(r"%x[\W_]?([^)}\]>|!]*)")
# From the root or the home, or a name with a dot in it: `.env`, `config/server.key`.
_PATH = re.compile(r"[~/][\w./~*-]*|[\w-]*(?:/[\w.-]+)*\.[\w.-]+|[\w.-]+/[\w./-]+")
_DELETES = re.compile(r"rmtree|rm_rf|rm_r|rmSync|unlink|remove|rmdir|\bdelete\b|\brm\b|\bdel\b")
_WRITES = re.compile(
    r"write|\bopen\s*\([^)]{0,200}['\"][waxr]b?\+?['\"]|>\s*['\"]?/|put_contents|Out-File|chmod|chown"
    r"|symlink|rename|copy|truncate|touch|mkdir"
)
_STARTS = re.compile(r"system|exec|popen|spawn|subprocess|`|run|shell|qx", re.I)
_SOCKETS = re.compile(r"socket|\bconnect\b|fsockopen|inet_aton|/inet/|TCPSocket|net\.", re.I)
_SHELLS = re.compile(r"exec|spawn|popen|system|/bin/|sh\b|dup2")
_FORKS = re.compile(r"(?:\b|_)fork\b")
_EVERYONE = re.compile(r"\bkill\w*\W[^;\n]{0,40}?(?<![\w.])-1\b")
# Tcl needs no quotes around a path.
_TCL_DELETES = re.compile(r"\bfile\s+delete(?:\s+-\w+)*\s+([~/][\w./~*-]*)")
_EDITOR_DELETES = re.compile(r"\bdelete\(|\bdelete-(?:directory|file)\b")
_EVALUATES = re.compile(r"\b(?:exec|eval|system|loadstring|instance_eval)\b|\|\s*(?:ba)?sh\b")
_LOOPS = re.compile(r"\b(?:while|until|loop|for)\b")
# `.env` and `$env` are a field and a variable of the filter's own.
_SECRETS = re.compile(r"\$ENV|(?<![.$])\benv\b|\bstrenv\b|\benvsubst\b")
# What an interpreter is asked about itself, its libraries and the project: where a name is imported
# its code runs, as by `python -m`.
_ABOUT = re.compile(
    r"""\s*(?:
      (?P<imports>(?:import\s+[A-Za-z_][\w.]*(?:\s*,\s*[A-Za-z_][\w.]*)*[ \t]*[;\n]\s*)+)
      print\(\s*(?:[A-Za-z_][\w.]*\.__(?:version|file|path)__
        | sys\.(?:version(?:_info)?|executable|prefix|platform|path|byteorder|maxsize)
        | platform\.[a-z_]+\(\))\s*\)
    | (?:console\.log\(\s*)?process\.(?:versions?|arch|platform|release|execPath)(?:\.\w+)?\s*\)?
    | (?:console\.log\(\s*)?require\(\s*
      ["'](?P<read>(?:\./)?(?:[\w@-][\w@.-]*/)*package\.json)["']\s*\)(?:\.\w+)*\s*\)?
    )\s*;?\s*""",
    re.X,
)
_LONGEST_EDIT = 512
# Substitution, transliteration, printing: no block, no `e` flag, no array or call to interpolate.
_PERL_EDIT = r"""(?:
    s/(?:[^/@{}`\\\n]|\\.|\{\d+(?:,\d*)?\})*/(?:[^/@{}`\\\n]|\\.)*/[gimsxr]*
  | s\|(?:[^|@{}`\\\n]|\\.)*\|(?:[^|@{}`\\\n]|\\.)*\|[gimsxr]*
  | (?:tr|y)/[^/@{}`\\\n]*/[^/@{}`\\\n]*/[cdsr]*
  | print (?:[ ,]+(?:\$_|\$\.|\$F\[-?\d+\]|"[^"@{}`$]*"))*
    (?:[ ](?:if|unless)[ ]/(?:[^/@{}`\\\n]|\\.)*/i?)?
)"""
_PERL_EDITS = re.compile(rf"{_PERL_EDIT}(?:\s*;\s*{_PERL_EDIT})*;?", re.X)
_NAMED = re.compile(r"(?<![\w:/.~*-])[~./][\w./~*-]*[\w*]")
_INCLUDED = re.compile(r"""(?:include\w*!?|import|embed|incbin)\s*(?:\(\s*)?["<']([^">'\n]+)""")
_FROM_FILES = re.compile(r"=[@<]|@|^<")
_MOUNT_SOURCE = re.compile(r"(?:^|,)(?:source|src)=([^,]*)")
_MOUNT_READ_ONLY = re.compile(r"[:,](?:ro|readonly)\b")
_DAEMON_SOCKET = re.compile(r"(?:docker|containerd|podman|crio)\.sock$")
_LOADS = re.compile(r"\b(?:include|import|system|load\w*|exec)\b")


def code(text: str) -> Iterator[Finding]:
    """Read inline code of a general language: Unknown, and what it shows, unless it only asks."""
    about = _ABOUT.fullmatch(text) if len(text) <= _LONGEST_EDIT else None
    if about is None:
        yield Unknown("inline code")
        yield from _calls(text)
        yield from _strings(text)
        return
    if about["imports"]:
        yield Touches("code.exec", ".")
    if about["read"]:
        yield Touches("fs.read", about["read"])


def _calls(text: str) -> Iterator[Finding]:
    """Yield what inline code does by the names of what it calls."""
    if _SOCKETS.search(text) and _SHELLS.search(text):
        yield Touches("code.exec", "<network>")
    if _EVERYONE.search(text):
        yield Touches("proc.signal", "-1")
    if _FORKS.search(text) and _LOOPS.search(text):
        yield Touches("resource.exhaust", "function fork in a loop")
    for match in _TCL_DELETES.finditer(text):
        yield Touches("fs.delete", match[1])
    for match in _RUBY_COMMAND.finditer(text):
        yield Runs(match[1])


def _strings(text: str) -> Iterator[Finding]:
    """Yield what inline code does to the paths and commands in its strings."""
    operation = (
        "fs.delete" if _DELETES.search(text) else "fs.write" if _WRITES.search(text) else "fs.read"
    )
    # Two literals side by side, or joined by an operator, are one to most languages.
    for literal in dict.fromkeys((*_literals(text), *_literals(_JOINED.sub("", text)))):
        yield from _literal(literal, operation, text)


def _literals(text: str) -> Iterator[str]:
    for match in _STRING.finditer(text):
        yield next((group for group in match.groups() if group is not None), "")


def perl(text: str) -> Iterator[Finding]:
    """Read a perl one-liner: edits and prints say nothing, anything else is inline code."""
    if len(text) > _LONGEST_EDIT or not _PERL_EDITS.fullmatch(text.strip()):
        yield from code(text)


def _literal(literal: str, operation: str, text: str) -> Iterator[Finding]:
    literal = literal.lstrip("<>+ ")  # how perl opens a file stands before its name
    if re.match(r"(?:https?|ftp)://", literal):
        yield Touches("net.connect", literal)
        if _EVALUATES.search(text):
            yield Touches("code.exec", "<network>")
    elif _PATH.fullmatch(literal):
        yield Touches(operation, literal)
    elif re.match(r"[a-z][\w./-]*\s+\S", literal) and _STARTS.search(text):
        yield Runs(literal)


def socat(text: str) -> Iterator[Finding]:
    """Read one socat address."""
    kind, _, rest = text.partition(":")
    kind = kind.upper().split(",")[0]
    first = rest.split(",")[0]
    if kind in ("EXEC", "SYSTEM", "SHELL"):
        yield Touches("code.exec", "<network>")
        yield Runs(first.strip("'\"") or "sh")
    elif kind in ("OPEN", "FILE", "GOPEN", "CREATE", "PIPE"):
        yield Touches("fs.read", first)
        yield Touches("fs.write", first)
    elif "LISTEN" in kind or "RECV" in kind:
        yield Touches("net.listen", text)
    elif kind not in ("-", "STDIO", "STDIN", "STDOUT", "STDERR"):
        yield Touches("net.connect", text)


def jq(text: str) -> Iterator[Finding]:
    """Find what jq and yq filters reach beyond their input."""
    bare = re.sub(r'"(?:\\[^(]|[^"\\])*"', '""', text)
    if _SECRETS.search(bare):
        yield Touches("credential.read", "<a variable>")
    for match in re.finditer(r"\bload\w*\(\s*\"([^\"]*)", text):
        yield Touches("fs.read", match[1])
    if _LOADS.search(bare):
        yield Unknown("a filter that loads files")


def bang(text: str) -> Iterator[Finding]:
    """Read text of a program in which `!` starts a shell command, and files are named."""
    for match in _NAMED.finditer(text):
        yield Touches("fs.read", match[0])
    _, mark, after = text.partition("!")
    if mark:
        yield Unknown("a shell command after !")
        yield Runs(after)


def setting(text: str) -> Iterator[Finding]:
    """Read `name=value` where the value is a shell command, perhaps after `!` or `|`."""
    yield Unknown("a setting that runs a command")
    command = text.partition("=")[2].lstrip(" !|")
    if command:
        yield Runs(command)


def mount(text: str) -> Iterator[Finding]:
    """Read what a container is given of the host: `SRC:DST[:ro]` or `source=SRC,target=DST`."""
    named = _MOUNT_SOURCE.search(text)
    source = named[1] if named else text.partition(":")[0]
    if "/" not in source and source[:1] not in ("~", "."):
        return  # the name of a volume
    if _MOUNT_READ_ONLY.search(text):
        yield Touches("fs.read", source)
        return
    yield Touches("fs.write", source)
    yield Touches("fs.delete", source)  # a whole tree, to do anything with
    if _DAEMON_SOCKET.search(source):
        yield Touches("privilege.escalate", "<the container daemon>")


def upload(text: str) -> Iterator[Finding]:
    """Read a form field that may take its value from files: `name=@a,b;type=t`, `name@file`."""
    match = _FROM_FILES.search(text)
    if match:
        for name in text[match.end() :].partition(";")[0].split(","):
            yield Touches("fs.read", name.strip('"'))


def include(text: str) -> Iterator[Finding]:
    """Find the files that a program's text has read into it."""
    for match in _INCLUDED.finditer(text):
        yield Touches("fs.read", match[1])


def paths(text: str) -> Iterator[Finding]:
    """Read a list of commands that nobody models: each path in it may be read."""
    yield Unknown("commands of another program")
    operation = "fs.delete" if _EDITOR_DELETES.search(text) else "fs.read"
    for word in re.findall(r"[\w./~-]+", text):
        if word[0] in "~/." and "/" in word:
            yield Touches(operation, word)


SCANNERS: Mapping[str, Callable[[str], Iterator[Finding]]] = {
    "awk": awk,
    "sed": sed,
    "code": code,
    "socat": socat,
    "jq": jq,
    "paths": paths,
    "perl": perl,
    "bang": bang,
    "include": include,
    "mount": mount,
    "setting": setting,
    "sql": sql,
    "upload": upload,
}
