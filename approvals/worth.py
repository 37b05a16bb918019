"""What an answer is worth: at which level it counts, and why a yes does not count.

May touch: values. INVARIANT: the requester never approves, and nobody is two voters of a quorum.
"""

from collections.abc import Mapping
from dataclasses import replace

from approvals.request import Answer, Level, Pending, Principal, Question, Vote
from approvals.statement import visible

Roles = Mapping[str, frozenset[str]]  # names of principals by role


def counts_as(level: Level, owner_level: Level) -> Level:
    """Return the level that counts: `owner_level` for what proves no more than the owner's uid."""
    return owner_level if level is Level.OWNER else level


def weighed(vote: Vote, owner_level: Level) -> Vote:
    """Return the vote at the level that counts."""
    return replace(vote, by=replace(vote.by, level=counts_as(vote.by.level, owner_level)))


def refusal(pending: Pending, vote: Vote, held: Roles) -> str:
    """Return why this vote does not count, or an empty string; anyone may say no."""
    return "" if vote.answer is Answer.DENY else _refused_yes(pending, vote, held)


def _refused_yes(pending: Pending, vote: Vote, held: Roles) -> str:
    by, need = vote.by, pending.question.need
    if vote.answer is Answer.APPROVE_FOR_SESSION and not pending.question.for_session:
        return "nothing of it can be permitted for a session: say yes to this once, or no."
    if part := _part_in_it(by, pending.question):
        return f"{by.identity} {part} and cannot approve it."
    if by.level < need.level:
        return f"a yes of level {by.level:d} does not reach the level {need.level:d} it needs."
    lacks = (each for each in need.roles if not any(by.name in held.get(one, ()) for one in each))
    if missing := next(lacks, ()):
        return f"{visible(by.name, 80)} does not hold the role {' or '.join(missing)}."
    if any(old.by.person == by.person for old in pending.votes):
        return f"{by.person} has said yes already; the quorum needs someone else."
    return ""


def _part_in_it(by: Principal, question: Question) -> str:
    """Return what somebody has to do with the asking, for which no yes of theirs counts."""
    requester = question.requester
    if (by.channel, by.uid, by.name) == (requester.channel, requester.uid, requester.name):
        return "asked for it"
    is_behind = by.name.casefold() in map(str.casefold, question.set_off_by)
    return "set it off" if is_behind else ""
