"""Changes to a command before it is decided, shown and run, so that all three are one value.

May touch: trees, argument vectors and specs.
    1  a pattern that could expand to an option is anchored with `./` where the program's options
       can write, run or send (the `tar *` trick)
    2  git, when it only reads, is told not to start what the repository's settings name
Source: git(1), git-config(1): core.fsmonitor, diff.external, diff.<driver>.textconv, core.pager.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache

import policy.shell.tree as t
from policy.programs.spec import STRONG, Spec
from policy.programs.words import Argument
from policy.shell.reader import read
from policy.shell.render import anchored, render
from policy.shell.walk import is_flat, rebuilt

_QUIET_GIT = ("-c", "core.fsmonitor=false", "--no-pager")
_QUIET_DIFF = ("--no-ext-diff", "--no-textconv")
_SHOWS_DIFFS = frozenset({"diff", "log", "show", "whatchanged"})
_READS = _SHOWS_DIFFS | frozenset(
    {
        "annotate", "blame", "branch", "cat-file", "check-ignore", "count-objects", "describe",
        "for-each-ref", "grep", "ls-files", "ls-tree", "merge-base", "name-rev", "reflog",
        "rev-list", "rev-parse", "shortlog", "show-ref", "status", "tag",
    }
)  # fmt: skip
_FIND = (t.Word((t.Literal("find"),)),)
_NAMES = frozenset({"-name", "-iname", "-lname", "-ilname"})
_SHELLS = frozenset({"sh", "bash", "dash", "/bin/sh", "/bin/bash", "/usr/bin/bash"})
_ONLY_BASH = ("$'", "<<<")
_NO_TREE = t.Sequence(())
_WITH_VALUE = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace"})


def hardened(tree: t.CommandTree, text: str, programs: Mapping[str, Spec]) -> t.CommandTree:
    """Return the tree that is decided and run instead of the one that was read from `text`."""

    def has_dangerous_options(name: str | None) -> bool:
        base = (name or "").rpartition("/")[2]
        return base not in programs or _can_act(programs[base])

    # Neither is free on a large tree, and without these characters neither changes anything.
    if any(character in text for character in "*?["):
        tree = anchored(tree, has_dangerous_options)
        if "find" in text and "-" in text and "./" not in text:
            tree = _names_as_written(tree, programs)
    return _quiet_tree(tree) if "git" in text else tree


def hardened_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argument vector that is decided and run instead of the one that was given."""
    words = _quiet(t.SimpleCommand(words=tuple(t.Word((t.Literal(word),)) for word in argv))).words
    return tuple(word.literal or "" for word in words)


def unhardened(words: Sequence[Argument]) -> Sequence[Argument]:
    """Return the words without the settings that `hardened` puts in: they start nothing."""
    if len(words) < 3 or words[1].text != _QUIET_GIT[0]:  # noqa: PLR2004 - the shortest addition
        return words
    end = 1 + len(_QUIET_GIT)
    added = tuple(word.text for word in words[1:end]) == _QUIET_GIT
    return [words[0], *words[end:]] if added and _is_git(words[0].text) else words


@cache
def _can_act(spec: Spec) -> bool:
    """Return whether an option of the program, or of what it starts, can write, run or send."""
    starts = any(role.takes_the_rest or role.name in STRONG for role in spec.args or ())
    return spec.acts or starts or any(map(_can_act, spec.commands.values()))


def _is_git(name: str | None) -> bool:
    return name in ("git", "/usr/bin/git", "/bin/git")


def _names_as_written(tree: t.CommandTree, programs: Mapping[str, Spec]) -> t.CommandTree:
    """Return the tree with the patterns that find compares names with as they were written.

    `-name ./*.py` would match nothing. A pattern that could become a word of find's own stays.
    """

    def change(node: object) -> object:
        changed = rebuilt(node, change)
        if isinstance(changed, t.SimpleCommand) and changed.words[:1] == _FIND:
            return replace(changed, words=tuple(_bare(changed.words, programs["find"])))
        return changed

    return rebuilt(tree, change)


def _bare(words: Sequence[t.Word], find: Spec) -> Iterator[t.Word]:
    before: str | None = None
    for word in words:
        match word.parts:
            case (t.Literal(text="./"), *rest) if before in _NAMES:
                pattern = "".join(getattr(part, "text", "*") for part in rest)
                own = any(fnmatchcase(option, pattern) for option in find.options)
                yield word if own else t.Word(tuple(rest))
            case _:
                yield word
        before = word.literal


def _quiet_tree(tree: t.CommandTree) -> t.CommandTree:
    def change(node: object) -> object:
        if is_flat(node):
            return node
        is_bare = isinstance(node, t.SimpleCommand) and not (node.assignments or node.redirects)
        if isinstance(node, t.SimpleCommand) and is_bare and all(map(is_flat, node.words)):
            return _quiet(node)
        changed = rebuilt(node, change)
        return _quiet(changed) if isinstance(changed, t.SimpleCommand) else changed

    return rebuilt(tree, change)


def _quiet(command: t.SimpleCommand) -> t.SimpleCommand:
    literals = [word.literal for word in command.words]
    inner = _shell_text(literals)
    if inner is not None:
        text = t.Word((t.Literal(inner),))
        return replace(command, words=(*command.words[:2], text, *command.words[3:]))
    additions = _additions(literals)
    if not additions:
        return command
    words = list[t.Word]()
    for at, word in enumerate(command.words):
        words += [word, *(t.Word((t.Literal(text),)) for text in additions.get(at, ()))]
    return replace(command, words=tuple(words))


def _shell_text(words: Sequence[str | None]) -> str | None:
    """Return the text of `sh -c` with its git reads told to start nothing, where that changes it.

    It is what the reader understood; a text that would need bash is left as it is.
    """
    if len(words) < 3 or words[1] != "-c" or words[0] not in _SHELLS:  # noqa: PLR2004 - sh -c TEXT
        return None
    text = words[2] or ""
    tree = read(text) if "git" in text else _NO_TREE
    quiet = tree if isinstance(tree, t.Opaque) else _quiet_tree(tree)
    if isinstance(quiet, t.Opaque) or quiet is tree:
        return None
    written = render(quiet)
    return None if any(sign in written for sign in _ONLY_BASH) else written


def _additions(words: Sequence[str | None]) -> dict[int, tuple[str, ...]]:
    """Return what to put after which word; nothing unless it is certain what git would do."""
    if not words or not _is_git(words[0]) or tuple(words[1 : 1 + len(_QUIET_GIT)]) == _QUIET_GIT:
        return {}
    at = 1
    while at < len(words) and (words[at] or "").startswith("-"):
        at += 2 if words[at] in _WITH_VALUE else 1
    if at >= len(words) or words[at] not in _READS:
        return {}
    shows_diffs = words[at] in _SHOWS_DIFFS
    return {0: _QUIET_GIT, at: _QUIET_DIFF} if shows_diffs else {0: _QUIET_GIT}
