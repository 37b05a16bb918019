"""From one argument vector to its accesses, guided by the program's spec.

May touch: argument vectors and specs. May not touch: shell syntax, rules.
INVARIANT: what is not understood becomes an access too (`opaque`, or `code.exec` on something
written <in brackets>); no word of the command is dropped because nobody expected it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from policy.model import Access
from policy.programs.arguments import A_WORD, Line, Used, bind, by_glob, meanings, sort
from policy.programs.naming import fitting, program, read_everything, text_written_to, unknown_name
from policy.programs.run import Run
from policy.programs.spec import NO_COMMAND, Role, Spec
from policy.programs.touching import Nested
from policy.programs.words import HOLE, Argument, Place, Stdin, shown

_REPOSITORY = {"git.read": "fs.read", "git.write": "fs.write", "git.history": "fs.write"}
# With these, what find and its kind print is not the names they found.
_PRINTS_OTHER = frozenset({"-printf", "-ls", "-exec", "-execdir", "-ok", "-okdir"})
# With these, find looks only for some of what is below.
_LIMITS = frozenset(
    """
    -mtime -mmin -ctime -cmin -atime -amin -newer -anewer -cnewer -newermt -user -group -uid -gid
    -nouser -nogroup -size -empty -perm -regex -iregex -inum -links
    """.split()  # noqa: SIM905 - a list of names reads better so
)
_TEXT_AND_WORDS = ["shell", "rest"]  # as of `sh -c`: what follows is what the text is given
_LONGEST_NAME = 64  # of an option that a program really has
# What no unlisted option may be called, whatever the spec promises: it sounds like writing,
# running or sending.
_SUSPICIOUS = re.compile(
    r"--?(?!-?no-)(?:[\w-]*-)?(?:out|output|outfile|write|exec|execute|run|dump|export|import"
    r"|config|rc|rcfile|plugin|plugins|module|command|cmd|pager|script|shell|save|load|edit|kill"
    r"|upload|send|post|server|listen|webserver|program|hook|hooks|preprocessor|engine|provider"
    r"|daemon|install|logfile|log-file|set|del|delete|remove|clear|flush|reset|external|remote"
    r"|url|proxy|db|target|filters|signature|lost-found|off|disable|enable|file|dir|directory"
    r"|in-place|inplace|fix|apply|update|init|unlink|move|editor|browser|tool|wrapper|to-command"
    r"|eval|agent|extension|library|preload|include-file|rules|template|pidfile|socket|bind)"
    r"(?:[-=]\w+)*|-[oOwW]"
)


def interpret(
    words: Sequence[Argument],
    place: Place,
    stdin: Stdin,
    programs: Mapping[str, Spec],
    nested: Nested,
) -> list[Access]:
    """Return every access of running `words` (at least one), in the order found."""
    first = words[0]
    if first.how != "exact" or first.several or not first.text:
        found = unknown_name(first, stdin)
        for name in fitting(words):
            found += interpret([Argument(name), *words[1:]], place, stdin, programs, nested)
        return found
    name, accesses = program(first, place, programs)
    if first.computed:
        accesses.append(Access("opaque", "a program named by a command's output", "dynamic", name))
    run = Run(name, place, stdin, nested, accesses)
    text_written_to(run)
    if name not in programs:
        _undescribed(run, words, programs)
        return accesses
    spec = programs[name]
    run.reads = spec.stdin or run.reads
    if not _asks_for_help(words[1:]):
        _read(run, spec, words[1:])
        _in_repository(run)
    return run.settle() if run.unnamed else accesses


def _undescribed(run: Run, words: Sequence[Argument], programs: Mapping[str, Spec]) -> None:
    if _asks_who_it_is(words) and not (run.accesses or run.stdin.network):
        return
    if run.stdin.network:
        run.add("code.exec", "<network>")
    if not any(access.operation == "code.exec" for access in run.accesses):
        run.add("code.exec", f"<unknown program {run.program}>")
    read_everything(run, words[1:], programs)


def _in_repository(run: Run) -> None:
    """Say where a repository is read or changed that is not the workspace's."""
    cwd, own = run.place.cwd, run.place.context.workspace
    if f"{cwd}/".startswith(f"{own}/"):
        return
    for operation in {one.operation for one in run.accesses} & _REPOSITORY.keys():
        run.accesses.append(Access(_REPOSITORY[operation], cwd, run.place.how, run.program))


