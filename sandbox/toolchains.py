"""Which toolchains of the owner commands see, read-only: `auto`, `none` or those that are listed.

May touch: directories, to look. The table is toolchains.yaml. What an unchanged look-up found is
used again; credential files are looked for before every command.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from sandbox.host import HostFacts
from sandbox.profile import is_within
from sandbox.programs import SYSTEM
from sandbox.toolchain_search import Search, Tools
from sandbox.toolchain_table import entries, variables

MAX_WORKSPACES = 64
FRESH_NS = 2 * 10**9  # what changed this recently may change again within one clock tick


class Toolbox:
    """Finds the toolchains of one host; one per server."""

    def __init__(self, host: HostFacts) -> None:
        self.host = host
        self._entries = entries(host.home, host.variables)
        self._known: dict[str, _Memory] = {}

    def find(self, workspace: str) -> Tools:
        """Return what commands in `workspace` see; an empty text stands for none."""
        known = self._known.get(workspace)
        if known is not None and known.is_current():
            return known.tools
        search = Search(self.host, self._entries, workspace)
        search.run()
        memory = _Memory(search.tools(), search.watched)
        if len(self._known) >= MAX_WORKSPACES:
            self._known.clear()
        if memory.is_settled():
            self._known[workspace] = memory
        return memory.tools


class _Memory:
    """What was found, and the paths that it depends on as they were."""

    def __init__(self, tools: Tools, watched: set[str]) -> None:
        self.tools = tools
        stamps = {path: _stamp(path) for path in watched}
        self._present = tuple((path, stamp) for path, stamp in stamps.items() if stamp)
        self._absent = tuple(path for path, stamp in stamps.items() if stamp is None)

    def is_settled(self) -> bool:
        newest = max((stamp[0] for _, stamp in self._present), default=0)
        return time.time_ns() - newest > FRESH_NS

    def is_current(self) -> bool:
        for path in self._absent:
            if os.access(path, os.F_OK):
                return False
        return all(_stamp(path) == stamp for path, stamp in self._present)


def equip(host: HostFacts, environ: Mapping[str, str]) -> HostFacts:
    """Return the host with what its owner's environment says of toolchains.

    A directory of PATH that has another name inside gets that name.
    """
    host = replace(host, variables=variables(environ, host.home))
    table = {path for entry in entries(host.home, host.variables) for path, _ in entry.show}
    named = (*SYSTEM, *table)
    path = (
        entry if any(is_within(entry, root) for root in named) else os.path.realpath(entry)
        for entry in host.path_entries
    )
    host = replace(host, path_entries=tuple(dict.fromkeys(path)))
    shown = (*SYSTEM, *(root for root, _ in Toolbox(host).find("").roots))
    return replace(
        host,
        shown_entries=tuple(
            entry for entry in host.path_entries if any(is_within(entry, root) for root in shown)
        ),
    )


def _stamp(path: str) -> tuple[int, int, int] | None:
    """Return what changes when a directory, its names or its mode do; None when it is absent."""
    try:
        found = os.stat(path)  # noqa: PTH116  # hot, text only
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_dev
