"""The least policy that lets past actions run again, and the proof that it does.

May touch: past actions, policies. May not touch: logs, files, clocks: the same actions give the
same text, byte for byte.
1 what ran without a question becomes allow, what ran after a yes asks again: by the default if
  that asks, unless only the owner may answer
2 what was also refused, or can never be known well enough, is never allowed
3 three siblings become their folder, unless something there is hidden, secret or runs later
4 the text is loaded again, and every action of the log is decided by it: that is the proof; where
  it fails, less is learned
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from policy.facts import UNKNOWN_PATH, Facts, Place, facts, places
from policy.globs import expand_braces, path_regex
from policy.learned_text import LearnedRule, Line, as_yaml
from policy.load import load
from policy.model import PATH_OPERATIONS, Access, Effect
from policy.needless import needless
from policy.places import BUILD_FILES, RUNS_LATER
from policy.proof import Proof, Wish, prove, wanted
from policy.replay import Past, Replay
from policy.risk import risk
from policy.rules import Source

NEVER: Final = frozenset(
    {
        "opaque", "credential.read", "privilege.escalate", "audit.tamper", "device.write",
        "persistence",
    }
)  # fmt: skip
SIBLINGS: Final = 3
_MOST_ATTEMPTS: Final = 3
SYSTEM_DEPTH: Final = 2  # names from the root before siblings outside a home mean one subject
WIDENED: Final = frozenset({"fs.read", "fs.list", "fs.write", "fs.create"})
CHANGES: Final = frozenset({"fs.write", "fs.create"})
# What a folder's glob leaves out, besides hidden names: each must be named to be allowed.
SECRET_NAMES: Final = (
    "**/*.{pem,key,p12,pfx,jks,keystore,kdbx}", "**/*{credential,secret,password,token}*",
    "**/id_{rsa,dsa,ecdsa,ed25519}*",
)  # fmt: skip
HIDDEN: Final = ("**/.*", "**/.*/**")
# Said by the program's name alone: what they look at or record is the repository or the machine.
BY_PROGRAM: Final = frozenset(
    {"git.read", "git.write", "sys.inspect", "proc.inspect", "net.listen", "git.history"}
)
_NOTHING: Final = Source("nothing.yaml", "version: 1\nrules: []\n")


def learn(actions: Sequence[Past], wish: Wish, header: Sequence[str]) -> tuple[str, Proof]:
    """Return the text of the policy, and its proof.

    Where what is learned from some actions would allow another that did not run, less is learned:
    first no folders, then nothing of the place that the other touched, then of its operation.
    """
    return _attempt(actions, wish, header, frozenset(), 0)


def _attempt(
    actions: Sequence[Past],
    wish: Wish,
    header: Sequence[str],
    barred: frozenset[Place | str],  # never allowed: places, or whole operations
    failed: int,
) -> tuple[str, Proof]:
    allowed, asked = _sorted_out(actions, wish, barred)
    rules = [*_allow_rules(allowed, widened=not failed), *_ask_rules(asked, wish)]
    # What a pattern that was used opens, or asks about, anyway, needs no rule of its own.
    whole = Source(f"{wish.name}.yaml", as_yaml(wish, header, rules))
    covered = {one.rule_id for one in needless(load([whole], check_examples=False).rules)}
    text = as_yaml(wish, header, [rule for rule in rules if rule.id not in covered])
    proof = prove(text, actions, wish)
    if proof.holds or failed == _MOST_ATTEMPTS:
        return text, proof
    opened = {one for past in proof.violations for one in _opened(past, failed)}
    return _attempt(actions, wish, header, barred | opened, failed + 1)


def _opened(past: Past, failed: int) -> Iterable[Place | str]:
    """Return what to leave out of the riskiest that an action did: nothing, places, its kind."""
    accesses = Replay(load([_NOTHING])).decision(past).accesses
    riskiest = max(accesses, key=lambda access: risk([access.operation]))
    return ((), places(riskiest, past.context), (riskiest.operation,))[failed]


# --- 1 and 2: what becomes what -------------------------------------------------------------------


def _sorted_out(
    actions: Sequence[Past], wish: Wish, barred: frozenset[Place | str]
) -> tuple[Facts, Facts]:
    """Return what may be allowed, and what else ran."""
    replay = Replay(load([_NOTHING]))
    refused = {past.what for past in actions if past.was_refused}
    allowed, asked = list[tuple[Past, Access]](), list[tuple[Past, Access]]()
    for past in actions:
        if not past.ran:
            continue
        free = wanted(past, wish) is Effect.ALLOW and past.what not in refused
        accesses = [one for one in replay.decision(past).accesses if _is_text(one.resource)]
        for access in accesses:
            kept = barred.isdisjoint((access.operation, *places(access, past.context)))
            known = free and kept and not _is_never(access)
            (allowed if known else asked).append((past, access))
    free_facts = facts(allowed)
    return free_facts, {at: seen for at, seen in facts(asked).items() if at not in free_facts}


def _is_never(access: Access) -> bool:
    return access.operation in NEVER or (
        access.operation == "code.exec" and access.resource.startswith("<")
    )


def _is_text(resource: str) -> bool:
    """Return whether a file can hold the name: bytes that are not UTF-8 cannot be written."""
    return not any("\ud800" <= char <= "\udfff" for char in resource)


# --- 3: rules -------------------------------------------------------------------------------------


def _allow_rules(allowed: Facts, *, widened: bool) -> Iterator[LearnedRule]:
    for operation, mine in _by_operation(allowed):
        folders = list(_folders(mine, operation)) if widened and operation in WIDENED else []
        gone = {place for _, members in folders for place in members}
        exact = {place: seen for place, seen in mine.items() if place not in gone}
        if exact:
            yield _rule("seen", "allow", operation, exact)
        if folders:
            wide = [_line(glob, {one: mine[one] for one in members}) for glob, members in folders]
            yield LearnedRule(
                _id(operation, "beside"), "allow", operation, tuple(sorted(wide)),
                exceptions=_left_out(operation),
            )  # fmt: skip


def _ask_rules(asked: Facts, wish: Wish) -> Iterator[LearnedRule]:
    """Yield what needed a yes. Where the default asks, only what the owner answers needs a rule."""
    for operation, mine in _by_operation(asked):
        if operation in NEVER:
            name, why = _id(operation, "ask"), _line("", mine)
            yield LearnedRule(name, "ask", operation, (), why, level="owner")
        elif wish.default == "deny":
            wide = (UNKNOWN_PATH, "/**")
            named = {at: seen for at, seen in mine.items() if not at.glob.startswith(wide)}
            if named:
                yield _rule("ask", "ask", operation, named)


def _by_operation(found: Facts) -> Iterator[tuple[str, Facts]]:
    for operation in sorted({place.operation for place in found}):
        yield (
            operation,
            {place: seen for place, seen in found.items() if place.operation == operation},
        )


def _rule(kind: str, effect: Literal["allow", "ask"], operation: str, mine: Facts) -> LearnedRule:
    name = _id(operation, kind)
    lines = tuple(sorted(_line(place.glob, {place: seen}) for place, seen in mine.items()))
    if operation in PATH_OPERATIONS:
        return LearnedRule(name, effect, operation, lines)
    programs = {program for seen in mine.values() for program in seen.programs}
    narrow = () if "" in programs else tuple(sorted(programs))
    if operation in BY_PROGRAM and narrow:
        return LearnedRule(name, effect, operation, (), _line("", mine), programs=narrow)
    return LearnedRule(name, effect, operation, lines, programs=narrow)


def _id(operation: str, kind: str) -> str:
    return f"{operation.replace('.', '-')}-{kind}"


def _folders(mine: Facts, operation: str) -> Iterator[tuple[str, list[Place]]]:
    """Yield the glob of each folder with enough files, and the files it stands for."""
    spared = path_regex([one for glob in _left_out(operation) for one in expand_braces(glob)])
    by_folder: dict[str, list[Place]] = {}
    for place in mine:
        if place.name and _may_widen(place) and not spared.fullmatch(place.path):
            by_folder.setdefault(place.folder, []).append(place)
    for folder, members in by_folder.items():
        if len({place.name for place in members}) >= SIBLINGS:
            suffixes = {_suffix(place.name) for place in members}
            suffix = suffixes.pop() if len(suffixes) == 1 else ""
            yield f"{folder}/*{suffix}", members


def _may_widen(place: Place) -> bool:
    """Return whether the folder is one project's or one subject's, and nothing in it is hidden."""
    inner = place.folder.removeprefix("${workspace}").removeprefix("~")
    is_own = place.folder.startswith(("${workspace}", "~/"))
    is_deep = place.folder.count("/") >= SYSTEM_DEPTH
    return (is_own or is_deep) and "/." not in f"{inner}/{place.name}"


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix}" if dot and stem and suffix.isalnum() else ""


def _left_out(operation: str) -> tuple[str, ...]:
    later = sorted({path.rpartition("/")[2] for path in (*RUNS_LATER, *BUILD_FILES)})
    names = tuple(f"**/{name}" for name in later if not name.startswith((".", "x")))
    return (*HIDDEN, *SECRET_NAMES, *(names if operation in CHANGES else ()))


def _line(glob: str, seen: Facts) -> Line:
    records = sorted({number for one in seen.values() for number in one.records})
    return Line(glob, len(seen), len(records), records[0], records[-1])
