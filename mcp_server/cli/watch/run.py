"""The loop of `approvals watch`: the owner's terminal between a list that changes and one key.

May touch: standard input and output in character mode, which is put back whatever happens, and
what cli/owners_door.py may touch. What was typed before a request came up is thrown away.
"""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live

from approvals.request import ApprovalError
from mcp_server.cli.exits import Exit, stop
from mcp_server.cli.owners_door import Door
from mcp_server.cli.watch.keys import key
from mcp_server.cli.watch.screen import Say, Screen

LOOK_S: Final = 0.5  # how often the list is asked for
REST_OF_KEY_S: Final = 0.05  # an arrow is several bytes, which may come apart over a network


def watch(door: Door) -> None:
    """Show what waits and take answers until `q`."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise stop(Exit.USAGE, "watch needs a terminal; `permitgate approvals list` needs none.")
    console, screen = Console(highlight=False), Screen()
    with _single_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            screen.resize(*console.size)
            _look(door, screen, console)
            live.update(screen.drawn(time.time()), refresh=True)
            name = _pressed()
            if name == "quit":
                return
            if name:
                _act(door, screen, name)


def _look(door: Door, screen: Screen, console: Console) -> None:
    """Take the list as it is now; a request that was not on the screen is read from its start."""
    try:
        known = {row.id for row in screen.rows}
        wanted = screen.listed(door.listed())
        if {row.id for row in screen.rows} - known:
            console.bell()
        if wanted != (screen.shown.id if screen.shown else ""):
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
            screen.show(door.shown(wanted) if wanted else None)
    except ApprovalError as error:
        screen.listed(())
        screen.show(None)
        screen.notice = str(error)


def _act(door: Door, screen: Screen, name: str) -> None:
    screen.notice = ""
    try:
        match name:
            case "up" | "down":
                wanted = screen.move(-1 if name == "up" else 1)
                if wanted and (screen.shown is None or wanted != screen.shown.id):
                    screen.show(door.shown(wanted))
            case "more" | "back" | "end":
                screen.scroll(name)
            case "several":
                screen.notice = "Several keys at once are no answer: press one."
            case _:
                say = screen.answer(name, time.time())
                screen.notice = _said(door, say) if say else screen.notice
    except ApprovalError as error:
        screen.notice = str(error)


def _said(door: Door, say: Say) -> str:
    state = door.answered(say.request_id, say.digest, say.answer)
    return f"{say.request_id} is {state.value}."


def _pressed() -> str:
    """Return the key pressed within the time to look again, or ""."""
    if not _is_waiting(LOOK_S):
        return ""
    sent = os.read(sys.stdin.fileno(), 256)
    if sent == b"\x1b" and _is_waiting(REST_OF_KEY_S):
        sent += os.read(sys.stdin.fileno(), 256)
    return key(sent) if sent else "quit"  # the terminal is gone


def _is_waiting(timeout_s: float) -> bool:
    return bool(select.select([sys.stdin], [], [], timeout_s)[0])


@contextmanager
def _single_keys() -> Iterator[None]:
    """Hand keys over one by one and unechoed, until the end of the block."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
