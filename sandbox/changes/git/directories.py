"""Names inside git directories: which changes there are git's own work.

May touch: the two layers, for reading. Each rule answers for the content, whoever wrote it.
  HEAD names a branch or a commit · a configuration differs by lines that git writes · hooks are
  samples · a plan makes git run nothing · a new directory holds what git puts there, and no link.
Source: gitrepository-layout(5).
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace

from sandbox.changes.git import config, texts
from sandbox.changes.git.places import Place, Places, resolved
from sandbox.changes.layers import Entry, UnreadableError, View
from sandbox.names import GIT_DATA, GIT_PLANS

Rule = Callable[[Place], str]

MAX_ENTRIES = 200_000  # of all new git directories
COMMON_DIRECTORY = b"../.."
UNSAFE_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
_SAMPLE = ".sample"
_IN_HOOKS = 2  # parts of a path right below hooks/
# What git keeps at the top of its directory besides what has a rule: nothing of it is run.
_PLAIN = frozenset(
    {
        "AUTO_MERGE", "CHERRY_PICK_HEAD", "COMMIT_EDITMSG", "FETCH_HEAD", "MERGE_HEAD",
        "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "ORIG_HEAD", "REBASE_HEAD", "REVERT_HEAD",
        "SQUASH_MSG", "description", "gc.log", "gc.pid", "index", "locked", "packed-refs",
        "shallow",
    }
)  # fmt: skip
_PLAIN_STARTS = ("BISECT_", "sharedindex.")
_INFO = frozenset({"exclude", "refs", "sparse-checkout"})  # attributes would name drivers
_OBJECT_LISTS = frozenset({"packs", "commit-graph", "commit-graphs"})  # alternates lead elsewhere


class GitDirectories:
    """The rules over one change set; each returns why not, or "" when it is git's own work."""

    def __init__(self, view: View, places: Places) -> None:
        self._view, self._now, self._places = view, view.now, places
        self._new: dict[str, str] = {}
        self._entries = 0
        self._existing_rules: dict[str, Rule] = {
            "HEAD": self._head,
            "hooks": self._hooks,
            "info": self._info,
            **dict.fromkeys(("config", "config.worktree"), self._config),
            **dict.fromkeys(("modules", "worktrees"), self._nested),
            **dict.fromkeys(GIT_PLANS, self._plan),
            **dict.fromkeys(GIT_DATA, self._data),
            **dict.fromkeys(_PLAIN, self._plain),
        }
        self._new_rules: dict[str, Rule] = {
            **self._existing_rules,
            "branches": self._branches,
            "commondir": self._commondir,
            "gitdir": self._gitdir,
        }

    def why_not(self, place: Place) -> str:
        """Return why a change inside a git directory is not git's own work; "" when it is."""
        if not self._places.still_is(place):
            is_gone = self._now.entry(place.directory) is None
            is_removed = is_gone and place.kind == "worktree"
            return "" if is_removed else "a git directory is gone, or not whole"
        if not self._places.was(place):
            return self.why_not_new(place)
        name = place.rest[0] if place.rest else ""
        rule = self._plain if name.startswith(_PLAIN_STARTS) else self._existing_rules.get(name)
        return rule(place) if rule else "git leaves this as it is"

    def why_not_new(self, place: Place) -> str:
        """Return what is wrong with a git directory, if it was not there before."""
        if self._places.was(place):
            return ""
        if place.kind == "bare":
            return "a new git directory that is not called .git"
        if place.directory not in self._new:
            self._new[place.directory] = self._wrong(place)
        return self._new[place.directory]

    def _wrong(self, place: Place) -> str:
        entry = self._now.entry(place.directory)
        if entry is None or entry.kind != "directory" or entry.mode & stat.S_IWOTH:
            return "it is not a directory, or open to everybody"
        names = sorted(self._now.children(place.directory))
        return next(filter(None, (self._new_name(place, name) for name in names)), "")

    def _new_name(self, place: Place, name: str) -> str:
        rule = self._plain if name.startswith(_PLAIN_STARTS) else self._new_rules.get(name)
        inside = replace(place, rest=(name,))
        why = rule(inside) if rule else "git puts nothing of this name here"
        return f"{inside.path}: {why}" if why else ""

    def _head(self, place: Place) -> str:
        text, why = plain_text(self._view, place.path, texts.MAX_BYTES)
        return why or ("" if texts.is_head(text) else "it names no branch of this repository")

    def _config(self, place: Place) -> str:
        after, why = plain_text(self._view, place.path, config.MAX_BYTES)
        if why:
            return why
        before = self._view.before.read(place.path, config.MAX_BYTES) or b""
        is_new = not self._places.was(place)
        table = dict(config.NEW if is_new else config.EXISTING)
        if is_new or place.kind == "module":
            table["core", "worktree"] = lambda value: self._is_working_tree(place, value)
        return config.unexplained(before, after, table)

    def _is_working_tree(self, place: Place, value: str) -> bool:
        path = resolved(self._view.root, place.directory, value)
        return path is not None and ".git" not in path.split("/")

    def _hooks(self, place: Place) -> str:
        for parts, entry in self._below(place):
            is_sample = len(parts) == _IN_HOOKS and parts[-1].endswith(_SAMPLE)
            if not _is(entry, "file" if is_sample else "directory") or len(parts) > _IN_HOOKS:
                return "a hook was added, changed or removed"
        return ""

    def _plan(self, place: Place) -> str:
        plan = place.rest[0]
        for parts, entry in self._below(place):
            if entry is None or (parts == (plan,) and entry.kind == "directory"):
                continue  # the plan has come to its end
            path = "/".join((place.directory, *parts))
            text, why = plain_text(self._view, path, texts.MAX_BYTES)
            if why or not texts.is_planned(plan, "/".join(parts[1:]), text):
                return why or f"{parts[-1]} could make git run something when it goes on"
        return ""

    def _data(self, place: Place) -> str:
        for parts, entry in self._below(place):
            if entry is None:
                continue
            is_hidden = any(part.startswith(".") for part in parts)
            if entry.kind not in {"file", "directory"} or is_hidden:
                return "git puts no links and no hidden names here"
            if parts[:2] == ("objects", "info") and not {*parts[2:3]} <= _OBJECT_LISTS:
                return "it makes git look for objects elsewhere"
        return ""

    def _nested(self, place: Place) -> str:
        """Return what is wrong between a git directory and those in its modules or worktrees."""
        entry = self._now.entry(place.path)
        if entry is None:
            return "" if place.rest[0] == "worktrees" else "the repository of a submodule is gone"
        if entry.kind != "directory":
            return "it is not a directory"
        for name in sorted(self._now.children(place.path)):
            found = self._places.of(f"{place.path}/{name}")
            if found is None or found.directory == place.directory:
                why = self._nested(replace(place, rest=(*place.rest, name)))
            else:
                why = self.why_not(found)
            if why:
                return why
        return ""

    def _branches(self, place: Place) -> str:
        is_empty = not self._now.children(place.path) and self._is_directory(place)
        return "" if is_empty else "it names addresses in an old way"

    def _commondir(self, place: Place) -> str:
        text, why = plain_text(self._view, place.path, texts.MAX_BYTES)
        is_usual = place.kind == "worktree" and text.removesuffix(b"\n") == COMMON_DIRECTORY
        return why or ("" if is_usual else "it leads to another git directory")

    def _gitdir(self, place: Place) -> str:
        text, why = plain_text(self._view, place.path, texts.MAX_BYTES)
        link = os.fsdecode(text).removesuffix("\n")
        is_inside = place.kind == "worktree" and link.endswith("/.git")
        if why or not is_inside or resolved(self._view.root, place.directory, link) is None:
            return why or "it leads out of the workspace"
        return ""

    def _info(self, place: Place) -> str:
        for parts, entry in self._below(place):
            is_known = parts[1:2] == () or (parts[1] in _INFO and parts[2:] == ())
            if entry is not None and not _is(entry, "file" if parts[1:] else "directory"):
                is_known = False
            if not is_known:
                return "it may change how files are read"
        return ""

    def _plain(self, place: Place) -> str:
        entry = self._now.entry(place.path)
        is_plain = place.rest[1:] == () and (entry is None or entry.kind == "file")
        return "" if is_plain else "it is not a plain file"

    def _is_directory(self, place: Place) -> bool:
        return _is(self._now.entry(place.path), "directory")

    def _below(self, place: Place) -> Iterator[tuple[tuple[str, ...], Entry | None]]:
        """Yield a name and all names below it, as they are now, from the git directory on."""
        waiting = [(place.rest, self._now.entry(place.path))]
        while waiting:
            parts, entry = waiting.pop()
            yield parts, entry
            if _is(entry, "directory"):
                found = self._now.children("/".join((place.directory, *parts)))
                waiting += [((*parts, name), inner) for name, inner in found.items()]
                self._entries += len(found)
            if self._entries > MAX_ENTRIES:
                raise UnreadableError(f"more than {MAX_ENTRIES} names in git directories")


def plain_text(view: View, path: str, max_bytes: int) -> tuple[bytes, str]:
    """Return (what a plain file holds now, why it is not plain)."""
    why = unusual(view, path)
    return (b"", why) if why else (view.now.read(path, max_bytes) or b"", "")


def unusual(view: View, path: str) -> str:
    """Return why a path is not a plain file with plain rights."""
    now, before = view.now.entry(path), view.before.entry(path)
    if now is None:
        return "it was removed"
    if now.kind != "file":
        return f"it is a {now.kind}" if now.kind != "other" else "it is a device, pipe or socket"
    gained = now.mode & ~(before.mode if before else 0) & UNSAFE_BITS
    return f"its mode became {now.mode:o}" if gained else ""


def _is(entry: Entry | None, kind: str) -> bool:
    return entry is not None and entry.kind == kind
