"""Every use of a builtin that is understood evaluates nothing: bash itself is asked."""

import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import policy.shell.tree as t
from policy.shell.builtins import BUILTINS, DECLARATIONS
from policy.shell.reader import read
from tests.policy.shell.confinement import AVAILABLE, run_script

needs_bash = pytest.mark.skipif(not AVAILABLE, reason="needs bash and bwrap")
# Stops, waits for a terminal or ends the asking shell; its operands are not names.
NOT_RUN = frozenset({"suspend"})
UNARY = [f"-{letter}" for letter in string.ascii_letters]
BINARY = (
    "=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef", "-a",
    "-o",
)  # fmt: skip


def test_every_builtin_of_bash_has_a_place_in_the_list() -> None:
    listed = subprocess.run(
        ["bash", "-c", "compgen -b"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(listed) <= BUILTINS


def uses(name: str) -> Iterator[str]:
    """Yield command lines with `@` wherever bash might read a name, a number or a subscript."""
    yield from (
        f"{name} '@'",
        f"{name} x '@'",
        f"{name} '@' x",
        f"{name} x x '@'",
        f"{name} -- '@'",
    )
    yield from (f"{name} 1 '@'", f"{name} '@' 1", f'{name} "$p"', f"{name} $p", f'{name} x "$p"')
    yield from (
        f"command {name} '@'",
        f"builtin {name} '@'",
        f"{name} <<< '@'",
        f"{name} x <<< '@'",
    )
    for option in UNARY:
        yield from (f"{name} {option} '@'", f"{name} {option} x '@'", f"{name} {option}'@'")
        yield from (f"{name} {option} '@' x", f"{name} x {option} \"$p\" <<< '@'")


def value_checks() -> Iterator[str]:
    for lead, end in (("[", " ]"), ("test", ""), ("[[", " ]]"), ("[ !", " ]")):
        for value in ("'@'", '"$p"', "$p"):
            yield f"{lead} {value}{end}"
            yield from (f"{lead} {operator} {value}{end}" for operator in UNARY)
            yield from (f"{lead} {value} {operator} 1{end}" for operator in BINARY)
            yield from (f"{lead} 1 {operator} {value}{end}" for operator in BINARY)
            yield from (
                f"{lead} 1 -eq 1 {operator} {value}{end}" for operator in ("-a", "-o", "&&")
            )


OTHER = (
    "echo $(('@'))", "((p))", "echo $((p))", "echo $(($p))", "[[ p -eq 0 ]]", "[[ $p -eq p ]]",
    "echo ${x:p}", "echo ${x:$p}", "x=$p; echo $((x))", "for ((i=p;0;1)); do :; done",
    "x='@'; echo $((x))", "x+=1; x+='@'; ((x))", "read x <<< '@'; ((x))", "RANDOM='@'",
    "printf '%d' '@'", "printf '%*d' '@' 1", "printf '%(%s)T' '@'", "printf -v '@' x",
    "printf '-v@' x", "printf -- -v '@'", "case '@' in @) :;; esac", "for x in '@'; do :; done",
    "for RANDOM in '@'; do :; done", "echo ${p@P}", "echo ${!p}", "PS4='$(>/log/#)'; set -x; :",
    "export OPTIND='@'", "declare -i x='@'", "x[$p]=1", "unset 'x[@]'", "f() { :; }; f '@'",
    "exec {p}<&-", "echo {1..'@'}", "[[ x =~ '@' ]]", ": & wait -n -p '@'", "hash -p '@' x",
    "hash -p /x '@'; hash -t '@'", "jobs -x : '@'", "getopts '@' x", "getopts x '@'",
    "mapfile -C '>/log/#;:' -c 1 x <<< y", "HISTCMD='@' :", "IFS='@'; echo $p",
    "read -t '@' x", "read -n '@' x", "read -u '@' x", "read -d '@' x", "shift '@'", "exit '@'",
)  # fmt: skip


@pytest.mark.untraced
@needs_bash
@pytest.mark.threat("T01")
@pytest.mark.threat("T03")
def test_no_understood_use_of_a_builtin_runs_what_is_in_a_subscript(tmp_path: Path) -> None:
    written = [use for name in sorted(BUILTINS - NOT_RUN) for use in uses(name)]
    written += [*value_checks(), *OTHER]
    script, understood = ["a=(1 2)"], list[str]()
    for index, use in enumerate(dict.fromkeys(written)):
        text = use.replace("@", f"a[$(>/log/{index})]").replace("#", str(index))
        if "$p" in use or "p " in use:
            text = f"p='a[$(>/log/{index})]'; {text}"
        if not isinstance(read(text), t.Opaque):
            understood.append(use)
            script.append(f"(\n{text}\n) < /dev/null > /dev/null 2>&1")
    run_script("\n".join([*script, ": > /log/end", ":"]), tmp_path)
    ran = [path.name for path in (tmp_path / "log").iterdir() if path.name != "end"]
    assert [list(dict.fromkeys(written))[int(index)] for index in ran] == []
    assert (tmp_path / "log" / "end").exists()
    assert len(understood) > len(BUILTINS)


@needs_bash
@pytest.mark.threat("T03")
def test_the_trap_catches_what_the_reader_refuses(tmp_path: Path) -> None:
    refused = ["[ -v 'a[$(>/log/1)]' ]", "read 'a[$(>/log/2)]' <<< x", "unset 'a[$(>/log/3)]'"]
    assert all(isinstance(read(text), t.Opaque) for text in refused)
    run_script("\n".join(refused), tmp_path)
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["1", "2", "3"]


@pytest.mark.parametrize("keyword", sorted(DECLARATIONS))
@pytest.mark.threat("T03")
def test_a_declaration_is_only_read_behind_its_bare_name(keyword: str) -> None:
    for written in (f"'{keyword}' x=1", f"A=1 {keyword} x=1", f"command {keyword} x=1"):
        assert isinstance(read(written), t.Opaque)
    assert not isinstance(read(f"{keyword} -x x=1"), t.Opaque)
