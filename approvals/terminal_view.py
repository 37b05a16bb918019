"""How a request looks in a terminal: preview, statement, warnings, offers, as plain ASCII lines.

May touch: text. The command line colours the lines; every word is here already, in the order a
careful reader needs it: what it does, what exactly is asked, what to be wary of.
"""

from collections.abc import Iterator, Sequence

from approvals.reach import Reach
from approvals.request import Pending
from approvals.statement import all_warnings, preview_lines, statement, visible


def as_lines(pending: Pending) -> tuple[str, ...]:
    """Return the request as printable ASCII lines without line ends."""
    preview = preview_lines(pending.question.preview)
    tells = all_warnings(pending)
    offers = pending.question.for_session
    return (
        *preview,
        *([""] if preview else []),
        *statement(pending).splitlines(),
        *(["", "A yes for the session also permits, until it ends:"] if offers else []),
        *(f"  {visible(offer)}" for offer in offers),
        *([""] if tells else []),
        *(f"! {tell}" for tell in tells),
    )


def offer_lines(found: Sequence[Reach], left_out: str, how: str) -> Iterator[str]:
    """Yield what each grant would cover, and what of the earlier requests: printable ASCII.

    `how` is how a person says that they want one.
    """
    if found:
        yield from ("", f"A yes can also grant what comes later, {how}:")
    for one in found:
        for index, text in enumerate(one.offer.covers):
            yield f"  {'' if index else one.offer.scope:12} {visible(text)}"
        if one.covered is not None and one.missed is not None and one.covered + one.missed:
            yield (
                f"{'':15}of {one.covered + one.missed} earlier requests in this log: "
                f"{one.covered} covered, {one.missed} not"
            )
        for name, such in (("covered", one.covered_such), ("not", one.missed_such)):
            for line in such:
                yield f"{'':15}{name:8} {line}"
    if found and left_out:
        yield f"{'':15}({visible(left_out, 200)})"
