"""Sinks that are posted to: JSON lines for any receiver, OTLP for a collector.

May touch: one URL. No redirect is followed and no proxy or netrc of the environment is used: the
records, and the credential, go where the configuration says and nowhere else.
Source: Standard Webhooks (the three `webhook-` headers); OTLP/HTTP.
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import final

import httpx2

from audit.sinks import shapes
from audit.sinks.deliver import SinkError
from audit.sinks.follow import Batch
from audit.sinks.secret import read_secret

MAX_ANSWER_BYTES = 1 << 16
ANSWER_S = 20.0
_SAID = 200  # characters of an answer that are repeated
_OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to post, and with which credential; each from a file."""

    url: str
    token_file: Path | None = None
    hmac_key_file: Path | None = None
    ca_file: Path | None = None


@final
class Poster:
    """One connection to one endpoint, opened when first used."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: httpx2.AsyncClient | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the status and the answer.

        Raises:
            SinkError: there was none, or the credential cannot be read.
        """
        sent = dict(headers)
        if self._endpoint.token_file is not None:
            token = read_secret(self._endpoint.token_file)
            sent["Authorization"] = "Bearer " + token.decode("ascii", "replace")
        if self._client is None:
            self._client = self._connected()
        try:
            async with self._client.stream(
                "POST", self._endpoint.url, content=body, headers=sent
            ) as answer:
                said = b""
                async for chunk in answer.aiter_raw():
                    said += chunk[: MAX_ANSWER_BYTES - len(said)]
                    if len(said) == MAX_ANSWER_BYTES:
                        break
                return answer.status_code, said
        except httpx2.HTTPError as error:
            await self.close()
            raise SinkError(
                f"{self._endpoint.url}: no answer: {str(error) or type(error).__name__}"
            ) from None

    async def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def refused(self, status: int, said: bytes) -> SinkError:
        """Return what to say of an answer that is not a yes."""
        text = "".join(
            c if c.isprintable() else " " for c in said[:_SAID].decode("utf-8", "replace")
        )
        return SinkError(f"{self._endpoint.url}: answered {status}: {text}".rstrip(": "))

    def _connected(self) -> httpx2.AsyncClient:
        ca_file = self._endpoint.ca_file
        context = httpx2.create_ssl_context(str(ca_file) if ca_file else True, trust_env=False)
        return httpx2.AsyncClient(verify=context, trust_env=False, timeout=ANSWER_S)


@final
class JsonLines:
    """Posts records as they stand in the log; `webhook-id` is the same when they are sent again."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], datetime]) -> None:
        self._poster = Poster(endpoint)
        self._key_file = endpoint.hmac_key_file
        self._clock = clock

    async def send(self, batch: Batch) -> int:
        """Post one batch."""
        body = batch.data
        first, last = batch.start.size, batch.end.size - 1
        identity = f"{batch.head.checkpoint.origin}:{first}-{last}:{batch.end.tip[:16]}"
        moment = str(int(self._clock().timestamp()))
        headers = {
            "Content-Type": "application/x-ndjson",
            "webhook-id": identity,
            "webhook-timestamp": moment,
        }
        if self._key_file is not None:
            signed = f"{identity}.{moment}.".encode() + body
            mac = hmac.digest(_key(read_secret(self._key_file)), signed, sha256)
            headers["webhook-signature"] = "v1," + base64.b64encode(mac).decode()
        status, said = await self._poster.post(body, headers)
        if status not in _OK:
            raise self._poster.refused(status, said)
        return 0

    async def close(self) -> None:
        """Give the connection back."""
        await self._poster.close()


@final
class Otlp:
    """Exports records to a collector; each is one log record with its line as the body."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._poster = Poster(endpoint)

    async def send(self, batch: Batch) -> int:
        """Export one batch; return how many the collector says it dropped."""
        origin = batch.head.checkpoint.origin
        body = shapes.otlp(batch.lines, origin, version("permitgate"))
        status, said = await self._poster.post(body, {"Content-Type": "application/json"})
        if status not in _OK:
            raise self._poster.refused(status, said)
        return _rejected(said)

    async def close(self) -> None:
        """Give the connection back."""
        await self._poster.close()


def _rejected(said: bytes) -> int:
    try:
        return int(json.loads(said)["partialSuccess"]["rejectedLogRecords"])
    except (ValueError, KeyError, TypeError):
        return 0  # a plain yes


def _key(secret: bytes) -> bytes:
    """Return the key's bytes: `whsec_` and base64, as the standard spells it, or as they are."""
    prefix = b"whsec_"
    try:
        return (
            base64.b64decode(secret.removeprefix(prefix), validate=True)
            if secret.startswith(prefix)
            else secret
        )
    except ValueError:
        raise SinkError("the key after whsec_ is not base64.") from None
