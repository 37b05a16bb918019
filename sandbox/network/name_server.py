"""Answers a command's name queries: allowed names get synthetic addresses, no query ever leaves.

Pure. Messages are read and written by dnspython. What is not an address of an allowed name is
answered as empty, and every other name as not existing.
Source: RFC 1035, RFC 6761 (localhost), RFC 8020 (a name that does not exist).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from sandbox.network.addresses import Names

TTL_S: Final = 60
LONGEST: Final = 253
LOOPBACK: Final = ("127.0.0.1", "::1")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_FAMILIES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)


class NameServer:
    """The name server of one command."""

    def __init__(
        self, names: Names, own: str, is_allowed: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._names, self._own, self._is_allowed = names, own.lower(), is_allowed

    async def answer(self, wire: bytes) -> bytes | None:
        """Return the answer to a query, or None for what is none."""
        try:
            query = dns.message.from_wire(wire, ignore_trailing=True)
            if query.flags & dns.flags.QR or len(query.question) != 1:
                return None
            answer = dns.message.make_response(query, recursion_available=True)
        except (dns.exception.DNSException, ValueError, IndexError):
            return None
        await self._fill(answer)
        return answer.to_wire()

    async def _fill(self, answer: dns.message.Message) -> None:
        question = answer.question[0]
        addresses = await self._addresses(host_name(question.name))
        if addresses is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype in _FAMILIES:
            text = addresses[_FAMILIES.index(question.rdtype)]
            answer.answer.append(
                dns.rrset.from_text(question.name, TTL_S, "IN", question.rdtype, text)
            )

    async def _addresses(self, name: str) -> tuple[str, str] | None:
        if name in ("localhost", self._own) or name.endswith(".localhost"):
            return LOOPBACK
        if not name or not await self._is_allowed(name):
            return None
        pair = self._names.addresses(name)
        return None if pair is None else (str(pair[0]), str(pair[1]))


def host_name(name: dns.name.Name) -> str:
    """Return a name of the wire in canonical form; "" for one that is no host's."""
    text = name.to_text(omit_final_dot=True).lower()
    return text if len(text) <= LONGEST and _HOST.fullmatch(text) else ""
