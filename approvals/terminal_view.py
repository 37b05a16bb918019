"""How a request looks in a terminal: preview, statement, warnings, offers, as plain ASCII lines.

May touch: text. The command line colours the lines; every word is here already, in the order a
careful reader needs it: what it does, what exactly is asked, what to be wary of.
"""

from collections.abc import Iterable, Iterator

from approvals.grants import Reach
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


def offer_lines(found: Iterable[Reach]) -> Iterator[str]:
    """Yield what each grant would cover, and of how many earlier requests: printable ASCII."""
    for number, one in enumerate(found):
        if not number:
            yield ""
            yield "A yes can also grant what comes later, with --grant:"
        for index, text in enumerate(one.offer.covers):
            yield f"  {'' if index else one.offer.scope:12} {visible(text)}"
        missed = one.asked - one.covered
        if one.asked:
            yield (
                f"{'':15}of {one.asked} earlier requests of this session: "
                f"{one.covered} covered, {missed} not"
            )
