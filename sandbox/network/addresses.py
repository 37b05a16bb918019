"""Which addresses lie in the public internet, and the synthetic ones that stand for names.

Pure. Source: the IANA special-purpose address registries, as Python's ipaddress knows them;
RFC 2544 for 198.18.0.0/15, RFC 4193 for the unique local prefix, RFC 6052 and RFC 3056 for
addresses that hold another.
"""

import ipaddress
from collections.abc import Sequence
from itertools import count

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

FIRST4 = int(ipaddress.IPv4Address("198.18.1.0"))
FIRST6 = int(ipaddress.IPv6Address("fd70:6d67::1:0"))
MOST_NAMES = 4096
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOW32 = 0xFFFF_FFFF


class Names:
    """Synthetic addresses of one command: each name has one of each family, and keeps them."""

    def __init__(self) -> None:
        self._next = count()
        self._by_name: dict[str, tuple[Address, Address]] = {}
        self._by_address: dict[Address, str] = {}

    def addresses(self, name: str) -> tuple[Address, Address] | None:
        """Return the IPv4 and IPv6 address that stand for a name; None when there are too many."""
        if name not in self._by_name:
            if len(self._by_name) >= MOST_NAMES:
                return None
            at = next(self._next)
            pair = (ipaddress.IPv4Address(FIRST4 + at), ipaddress.IPv6Address(FIRST6 + at))
            self._by_name[name] = pair
            self._by_address |= dict.fromkeys(pair, name)
        return self._by_name[name]

    def name(self, address: Address) -> str | None:
        """Return the name that an address stands for, if it is one of ours."""
        return self._by_address.get(address)


def parse(text: str) -> Address:
    """Return an address in its plainest form: an IPv4 address that IPv6 wraps is that address.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def networks(texts: Sequence[str]) -> tuple[AnyNetwork, ...]:
    """Return addresses and networks as networks."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def not_public(address: Address, listed: Sequence[AnyNetwork]) -> str:
    """Return in a word what an address is, where that is not the public internet nor listed."""
    if any(address in network for network in listed):
        return ""
    return next(filter(None, map(_kind, (address, *_held(address)))), "")


def _kind(address: Address) -> str:
    kinds = {
        "loopback": address.is_loopback,
        "link-local, where clouds keep their metadata": address.is_link_local,
        "multicast": address.is_multicast,
        "the unspecified address": address.is_unspecified,
        "private": not address.is_global,
    }
    return next((kind for kind, holds in kinds.items() if holds), "")


def _held(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that a translator or tunnel would take an IPv6 address for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    held: list[Address] = [address.sixtofour] if address.sixtofour else []
    if address.teredo:
        held += address.teredo
    if address in _NAT64:
        held.append(ipaddress.IPv4Address(int(address) & _LOW32))
    return tuple(held)
