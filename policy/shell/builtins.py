"""The builtins of bash, and which of their uses run data as shell text.

Bash evaluates strings in more places than `eval`: a subscript in a name given to `read`, `unset`,
`printf -v` or `test -v`; what is assigned to a variable with the integer attribute (`RANDOM`, ...).
A use is understood only when the evaluated string is a plain name. The list is closed: PLAIN
builtins were tried in every position with `a[$(command)]`, the others have a rule here.
Source: Bash Reference Manual §4; bash 5.2 sources (arrayfunc.c, variables.c, builtins/*.def).
"""

import re
from collections.abc import Callable, Iterable

import policy.shell.tree as t

Words = tuple[t.Word, ...]

DECLARATIONS = frozenset({"export", "declare", "typeset", "local", "readonly"})
NUMERIC = frozenset("#?$!")  # special parameters that are always one number
TESTS = frozenset({"[", "test"})
NUMERIC_TESTS = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_PLAIN = frozenset(
    {
        ":", "bg", "break", "builtin", "caller", "cd", "command", "continue", "dirs", "disown",
        "echo", "exec", "exit", "false", "fg", "help", "kill", "logout", "popd", "pushd", "pwd",
        "return", "shift", "suspend", "times", "true", "type", "ulimit", "umask",
    }
)  # fmt: skip
_RUNS_TEXT = frozenset(
    {
        "eval", "trap", "let", "bind", "fc", "compgen", "complete", "compopt", "enable",
    }
)  # fmt: skip
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Assigning evaluates arithmetic (`read RANDOM <<< 'a[$(cmd)]'` runs cmd), fails, or changes how
# this shell reads and expands text.
_NOT_ASSIGNABLE = re.compile(
    r"RANDOM|SRANDOM|SECONDS|LINENO|OPTIND|HISTCMD|EPOCHSECONDS|EPOCHREALTIME|PPID|E?UID|GROUPS"
    r"|DIRSTACK|FUNCNAME|COMP_.*|COPROC|PIPESTATUS|PS[0-4]|POSIXLY_CORRECT|GLOBIGNORE|EXECIGNORE"
    r"|FIGNORE|SHELLOPTS|BASH(?!_ENV$).*|MAILCHECK|PROMPT_COMMAND"
)
_DECLARATION_OPTIONS = re.compile(r"-[axrgpfF]+|\+x")
_SET_OPTIONS = re.compile(r"[-+][euxvCf]*(o?)")
_UNARY = re.compile(r"-[a-hknoprstuvwxzGLNORS]")
_BINARY = frozenset({"=", "==", "!=", "<", ">", "-nt", "-ot", "-ef"}) | NUMERIC_TESTS
_SET_NAMES = frozenset(
    {
        "errexit", "nounset", "pipefail", "xtrace", "noclobber", "noglob",
    }
)  # fmt: skip
_SHOPT_NAMES = frozenset(
    {
        "nullglob", "dotglob", "globstar", "failglob", "nocaseglob", "inherit_errexit",
    }
)  # fmt: skip
_MOST_AFTER_NOT = 2  # of the words after `! x`; a longer test is read by precedence
_DEVICE = re.compile(r"(?:^|/)(?:dev|proc)(?:/|$)")


def names_refusal(names: Iterable[str]) -> str | None:
    """Return why one of the names may not be assigned, or None."""
    bad = next(filter(_NOT_ASSIGNABLE.fullmatch, names), None)
    return f"assigns {bad}" if bad else None


def target_refusal(word: t.Word | None) -> str | None:
    """Return why bash may not take this word as the name of a variable to assign, or None."""
    name = word.literal if word else None
    if name is None or not _IDENTIFIER.fullmatch(name):
        return "computed variable name"
    return names_refusal([name])


def declared_refusal(argument: t.Word | t.Assignment) -> str | None:
    """Return why this argument of a declaration is not understood, or None."""
    if isinstance(argument, t.Assignment):
        return names_refusal([argument.name])
    if argument.literal and _DECLARATION_OPTIONS.fullmatch(argument.literal):
        return None
    return target_refusal(argument)


