"""A webhook: each notice posted as JSON and signed, in the manner that receivers know to check.

May touch: one URL, and the private file of its secret, read for each notice. No redirect is
followed, no proxy or netrc of the environment is used, and no answer is read beyond its status.
Source: Standard Webhooks 1.0.0 (symmetric signatures).
"""

import base64
import binascii
import hmac
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

import httpx2
from anyio import to_thread

from approvals.notice import Notice
from approvals.private import read_private
from approvals.request import ApprovalError

ANSWER_S = 10.0
MAX_SECRET_BYTES = 1 << 12
MAX_SECRETS = 4
SECRET_BYTES = range(24, 65)
PREFIX = b"whsec_"
_TOLD = range(200, 300)


@final
@dataclass(slots=True)
class Webhook:
    """One receiver."""

    url: str
    secret_file: Path
    clock: Callable[[], float]
    ca_file: Path | None = None
    _trust: ssl.SSLContext | None = field(default=None, init=False)

    def check(self) -> None:
        """Return if a notice could be sent.

        Raises:
            ApprovalError: the secret cannot be used.
        """
        secrets_of(self.secret_file)

    async def tell(self, notice: Notice) -> str:
        """Post one notice and return what was answered.

        Raises:
            ApprovalError: it was not taken, or nobody knows.
        """
        keys = await to_thread.run_sync(secrets_of, self.secret_file)
        body, moment = notice.body(), int(self.clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "permitgate",
            "webhook-id": notice.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signatures(keys, notice.id, moment, body),
        }
        status = await self._posted(body, headers)
        if status not in _TOLD:
            raise ApprovalError(f"{self.place} answered {status}")
        return f"answered {status}"

    @property
    def place(self) -> str:
        """Return where it goes, without the path, which may be all that a receiver asks for."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.url))

    async def _posted(self, body: bytes, headers: dict[str, str]) -> int:
        if self._trust is None:
            self._trust = await to_thread.run_sync(self._trusted)
        try:
            async with (
                httpx2.AsyncClient(
                    verify=self._trust, trust_env=False, timeout=ANSWER_S, follow_redirects=False
                ) as client,
                client.stream("POST", self.url, content=body, headers=headers) as answer,
            ):
                return int(answer.status_code)
        except httpx2.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ApprovalError(f"{self.place}: no answer: {why}") from None

    def _trusted(self) -> ssl.SSLContext:
        if self.ca_file is None:
            return httpx2.create_ssl_context(trust_env=False)
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ApprovalError(f"{self.ca_file}: {error.strerror or error}") from None


def secrets_of(path: Path) -> tuple[bytes, ...]:
    """Return the keys in a file, one `whsec_` line each: a new one first, an old one beside it.

    Raises:
        ApprovalError: the file is not ours alone, or holds something else.
    """
    lines = read_private(path, MAX_SECRET_BYTES).split()
    try:
        keys = tuple(_key(line) for line in lines)
    except (ValueError, binascii.Error):
        keys = ()
    if not 1 <= len(keys) <= MAX_SECRETS:
        raise ApprovalError(
            f"{path}: holds no webhook secret: a line `whsec_` and base64 of 24 to 64 random "
            f"bytes, and up to {MAX_SECRETS} such lines while one is exchanged. Make one: "
            f"(umask 077; echo whsec_$(head -c 32 /dev/urandom | base64) > {path})"
        )
    return keys


def signatures(keys: Sequence[bytes], identity: str, moment: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one `v1,` and base64 for each key."""
    signed = f"{identity}.{moment}.".encode("ascii") + body
    macs = (hmac.digest(key, signed, sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(mac).decode("ascii") for mac in macs)


def _key(line: bytes) -> bytes:
    if not line.startswith(PREFIX):
        raise ValueError(PREFIX)
    key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    if len(key) not in SECRET_BYTES:
        raise ValueError(len(key))
    return key
