"""The keys of `approvals.notify` in config.yaml: one shape per kind of target, each key enforced.

May touch: values. A secret is named by the path of its file and never stands here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mcp_server.sink_settings import AbsolutePath, Receiver, Url


class WebhookTarget(Receiver):
    """Notices posted as JSON and signed."""

    kind: Literal["webhook"]
    url: Url
    secret_file: AbsolutePath
    ca_file: AbsolutePath | None = None

    @property
    def secret(self) -> Path:
        """Return the file that no command may read."""
        return self.secret_file


class AppriseTarget(Receiver):
    """Notices sent by one of Apprise's services."""

    kind: Literal["apprise"]
    url_file: AbsolutePath

    @property
    def secret(self) -> Path:
        """Return the file that no command may read."""
        return self.url_file


NotifyTarget = Annotated[WebhookTarget | AppriseTarget, Field(discriminator="kind")]