def program_refusal(words: Words) -> str | None:
    """Return why the builtin that will run is not understood, seen through `command`; or None."""
    behind = False
    while words and words[0].literal in ("command", "builtin"):
        behind, words = True, words[1:]
        option = words[0].literal if words else None
        if option in ("-v", "-V"):
            return None
        words = words[1:] if option in ("-p", "--") else words
        if words and words[0].literal is None:
            return "dynamic word after command or builtin"
    name = words[0].literal if words else None
    if behind and name in DECLARATIONS:
        return "quoted or prefixed declaration"
    rule = RULES.get(name or "")
    return rule(words[1:]) if rule else None


def may_split(word: t.Word) -> bool:
    """Return whether a word may become none or several."""
    return any(map(_may_split, word.parts))


def _may_split(part: t.Part) -> bool:
    match part:
        case t.Variable(name="@") | t.Glob():
            return True
        case t.Variable(name=name, quoted=quoted):
            return not quoted and name not in NUMERIC
        case t.Parameter(operator=operator, quoted=quoted):
            return operator == "[@]" or not (quoted or operator == "length")
        case t.Substitution(quoted=quoted):
            return not quoted
        case _:
            return False


def _lead(word: t.Word) -> str:
    """Return the word's first character, or nothing if that or their number is not known."""
    first = word.parts[0]
    return first.text[:1] if isinstance(first, t.Literal) and not may_split(word) else ""


def _operands(words: Words, flags: str, valued: str) -> Words | None:
    """Return what follows the options; None when an option is unknown or dynamic."""
    rest = list(words)
    while rest:
        lead = _lead(rest[0])
        if not lead:
            return None
        if lead != "-" or rest[0].literal == "-":
            return tuple(rest)
        text = rest.pop(0).literal
        if text == "--":
            break
        needs_value = _cluster(text, flags, valued)
        if needs_value is None or (needs_value and (not rest or may_split(rest.pop(0)))):
            return None
    return tuple(rest)


def _cluster(text: str | None, flags: str, valued: str) -> bool | None:
    """Return whether a cluster of options takes the next word; None if it is not understood."""
    found = re.fullmatch(f"-[{flags}]*(?:([{valued}])(.*))?", text or "", re.S)
    return None if not found else found[1] is not None and not found[2]


def _source(words: Words) -> str | None:
    """Understand a named file: it is a program, and the policy treats it as one."""
    name = words[0].literal if words else None
    return None if name and not _DEVICE.search(name) else "computed file for source"


def _names_after(builtin: str, flags: str, valued: str) -> Callable[[Words], str | None]:
    def rule(words: Words) -> str | None:
        operands = _operands(words, flags, valued)
        if operands is None:
            return f"options of {builtin}"
        return next(filter(None, map(target_refusal, operands)), None)

    return rule


def _printf(words: Words) -> str | None:
    if words and words[0].literal == "-v":
        return target_refusal(words[1] if len(words) > 1 else None) or _printf(words[2:])
    if not words or words[0].literal in ("--", ""):
        return None
    return None if _lead(words[0]) not in ("", "-") else "computed format of printf"


def _getopts(words: Words) -> str | None:
    return target_refusal(words[1] if len(words) > 1 and not may_split(words[0]) else None)


def _operands_only(words: Words) -> str | None:
    """Understand a builtin whose dangerous options (`-p`, `-x`) no word can turn out to be."""
    for word in words:
        first = word.parts[0]
        is_number = isinstance(first, t.Variable) and first.name in NUMERIC and len(word.parts) == 1
        is_operand = word.literal is not None and _lead(word) not in ("", "-")
        if not is_number and not is_operand and word.literal not in ("-l", "-r", "-n", "-f"):
            return "options of a builtin"
    return None


