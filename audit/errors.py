"""What goes wrong in the audit room, one class per way a caller must act.

May touch: nothing. Every message says what happened, where, and what to do.
"""


class AuditError(Exception):
    """The audit room could not do its job; nothing may run on the strength of the failed call."""


class AuditUnavailable(AuditError):  # noqa: N818 — the state is the name
    """A record could not be made durable: the caller must not execute what it announces."""


class SignerUnavailable(AuditUnavailable):
    """Whoever holds the signing key does not sign now; the log goes on once they do."""


class AuditTampered(AuditError):  # noqa: N818 — the state is the name
    """The log or its files are not what the log wrote; it refuses to build on them."""


class RecordRefused(AuditError, ValueError):  # noqa: N818 — the state is the name
    """A value is outside the record format; nothing was written."""


class NoteError(AuditError, ValueError):
    """A signed note, key, checkpoint or proof is malformed or not signed by a known key."""


class PolicyUnmet(NoteError):  # noqa: N818 — the state is the name
    """All is signed by the log, but not by the witnesses that a trust policy asks for."""
