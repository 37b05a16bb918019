"""The small files of a git directory: which texts git itself writes there.

Pure: bytes in, answer out. What is not exactly understood is not git's own.
Source: gitrepository-layout(5), git-check-ref-format(1), git-rebase(1); the names below the plans
are those of git's `sequencer.c` and `builtin/am.c`.
"""

import re
from collections.abc import Callable, Mapping

Check = Callable[[str], bool]

MAX_BYTES = 5 * 1024 * 1024
BRANCHES = "refs/heads/"
_HEX = r"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_OBJECT = re.compile(rf"({_HEX})\n?")
_SYMBOLIC = re.compile(r"ref: (refs/[^\n]+)\n?")
_GITLINK = re.compile(r"gitdir: ([^\n]+)\n?")
_NOT_IN_REFERENCE = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|\.$|\.lock(?:/|$)")


def is_reference_name(name: str) -> bool:
    """Return whether git takes a full name such as `refs/heads/main` for a reference."""
    return (
        name.isprintable()
        and not _NOT_IN_REFERENCE.search(name)
        and all(part and not part.startswith(".") for part in name.split("/"))
        and not name.removeprefix(BRANCHES).startswith("-")
    )


def is_head(text: bytes) -> bool:
    """Return whether HEAD names a branch of this repository, or a commit."""
    branch = symbolic(text)
    if branch:
        return branch.startswith(BRANCHES) and is_reference_name(branch)
    return object_id(text) != ""


def symbolic(text: bytes) -> str:
    """Return the name that a symbolic reference stands for; "" when it is none."""
    found = _SYMBOLIC.fullmatch(_decoded(text))
    return found[1] if found else ""


def object_id(text: bytes) -> str:
    """Return the object that a reference names, in hexadecimal digits; "" when it names none."""
    found = _OBJECT.fullmatch(_decoded(text))
    return found[1] if found else ""


def gitlink(text: bytes) -> str:
    """Return the path that a `.git` file leads to; "" when it is not one."""
    found = _GITLINK.fullmatch(_decoded(text))
    return found[1] if found and found[1].isprintable() else ""


def is_planned(plan: str, name: str, text: bytes) -> bool:
    """Return whether a file of an unfinished rebase, am or pick makes git run nothing else.

    Args:
        plan: `rebase-merge`, `rebase-apply` or `sequencer`.
        name: the file in it.
        text: what is in the file.
    """
    check = _PLANS[plan].get("0001" if _MAIL.fullmatch(name) else name)
    return check is not None and check(_decoded(text))


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


# --- plans --------------------------------------------------------------------------------------


def _whole(pattern: str) -> Check:
    """Return a check of a file that is one line."""
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text.removesuffix("\n")) is not None


def _each(pattern: str, separator: str = "\n") -> Check:
    """Return a check of every line of a file, or of every word."""
    compiled = re.compile(rf"(?:{pattern})?")
    return lambda text: all(compiled.fullmatch(part) for part in re.split(separator, text))


def _anything(_text: str) -> bool:
    return True  # shown, applied as a patch or kept as a message; never run


_MERGES = r"ort|recursive|resolve|octopus|ours|subtree"  # git runs git-merge-<strategy> for others
_OBJECTS = _each(rf"{_HEX}(?: {_HEX})?")
_COUNT, _FLAG = _whole(r"\d+"), _whole(r"(?:t|f|true|false|--signoff)?")
_BRANCH = _whole(r"refs/[^\n]+|detached HEAD")
_SIGNER = _whole(r"(?:-S[A-Za-z0-9]*)?")
_AUTHOR = _each(r"GIT_AUTHOR_(?:NAME|EMAIL|DATE)='(?:[^']|'\\['!]')*'")
# Whatever git does for a line of a plan, but for `exec`, which runs a command.
_TODO = _each(
    r"[ \t]*(?:#.*|(?:pick|revert|edit|reword|fixup|squash|drop|label|reset|merge|update-ref"
    r"|[perfsdltmu])[ \t].*|break|b|noop)?[ \t]*"
)
# What git keeps of a series of picks, in the form of its configuration.
_PICK_OPTIONS = _each(
    r"\[options\]|\t(?:mainline = \d+|default-msg-cleanup = [a-z]+"
    r"|(?:no-commit|edit|allow-empty|allow-empty-message|drop-redundant-commits|signoff"
    r"|keep-redundant-commits|record-origin|allow-ff|allow-rerere-auto) = (?:true|false)"
    rf"|strategy = (?:{_MERGES})|strategy-option = [a-z][a-z=%0-9-]*)"
)
_MAIL = re.compile(r"\d{4,}")  # the number of a mail that `git am` split off

