"""Streamable HTTP on loopback: our own uvicorn, one bearer token, exact Host, no Origin.

May touch: one listening socket and the token file. A browser page on this machine can reach
127.0.0.1, so the Host must be exactly ours, any Origin is refused, and every request needs the
token.
"""

import hashlib
import hmac
import os
import re
import secrets
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from mcp_server.config import ConfigError, HttpSettings
from mcp_server.server import PermitgateServer

GRACE_S = 1
MAX_TOKEN_BYTES = 4096
TOKEN = re.compile(r"[A-Za-z0-9_-]{32,}")
PATH = "/mcp"


class TokenFileError(ConfigError):
    """The bearer token cannot be kept safely; the server did not start."""


def bearer_token(path: Path) -> tuple[str, bool]:
    """Return the token and whether it was made just now; the file is 0600 and ours alone.

    Raises:
        TokenFileError: the file is a link, is readable by others, or cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _kept_token(path), False
    except OSError as error:
        raise TokenFileError(f"{path}: the token cannot be kept: {error.strerror}.") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token, True


def _kept_token(path: Path) -> str:
    if path.is_symlink():
        raise TokenFileError(f"{path}: is a link. Delete it; a new token is made.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TokenFileError(f"{path}: is not a regular file. Delete it; a new token is made.")
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise TokenFileError(
                f"{path}: others may have read this token. Delete the file; a new one is made."
            )
        token = os.read(descriptor, MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    if not TOKEN.fullmatch(token):
        raise TokenFileError(f"{path}: holds no token of ours. Delete the file; a new one is made.")
    return token


class OneToken:
    """Verifies the single static token, by digest and in constant time."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the holder of the token, or None."""
        offered = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(offered, self._digest):
            return None
        return AccessToken(
            token="", client_id="bearer", subject="bearer", scopes=[]
        )  # the token is not carried on


def auth_settings() -> AuthSettings:
    """Return the SDK's settings for a static bearer token."""
    return AuthSettings(issuer_url=AnyHttpUrl("http://127.0.0.1"), resource_server_url=None)


async def serve_http(
    server: PermitgateServer,
    settings: HttpSettings,
    background: Callable[[], Any],
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; open calls are cancelled after a second.

    Args:
        server: the tools, built with the token verifier.
        settings: where to listen; port 0 lets the system choose.
        background: an async function that runs beside the calls until cancelled.
        announce: told the URL once the socket listens.
    """
    listener = _listener(settings)
    port = listener.getsockname()[1]
    application = server.streamable_http_app(
        streamable_http_path=PATH,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[f"{settings.host}:{port}", f"localhost:{port}"], allowed_origins=[]
        ),
    )
    web = uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    announce(f"http://{settings.host}:{port}{PATH}")
    async with anyio.create_task_group() as group:
        group.start_soon(background)
        await web.serve(sockets=[listener])
        group.cancel_scope.cancel()


def _listener(settings: HttpSettings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}. Set another "
            "http.port in the configuration; 0 takes any that is free."
        ) from None
