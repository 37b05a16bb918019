"""What an auditor would stop at in one session: each finding with the records it stands in.

May touch: values only. A finding is a fact of the log and why it is worth a look, never a verdict.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from audit.record import STOPPED
from audit.story import Entry

TITLES = {
    "first_host": "New host",
    "refused_host": "Refused host",
    "around_a_no": "Another way after a no",
    "held_let_in": "Held, then let in",
    "policy_changed": "Policy changed",
    "unconfined": "Outside the sandbox",
    "secret": "Secret seen",
    "lost": "Outcome unknown",
}
STUBBORN = 2  # refusals after which another way that worked is worth a look


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth a look; texts are harmless."""

    kind: str
    text: str
    seqs: tuple[int, ...]

    @property
    def title(self) -> str:
        """Return the kind in words."""
        return TITLES[self.kind]


def of_session(entries: Sequence[Entry], known_hosts: Iterable[str]) -> list[Finding]:
    """Return the findings of one session, in the order of their first records.

    Args:
        entries: what the session did, in log order.
        known_hosts: the places on the network that earlier sessions of this log reached.
    """
    found = [
        *_first_uses(entries, set(known_hosts)),
        *_around_a_no(entries),
        *_held_let_in(entries),
        *_policy_changes(entries),
        *(finding for entry in entries for finding in _alone(entry)),
    ]
    return sorted(found, key=lambda finding: finding.seqs)


def _alone(entry: Entry) -> Iterator[Finding]:
    """Yield what one entry shows by itself."""
    if entry.ran and entry.profile == "unconfined":
        by = ", ".join(entry.approved_by) or "nobody the record names"
        yield Finding("unconfined", f"ran outside the sandbox, let by {by}", entry.seqs)
    if entry.secrets:
        kinds = ", ".join(entry.secrets)
        yield Finding("secret", f"a secret stood in it ({kinds}); the log holds none", entry.seqs)
    if entry.status == "lost":
        yield Finding("lost", "nobody knows what became of it: its writer died", entry.seqs)
    for contact in entry.refused:
        if contact.verdict == "refused":
            why = f": {contact.reason}" if contact.reason else ""
            yield Finding("refused_host", f"tried to reach {contact}{why}", entry.seqs)


def _first_uses(entries: Sequence[Entry], known: set[str]) -> Iterator[Finding]:
    for entry in entries:
        for contact in entry.contacts:
            if contact.verdict == "allowed" and contact.host not in known:
                known.add(contact.host)
                yield Finding("first_host", f"first contact of this log with {contact}", entry.seqs)


def _around_a_no(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Yield where the same program was refused and then, asked otherwise, ran."""
    refused: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind != "call":
            continue
        program = f"{entry.family} {entry.what.partition(' ')[0]}"
        before = refused.setdefault(program, [])
        if entry.status in STOPPED:
            before.append(entry)
        elif entry.ran and len(before) >= STUBBORN and entry.what not in {e.what for e in before}:
            text = f"refused {len(before)} times, then asked otherwise, and ran: {entry.what}"
            seqs = tuple(seq for one in (*before, entry) for seq in one.seqs)
            yield Finding("around_a_no", text, seqs)
            before.clear()


def _held_let_in(entries: Sequence[Entry]) -> Iterator[Finding]:
    held = {entry.change_set: entry for entry in entries if entry.held}
    for entry in entries:
        before = held.get(entry.change_set)
        if before is not None and entry is not before and entry.status == "ok":
            by = ", ".join(entry.approved_by) or "nobody the record names"
            text = f"what was held ({'; '.join(before.held)}) was let in by {by}"
            yield Finding("held_let_in", text, (*before.seqs, *entry.seqs))


def _policy_changes(entries: Sequence[Entry]) -> Iterator[Finding]:
    decided = [entry for entry in entries if entry.kind == "call" and entry.policy]
    for before, after in pairwise(decided):
        if before.policy != after.policy:
            text = f"the policy changed: from {before.policy[:12]} to {after.policy[:12]}"
            yield Finding("policy_changed", text, after.seqs)
