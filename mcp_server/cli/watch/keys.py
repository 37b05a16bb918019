"""What a terminal sends for a key, as the names the screen knows.

May touch: bytes. INVARIANT: an answer is one key pressed alone; in a paste, or in what was typed
ahead, it is no answer.
"""

from typing import Final

MOVES: Final = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\x1b[6~": "more", b" ": "more",
    b"\x1b[5~": "back", b"b": "back",
    b"\x1b[F": "end", b"\x1b[4~": "end", b"G": "end",
    b"q": "quit", b"\x03": "quit", b"\x04": "quit",
}  # fmt: skip
ANSWERS: Final = {b"y": "yes", b"s": "session", b"n": "no"}


def key(sent: bytes) -> str:
    """Return the name of the key that was pressed, `several` for more than one, "" for others.

    A key that moves may repeat while it is held down; it counts once.
    """
    if sent in ANSWERS:
        return ANSWERS[sent]
    for code, name in MOVES.items():
        if sent and sent == code * (len(sent) // len(code)):
            return name
    return "several" if len(sent) > 1 and not sent.startswith(b"\x1b") else ""