def _asks_for_help(words: Sequence[Argument]) -> bool:
    return len(words) == 1 and words[0].text in ("--help", "--version")


def _asks_who_it_is(words: Sequence[Argument]) -> bool:
    """Return whether a program on the path is asked for nothing but its version or its help."""
    first, *rest = words
    asks = _asks_for_help(rest) or [word.text for word in rest] == ["-version"]
    return asks and "/" not in first.text


# The argument, step by step:
#   1 sort the words into options, positionals, sub-command and rest
#   2 the options that were used choose the modes
#   3 each mode (or the spec itself) says what options and positionals mean
#   4 the sub-command reads what is left


def _read(run: Run, spec: Spec, words: Sequence[Argument]) -> None:
    line = sort(spec, words)  # 1
    modes = _modes(spec, line) if spec.modes else []  # 2
    run.starts = _starts(spec, line) if spec.finds else line.words
    run.limited = spec.finds and any(used.name in _LIMITS for used in line.used)
    for meaning in modes or [spec]:  # 3
        _meaning(run, spec, meaning, line)
    if spec.finds and spec.lists and not any(used.name in _PRINTS_OTHER for used in line.used):
        for file in run.found_files():
            run.operation(Role("fs.list"), file)
    if spec.commands and not modes:  # 4
        _command(run, spec, line)


def _starts(spec: Spec, line: Line) -> list[Argument]:
    """Return the files and folders that are looked through, without what is looked for."""
    pairs = bind(spec.args or (), line.words)
    return [
        word
        for role, word in pairs
        if role is not None and role.name in ("fs.list", "fs.read") and isinstance(word, Argument)
    ]


def _modes(spec: Spec, line: Line) -> list[Spec]:
    named = {used.option.mode: None for used in line.used if used.option.mode in spec.modes}
    together = "+".join(sorted(mode for mode in named if mode is not None))
    chosen = [together] if together in spec.modes else named
    modes = [spec.modes[mode] for mode in chosen if mode is not None]
    return [*modes, spec] if modes and line.doubtful else modes


def _meaning(run: Run, spec: Spec, mode: Spec, line: Line) -> None:
    # INVARIANT: what standard input adds is known before the command that it is added to.
    if mode.stdin is not None and mode.stdin.name == "words":
        run.standard_input(mode.stdin)
    run.builds = mode.builds
    used = line.used if mode is spec else [two for one in line.used for two in _in_mode(mode, one)]
    # A directory counts for every path after it, a placeholder or a name for the command.
    for one in sorted(used, key=_order) if len(used) > 1 else used:
        _used(run, mode, one)
    for does in mode.does:
        run.does(does)
    for word in line.unknown:
        _unknown_option(run, mode, word)
    for _ in line.maybe_options:
        run.add(
            "opaque",
            f"a word that is not known may be an option of {run.program}; put -- or ./ before it",
        )
    roles = mode.args if mode.args is not None else spec.args or ()
    bound = _positionals(run, roles, line, mode.stdin)
    waits = mode.stdin is not None and mode.stdin.name != "words" and not bound
    starts = any(one.option.takes is not None and one.option.takes.starts for one in used)
    if mode.stdin is not None and waits and not starts:
        run.standard_input(mode.stdin)


def _in_mode(mode: Spec, used: Used) -> Iterable[Used]:
    """Return what an option, or a word, means in a mode that describes it again."""
    if isinstance(used.value, Argument) and used.name == A_WORD:
        return [Used(A_WORD, option, used.value) for option in by_glob(mode.words, used.value)]
    option = mode.options.get(used.name)
    return (used,) if option is None else meanings(used.name, option, used.value)


def _order(used: Used) -> int:
    role = used.option.takes
    if role is not None and role.name == "name":
        return 0
    return 2 if role is not None and (role.starts or role.name == "command;") else 1


def _used(run: Run, meaning: Spec, used: Used) -> None:
    role, value = used.option.takes, used.value
    names = role is not None and role.name == "name"
    if role is not None and value is not None and names:
        run.value(role, value)  # what is found depends on it
    for does in used.option.does:
        run.does(does)
    if role is not None and value is not None and not names:
        _value(run, meaning, used.name, (role, value))


