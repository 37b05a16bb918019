"""The sinks of the configuration, joined to the log: followed beside the calls, never by them.

May touch: what a sink of its kind touches. What a kind needs is imported when one is configured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import assert_never

import anyio

from audit.note import COSIGNATURE, PublicKey
from audit.sinks.deliver import Delivery, RecordSink, Sender, Sink
from audit.sinks.follow import Follower
from audit.sinks.state import Book, State, load
from mcp_server.config import Config
from mcp_server.log_place import log_directory, public_key
from mcp_server.places import Places
from mcp_server.sink_settings import (
    FACILITIES,
    HttpSink,
    JournaldSink,
    OtlpSink,
    SinkSettings,
    SshSink,
    SyslogSink,
    WitnessSink,
)


@dataclass(frozen=True, slots=True)
class Sinks:
    """Every sink that is configured, and the log they follow."""

    settings: tuple[SinkSettings, ...]
    log: Path
    keys: Callable[[], tuple[PublicKey, ...]]

    async def run(self) -> None:
        """Deliver to all of them until cancelled."""
        async with anyio.create_task_group() as group:
            for settings in self.settings:
                group.start_soon(self.delivery(settings).run)

    def delivery(self, settings: SinkSettings) -> Delivery:
        """Return what delivers to one sink."""
        book = Book(self.log, settings.name, _now)
        return Delivery(_sink(settings, self.log), Follower(self.log, self.keys), book)

    def standing(self, settings: SinkSettings) -> tuple[State, int]:
        """Return what is remembered of a sink, and how many signed records it has not got.

        Raises:
            AuditError, OSError: its state, or the log, cannot be read.
        """
        state = load(self.log, settings.name)
        signed = Follower(self.log, self.keys).head().checkpoint.size
        return state, signed - state.position.size


def sinks(config: Config, where: Places) -> Sinks:
    """Return the sinks of a configuration."""
    return Sinks(config.audit.sinks, log_directory(config, where), partial(_keys, config, where))


def receiver(settings: SinkSettings) -> str:
    """Return who receives, in a few words."""
    match settings:
        case HttpSink() | OtlpSink() | WitnessSink():
            return f"{settings.kind} {settings.url}"
        case SyslogSink() | JournaldSink():
            return f"{settings.kind} {settings.socket}"
        case SshSink():
            return f"ssh {settings.user}@{settings.address}:{settings.directory}"
        case other:
            assert_never(other)


def _sink(settings: SinkSettings, log: Path) -> Sink:
    if isinstance(settings, WitnessSink):
        from audit.sinks.http import Endpoint  # noqa: PLC0415
        from audit.sinks.witness import Witness  # noqa: PLC0415

        url = settings.url.rstrip("/") + "/add-checkpoint"
        endpoint = Endpoint(url, ca_file=settings.ca_file)
        key = PublicKey.parse(settings.key, COSIGNATURE)
        return Witness(settings.name, endpoint, key, every_s=settings.every_s)
    return RecordSink(settings.name, _sender(settings, log))


def _sender(
    settings: HttpSink | OtlpSink | SyslogSink | JournaldSink | SshSink, log: Path
) -> Sender:
    match settings:
        case HttpSink():
            from audit.sinks.http import Endpoint, JsonLines  # noqa: PLC0415

            secrets = (settings.token_file, settings.hmac_key_file)
            return JsonLines(Endpoint(settings.url, *secrets, settings.ca_file), _now)
        case OtlpSink():
            from audit.sinks.http import Endpoint, Otlp  # noqa: PLC0415

            return Otlp(Endpoint(settings.url, settings.token_file, ca_file=settings.ca_file))
        case SyslogSink():
            from audit.sinks import local  # noqa: PLC0415

            return local.syslog(settings.socket, FACILITIES[settings.facility])
        case JournaldSink():
            from audit.sinks import local  # noqa: PLC0415

            return local.journald(settings.socket)
        case SshSink():
            from audit.sinks.ssh import Place, RemoteCopy  # noqa: PLC0415

            return RemoteCopy(
                Place(
                    settings.address,
                    settings.port,
                    settings.user,
                    settings.directory,
                    settings.identity_file,
                    settings.known_hosts,
                ),
                log,
            )
        case other:
            assert_never(other)


def _keys(config: Config, where: Places) -> tuple[PublicKey, ...]:
    return (public_key(config, where),)


def _now() -> datetime:
    return datetime.now(UTC)
