"""The keys of `audit.sinks` in config.yaml: one shape per kind of sink, each key enforced.

May touch: values. A secret is named by the path of its file and never stands here.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FACILITIES = {"user": 1, "daemon": 3, "auth": 4, "authpriv": 10, "audit": 13} | {
    f"local{number}": 16 + number for number in range(8)
}


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{path} is not an absolute path")
    return path


def _safe_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.fragment:
        raise ValueError(f"{url!r} is not an http(s) URL")
    if parts.username or parts.password:
        raise ValueError("a URL with a password in it; put the secret into a file")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise ValueError(f"{url!r} would be sent in the clear; use https (http only to loopback)")
    return url


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_safe_url)]


class Receiver(BaseModel):
    """Whoever is sent something, of records or of notices, by its name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")  # names its state file


class HttpSink(Receiver):
    """Records posted as JSON lines."""

    kind: Literal["http"]
    url: Url
    token_file: AbsolutePath | None = None
    hmac_key_file: AbsolutePath | None = None
    ca_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _one_credential(self) -> "HttpSink":
        if (self.token_file is None) == (self.hmac_key_file is None):
            raise ValueError("name one of token_file and hmac_key_file")
        return self


class OtlpSink(Receiver):
    """Records exported to an OpenTelemetry collector, by OTLP over HTTP as JSON."""

    kind: Literal["otlp"]
    url: Url
    token_file: AbsolutePath | None = None
    ca_file: AbsolutePath | None = None


class SyslogSink(Receiver):
    """Records sent to the local syslog daemon."""

    kind: Literal["syslog"]
    socket: AbsolutePath = Path("/dev/log")
    facility: str = "authpriv"

    @model_validator(mode="after")
    def _known_facility(self) -> "SyslogSink":
        if self.facility not in FACILITIES:
            raise ValueError(f"facility {self.facility!r} is not one of {', '.join(FACILITIES)}")
        return self


class JournaldSink(Receiver):
    """Records sent to systemd's journal."""

    kind: Literal["journald"]
    socket: AbsolutePath = Path("/run/systemd/journal/socket")


class SshSink(Receiver):
    """A copy of the log in a directory of another machine."""

    kind: Literal["ssh"]
    address: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65_535)
    user: str = Field(min_length=1)
    directory: str = Field(pattern=r"^/[^\x00]*[^/\x00]$")
    identity_file: AbsolutePath
    known_hosts: AbsolutePath


class WitnessSink(Receiver):
    """A C2SP witness that cosigns checkpoints."""

    kind: Literal["witness"]
    url: Url  # the submission prefix
    key: str
    every_s: float = Field(default=60.0, ge=1, le=86_400)
    ca_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _key_of_a_witness(self) -> "WitnessSink":
        # Not above: `classify` reads the configuration too, and need not wait for cryptography.
        from audit.errors import NoteError  # noqa: PLC0415
        from audit.note import COSIGNATURE, PublicKey  # noqa: PLC0415

        try:
            PublicKey.parse(self.key, COSIGNATURE)
        except NoteError as error:
            raise ValueError(str(error)) from None
        return self


SinkSettings = Annotated[
    HttpSink | OtlpSink | SyslogSink | JournaldSink | SshSink | WitnessSink,
    Field(discriminator="kind"),
]
