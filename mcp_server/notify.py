"""The targets of `approvals.notify`, built from their settings.

May touch: what a target of its kind touches. What a kind needs is imported when one is configured.
"""

import time
from typing import assert_never

from approvals.notify import Pace, Target
from mcp_server.config import ApprovalSettings
from mcp_server.notify_settings import AppriseTarget, NotifyTarget, WebhookTarget

LAST_OF_A_COMMAND_S = 5.0  # it may leave a request open with nobody else to tell of it


def pace(*, is_command: bool) -> Pace:
    """Return how fast is told by a command that ends soon, or by a server."""
    return Pace(last_s=LAST_OF_A_COMMAND_S) if is_command else Pace()


def targets(settings: ApprovalSettings) -> list[Target]:
    """Return the configured targets.

    Raises:
        ApprovalError: Apprise is needed and not installed.
    """
    return [target(one) for one in settings.notify]


def shown_page(settings: ApprovalSettings) -> str:
    """Return where people see the page from elsewhere; empty where that is not configured."""
    return "" if settings.page is None else settings.page.public_url


def target(settings: NotifyTarget) -> Target:
    """Return one target.

    Raises:
        ApprovalError: it is of kind apprise, which is not installed.
    """
    match settings:
        case WebhookTarget():
            from approvals.webhook import Webhook  # noqa: PLC0415  # httpx2 loads slowly

            hook = Webhook(settings.url, settings.secret_file, time.time, settings.ca_file)
            return Target(settings.name, hook, hears_answers=True)
        case AppriseTarget():
            from approvals.chat import Chat, require_apprise  # noqa: PLC0415

            require_apprise()
            return Target(settings.name, Chat(settings.url_file), hears_answers=False)
        case other:
            assert_never(other)
