"""One access compared with one rule: for certain, possibly, or not at all.

May touch: accesses, bound rules, globs. May not touch: the order of rules, effects' priority.
A path that nobody knows fully stays below the folder before its first unknown part; where that is
all that speaks for a deny, a human is asked instead. Reads that only pass by a denied name
(`cat *`, `grep -r x .`) are the sandbox's to mask, and are asked about where it cannot.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from policy.globs import (
    EVERYTHING_BELOW,
    Many,
    Name,
    Part,
    Path,
    literal_path,
    shell_pattern,
    with_holes,
)
from policy.held import HELD_WRITES
from policy.host_sets import HostSets, stands_for
from policy.hosts import host_of
from policy.model import PATH_OPERATIONS, Access, Context, Effect
from policy.overlap import aims, inside, may_overlap, overlaps, text_inside, text_overlaps
from policy.programs.words import HOLE
from policy.rules import BoundPolicy, BoundRule, Globs

READS: Final = frozenset({"fs.read", "fs.list"})
TREE_OPERATIONS: Final = frozenset({"fs.delete", "fs.perm"})  # they reach all that lies below
UNKNOWN_PATH: Final = "<unknown path>"
_TELLING: Final = 3  # letters of a name that say which name is meant
_EXTENSION = re.compile(r"(\.\w+)+")
_REMEMBERED: Final = 256  # answers for one list of globs
_LONGEST_REMEMBERED: Final = 200  # characters of a resource
_CHEAPER: Final = 2  # how many quick looks cost as much as one unit of work


class Target:
    """One access, read once, compared with many rules."""

    def __init__(self, access: Access, context: Context, sets: HostSets) -> None:
        self.comparisons = 1 if access.how == "exact" else 10
        self._sets = sets
        self._access, self._context = access, context
        # Texts for people show what is not known as `…`.
        unknown = access.how == "dynamic" and access.operation not in PATH_OPERATIONS
        self._text = access.resource.replace("…", HOLE) if unknown else access.resource
        self._is_path = access.operation in PATH_OPERATIONS and access.resource[:1] != "<"
        self._is_plain = access.how == "exact" or access.resource[:1] == "<"
        self._made: tuple[Path, ...] | None = None

    @property
    def _shapes(self) -> tuple[Path, ...]:
        """Return all that a path may become; most plain ones are never asked for it."""
        if self._made is None:
            self._made = _shapes(self._access) if self._is_path else ()
        return self._made

    def candidates(self, bound: BoundPolicy) -> tuple[BoundRule, ...]:
        """Return the rules that may match; of a plain resource, by what all of them name at once.

        What lies below a path counts for some operations, and what a path passes by where the
        sandbox cannot mask: then every rule is a candidate.
        """
        access, is_path = self._access, self._is_path
        beyond = is_path and not (
            self._context.can_mask and access.operation not in TREE_OPERATIONS
        )
        if beyond or not self._is_plain:
            return bound.rules_for(access.operation)
        return bound.rules_about(access.operation, self._text, is_path=is_path)

    # --- allow: all it can be ---

    def certainly(self, bound: BoundRule) -> bool:
        """Return whether all that the access can be lies in the rule, and nothing in `except`."""
        if bound.hosts.texts and self._host_effect(bound, Effect.ALLOW) is not Effect.ALLOW:
            return False
        if bound.resources is not None and not self._inside(bound.resources):
            return False
        return not (bound.exceptions.texts and self._touches(bound.exceptions))

    def _inside(self, globs: Globs) -> bool:
        access = self._access
        if not self._is_path:
            return self._text_is(text_inside, globs)
        if self._is_plain:
            return globs.has_path(access.resource)
        if access.how == "dynamic":
            is_masked = self._context.can_mask or access.operation == "fs.list"
            if access.operation not in READS or not is_masked:
                return False
            if access.resource.startswith(HOLE):
                return UNKNOWN_PATH in globs.texts
        return self._remembered("inside", globs, self._all_inside)

    def _all_inside(self, globs: Globs, *, below: Path = ()) -> bool:
        shapes = [(*shape, *below) for shape in self._shapes]
        return all(any(self._inside_of(shape, globs)) for shape in shapes)

    def _inside_of(self, shape: Path, globs: Globs) -> Iterator[bool]:
        names = {part.literal for part in shape if isinstance(part, Name)}
        for glob in self._close(shape, globs, cost=0):
            if not _lacks_a_name(names, glob):
                self.comparisons += 4
                yield inside(shape, glob)

    def _close(self, shape: Path, globs: Globs, *, cost: int = 4) -> Iterator[Path]:
        """Yield the globs worth a full comparison, and count the work."""
        near = globs.paths_near(shape)
        self.comparisons += len(near) // _CHEAPER
        for glob in near:
            if may_overlap(shape, glob):
                self.comparisons += cost
                yield glob

    def _remembered(self, what: str, globs: Globs, find: Callable[[Globs], bool]) -> bool:
        """Return an answer about a path that is not plain; the same few come again and again.

        What it once cost is counted each time, so that no decision depends on an earlier one.
        """
        resource = self._access.resource
        if len(resource) > _LONGEST_REMEMBERED:
            return find(globs)
        key = (what, resource, self._access.how)
        known = globs.answers.get(key)
        if known is None:
            before = self.comparisons
            known = (find(globs), self.comparisons - before)
            if len(globs.answers) >= _REMEMBERED:
                globs.answers.clear()
            globs.answers[key] = known
        else:
            self.comparisons += known[1]
        return known[0]

    def _text_is(self, compare: Callable[[str, str], bool], globs: Globs) -> bool:
        """Return whether a resource that is no path is inside one of the globs, or touches it."""
        if self._is_plain:
            return globs.has_text(self._text)
        self.comparisons += 4 * len(globs.texts)
        return any(compare(self._text, glob) for glob in globs.texts)

    # --- ask, deny: any it can be ---

    def possibly(self, bound: BoundRule) -> Effect | None:
        """Return the strictest effect the rule may have here: ASK where it is only possible."""
        found = self._resource_effect(bound)
        if found is None:
            return None
        if bound.exceptions.texts and self._excepted(bound.exceptions):
            return None
        return self._host_effect(bound, found) if bound.hosts.texts else found

    def _host_effect(self, bound: BoundRule, found: Effect) -> Effect | None:
        """Return the effect if the host is among the rule's, ASK where it is not known.

        Of the hosts of a set an allow needs all, an ask or a deny any.
        """
        listed = stands_for(self._access, self._sets) if self._is_plain else None
        if listed is not None:
            self.comparisons += len(listed)
            if bound.rule.effect is Effect.ALLOW:
                return found if bound.hosts.has_all(listed) else None
            return found if bound.hosts.has_any(listed) else None
        host = host_of(self._access.resource) if self._is_plain else None
        if host is None:
            return Effect.ASK
        return found if bound.hosts.has(host) else None

    def is_meant(self, bound: BoundRule) -> bool:
        """Return whether a rule that possibly matches names what is meant, not just what may be."""
        globs = bound.resources
        return globs is None or self._is_plain or not self._is_path or self._aims(globs)

    def distance(self, bound: BoundRule) -> int:
        """Return 0 where a rule names all of the access, 1 where it touches it, 2 only below."""
        globs = bound.resources
        if globs is None or not self._is_path:
            return 1
        if self._is_plain:
            return 0 if globs.has_path(self._access.resource) else 2
        if self._remembered("inside", globs, self._all_inside):
            return 0
        return 1 if self._remembered("touches", globs, self._overlaps) else 2

    def _resource_effect(self, bound: BoundRule) -> Effect | None:
        if bound.resources is None:
            return Effect.DENY
        if self._is_path and self._opens_only(bound):
            return self._read_effect(bound.resources)
        if not self._touches(self._within_reach(bound, bound.resources)):
            return None
        if self._access.how == "dynamic" and not self._aims(bound.resources):
            return Effect.ASK
        return Effect.DENY

    def _within_reach(self, bound: BoundRule, globs: Globs) -> Globs:
        """Return the globs that the access can reach: a write that sweeps reaches no held name."""
        passes_by = (
            bound.unheld is not globs
            and self._context.can_mask
            and not self._is_plain
            and self._access.operation in HELD_WRITES
            and not self._aims(globs)
        )
        return bound.unheld if passes_by and bound.unheld is not None else globs

    def _opens_only(self, bound: BoundRule) -> bool:
        """Return whether the access reads what the rule names, and finds it masked: code too."""
        operation = self._access.operation
        reads = operation == "fs.read" or (
            operation == "code.exec" and "fs.read" in bound.rule.operations
        )
        return reads and is_mask(bound)

    def _read_effect(self, globs: Globs) -> Effect | None:
        """A read that only passes by is masked by the sandbox; where it cannot, a human answers."""
        if (self._is_plain and globs.has_path(self._access.resource)) or self._aims(globs):
            return Effect.DENY
        if self._hints(globs):
            return Effect.ASK
        if self._context.can_mask:
            return None
        return Effect.ASK if self._may_pass_by(globs) else None

    def _hints(self, globs: Globs) -> bool:
        """Return whether what is known of a name is a piece of one that is denied: `$x/.ss$y`."""
        if self._access.how != "dynamic":
            return False
        return self._remembered("hints", globs, self._hints_at)

    def _hints_at(self, globs: Globs) -> bool:
        for shape in self._shapes:
            pieces = [one for part in shape if (one := _pieces(part)) is not None]
            for glob in self._close(shape, globs) if pieces else ():
                names = [part.text for part in glob if isinstance(part, Name)]
                if any(_is_piece(one, name) for one in pieces for name in names) and overlaps(
                    shape, glob
                ):
                    return True
        return False

    def _may_pass_by(self, globs: Globs) -> bool:
        if not self._is_plain:
            return self._touches(globs)
        # Whether a plain path is a folder is not known here. One that holds a denied place for
        # certain counts as one, and so does a folder that holds the workspace or the home.
        path = self._access.resource.rstrip("/") + "/"
        context = self._context
        wide = any(f"{root}/".startswith(path) for root in (context.workspace, context.home))
        return wide or any(f"{root}/".startswith(path) for root in globs.roots())

    def _touches(self, globs: Globs) -> bool:
        access = self._access
        if not self._is_path:
            return self._text_is(text_overlaps, globs)
        is_tree = access.operation in TREE_OPERATIONS
        if self._is_plain and globs.has_path(access.resource):
            return True
        if self._is_plain and not is_tree:
            return False
        if self._is_plain:
            return self._overlaps_below(globs)
        find = self._overlaps_below if is_tree else self._overlaps
        return self._remembered("tree" if is_tree else "touches", globs, find)

    def _overlaps(self, globs: Globs, *, below: Path = ()) -> bool:
        shapes = [(*shape, *below) for shape in self._shapes]
        return any(overlaps(shape, g) for shape in shapes for g in self._close(shape, globs))

    def _overlaps_below(self, globs: Globs) -> bool:
        return self._overlaps(globs, below=(EVERYTHING_BELOW,))

    def _aims(self, globs: Globs) -> bool:
        if not self._is_path:
            return self._text_is(text_inside, globs)
        if self._is_plain:
            return False
        return self._remembered(
            "aims", globs, lambda of: any(self._aims_of(shape, of) for shape in self._shapes)
        )

    def _aims_of(self, shape: Path, globs: Globs) -> bool:
        names = {part.literal for part in shape if isinstance(part, Name)}
        picks = any(isinstance(p, Name) and p.literal is None and not p.sweep for p in shape)
        near = globs.paths_near(shape)
        self.comparisons += len(near) // _CHEAPER
        for glob in near:
            # What sweeps over a name that has no wildcard does not aim at it.
            telling = globs.telling(glob)
            if (picks or telling is None or telling in names) and may_overlap(shape, glob):
                self.comparisons += 2
                if aims(shape, glob):
                    return True
        return False

    def _excepted(self, globs: Globs) -> bool:
        """Return whether all it can be, and all below it for a tree operation, is excepted."""
        if self._access.how == "dynamic" and self._access.resource[:1] != "<":
            return False
        if not self._is_path or self._access.operation not in TREE_OPERATIONS:
            return self._inside(globs)
        return self._all_inside(globs, below=(EVERYTHING_BELOW,))


def _shapes(access: Access) -> tuple[Path, ...]:
    """Return all that a path may become."""
    if HOLE in access.resource:
        return with_holes(access.resource)
    if access.how == "exact":
        return (literal_path(access.resource),)
    shape = shell_pattern(access.resource)
    return (shape,) if access.how == "pattern" else (shape, (EVERYTHING_BELOW,))


def _lacks_a_name(names: set[str | None], glob: Path) -> bool:
    """Return whether a glob has a name that a path with these names never has for certain."""
    return any(
        isinstance(part, Name) and part.literal is not None and part.literal not in names
        for part in glob
    )


def _pieces(part: Part) -> tuple[str, str] | None:
    """Return what is known before and after the unknown part of a name, if it tells anything."""
    if isinstance(part, Many) or HOLE not in part.text:
        return None
    before, after = part.text.partition(HOLE)[0], part.text.rpartition(HOLE)[2]
    return (before, after) if max(len(before), len(after)) >= _TELLING else None


def _is_piece(pieces: tuple[str, str], name: str) -> bool:
    """Return whether a name's text begins as the first piece, or goes on as the second.

    An extension alone tells nothing, unless it is how the name begins: `.env`, but not `.json`.
    """
    before, after = (piece[:_TELLING] if len(piece) >= _TELLING else None for piece in pieces)
    if before is not None and name.startswith(before):
        return True
    if after is None or after not in name:
        return False
    return _EXTENSION.fullmatch(pieces[1]) is None or name.startswith(after)


def is_mask(bound: BoundRule) -> bool:
    """Return whether the sandbox can hold the rule by covering what it names."""
    return bound.rule.effect is Effect.DENY and not (bound.narrows or bound.hosts.texts)
