"""The server's side of the broker: starts it, gives each command a line, answers its questions.

May touch: one process of our own, started with constant arguments when the first command that may
use the network comes. Where it dies, its commands' connections are gone, and the next command gets
a new one.
"""

import json
import os
import socket
import subprocess  # noqa: TID251  # the broker; it holds no command
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sandbox.network.model import MESSAGE, Asks, Contact, Destination, Network

PYTHON = sys.executable
PACKAGES = Path(__file__).resolve().parents[2]
RUN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from sandbox.network.broker import main; main()"
)
END_S = 5.0
GONE = "the broker was ended while the command ran: what was open broke off, nothing new was opened"


class Brokerage:
    """The one broker of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def line(self, network: Network, asks: Asks) -> "ServedLine":
        """Return a line for one command.

        Raises:
            OSError: there is no broker, and none could be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        seat, brokers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, brokers:
            order = json.dumps(asdict(network)).encode()
            try:
                self._send(order, [theirs.fileno(), brokers.fileno()])
            except OSError:
                ours.close()
                seat.close()
                raise
        return ServedLine(ours, seat, asks)

    def close(self) -> None:
        """End the broker, and with it every connection."""
        with self._lock:
            self._end()

    def _send(self, order: bytes, descriptors: list[int]) -> None:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._begin()
            try:
                socket.send_fds(self._running(), [order], descriptors)
            except OSError:
                self._begin()
                socket.send_fds(self._running(), [order], descriptors)

    def _running(self) -> socket.socket:
        if self._control is None:
            raise OSError("the broker is closed")
        return self._control

    def _begin(self) -> None:
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # constant, no shell
                [PYTHON, "-I", "-c", RUN, str(PACKAGES), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        self._control = ours

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ServedLine:
    """One command's line, as the server holds it; `seat` goes into the command's namespace."""

    def __init__(self, channel: socket.socket, seat: socket.socket, asks: Asks) -> None:
        self._channel, self.seat, self._asks = channel, seat, asks
        self._report: bytes = b""
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def end(self) -> tuple[Contact, ...]:
        """End all connections and return what became of them."""
        self.seat.close()
        with suppress(OSError):
            self._channel.send(b'{"end": true}')
        self._thread.join(END_S)
        self._channel.close()
        if not self._report:
            return (Contact("", 0, "failed", reason=GONE),)
        return tuple(Contact(**one) for one in json.loads(self._report))

    def _answer(self) -> None:
        """Answer the broker's questions until it reports; what cannot be asked is refused."""
        try:
            while message := self._channel.recv(MESSAGE):
                said = json.loads(message)
                if isinstance(said, list):
                    self._report = message
                    return
                word = self._asks(Destination(**said["to"]))
                answer = {"number": said["number"], **asdict(word)}
                self._channel.send(json.dumps(answer).encode())
        except OSError:
            return


def _environment() -> dict[str, str]:
    """Return what name look-up needs of our own environment, and no more."""
    names = ("LOCALDOMAIN", "RES_OPTIONS", "LANG")
    return {name: os.environ[name] for name in names if name in os.environ}
