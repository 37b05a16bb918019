#!/bin/sh
# Installs what Permitgate needs: Debian packages (as root; else it says which), a virtual
# environment from hash-locked requirements, and Permitgate itself. Safe to repeat. With the word
# `tests` also what the suite needs.
set -eu
cd "$(dirname "$0")"

# 1. Debian packages: the program that must be present, and the package that brings it.
missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need bwrap bubblewrap
need git git
need sshd openssh-server
need ssh-keygen openssh-client
need setpriv util-linux
if [ "${1:-}" = tests ]; then
    # What the suite runs inside the sandbox besides.
    need node nodejs
    need npm npm
    need curl curl
    need wget wget
    need gcc gcc
    [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
    need ip iproute2
    need ss iproute2
    need lsof lsof
    need fuser psmisc
    need chromium chromium
    need nginx nginx-light
fi

# An interpreter ordinary users can run too: the sandbox binds it, and the suite runs as both.
python=""
for candidate in /usr/bin/python3 /usr/local/bin/python3 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: Python 3.11 or newer was not found. Install it (Debian 12: apt-get install python3) and run this again." >&2
    exit 2
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing$missing" >&2
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        { apt-get install -y -qq --no-install-recommends $missing ||
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; }; } >/dev/null
    else
        echo "setup: this machine lacks:$missing" >&2
        echo "setup: ask an administrator to run: apt-get install$missing" >&2
        exit 2
    fi
fi

# 2. The environment, rebuilt only when the locks changed.
stamp=.venv/.locked
want=$(cat requirements/*.txt pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$want" ]; then
    echo "setup: preparing .venv" >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=2
    .venv/bin/python -m pip install -q --require-hashes -r requirements/build.txt
    .venv/bin/python -m pip install -q --require-hashes -r requirements/dev.txt
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
    printf '%s\n' "$want" >"$stamp"
fi
