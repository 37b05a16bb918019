"""A phone, chat or mailbox, by one of the services that Apprise knows.

May touch: what that service's plugin touches, in a thread that holds up nobody; the private file
of its URL, which is a secret, read for each notice. Apprise is an extra: it is loaded when a
target needs it. What it says is shown as `visible` shows it; it masks secrets itself.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, final

from approvals.bell import Bell
from approvals.notice import Notice
from approvals.private import read_private
from approvals.request import ApprovalError
from approvals.statement import visible

if TYPE_CHECKING:
    from apprise import Apprise

MAX_URL_BYTES = 1 << 12
SERVICE_S = 15
_MAX_SAID = 300


@final
@dataclass(frozen=True, slots=True)
class Chat:
    """One service; the URL in the file says which and for whom."""

    url_file: Path

    @property
    def place(self) -> str:
        """Return where it goes, which only the file says."""
        return f"the service in {self.url_file}"

    def check(self) -> None:
        """Return if a notice could be sent.

        Raises:
            ApprovalError: Apprise is not installed, or the URL cannot be used.
        """
        self._service()

    async def tell(self, notice: Notice) -> str:
        """Send one notice and return what was answered.

        Raises:
            ApprovalError: it was not taken, or nobody knows.
        """
        return await _in_a_thread(lambda: self._told(notice))

    def _told(self, notice: Notice) -> str:
        service = self._service()
        result = service.notify(body=notice.text(), title=notice.title, body_format="text")
        if not result:
            said = "; ".join(entry.message for entry in result.logs())
            raise ApprovalError(
                f"not taken: {visible(said or 'Apprise does not say why', _MAX_SAID)}"
            )
        return "taken"

    def _service(self) -> "Apprise":
        require_apprise()
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415  # an extra, and slow to load

        # What it says of one notice is in its result; beyond that it would repeat itself.
        logging.getLogger("apprise").propagate = False

        (url, *others) = read_private(self.url_file, MAX_URL_BYTES).decode(
            "utf-8", "replace"
        ).split() or [""]
        asset = AppriseAsset(http_redirects=False, async_mode=False, service_timeout=SERVICE_S)
        service = Apprise(asset=asset)
        if others or not service.add(url):
            raise ApprovalError(
                f"{self.url_file}: holds no URL that Apprise knows, such as ntfys://ntfy.sh/TOPIC "
                "or tgram://TOKEN/CHAT. Write one, and nothing else, into it."
            )
        return service


def require_apprise() -> None:
    """Return if Apprise is installed.

    Raises:
        ApprovalError: it is not.
    """
    if find_spec("apprise") is None:
        raise ApprovalError(
            "Apprise is not installed, and approvals.notify names a target of kind apprise. "
            "Install it: pip install 'permitgate[apprise]', with the pip of this installation."
        )


async def _in_a_thread(work: Callable[[], str]) -> str:
    """Return what `work` returns; a cancelled wait, or the end of the process, leaves it behind."""
    bell = Bell()
    done: list[str | Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001  # raised again by whoever waits
            done.append(error)
        bell.ring()

    with bell.listener() as listener:
        threading.Thread(target=run, daemon=True).start()
        while not done:
            await listener.wait(SERVICE_S)
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]