_REBASE_MERGE: Mapping[str, Check] = {
    **dict.fromkeys(("git-rebase-todo", "git-rebase-todo.backup", "done"), _TODO),
    **dict.fromkeys(("message", "message-squash", "message-fixup", "patch"), _anything),
    **dict.fromkeys(("onto", "orig-head", "squash-onto", "amend", "stopped-sha"), _OBJECTS),
    **dict.fromkeys(("autostash", "rewritten-list", "rewritten-pending"), _OBJECTS),
    **dict.fromkeys(("msgnum", "end"), _COUNT),
    **dict.fromkeys(("interactive", "quiet", "verbose", "signoff", "cdate_is_adate"), _FLAG),
    **dict.fromkeys(("ignore_date", "drop_redundant_commits", "keep_redundant_commits"), _FLAG),
    **dict.fromkeys(("reschedule-failed-exec", "no-reschedule-failed-exec"), _FLAG),
    "allow_rerere_autoupdate": _whole(r"(?:--(?:no-)?rerere-autoupdate)?"),
    "author-script": _AUTHOR,
    "current-fixups": _each(rf"(?:fixup|squash)(?: -[cC])? {_HEX}"),
    "gpg_sign_opt": _SIGNER,
    "head-name": _BRANCH,
    "refs-to-delete": _each(r"refs/rewritten/.+"),
    "strategy": _whole(_MERGES),
    "strategy_opts": _each(r"'?--[a-z][a-z=%0-9-]*'?", r"\s+"),
    "update-refs": _each(rf"refs/heads/.+|{_HEX}"),
}
_REBASE_APPLY: Mapping[str, Check] = {
    **dict.fromkeys(("patch", "info", "msg", "msg-clean", "final-commit", "0001"), _anything),
    "patch-merge-index": _anything,
    **dict.fromkeys(("onto", "orig-head", "abort-safety", "original-commit"), _OBJECTS),
    **dict.fromkeys(("autostash", "rewritten"), _OBJECTS),
    **dict.fromkeys(("next", "last"), _COUNT),
    **dict.fromkeys(("threeway", "quiet", "sign", "utf8", "keep", "messageid", "scissors"), _FLAG),
    **dict.fromkeys(("rebasing", "applying", "dirtyindex", "no_inbody"), _FLAG),
    # Options of `git apply`; some of them write elsewhere.
    "apply-opt": _each(r"'?(?:--whitespace=[a-z-]+|--ignore-whitespace|-C\d+|-p\d+)'?", r"\s+"),
    "author-script": _AUTHOR,
    "gpg_sign_opt": _SIGNER,
    "head-name": _BRANCH,
    "quoted-cr": _whole(r"(?:nowarn|warn|strip)?"),
}
_SEQUENCER: Mapping[str, Check] = {
    "todo": _TODO, "head": _OBJECTS, "abort-safety": _OBJECTS, "opts": _PICK_OPTIONS,
}  # fmt: skip
_PLANS = {"rebase-merge": _REBASE_MERGE, "rebase-apply": _REBASE_APPLY, "sequencer": _SEQUENCER}
