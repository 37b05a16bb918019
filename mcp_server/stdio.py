"""The stdio transport: both protocol eras on one pipe, and a prompt, clean end.

May touch: standard input and output, signals. Some clients probe `server/discover` and then send
`initialize`; the SDK locks a connection to its first era and would refuse them, so the era is
chosen for each request here. This module uses a few of the SDK's internals: keep it small, pinned
to mcp 2.3 and held by tests/mcp_server/test_stdio.py.
"""

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from mcp.server.connection import Connection, NotifyOnlyOutbound
from mcp.server.lowlevel import Server
from mcp.server.runner import (
    ServerRunner,
    _has_modern_envelope,  # no public name; see the card
    _NoServerRequestsDispatchContext,  # no public name; see the card
    aclose_shielded,
    modern_error_data,
    serve_one,
)
from mcp.server.stdio import stdio_server
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from pydantic import ValidationError

LAST_WORDS_S = 0.9  # a signal ends the process within a second, whatever a call is doing


async def serve_stdio(
    low: Server[Any], background: Callable[[], Any], close: Callable[[], None]
) -> None:
    """Serve until end of file or a signal; running calls are cancelled and their children killed.

    Args:
        low: the SDK's server with our tools.
        background: an async function that runs beside the calls until cancelled.
        close: flushes what must survive; called before a signal ends the process.
    """
    serving = anyio.CancelScope()
    received: list[int] = []

    async def watch_signals() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                received.append(number)
                serving.cancel()
                await anyio.sleep(LAST_WORDS_S)
                os._exit(128 + number)

    async with anyio.create_task_group() as group:
        group.start_soon(watch_signals)
        group.start_soon(background)
        async with stdio_server() as (reading, writing), low.lifespan(low) as state:
            with serving:
                await _serve_requests(low, reading, writing, state)
            if received:
                # The reader thread sits in a blocking read that nothing can end, so the ordinary
                # way out would wait for the client. Every call has ended; nothing is lost.
                close()
                os._exit(128 + received[0])
        group.cancel_scope.cancel()


async def _serve_requests(
    low: Server[Any],
    reading: Any,  # noqa: ANN401  # the SDK's stream types are private
    writing: Any,  # noqa: ANN401
    state: Any,  # noqa: ANN401
) -> None:
    dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(
        reading, writing, inline_methods=frozenset({"initialize"})
    )
    connection = Connection.for_loop(dispatcher)
    handshake = ServerRunner(low, connection, state)
    outbound = NotifyOnlyOutbound(dispatcher)

    async def on_request(
        context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if method == "initialize" or not _has_modern_envelope(params):
            return await handshake.on_request(context, method, params)
        route = classify_inbound_request({"method": method, "params": params})
        if isinstance(route, InboundLadderRejection):
            raise MCPError(code=route.code, message=route.message, data=route.data)
        one = Connection.from_envelope(
            route.protocol_version, route.client_info, route.client_capabilities, outbound=outbound
        )
        try:
            return await serve_one(
                low,
                _NoServerRequestsDispatchContext(context),
                method,
                params,
                connection=one,
                lifespan_state=state,
            )
        except (MCPError, ValidationError):
            raise
        except Exception as error:
            data = modern_error_data(error)
            raise MCPError(code=data.code, message=data.message, data=data.data) from error

    try:
        await dispatcher.run(on_request, handshake.on_notify)
    finally:
        await aclose_shielded(connection)
