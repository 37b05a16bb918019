"""What a secret looks like: the forms of a value we know, and the shapes of those we do not.

May touch: bytes. A pattern's group `secret` is what is hidden; without one, the whole match is.
Each must miss what only looks alike: `max_tokens=2048`, `pwd: /home/a`, digests, UUIDs.
"""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_from_bytes

MIN_KNOWN_BYTES = 4  # a shorter value would hide half of all output
_MIN_PART_BYTES = 6  # of a base64 form whose neighbours are unknown

_VALUE = rb"""(?:"(?P<a>[^"\n]+)"|'(?P<b>[^'\n]+)'|(?P<c>[^\s"'&;,)]+))"""
_NOT_A_VALUE = rb"(?!(?:str|string|bytes|int|bool|none|null|true|false)\b|\$|<|\*|\[redacted)"
_STRONG = rb"(?:password|passwd|passphrase|mysql_pwd)"
_WEAK = rb"(?:secret|token|api[_-]?key|secret[_-]?key|access[_-]?key|credentials?)"


def _named(name: bytes, value: bytes) -> bytes:
    # With spaces around the sign only a quoted value counts: `password = read()` is a program.
    separator = rb"""["']?(?:=|:[ \t]?|[ \t]*[=:][ \t]*(?=["']))"""
    return rb"(?i)(?<![a-z0-9])(?:[a-z0-9_.-]*[_.-]|pg)?" + name + separator + _NOT_A_VALUE + value


PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "private_key",
            rb"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        ),
        ("aws", rb"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
        (
            "aws",
            rb"""(?i)aws_?secret_?(?:access_?)?key["']?\s*[=:]\s*["']?(?P<secret>[a-z0-9/+]{40})""",
        ),
        ("github", rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
        ("gitlab", rb"(?<![A-Za-z0-9])gl(?:pat|dt|rt|ptt|cbt|soat|ft)-[A-Za-z0-9_.-]{20,}"),
        ("npm", rb"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36,}"),
        ("pypi", rb"(?<![A-Za-z0-9])pypi-AgE[A-Za-z0-9_-]{16,}"),
        ("huggingface", rb"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}"),
        ("stripe", rb"(?<![A-Za-z0-9])(?:(?:sk|rk)_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}"),
        ("slack", rb"(?<![A-Za-z0-9])(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
        ("slack", rb"hooks\.slack\.com/services/(?P<secret>[A-Za-z0-9/]{20,})"),
        ("jwt", rb"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        (
            "authorization",
            rb"""(?i)authorization["']?[ \t]*[:=][ \t]*["']?(?:(?:basic|bearer|token|negotiate)"""
            rb"""[ \t]+)?(?P<secret>[^\s"',]{6,})""",
        ),
        ("authorization", rb"(?i)\bbearer[ \t]+(?P<secret>[a-z0-9._~+/=-]{16,})"),
        ("netrc", rb"\bmachine\s+\S+\s+(?:login\s+\S+\s+)?password\s+(?P<secret>\S+)"),
        (
            "password",
            rb"(?i)(?<!\S)--?(?:[a-z0-9-]*-)?(?:password|passwd|pass|passphrase|secret|token|api-?key)"
            rb"(?:=|\s+)(?!-)" + _NOT_A_VALUE + _VALUE,
        ),
        ("password", _named(_STRONG, _VALUE)),
        ("secret", _named(_WEAK, rb"""(?!/)["']?(?P<c>[^\s"'&;,)]{8,})""")),
        ("shadow", rb"\$(?:1|2[abxy]|5|6|7|y|gy|argon2(?:id|i|d))\$[./A-Za-z0-9$=,+]{20,}"),
        ("url", rb"(?i)\b[a-z][a-z0-9+.-]*://[^/\s:@\"']*:(?P<secret>[^/\s@\"']+)@"),
    )
)


def known_forms(value: bytes) -> Iterator[bytes]:
    """Yield the spellings under which a value may appear: raw, escaped, hex, URL, base64."""
    yield value
    yield from (value.hex().encode(), value.hex().upper().encode())
    yield quote_from_bytes(value, safe="").encode()
    yield quote_from_bytes(value).encode()
    yield quote_from_bytes(value, safe="").replace("%20", "+").encode()
    yield from _escaped(value)
    for shift in range(3):  # the value may stand anywhere in what was encoded
        encoded = base64.b64encode(bytes(shift) + value)
        stable = encoded[(0, 2, 3)[shift] : (len(value) + shift) * 8 // 6]
        if len(stable) >= _MIN_PART_BYTES:
            yield stable
            yield stable.translate(bytes.maketrans(b"+/", b"-_"))


def _escaped(value: bytes) -> Iterator[bytes]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield quote(text, safe="").lower().encode()
