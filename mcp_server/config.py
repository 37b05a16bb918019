"""config.yaml: read strictly into frozen settings, every error with file:line:column.

May touch: the one file it is given. Every key below is enforced somewhere; an unknown key, a
repeated key, a value of another type or a file that others may write is an error.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from approvals.request import Level
from mcp_server.notify_settings import NotifyTarget
from mcp_server.sink_settings import AbsolutePath, SinkSettings, Url
from policy import document
from sandbox import toolchain_table
from sandbox.host import Choice

Channel = Literal["elicitation", "terminal"]
Headless = Literal["wait", "deny", "exit"]
Keys = tuple[str | int, ...]
RoleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
# No colon: what a client calls itself is "client:NAME", and holds no role.
PersonName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@+-]*$")]
_PROXY = re.compile(r"http://[A-Za-z0-9_.-]+:[0-9]{1,5}")
_NAMED = r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?"
_LAST_PORT = 65_535
_JSON_WORD = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?")


A_CONFIGURATION = "a configuration is a mapping; write `key: value` lines"


class ConfigError(Exception):
    """The configuration cannot be used; the message starts with its place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Some = TypeVar("_Some", bound=_Named)


def _named_apart(what: str, value: tuple[_Some, ...]) -> tuple[_Some, ...]:
    names = [one.name for one in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two {what} are named {twice!r}; each keeps its place by its name")
    return value


class PageSettings(_Strict):
    """The page and API of approvals, on a listener of their own."""

    listen: str = Field(pattern=r"^(127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}$")
    public_url: str = Field(  # where a proxy with TLS, or a tunnel, shows it
        default="", pattern=rf"^(https://{_NAMED}|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?)?$"
    )

    @field_validator("listen")
    @classmethod
    def _with_a_port(cls, value: str) -> str:
        if int(value.rpartition(":")[2]) > _LAST_PORT:
            raise ValueError(f"{value!r} has no port from 1 to {_LAST_PORT}")
        return value

    @property
    def address(self) -> tuple[str, int]:
        """Return the address and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def origin(self) -> str:
        """Return the one origin that a browser sees."""
        return self.public_url or f"http://{self.listen}"


class ServerSettings(_Strict):
    """Another Permitgate whose people are asked, and the key by which its log is believed."""

    url: Url
    token_file: AbsolutePath  # of `permitgate approvals token NAME --agent` there
    key: str  # of `permitgate audit key` there
    agent: str = Field(min_length=1, max_length=64)  # the NAME of that token
    actor: str = Field(min_length=1, max_length=64)  # who set this agent off

    @field_validator("key")
    @classmethod
    def _of_a_log(cls, value: str) -> str:
        # Not above: `classify` reads the configuration too, and need not wait for cryptography.
        from audit.errors import NoteError  # noqa: PLC0415
        from audit.note import PublicKey  # noqa: PLC0415

        try:
            PublicKey.parse(value)
        except NoteError as error:
            raise ValueError(f"{error}; permitgate audit key prints it there") from None
        return value


class ApprovalSettings(_Strict):
    """How a human is asked."""

    channels: tuple[Channel, ...] = ("elicitation", "terminal")
    wait_s: float = Field(default=45.0, ge=0, le=3600)  # how long one call waits for an answer
    ttl_s: int = Field(default=600, ge=1, le=86_400)  # how long a request may be answered
    use_within_s: int = Field(default=120, ge=1, le=86_400)  # how long a yes may be used
    strict_owner: bool = False  # count the owner's own terminal as level 1
    unreachable: Literal["error", "deny"] = "error"  # a rule's level that no channel reaches
    headless: Headless = "exit"  # what `permitgate exec` does where a human's yes is needed
    signers: Path | None = None  # whose SSH signature is a yes, in ssh-keygen's format
    separate: tuple[str, ...] = ()  # the names among them that are not the owner
    roles: dict[RoleName, tuple[PersonName, ...]] = {}  # who holds which
    page: PageSettings | None = None  # off; then there is no API either
    approvers: Path | None = None  # who may answer through the API, by hashes of tokens
    server: ServerSettings | None = None  # whose people are asked besides
    notify: tuple[NotifyTarget, ...] = Field(default=(), max_length=8)  # who hears what waits

    @model_validator(mode="after")
    def _signers_can_be_heard(self) -> Self:
        if self.separate and self.signers is None:
            raise ValueError("separate names people of the file `signers`, and none is named")
        if self.signers is not None and not self.signers.is_absolute():
            raise ValueError(f"signers: {self.signers} is not an absolute path")
        if self.signers is not None and "terminal" not in self.channels:
            raise ValueError("signatures are handed in at the terminal; add it to channels")
        return self

    @property
    def owner_level(self) -> Level:
        """Return what a yes of the owner counts as, by whatever proves no more than the uid."""
        return Level.ATTESTED if self.strict_owner else Level.OWNER

    @field_validator("approvers")
    @classmethod
    def _a_full_path(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError(f"{value} is not an absolute path")
        return value

    @field_validator("notify")
    @classmethod
    def _each_by_its_name(cls, value: tuple[NotifyTarget, ...]) -> tuple[NotifyTarget, ...]:
        return _named_apart("targets", value)

    @model_validator(mode="after")
    def _has_a_listener(self) -> Self:
        if self.approvers is not None and self.page is None:
            raise ValueError("approvers answer through the listener of page; set page.listen too")
        return self


class LimitSettings(_Strict):
    """Bounds of one command; sizes in bytes, times in seconds."""

    timeout_s: float = Field(default=30.0, gt=0, le=3600)
    cpu_s: int = Field(default=300, ge=1)
    memory_bytes: int = Field(default=2 << 30, ge=16 << 20)
    processes: int = Field(default=512, ge=8)
    file_bytes: int = Field(default=1 << 30, ge=1 << 10)
    open_files: int = Field(default=4096, ge=32)
    tmp_bytes: int = Field(default=256 << 20, ge=1 << 20)
    output_bytes: int = Field(default=64 << 10, ge=1 << 10, le=16 << 20)


class AuditSettings(_Strict):
    """Where the audit log is, and who else receives it."""

    directory: Path | None = None
    # a file of ours, a key of the ssh-agent, or an installed holder of keys (audit/held_key.py)
    signer: str = Field(default="file", pattern=r"^(file|[a-z][a-z0-9_.-]*:\S+)$")
    sinks: tuple[SinkSettings, ...] = Field(default=(), max_length=16)

    @field_validator("sinks")
    @classmethod
    def _each_by_its_name(cls, value: tuple[SinkSettings, ...]) -> tuple[SinkSettings, ...]:
        return _named_apart("sinks", value)


class RedactionSettings(_Strict):
    """Where values stand that are secrets here; they are known by heart."""

    files: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()  # of the environment in which the server starts


class ChangeSettings(_Strict):
    """How long what commands and patches changed can be undone; the first bound that is met."""

    keep_days: float = Field(default=14.0, gt=0, le=3650)
    keep_bytes: int = Field(default=4 << 30, ge=1 << 20)  # of all change sets together
    keep_sets: int = Field(default=1000, ge=1, le=10_000)


class NetworkSettings(_Strict):
    """The way out of commands that may reach the network, and how much one command may use."""

    proxy: str = ""
    ca_bundle: Path | None = None  # certificates in PEM that programs are pointed to
    bytes: int = Field(default=10 << 30, ge=1 << 10)  # both ways together
    connections: int = Field(default=10_000, ge=1)

    @field_validator("proxy")
    @classmethod
    def _with_port(cls, value: str) -> str:
        if value and not _PROXY.fullmatch(value):
            raise ValueError(f"{value!r} is not http://host:port; it is spoken to by CONNECT")
        return value

    @field_validator("ca_bundle")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_absolute() and value.is_file()):
            raise ValueError(f"{value} is not the absolute path of a file")
        return value


class HttpSettings(_Strict):
    """The streamable-HTTP listener; only loopback addresses are accepted."""

    host: Literal["127.0.0.1"] = "127.0.0.1"
    port: int = Field(default=8643, ge=0, le=65_535)


class HostSettings(_Strict):
    """One remote host that `ssh` may reach."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    address: str | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)
    user: str | None = None
    groups: tuple[str, ...] = ()
    identity_files: tuple[str, ...] = ()


class Config(_Strict):
    """Everything the operator can set; the defaults are the safe ones."""

    workspace_roots: tuple[Path, ...] = ()
    policy: tuple[str, ...] = ("dev-safe",)
    policy_signers: Path | None = None  # who may sign policies, in ssh-keygen's format
    minimum_enforcement: Literal["namespaces", "landlock"] = "namespaces"
    accept_unprotected_git: bool = False  # on the rung landlock, `live` may write git's own files
    toolchains: Choice = "auto"  # which of the home's toolchains commands see
    approvals: ApprovalSettings = ApprovalSettings()
    limits: LimitSettings = LimitSettings()
    audit: AuditSettings = AuditSettings()
    redaction: RedactionSettings = RedactionSettings()
    changes: ChangeSettings = ChangeSettings()
    network: NetworkSettings = NetworkSettings()
    http: HttpSettings = HttpSettings()
    hosts: tuple[HostSettings, ...] = ()
    known_hosts: Path | None = None

    @field_validator("toolchains", mode="plain")
    @classmethod
    def _known_toolchains(cls, value: object) -> Choice:
        if value == "auto" or value == "none":  # noqa: PLR1714  # narrows to the literal
            return value
        names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
        known = toolchain_table.names()
        unknown = [name for name in names if name not in known and not name.startswith("/")]
        if not isinstance(value, list) or len(names) < len(value) or unknown:
            what = repr(unknown[0]) if unknown else "this"
            raise ValueError(f"{what} is not auto, none, or a list of known names and directories")
        return tuple(names)


def load_config(path: Path) -> Config:
    """Return the settings in `path`, or the defaults where there is no such file.

    Raises:
        ConfigError: the file is not ours alone, is not YAML, or says something unknown.
    """
    try:
        if path.is_symlink():
            raise ConfigError(f"{path}: is a link. Put the file itself here.")
        # A FIFO would keep the start waiting for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        if os.environ.get("PERMITGATE_CONFIG"):
            raise ConfigError(
                f"{path}: PERMITGATE_CONFIG names this file and it does not exist. "
                "Create it or unset the variable."
            ) from None
        return Config()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        _check_owner(path, os.fstat(descriptor))
        with open(descriptor, encoding="utf-8", closefd=False) as file:  # no path
            text = file.read()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8.") from None
    finally:
        os.close(descriptor)
    return parse_config(text, str(path))


def _check_owner(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is not a regular file.")
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"{path}: belongs to uid {found.st_uid}, not to you. Run: chown you {path}"
        )
    if found.st_mode & 0o022:
        raise ConfigError(
            f"{path}: others may write it (mode {stat.S_IMODE(found.st_mode):o}). "
            f"Run: chmod 600 {path}"
        )


def parse_config(text: str, source: str) -> Config:
    """Return the settings of a YAML text; `source` is the name that errors begin with.

    Raises:
        ConfigError: one line per problem, each as file:line:column.
    """
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Config()
    places: dict[Keys, str] = {}
    try:
        root = document.read(source, text, A_CONFIGURATION)
        return Config.model_validate_json(json.dumps(_plain(root, (), places)))
    except document.PolicyError as error:
        raise ConfigError(str(error)) from None
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(error, places))) from None


def _plain(node: document.Node, path: Keys, places: dict[Keys, str]) -> object:
    """Return the value of a node for strict validation, remembering where it stood."""
    places.setdefault(path, node.place)
    match node:
        case document.Mapping(entries=entries):
            found: dict[str, object] = {}
            for key, value in entries:
                places[(*path, key.value)] = key.place
                found[key.value] = _plain(value, (*path, key.value), places)
            return found
        case document.Listing(items=items):
            return [_plain(item, (*path, index), places) for index, item in enumerate(items)]
        case document.Text(value=value, plain=plain):
            return json.loads(value) if plain and _JSON_WORD.fullmatch(value) else value


def _problems(error: ValidationError, places: dict[Keys, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        location = _without_kind(tuple(problem["loc"]))
        name = ".".join(map(str, location)) or "the file"
        what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        while location not in places:
            location = location[:-1]
        yield f"{places[location]}: {name}: {what}. See docs/configuration.md."


def _without_kind(location: Keys) -> Keys:
    """Return a problem's location as it stands in the file: no key there is a kind."""
    has_kind = location[:2] in (("audit", "sinks"), ("approvals", "notify"))
    return location[:3] + location[4:] if has_kind else location
