"""Step 9 of the road: secrets leave neither to the agent nor to the log.

May touch: values. The digest and size of a stream stay those of what the command printed, so
evidence about the original remains checkable by whoever has it.
"""

from dataclasses import replace

from audit.redact import Redactor
from sandbox.outcome import CommandOutcome, FileOutcome, Outcome, Output, RemoteOutcome

LONGEST_SECRET = 4096  # bytes; a longer line is cut by as much on either side


def redacted(redactor: Redactor, outcome: Outcome) -> Outcome:
    """Return the outcome with every secret we can recognise replaced by its kind."""
    match outcome:
        case CommandOutcome():
            return replace(
                outcome,
                stdout=_output(redactor, outcome.stdout),
                stderr=_output(redactor, outcome.stderr),
                message=redactor.redact_text(outcome.message),
            )
        case FileOutcome():
            matches = tuple(
                replace(match, text=redactor.redact_text(match.text)) for match in outcome.matches
            )
            return replace(outcome, content=redactor.redact(outcome.content), matches=matches)
        case RemoteOutcome():
            hosts = tuple(
                replace(
                    host,
                    stdout=_output(redactor, host.stdout),
                    stderr=_output(redactor, host.stderr),
                )
                for host in outcome.hosts
            )
            return replace(outcome, hosts=hosts)
        case _:
            return outcome


def _output(redactor: Redactor, output: Output) -> Output:
    head, tail = output.head, output.tail
    if tail:
        # What lies across the cut cannot be recognised from its two ends: whole lines only.
        head, tail = _until_last_line_end(head), _from_first_line_start(tail)
    return replace(output, head=redactor.redact(head), tail=redactor.redact(tail))


def _until_last_line_end(data: bytes) -> bytes:
    end = data.rfind(b"\n", -LONGEST_SECRET)
    return data[: end + 1] if end >= 0 else data[:-LONGEST_SECRET]


def _from_first_line_start(data: bytes) -> bytes:
    end = data.find(b"\n", 0, LONGEST_SECRET)
    # Never empty: the tail is what says that something was cut out.
    return data[end:] if end >= 0 else data[LONGEST_SECRET:] or b"\n"
