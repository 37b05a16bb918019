"""The items of `hosts`: globs over names, addresses and networks, and which hosts are among them.

May touch: strings. May not touch: accesses, name servers, rules.
An item that is no host's spelling matches nothing; lint.py says so, and host_set_file.py refuses
it.
"""

import ipaddress
import re
from functools import lru_cache

from policy.globs import text_glob, text_regex
from policy.hosts import address, canonical
from policy.overlap import inside, overlaps

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WILD = re.compile(r"[*?\[]")
_NAME_GLOB = re.compile(r"[a-z0-9_.*?-]+|[0-9a-f:.*?]+")
_MAY_BE_ADDRESS = re.compile(r"[0-9a-f:.*?]+")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class HostGlobs:
    """One list of items in one context."""

    __slots__ = ("_answers", "_names", "_networks", "texts")

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        self._networks = [found for text in texts if (found := network(text)) is not None]
        self._names: re.Pattern[str] | None = None
        self._answers: dict[tuple[str, tuple[str, ...]], bool] = {}

    def has(self, host: str) -> bool:
        """Return whether a host in its one spelling is among them."""
        if self._names is None:
            self._names = text_regex([text for text in self.texts if network(text) is None])
        if self._names.fullmatch(host) is not None:
            return True
        found = address(host) if self._networks else None
        return found is not None and any(found in one for one in self._networks)

    def has_all(self, items: tuple[str, ...]) -> bool:
        """Return whether every host that some other items name is among them."""
        key = ("all", items)
        if key not in self._answers:
            self._answers[key] = all(any(within(one, own) for own in self.texts) for one in items)
        return self._answers[key]

    def has_any(self, items: tuple[str, ...]) -> bool:
        """Return whether some host that other items name may be among them."""
        key = ("any", items)
        if key not in self._answers:
            self._answers[key] = any(meets(one, own) for one in items for own in self.texts)
        return self._answers[key]


def spelled(item: str) -> str | None:
    """Return an item in the spelling that hosts are compared in; None for what names no host.

    A network is meant whole, whichever of its addresses stands before the slash.
    """
    if "/" in item:
        return _spelled_network(item)
    if "[" in item or "\\" in item:
        return item.lower() if item.isascii() else None
    if not _WILD.search(item):
        return canonical(item)
    labels = [label.lower() if label.isascii() else _label(label) for label in item.split(".")]
    text = ".".join(label or "/" for label in labels)  # a slash is in no name
    return text if _NAME_GLOB.fullmatch(text) else None


def _label(label: str) -> str | None:
    return None if _WILD.search(label) else canonical(label)


def _spelled_network(item: str) -> str | None:
    try:
        found = ipaddress.ip_network(item, strict=False)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        inner = found.network_address.ipv4_mapped
        return f"{inner}/{found.prefixlen - _MAPPED.prefixlen}"
    return str(found)


@lru_cache(maxsize=1024)
def network(item: str) -> Network | None:
    """Return the network that an item is; None for any other."""
    if "/" not in item:
        return None
    try:
        return ipaddress.ip_network(item)
    except ValueError:
        return None


def within(one: str, other: str) -> bool:
    """Return whether every host that one item names the other names too; a no may be doubt."""
    if other == "*":
        return True
    small, large = network(one), network(other)
    if small is not None:
        return large is not None and _is_subnet(small, large)
    if large is not None:
        found = address(one)
        return found is not None and found in large
    return inside(text_glob(one), text_glob(other))


def meets(one: str, other: str) -> bool:
    """Return whether some host may be named by both items; a yes may be doubt."""
    first, second = network(one), network(other)
    if first is not None and second is not None:
        return first.version == second.version and first.overlaps(second)
    if first is not None:
        return _may_lie_in(other, first)
    if second is not None:
        return _may_lie_in(one, second)
    return overlaps(text_glob(one), text_glob(other))


def _is_subnet(small: Network, large: Network) -> bool:
    if isinstance(small, ipaddress.IPv4Network):
        return isinstance(large, ipaddress.IPv4Network) and small.subnet_of(large)
    return isinstance(large, ipaddress.IPv6Network) and small.subnet_of(large)


def _may_lie_in(item: str, whole: Network) -> bool:
    found = address(item)
    if found is not None:
        return found in whole
    # Which addresses a glob over their text can be is not worked out.
    return bool(_WILD.search(item)) and ("[" in item or bool(_MAY_BE_ADDRESS.fullmatch(item)))
