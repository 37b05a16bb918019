"""One rewrite rule of a policy file, read strictly.

May touch: YAML nodes. May not touch: commands (rewriting.py). Not for a project's file: what runs
instead of what was asked is for the machine's owner to say.
"""

from collections.abc import Sequence
from typing import Final, TypeGuard

from policy.document import Listing, Node, Text, refuse, text_in, words, words_in
from policy.document import Mapping as Entries
from policy.globs import GlobError, policy_glob
from policy.rewriting import CAPTURE, placeholders
from policy.rule_file import examples_in, fields_of, rule_id
from policy.rules import Rewrite, Source

REWRITE_RULE_KEYS: Final = frozenset({"id", "rewrite", "tools", "reason", "match", "not_match"})
REWRITE_KEYS: Final = frozenset({"programs", "args", "argv"})
_ALONE = "is no word by itself; write {name} or {name...} as a whole word, or a glob without braces"


def is_rewrite(node: Node) -> TypeGuard[Entries]:
    """Return whether a rule is one of these."""
    return isinstance(node, Entries) and any(key.value == "rewrite" for key, _ in node.entries)


def read_rewrite(source: Source, node: Entries) -> Rewrite:
    """Return the rule, or raise PolicyError at the place of the mistake."""
    fields = fields_of(node, REWRITE_RULE_KEYS, "a rule that rewrites")
    if source.tightens_only:
        refuse(node.place, "a project's policy may only tighten: it rewrites nothing; remove it")
    what = fields["rewrite"]
    if not isinstance(what, Entries):
        refuse(what.place, 'rewrite is a mapping; write {programs: [a], argv: [b, "{file}"]}')
    parts = fields_of(what, REWRITE_KEYS, "rewrite")
    for key in ("programs", "argv"):
        if key not in parts:
            refuse(what.place, f"rewrite has no {key}; add it")
    argv = words(parts["argv"], "argv")
    _check_words(argv)
    args = (
        _args(parts["args"])
        if "args" in parts
        else tuple(dict.fromkeys(one.value for one in argv if CAPTURE.fullmatch(one.value)))
    )
    _check_captures(argv, args)
    return Rewrite(
        id=rule_id(fields, node.place),
        place=node.place,
        programs=tuple(tuple(one.value.split()) for one in words(parts["programs"], "programs")),
        args=args,
        argv=tuple(word.value for word in argv),
        tools=frozenset(one.value for one in words_in(fields, "tools")),
        reason=text_in(fields, "reason"),
        examples=examples_in(fields),
    )


def _args(node: Node) -> tuple[str, ...]:
    if isinstance(node, Listing) and not node.items:
        return ()  # the program alone
    listed = words(node, "args")
    _check_words(listed)
    for at, word in enumerate(listed):
        capture = CAPTURE.fullmatch(word.value)
        if capture is not None and capture[2] and at < len(listed) - 1:
            refuse(word.place, f"{word.value} takes all words that are left; put it last")
        try:
            policy_glob(word.value)
        except GlobError as error:
            refuse(word.place, f"{error}; correct the glob")
    return tuple(word.value for word in listed)


def _check_words(listed: Sequence[Text]) -> None:
    for word in listed:
        if not CAPTURE.fullmatch(word.value) and ("{" in word.value or "}" in word.value):
            refuse(word.place, f"{word.value!r} {_ALONE}")


def _check_captures(argv: Sequence[Text], args: Sequence[str]) -> None:
    if CAPTURE.fullmatch(argv[0].value):
        refuse(argv[0].place, "the program that runs instead is written out, not captured")
    taken = [word for word in args if CAPTURE.fullmatch(word)]
    names = list(placeholders(args))
    for word in argv:
        if CAPTURE.fullmatch(word.value) and word.value not in taken:
            listed = ", ".join(taken) or "nothing"
            refuse(word.place, f"{word.value} is captured nowhere; args captures {listed}")
    if len(set(names)) < len(names):
        refuse(argv[0].place, "args captures one name twice; choose another for one of them")
