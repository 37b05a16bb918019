"""Signing keys that never enter this process: held by an agent, a token, a key service.

May touch: whatever the holder it is given touches. Every signature is checked before it is used, so
a holder that signs with another key cannot spoil the log. A distribution offers holders under the
entry point group `permitgate.signers`.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol, TypeAlias, final

from audit.agent_key import AgentKey
from audit.errors import AuditError, AuditUnavailable, NoteError, SignerUnavailable
from audit.note import PublicKey, Signer

GROUP = "permitgate.signers"
AGENT = "ssh-agent"
KEY_BYTES = 32


class KeyHolder(Protocol):
    """Whoever holds one Ed25519 private key. Either method may raise OSError or ValueError."""

    def public_bytes(self) -> bytes:
        """Return the public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, 64 bytes."""


Source: TypeAlias = Callable[[bytes | None], KeyHolder]


@final
class HeldSigner:
    """The signer of a log whose key somebody else holds."""

    def __init__(self, name: str, place: str, source: Source, raw: bytes | None = None) -> None:
        self._place = place
        self._source = source
        try:
            self._holder = source(raw)
            found = self._holder.public_bytes()
        except (OSError, ValueError) as error:
            raise SignerUnavailable(self._says(error)) from error
        if len(found) != KEY_BYTES:
            raise AuditUnavailable(f"audit.signer {place!r}: not an Ed25519 key of 32 bytes.")
        self._public = PublicKey(name, found)

    @property
    def public_key(self) -> PublicKey:
        """Return the key that verifies what this signer signs."""
        return self._public

    @property
    def is_here(self) -> bool:
        """Return False: somebody else holds the key."""
        return False

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, checked.

        Raises:
            SignerUnavailable: the holder does not answer, refuses, or signs with another key.
        """
        try:
            signature = self._holder.sign(message)
            self._public.check(message, signature)
        except (OSError, NoteError, ValueError) as error:
            raise SignerUnavailable(self._says(error)) from error
        return signature

    def successor(self, key: PublicKey) -> Signer:
        """Return the signer of `key` from the same holder.

        Raises:
            AuditUnavailable: the holder has no such key.
        """
        found = HeldSigner(self._public.name, self._place, self._source, key.raw)
        if found.public_key != key:
            raise AuditUnavailable(
                f"the log goes on with the key {key.vkey}, which {self._place!r} does not hold. "
                "Set audit.signer to where that key is, and start again."
            )
        return found

    def _says(self, error: Exception) -> str:
        return f"audit.signer {self._place!r}: {error}. Nothing runs until it signs again."


def held_signer(place: str, *, name: str) -> HeldSigner:
    """Return the signer that a configured place such as `ssh-agent:SHA256:…` names.

    Raises:
        AuditError: nothing answers to that name.
        AuditUnavailable: the key cannot be used now.
    """
    kind, _, argument = place.partition(":")
    if kind == AGENT:
        return HeldSigner(name, place, lambda raw: AgentKey.find(argument, raw))
    found = list(entry_points(group=GROUP, name=kind))
    if len(found) != 1:
        raise AuditError(
            f"audit.signer {place!r}: {len(found)} installed distributions offer {kind!r} in the "
            f"entry point group {GROUP}; one must."
        )
    make = found[0].load()
    return HeldSigner(name, place, lambda _: make(argument))
