"""What a secret looks like: the forms of a value we know, and the shapes of those we do not.

May touch: bytes. A provider's token is known by its own form, wherever it stands; everything else
by what stands before it. A pattern's group `a`, `b` or `secret` is what is hidden; without one,
the whole match is. Each must miss what only looks alike: `max_tokens=2048`, `pwd: /home/a`,
digests, UUIDs.
`python -m tests.audit.corpus_of_secrets` says how well that goes.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias
from urllib.parse import quote, quote_from_bytes

Span: TypeAlias = tuple[int, int, str]  # start, end, kind

MIN_KNOWN_BYTES = 4  # a shorter value would hide half of all output
_MIN_PART_BYTES = 6  # of a base64 form whose neighbours are unknown


def known_forms(value: bytes) -> Iterator[bytes]:
    """Yield the spellings under which a value may appear: raw, escaped, hex, URL, base64."""
    yield value
    yield from (value.hex().encode(), value.hex().upper().encode())
    yield quote_from_bytes(value, safe="").encode()
    yield quote_from_bytes(value).encode()
    yield quote_from_bytes(value, safe="").replace("%20", "+").encode()
    yield from _escaped(value)
    for stable in _inside_base64(value):
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


def _inside_base64(value: bytes) -> Iterator[bytes]:
    """Yield what stands for a value in base64, wherever it is in what was encoded."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value)
        yield encoded[(0, 2, 3)[shift] : (len(value) + shift) * 8 // 6]


# Tokens that say themselves what they are. Each begins where no letter or digit stands before it.
_OWN_FORM = {
    "aws": rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "github": rb"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}",
    "gitlab": (
        rb"gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|ffct)-[A-Za-z0-9_.-]{20,}"
        rb"|GR1348941[A-Za-z0-9_-]{20}"
    ),
    "npm": rb"npm_[A-Za-z0-9]{36,}",
    "pypi": rb"pypi-AgE[A-Za-z0-9_-]{16,}",
    "huggingface": rb"(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "stripe": rb"(?:(?:sk|rk)_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}",
    "slack": rb"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}",
    "google": (
        rb"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
        rb"|1//0[A-Za-z0-9_-]{40,}"
    ),
    "azure": rb"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    "digitalocean": rb"do[opr]_v1_[a-f0-9]{64}",
    "anthropic": rb"sk-ant-[a-z0-9]+-[A-Za-z0-9_-]{40,}",
    "openai": rb"sk-(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{40,})",
    "discord": rb"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
    "sendgrid": rb"SG\.[A-Za-z0-9_-]{16,24}\.[A-Za-z0-9_-]{36,}",
    "mailgun": rb"key-[a-f0-9]{32}(?![a-z0-9])",
    "mailchimp": rb"[a-f0-9]{32}-us[0-9]{1,2}(?![a-z0-9])",
    "shopify": rb"shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}",
    "square": rb"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}",
    "docker": rb"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
    "databricks": rb"dapi[a-f0-9]{32}(?:-[0-9])?",
    "grafana": rb"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,}",
    "newrelic": rb"NRAK-[A-Z0-9]{27}",
    "sentry": rb"sntry[su]_[A-Za-z0-9+/=_-]{40,}",
    "vault": rb"hv[sbr]\.[A-Za-z0-9_-]{24,}",
    "terraform": rb"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}",
    "doppler": rb"dp\.(?:st|pt|ct|sa|scim|audit)\.(?:[a-z0-9_-]+\.)?[A-Za-z0-9]{40,}",
    "linear": rb"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    "notion": rb"(?:ntn|secret)_[A-Za-z0-9]{43,}",
    "figma": rb"fig[dou]_[A-Za-z0-9_-]{40,}",
    "postman": rb"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    "pulumi": rb"pul-[a-f0-9]{40}",
    "rubygems": rb"rubygems_[a-f0-9]{48}",
    "artifactory": rb"AKCp[A-Za-z0-9]{60,}",
    "age": rb"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "dropbox": rb"sl\.(?:u\.)?[A-Za-z0-9_-]{100,}",
    "flyio": rb"fm[12][ar]?_[A-Za-z0-9+/=]{80,}",
    "supabase": rb"sbp_[a-f0-9]{40}",
    "planetscale": rb"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{30,}",
    "atlassian": rb"ATATT3[A-Za-z0-9_=-]{60,}",
    "airtable": rb"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    "jwt": rb"eyJ[A-Za-z0-9_-]{8,999}+\.[A-Za-z0-9_-]{8,9999}+\.[A-Za-z0-9_-]*",
}
_OWN = re.compile(
    rb"(?<![A-Za-z0-9])(?:%s)"
    % b"|".join(b"(?P<%s>%s)" % (kind.encode(), form) for kind, form in _OWN_FORM.items())
)
# One of these words, or the dots of a Discord token, stands in each of them.
_OWN_WORDS = (
    b"AKIA ASIA ABIA ACCA ghp_ gho_ ghu_ ghs_ ghr_ gldt- glrt- glptt- glcbt- glsoat- glft- "
    b"glimt- glagent- glffct- GR1348941 npm_ pypi-AgE hf_ api_org_ _live_ _test_ whsec_ xox "
    b"xapp- AIza ya29. GOCSPX- 1//0 Q~ _v1_ sk- SG. key- -us shp sq0 dckr_ dapi glsa_ glc_ "
    b"NRAK- sntry hvs. hvb. hvr. .atlasv1. dp. lin_ ntn_ secret_ figd_ figo_ figu_ PMAK- pul- "
    b"rubygems_ AKCp AGE-SECRET-KEY-1 sl. fm1 fm2 sbp_ pscale_ ATATT3 pat eyJ"
).split()
_DOTS = re.compile(rb"\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}")
_OF_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~.+/=:-"
_TO_RUNS = bytes(one if one in _OF_RUN else 0x20 for one in range(256))
_DIGITS = b"0123456789abcdef"
_MIN_RUN_BYTES = 20
# Each is at least this long, and most words of a text are not: only such runs are looked at. None
# is of these digits alone, of which the digests in a record are.
_RUN = re.compile(
    rb"(?<![A-Za-z0-9_~.+/=:-])(?![0-9a-f]++(?![A-Za-z0-9_~.+/=:-]))[A-Za-z0-9_~.+/=:-]{20,}+"
)
PRIVATE_KEY_END = rb"-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"

# What stands where a value could, and is none: a reference, a placeholder, a word, code.
_REFERENCE = rb"""[$<*`(:]|-?\}|\{|%[(sd]|\[redacted|\.\.\.|x{4,}|\\?["']\\?["']"""
_PLACEHOLDER = rb"(?:your|my|replace|change|example|dummy|placeholder|todo|insert)[_ -]"
_WORD = (
    rb"(?:str|string|bytes|int|bool|none|null|nil|true|false|yes|no|required|optional|invalid"
    rb"|incorrect|missing|empty|enabled|disabled|expired|unset|set|unknown|hidden|changed|updated"
    rb"|accepted|rejected|password|passwd|passphrase|token|secret|api_?key|varchar|text)"
    rb"(?![a-z0-9_-])"
)
_CODE = (
    rb"(?:self|this|cls|args|opts|options|config|cfg|settings|req|request|env|os|process|params"
    rb"|data|user|form|ctx|context|secrets|vars|local|each|input)[.\[]|[a-z_][a-z0-9_.]*[(\[]"
)
_NOT_A_VALUE = rb"(?!%s)" % b"|".join((_REFERENCE, _PLACEHOLDER, _WORD, _CODE))

_BARE = rb"""[^\s"'&;,)<>\\]"""
_QUOTED = rb"""(?:\\?"%s(?P<a>[^"\n\\]+)\\?"|'%s(?P<b>[^'\n]+)')""" % (_NOT_A_VALUE, _NOT_A_VALUE)
_VALUE = rb"(?:%s|%s(?P<secret>%s+))" % (_QUOTED, _NOT_A_VALUE, _BARE)
# A name that says less must be followed by more: letters and digits, eight or more of them.
_RANDOM = rb"""\\?["']?(?!/)%s(?P<secret>(?=%s{0,200}?[0-9])%s{8,})""" % (
    _NOT_A_VALUE,
    _BARE,
    _BARE,
)

_NAME = rb"(?<![a-z0-9])(?<!unexpected )(?<!invalid )"
_STRONG = rb"(?:(?:pg)?password|passwd|passphrase|passcode|(?<=[_.-])(?:pass|pwd))"
_WEAK = (
    rb"(?:(?:(?:access|refresh|auth|api|id|session|bearer|bot|app|csrf|security)[_-]?)?token"
    rb"|(?:(?:client|consumer|app|webhook|shared|auth)[_-]?)?secret"
    rb"|(?:api|secret|(?:shared[_-]?)?access|secret[_-]?access|account|encryption|signing|master"
    rb"|shared|auth|private|subscription)[_-]?key(?:[_-]?base)?"
    rb"|credentials?|psk|x-amz-signature)"
)
# With spaces around the sign only a quoted value counts: `password = read()` is a program.
_SIGN = rb"""\\?["']?(?:=|:[ \t]?|[ \t]*[=:][ \t]*(?=\\?["']))"""
_TYPE = rb"(?![a-z_.]+[,)])"  # what follows a parameter's name is its type, or its argument
_LINE = rb"[^\n|;&]{0,300}?"  # of a command, up to the option in question
_CRYPT = rb"\$(?:1|2[abxy]|5|6|7|y|gy|apr1|argon2(?:id|i|d)|scrypt)\$"
_KEY_BODY = rb"[A-Za-z0-9+/=\s\\:,.()#>|*-]"
PRIVATE_KEY = "private_key"
# What is left of a key whose beginning is not there: up to its end, or as far as it could go.
KEY_ENDING = re.compile(rb"[A-Za-z0-9+/=\s\\]*?%s" % PRIVATE_KEY_END)
OPEN_KEY = re.compile(rb"%s*?(?:%s|(?!%s))" % (_KEY_BODY, PRIVATE_KEY_END, _KEY_BODY))


@dataclass(frozen=True, eq=False)
class Shape:
    """A pattern, and what must stand somewhere in lower-cased text for it to match at all."""

    kind: str
    needs: tuple[bytes, ...]  # one of these words
    source: bytes
    also: bytes  # and this pattern, where the words alone are everywhere

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """Return it compiled; most are never needed, and all of them would delay every start."""
        return re.compile(self.source)

    def may_stand_in(self, lowered: bytes) -> bool:
        """Return whether a text has what the pattern needs."""
        return any(need in lowered for need in self.needs) and (
            not self.also or re.search(self.also, lowered) is not None
        )


def _shape(kind: str, needs: str, *parts: bytes, also: bytes = b"") -> Shape:
    """Return a shape whose letters may be of either case; `needs` are words."""
    return Shape(kind, tuple(needs.encode().split()), b"(?i)" + b"".join(parts), also)


SHAPES = (
    _shape(PRIVATE_KEY, "-----begin",
           rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", _KEY_BODY,
           rb"*?(?:", PRIVATE_KEY_END, rb"|(?!", _KEY_BODY, rb"))"),
    _shape(PRIVATE_KEY, "ls0tls1crudjti", rb"(?-i:LS0tLS1CRUdJTi(?=[A-Za-z0-9+/]{0,24}(?:",
           b"|".join(map(re.escape, _inside_base64(b"PRIVATE KEY"))), rb"))[A-Za-z0-9+/=]{40,})"),
    _shape(PRIVATE_KEY, "putty-user-key",
           rb"PuTTY-User-Key-File-\d:(?s:.)*?(?:Private-MAC: \w+|\Z)"),
    _shape(PRIVATE_KEY, "privatekey presharedkey",
           rb"\b(?:private|preshared)key\s*=\s*(?P<secret>[a-z0-9+/]{43}=)"),
    _shape("slack", "hooks.slack.com", rb"hooks\.slack\.com/services/(?P<secret>[a-z0-9/]{20,})"),
    _shape("discord", "/api/webhooks/", rb"/api/webhooks/\d+/(?P<secret>[a-z0-9_-]{40,})"),
    _shape("telegram", ":aa", rb"(?<![0-9])[0-9]{8,10}:(?-i:AA)[a-z0-9_-]{33}"),
    _shape("aws", "secret", rb"aws_?secret_?(?:access_?)?key", _SIGN,
           rb"""[ \t]*\\?["']?(?P<secret>[a-z0-9/+]{40})"""),
    _shape("aws", "secret", rb"aws_?secret_?(?:access_?)?key\s*=\s*(?P<secret>[a-z0-9/+]{40})"),
    _shape("azure", "sig=", rb"""[?&]sig=(?P<secret>[^&\s"']{20,})"""),
    _shape("authorization", "authorization",
           rb"authorization:[ \t]*(?:digest|aws4-[a-z0-9-]+)[ \t]+(?P<secret>[^\n]{6,})"),
    _shape("authorization", "authorization",
           rb"""authorization\\?["']?[ \t]*[:=][ \t]*\\?["']?""",
           rb"(?:(?:basic|bearer|token|negotiate|apikey|key|bot|splunk)[ \t]++)?+",
           _NOT_A_VALUE, rb"""(?P<secret>[^\s"',]{6,})"""),
    _shape("authorization", "bearer",
           rb"\bbearer[ \t]+(?P<secret>(?=[a-z._~+/=-]*[0-9])[a-z0-9._~+/=-]{16,})"),
    _shape("cookie", "sess", rb"sess(?:ion)?_?(?:id)?=(?P<secret>[a-z0-9%._~+/=-]{20,})"),
    _shape("netrc", "machine default",
           rb"(?m)(?:\bmachine\s+\S+|^[ \t]*default)\s+(?:login\s+\S+\s+)?",
           rb"password\s+(?P<secret>\S+)"),
    _shape("pgpass", ":", rb"(?m)^[\w.*-]+:(?:\d{2,5}|\*):[\w*-]+:[\w*-]+:",
           rb"(?P<secret>(?=[^\s:]*[0-9])[^\s:]{4,})$",
           also=rb":(?:\d{2,5}|\*):[\w*-]+:[\w*-]+:"),
    _shape("password", "pass secret token api",
           rb"(?<!\S)--?(?:[a-z0-9-]*-)?(?:password|passwd|pass|passphrase|secret|token|api-?key)",
           rb"(?:=|\s+)(?!-)", _VALUE),
    _shape("password", "pass:", rb"-pass(?:in|out)?[ \t]+pass:(?P<secret>\S+)"),
    _shape("password", "mysql", rb"\bmysql[a-z]*\b", _LINE,
           rb"\s(?-i:-p)(?P<secret>[^\s'\"-]\S*)"),
    _shape("password", "sshpass", rb"\bsshpass\s+-p\s*+", _VALUE),
    _shape("password", "curl wget", rb"\b(?:curl|wget)\b", _LINE,
           rb"\s(?:-u|--(?:proxy-)?user)[ =]*[\"']?[^\s:\"'/]+:", _NOT_A_VALUE,
           rb"""(?P<secret>[^\s"']+)"""),
    _shape("password", "zip", rb"\b(?:un)?zip\b", _LINE, rb"\s(?-i:-P)\s+(?P<secret>[^\s-]\S*)"),
    _shape("password", "ldap", rb"\bldap[a-z]+\b", _LINE, rb"\s(?-i:-w)\s+(?P<secret>\S+)"),
    _shape("password", "login", rb"\b(?:docker|podman|helm|oc)[ \t]+login\b", _LINE,
           rb"\s(?-i:-p)[ =]", _VALUE),
    _shape("password", "requirepass", rb"\brequirepass[ \t]+", _VALUE),
    _shape("password", "password identified", rb"\b(?:password|identified by)[ \t]+'", _NOT_A_VALUE,
           rb"(?P<secret>[^'\n]+)'"),
    _shape("password", "password", rb"\bpassword is:?[ \t]+",
           rb"(?P<secret>(?=[^\s0-9]*[0-9])[^\s,]{6,})"),
    _shape("password", "password> passphrase> secret>",
           rb"<(?:\w+:)?(?:password|passphrase|secret)>", _NOT_A_VALUE, rb"(?P<secret>[^<\s]+)<"),
    _shape("password", "value=", rb"""\b(?:key|name)="[\w.:-]*(?:password|secret|token)"\s+""",
           rb"value=", _QUOTED),
    _shape("password", "pwd", rb"(?:;\s*|\bmysql_)pwd=", _VALUE),
    _shape("password", "pass pwd", _NAME, _STRONG, _SIGN, _TYPE, _VALUE),
    _shape("password", "pass pwd", _NAME, _STRONG, rb"[ \t]+=[ \t]+", _NOT_A_VALUE,
           rb"(?P<secret>(?=[^\s0-9]*[0-9])[^\s\"'()\[\],;.]{6,})(?=[ \t]*(?:\n|\Z))"),
    _shape("secret", "token secret key credential psk signature", _NAME, _WEAK, _SIGN, _TYPE,
           _RANDOM),
    _shape("secret", "_auth", rb"(?<![a-z0-9])_auth[ \t]*=[ \t]*(?=[a-z+/_-]*[0-9])",
           rb"(?P<secret>[a-z0-9+/=_-]{12,}+)"),
    _shape("secret", '"auth"', rb"""\"auth\"\s*:\s*\"(?P<secret>[a-z0-9+/]{16,}={0,2})\""""),
    _shape("shadow", "$", _CRYPT, rb"[./a-z0-9$=,+]{20,}", also=_CRYPT),
    _shape("shadow", "{ssha", rb"\{SSHA(?:256|512)?\}[a-z0-9+/=]{20,}"),
    _shape("url", "://", rb"\b[a-z][a-z0-9+.-]{0,30}://[^/\s:@\"']*:", _NOT_A_VALUE,
           rb"(?P<secret>[^/\s@\"']+)@", also=rb"://[^/\s:@\"']*:"),
)  # fmt: skip


_NEEDED = {word for shape in SHAPES for word in shape.needs}
# The needed words that hold no other, with the shapes that need them or a longer one: mostly none
# of these words stands in a text.
_STEMS = {
    stem: [shape for shape in SHAPES if any(stem in word for word in shape.needs)]
    for stem in sorted(_NEEDED)
    if not any(other in stem for other in _NEEDED - {stem})
}


def own_forms(data: bytes) -> Iterator[Span]:
    """Yield the tokens that say themselves what they are."""
    for run in _RUN.finditer(data):
        for match in _OWN.finditer(data, *run.span()):
            yield (*match.span(), match.lastgroup or "")


def has_own_form(data: bytes) -> bool:
    """Return whether `own_forms` yields any, sooner."""
    runs = [run for run in data.translate(_TO_RUNS).split() if len(run) >= _MIN_RUN_BYTES]
    text = b" ".join([run for run in runs if run.strip(_DIGITS)])
    may_have = any(word in text for word in _OWN_WORDS) or _DOTS.search(text) is not None
    return may_have and _OWN.search(text) is not None


def shapes_of(data: bytes, shapes: Iterable[Shape] | None = None) -> list[Shape]:
    """Return the shapes, of all or of these, that may stand in a text or in any part of it."""
    lowered = data.lower()
    if shapes is None:
        stems = [stem for stem in _STEMS if stem in lowered]
        shapes = dict.fromkeys(shape for stem in stems for shape in _STEMS[stem])
    return [shape for shape in shapes if shape.may_stand_in(lowered)]


def shaped(data: bytes, shapes: Iterable[Shape]) -> Iterator[Span]:
    """Yield what looks like a secret by what stands before it, in no order, perhaps overlapping."""
    for shape in shapes:
        for match in shape.pattern.finditer(data):
            yield (*match.span(match.lastgroup or 0), shape.kind)