def _history(words: Words) -> str | None:
    """Understand listing; `-r`, `-s`, `-p` and `-w` read, write and expand text."""
    literal = words[0].literal if words else "1"
    return None if literal and literal.isdecimal() else "options of history"


def _set(words: Words) -> str | None:
    rest = [word.literal for word in words]
    while rest:
        text = rest.pop(0)
        if text == "--":
            return None
        named = _SET_OPTIONS.fullmatch(text or "")
        if not named or text in ("-", "+"):
            return "options of set"
        if named[1] and (not rest or rest.pop(0) not in _SET_NAMES):
            return "options of set"
    return None


def _shopt(words: Words) -> str | None:
    if not words:
        return None
    switch, *names = [word.literal for word in words]
    is_known = switch in ("-s", "-u", "-q") and names and _SHOPT_NAMES.issuperset(names)
    return None if is_known else "options of shopt"


def _test(words: Words) -> str | None:
    """Understand `test` in shapes its argument count decides (POSIX), or joined by -a and -o."""
    # A name alone is proven to be a number, or the text is opaque (numbers.py).
    if any(may_split(word) and not split_name(word) for word in words):
        return "unquoted dynamic word in test"
    match literals := [word.literal for word in words]:
        case ["-v" | "-R", _]:
            return target_refusal(words[1])
        case ["!", _, *rest] if not _is_test(literals) and len(rest) <= _MOST_AFTER_NOT:
            return _test(words[1:])
        case _:
            return None if _is_test(literals) or _is_joined(literals) else "form of test"


def split_names(words: Words) -> set[str]:
    """Return the names that `[` splits, perhaps behind `command`: they must be numbers."""
    behind = words and words[0].literal in ("command", "builtin")
    if not any(word.literal in TESTS for word in (words if behind else words[:1])):
        return set()
    return set(filter(None, map(split_name, words)))


def split_name(word: t.Word) -> str | None:
    """Return the name of a word that is `$name`, unquoted, and nothing else."""
    match word.parts:
        case (t.Variable(name=name, quoted=False),) if name.isidentifier():
            return name
        case _:
            return None


def _is_joined(literals: list[str | None]) -> bool:
    """Return whether literal operators that evaluate no name are joined by `-a` or `-o`."""
    rest = list(literals)
    while rest:
        while rest[:1] == ["!"]:
            rest = rest[1:]
        match rest:
            case [_, operator, _, *after] if operator in _BINARY:
                rest = after
            case [str() as operator, _, *after] if _UNARY.fullmatch(operator):
                rest = after if operator not in ("-v", "-R") else [None]
            case _:
                return False
        if not rest:
            return True
        if rest[0] not in ("-a", "-o"):
            return False
        rest = rest[1:]
    return False


def _is_test(literals: list[str | None]) -> bool:
    match literals:
        case [] | [_]:
            return True
        case [str() as operator, _]:
            return bool(_UNARY.fullmatch(operator))
        case [_, operator, _]:
            return operator in _BINARY
        case _:
            return False


RULES: dict[str, Callable[[Words], str | None]] = {
    **dict.fromkeys(_RUNS_TEXT, lambda _: "runs text or code in this shell"),
    **dict.fromkeys(("source", "."), _source),
    **dict.fromkeys(("alias", "unalias"), lambda words: "changes aliases" if words else None),
    **dict.fromkeys(("mapfile", "readarray"), _names_after("mapfile", "t", "dnOsu")),
    **dict.fromkeys(("wait", "jobs", "hash"), _operands_only),
    "read": _names_after("read", "ers", "dinNptu"),
    "unset": _names_after("unset", "vf", "\0"),
    "printf": _printf,
    "getopts": _getopts,
    "history": _history,
    "set": _set,
    "shopt": _shopt,
    "test": _test,
    "[": lambda words: _test(words[:-1]) if words and words[-1].literal == "]" else "form of test",
}
BUILTINS = _PLAIN | DECLARATIONS | frozenset(RULES)
