"""`permitgate serve`: open the rooms, say what is off, and serve one transport until told to end.

May touch: standard error for the operator; standard output belongs to the protocol.
"""

import logging
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import anyio

from mcp_server.app import App, Auth, Wishes, open_app
from mcp_server.config import load_config
from mcp_server.places import places


def run_server(workspace: Path | None, policy: tuple[str, ...], *, http: bool) -> None:
    """Serve until end of file or a signal."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="permitgate: %(message)s")
    auth: Auth = "http" if http else "stdio"
    app = open_app(load_config(places().config_file), places(), Wishes(auth, workspace, policy))
    try:
        _warn(app)
        if http:
            _serve_http(app)
        else:
            _serve_stdio(app)
    finally:
        app.close()


def _warn(app: App) -> None:
    if not app.caller.roots:
        _say("no workspace here; every call will say what to set")
    minimum = app.config.minimum_enforcement
    if not app.host.meets(minimum):
        _say(f"commands will be refused. {app.host.advice}")


def _serve_stdio(app: App) -> None:
    from mcp_server.surface import build_server  # noqa: PLC0415  # the SDK loads in 0.8 s

    anyio.run(build_server(app).run_stdio_async)


def _serve_http(app: App) -> None:
    from mcp_server.http import OneToken, auth_settings, bearer_token, serve_http  # noqa: PLC0415
    from mcp_server.surface import build_server  # noqa: PLC0415

    token, is_new = bearer_token(app.places.http_token)
    server = build_server(app, token_verifier=OneToken(token), auth=auth_settings())
    if is_new:
        _say(f"bearer token (printed once, kept in {app.places.http_token}): {token}")
    announce = partial(_announce, app.places.http_token)
    anyio.run(partial(serve_http, server, app.config.http, app.serve_owner, announce))


def _announce(token_file: Path, url: str) -> None:
    _say(f"{version('permitgate')} serves {url}; the token is in {token_file}")


def _say(text: str) -> None:
    sys.stderr.write(f"permitgate: {text}\n")
    sys.stderr.flush()