def _value(
    run: Run, meaning: Spec, option: str, given: tuple[Role, Argument | list[Argument]]
) -> None:
    role, value = given
    word = value if isinstance(value, Argument) else Argument(HOLE, "dynamic")
    if role.name == "code.exec" and meaning.runs_code and not _may_be_program(word):
        run.value(role, value)  # more of the project's own code: judged by where it lies
    elif role.name in ("shell", "code.exec"):
        run.add("code.exec", f"<named by the option {option}>")
        if word.text in ("-", "/dev/stdin"):
            run.standard_input(run.reads)
    elif role.name == "text" and "=" in word.text:
        # A path after the name of a setting is at least read.
        after = word.after(word.text.index("=") + 1)
        if after.text.startswith(("/", "~/")):
            run.value(Role("fs.read"), after)
    run.value(Role("fs.read") if role.name == "code.exec" else role, value)


def _may_be_program(word: Argument) -> bool:
    """Return whether a value may name a program on the path: a file has a slash, a dot, a capital.

    What is not known before the run may be both.
    """
    return word.how != "exact" or not re.search(r"[/.A-Z]", word.text)


def _unknown_option(run: Run, meaning: Spec, word: Argument) -> None:
    name, equals, value = word.text.partition("=")
    odd = HOLE in name or len(name) > _LONGEST_NAME or _SUSPICIOUS.fullmatch(name)
    # Where the program runs code anyway, nothing worse can be meant.
    suspicious = odd and not any(does.operation == "code.exec" for does in meaning.does)
    if not meaning.harmless or suspicious:
        run.add("opaque", f"option {shown(word.text)!r} of {run.program} is not described")
        if " " in value and word.how == "exact":
            run.shell(word.after(len(name) + 1))
    elif equals and ("/" in value or value.startswith((".", "~"))):
        run.value(Role("fs.read"), word.after(len(name) + 1))


def _positionals(run: Run, roles: Sequence[Role], line: Line, stdin: Role | None) -> bool:
    """Apply the roles to the positionals; True when a word stands for standard input."""
    words = list(line.words)
    if line.rest is not None and line.command is None:
        words += line.rest
    instead = stdin.name if stdin is not None and stdin.name in _names(roles) else None
    bound = False
    for role, value in bind(roles, words):
        if role is None:
            text = shown(" ".join(word.text for word in _listed(value)))
            run.add("opaque", f"argument {text!r} of {run.program} is not described")
        elif isinstance(value, list):
            _remainder(run, role, value)
            if words and role.name == "rest" and roles[0].name == "code.exec":
                run.script_of(words[0], value)
        else:
            bound = bound or instead in (None, role.name)
            if [one.name for one in roles] == _TEXT_AND_WORDS:
                run.shell(value, words[1:])
            else:
                run.value(role, value)
    return bound


def _names(roles: Sequence[Role]) -> set[str]:
    return {role.name for role in roles}


def _listed(value: Argument | list[Argument]) -> list[Argument]:
    return value if isinstance(value, list) else [value]


def _remainder(run: Run, role: Role, words: list[Argument]) -> None:
    if role.name == "shell" and words:
        run.text(words)
    elif role.starts:
        if not words and run.starts:
            # A word before it may have been the command: options can take its place.
            run.add("opaque", f"{run.program} without the command it starts")
        run.started(role, words)
    else:
        for word in words:
            run.value(role if role.name == "rest" else Role("text"), word)


def _command(run: Run, spec: Spec, line: Line) -> None:
    name, rest = line.command, line.rest or []
    if name is None:
        fixed = [role for role in spec.args or () if not role.takes_the_rest and not role.repeats]
        if NO_COMMAND in spec.commands and len(line.words) <= len(fixed) and not rest:
            _read(run, spec.commands[NO_COMMAND], ())
        return
    pattern = _described(spec, name.text)
    if pattern is not None:
        if pattern == name.text:
            run.program = f"{run.program} {pattern}"
        child = spec.commands[pattern]
        takes_name = pattern == "*" and child.args is not None
        if not (pattern == name.text and _asks_for_help(rest)):
            _read(run, child, [name, *rest] if takes_name else rest)
        if name.how == "exact" and not name.several:
            return
    run.add("opaque", f"sub-command {shown(name.text)!r} of {run.program} is not described")


def _described(spec: Spec, name: str) -> str | None:
    """Return the key that describes a sub-command: its own name, or the first glob it matches."""
    if name in spec.commands and name != NO_COMMAND:
        return name
    text = name.replace(HOLE, "\ufffd")
    globs = (key for key in spec.commands if any(map(key.__contains__, "*?[")))
    return next((glob for glob in globs if fnmatchcase(text, glob)), None)
