"""Which environment variables steer the programs that inherit them.

May touch: names and values. Used for assignments in a command's text and for the environment a
caller asks for; what is not harmless is `env.poison`, because it changes what other words mean.
"""

import re
from collections.abc import Callable

from policy.model import Access

_STEERS = re.compile(
    r"""
    (?: LD_ | DYLD_ | GIT_ | LESS | PYTHON | NODE_ | NPM_ | npm_ | YARN_ | PNPM_ | PIP_ | UV_
      | POETRY_ | CONDA_ | PERL | RUBY | GEM_ | BUNDLE_ | JAVA | _JAVA | JDK_ | MAVEN_ | GRADLE_
      | RUST | CARGO_ | GCC_ | AWS_ | AZURE_ | GOOGLE_ | CLOUDSDK_ | KUBE | HELM_ | DOCKER_
      | COMPOSE_ | PODMAN_ | SSH_ | SUDO_ | MAN | SYSTEMD_ | BASH | ZSH | TAR_ | RSYNC_ | CURL_
      | WGET | OPENSSL_ | SSL_ | XDG_ | TERMINFO | TERMCAP | LUA_ | PHP | RESTIC_ | BORG_ | VIM
      | EMACS | HIST | CRASH | MALLOC_ | GLIBC_ | GCONV | LOCPATH | NLSPATH | RES_
      | TF_ | ANSIBLE_ | PG | MYSQL_ | ASAN_ | LSAN_ | UBSAN_ | TSAN_ | FAKE | DEBUGINFOD_
      | GO (?: FLAGS | PROXY | PATH | ROOT | BIN | NOSUMDB | SUMDB | TOOLCHAIN | ENV | PRIVATE
             | VCS | CACHEPROG | INSECURE | DEBUG ) ) \w*
    | \w* (?: PATH | OPTIONS? | OPTS? | PAGER | EDITOR | VISUAL | SHELL | PROXY | proxy | PRELOAD
            | COMMAND | BROWSER | REGISTRY | INDEX_URL | CONFIG | STARTUP | HOSTALIASES | WRAPPER
            | LAUNCHER | ASKPASS | PRE_?EXEC | ARGS | PLUGINS? | MODULES | RC | HOOKS? | REQUIRE
            | BUS_ADDRESS | MAKEFILES | TOOLCHAIN_FILE )
    | \w*FLAGS | ZDOTDIR | HOME | IFS | ENV | PS[0-4] | SHELLOPTS | TMPDIR | TMP | TEMP
    | USER | LOGNAME | MORE | LD | CC | CXX | CPP | AR | AS | LINK | FC | MAKE | LC_\w+ | LANG
    | LANGUAGE
    """,
    re.X,
)
_HARMLESS = frozenset(
    {
        "GOOS", "GOARCH", "RUST_BACKTRACE", "RUST_LOG", "NODE_ENV",
        "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUTF8",
        "GIT_PAGER_IN_USE", "GIT_OPTIONAL_LOCKS", "SYSTEMD_COLORS", "AWS_REGION",
        "AWS_DEFAULT_REGION", "CARGO_TERM_COLOR", "GIT_TERMINAL_PROMPT", "MANWIDTH",
        "HISTTIMEFORMAT", "PGCONNECT_TIMEOUT", "PGTZ", "PGDATESTYLE",
        "NPM_CONFIG_COLOR", "NPM_CONFIG_LOGLEVEL", "npm_config_loglevel", "PIP_NO_COLOR",
        "PIP_DISABLE_PIP_VERSION_CHECK", "UV_NO_PROGRESS", "ANSIBLE_NOCOLOR",
        "ANSIBLE_FORCE_COLOR", "TF_IN_AUTOMATION", "DOCKER_CLI_HINTS", "COMPOSE_ANSI",
        "SYSTEMD_URLIFY", "GIT_LITERAL_PATHSPECS", "GIT_FLUSH", "RUST_MIN_STACK",
    }
)  # fmt: skip
_FLAGS = r"-(?:O\w*|g\w*|W[a-z][\w=-]*|std=[\w+]+|D\w+(?:=\w+)?|m[\w=-]+|pipe|pthread)"
_JVM = r"-X(?:mx|ms|ss)\d+[kKmMgG]?|-Dorg\.gradle\.\w+=\w+|-Djava\.awt\.headless=\w+"
# Values whose every word is known to steer nothing, by the names of the variables.
_PLAIN_WORDS = {
    "NODE_OPTIONS": r"--(?:max-old-space-size=\d+|experimental-vm-modules|enable-source-maps"
    r"|openssl-legacy-provider|(?:no|trace)-(?:warnings|deprecation))",
    "PYTEST_ADDOPTS": r"-[qvxs]+|-n|\d+|--(?:tb|color|maxfail|durations)=\w+|-p|no:\w+",
    "GOFLAGS": r"-(?:count=\d+|mod=\w+|v|race|tags=[\w,]+|trimpath|buildvcs=\w+)",
    "RUSTFLAGS": r"-[DWA]|[\w:]+|-C|(?:opt-level|debuginfo|target-cpu)=[\w-]+",
    **dict.fromkeys(("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"), _FLAGS),
    **dict.fromkeys(("MAVEN_OPTS", "GRADLE_OPTS", "JAVA_OPTS"), _JVM),
    "MAKEFLAGS": r"-?j\d*|-?[ks]+|--(?:no-print-directory|silent)",
    "PYTHONWARNINGS": "error|ignore|default|always|once|module",
    "LESS": "-?[FRXSiIgMmNJq]+",
    **dict.fromkeys(("CC", "CXX", "LD", "CPP"), r"(?:gcc|g\+\+|clang|clang\+\+|cc|c\+\+)(?:-\d+)?"),
    **dict.fromkeys(
        ("EDITOR", "VISUAL", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR"),
        ":|(?:/usr/bin/|/bin/)?(?:true|cat)",
    ),
}
_NAME = re.compile(r"[A-Za-z_]\w*", re.A)
_SAID = re.compile(r"GIT_(?:AUTHOR|COMMITTER)_(?:NAME|EMAIL|DATE)|GIT_MERGE_AUTOEDIT")
_ROOTS_OWN = re.compile(r"/(?:usr|bin|sbin|snap)(?:/[\w-][\w.-]*)*")
_PAGERS = frozenset({"PAGER", "GIT_PAGER", "MANPAGER", "SYSTEMD_PAGER", "AWS_PAGER"})
_FOREIGN = re.compile(
    r"(?:^|[:=,; ])(~|/(?!/)(?!(?:usr|bin|sbin|lib|lib64|etc|dev|proc|sys)/)\w[^:;, ]*)"
)
_COMMAND = re.compile(r"[\s|({!-]*(?:\w+=\S*\s+)*(?:[\w./-]*/)?([\w.+-]+)")
_KEEPS = re.compile(r"\w*(?:CACHE|CACHE_DIR|TARGET_DIR|LOG|LOG_DIR)")
_SEARCH_PATHS = frozenset({"PYTHONPATH", "NODE_PATH", "RUBYLIB", "PERL5LIB", "CLASSPATH"})
_BELOW = re.compile(r"[\w.][\w./*-]*")
_LOCALES = re.compile(r"LC_[A-Z]+|LANG|LANGUAGE")
_PLAIN_LOCALE = re.compile(r"(?:C|POSIX|[a-z]{2,3}(?:_[A-Z]{2})?)(?:\.(?:UTF|utf)-?8)?|")


def poison(name: str, value: str, program: str = "") -> tuple[Access, ...]:
    """Return the access of setting a variable for a program: none if it steers none.

    A name that no assignment can have comes in by `env`, and means what a shell left there:
    `BASH_FUNC_ls%%` is a function.
    """
    if not _NAME.fullmatch(name):
        return (Access("env.poison", name, "exact", program),)
    if name in _HARMLESS or (name in _PAGERS and value in ("cat", "")):
        return ()
    # A locale that names a path would be a file of the caller's choice.
    if _LOCALES.fullmatch(name) and _PLAIN_LOCALE.fullmatch(value):
        return ()
    if _is_plain(name, value):
        return ()
    if not _STEERS.fullmatch(name):
        return ()
    return (Access("env.poison", name, "exact", program),)


def _is_plain(name: str, value: str) -> bool:
    """Return whether a variable that could steer does not, with this value."""
    if name == "PATH":
        return all(_ROOTS_OWN.fullmatch(part) for part in value.split(":"))
    words = _PLAIN_WORDS.get(name)
    if words is not None:
        return all(re.fullmatch(words, word) for word in value.split())
    return _SAID.fullmatch(name) is not None


def is_own_code(name: str, value: str) -> bool:
    """Return whether a search path for code names only folders below the current one."""
    return name in _SEARCH_PATHS and all(
        _BELOW.fullmatch(part) and ".." not in part.split("/") for part in value.split(":")
    )


def command_in(value: str, is_program: Callable[[str], bool]) -> str:
    """Return the value of a variable that steers as the command it may be, or nothing.

    `GIT_EDITOR='rm -rf /'` and `LESSOPEN='|rm -rf / %s'` do what they say, whoever reads them.
    """
    found = _COMMAND.match(value)
    return value.lstrip("|- ") if found and is_program(found[1]) else ""


def leads_outside(name: str, value: str, workspace: str) -> bool:
    """Return whether a variable for one program names a place that is not the project's own.

    Which program reads which variable is known of few; a place of someone's choice may be code.
    """
    if _KEEPS.fullmatch(name):
        return False
    places = (match[1] for match in _FOREIGN.finditer(value))
    return any(not f"{place}/".startswith(f"{workspace}/") for place in places)
