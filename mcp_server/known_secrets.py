"""Values that are secrets here: what the configuration names, our own tokens, a call's own entries.

May touch: the files and variables that are named, for reading, at the start. A file that is named
and cannot be read stops the start: a key of the configuration that is not enforced is an error.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.redact import Redactor
from mcp_server.config import Config, ConfigError
from mcp_server.places import Places
from mcp_server.sink_settings import HttpSink, OtlpSink

MIN_VALUE = 6  # characters; a shorter word of a file or a variable would hide ordinary text
MAX_FILE_BYTES = 1 << 20
_ENTRY = re.compile(
    r"""\s*(?:export\s+)?["']?(?P<name>[\w.$/:@-]+?)["']?(?:\s*=\s*|:\s+)(?P<value>\S.*)"""
)
_NAMES_A_SECRET = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|cookie|dsn|auth"
    r"|(?:^|[_.-])(?:pass|pwd|key|psk|sig|signature)(?:$|[_.-])|(?:api|access|private)key"
)


def redactor(config: Config, where: Places) -> Redactor:
    """Return the redactor that knows every value that is configured as a secret.

    Raises:
        ConfigError: a file that is named cannot be read, or a variable is not set.
    """
    known = [value for path in config.redaction.files for value in _of_file(path, must=True)]
    for name in config.redaction.variables:
        if name not in os.environ:
            raise ConfigError(f"redaction.variables: {name} is not set where the server starts.")
        known.append(os.environ[name])
    server = config.approvals.server
    ours = [where.http_token, *(target.secret for target in config.approvals.notify)]
    ours += [] if server is None else [server.token_file]
    for sink in config.audit.sinks:
        if isinstance(sink, HttpSink | OtlpSink):
            ours += [path for path in (sink.token_file,) if path is not None]
        if isinstance(sink, HttpSink) and sink.hmac_key_file is not None:
            ours.append(sink.hmac_key_file)
    known += [value for path in ours for value in _of_file(path, must=False)]
    return Redactor(_long_enough("configured", known))


def of_call(entries: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the values that a call's own environment entries make secret, with their kind."""
    return _long_enough(
        "environment", [value for name, value in entries if _NAMES_A_SECRET.search(name)]
    )


def _long_enough(kind: str, values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((kind, value) for value in dict.fromkeys(values) if len(value) >= MIN_VALUE)


def _of_file(path: Path, *, must: bool) -> Iterator[str]:
    """Yield the secrets in a file: of its `NAME=value` and `name: value` lines, else its lines."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        if must:
            raise ConfigError(f"redaction.files: {path}: {error.strerror}.") from None
        return
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry is None:
            yield line.strip()
        elif _NAMES_A_SECRET.search(entry["name"]):  # else `HOST=localhost` would hide a word
            yield entry["value"].strip().rstrip(",;").strip("\"'")
