"""Opaque text still shows what is in it, so that it can be denied."""

import pytest

import policy.shell.tree as t
from policy.shell.commands import commands
from policy.shell.cursor import MAX_BYTES
from policy.shell.reader import read
from policy.shell.search import MAX_COMMANDS, MAX_TOKENS, found_in
from tests.policy.shell.texts import Texts

RM = ("rm", "-rf", "/")


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "eval 'rm -rf /'", "eval rm -rf /", "command eval 'rm -rf /'", "trap 'rm -rf /' EXIT",
        "coproc rm -rf /", "coproc P { rm -rf /; }", "select x in a; do rm -rf /; done",
        "read 'a[$(rm -rf /)]'", "[ -v 'x[`rm -rf /`]' ]", "eval 'eval \"rm -rf /\"'",
        "alias ls='rm -rf /'", "declare -n x='a;rm -rf /'", "mapfile -C 'rm -rf /' -c 1 x",
        'echo "a $(rm -rf /) b" $-', "echo `rm -rf /` $0", 'echo "`rm -rf /`" $0',
        "x=(1); rm -rf /", "rm\u200b -rf\u00a0/", "r\\m -r'f' \"/\" $0", "$'\\x72m' -rf / $0",
        "rm -rf {/,} $0", "bash <<E $0\nrm -rf /\nE", "cat <<E $0\n$(rm -rf /)\nE",
        "cat <<'E' $0; rm -rf /\nx\nE", "a <<E $0\nx\nE\nrm -rf /", "if a; then rm -rf /; fi; $0",
        "! rm -rf / & $0", "time -x; rm -rf /", "case $0 in a) rm -rf /;; esac",
        "f() { rm -rf /; }; $0", "(rm -rf /) $0", "a | rm -rf / |& $0", "{ rm -rf /; } $0",
        "rm -rf / 'unterminated", 'rm -rf / "unterminated', "$0 $(rm -rf /", "x=$(rm -rf /) $0",
        "${x:-$(rm -rf /)} $0", "$0 <(rm -rf /)", "a\\\n b $0; rm -rf /", "# $0\nrm -rf /; $0",
        "rm -rf / # $0\n$0", "a <<E\n$(rm -rf /)", "PROMPT_COMMAND='$(rm -rf /)'", "rm\r -rf /",
        "rm -rf / )", "eval 'a[$(rm -rf /)]=1'", "x[1]=2 rm -rf / $0",
        "echo \"$(echo \"$(rm -rf /)\" $0)\"",
    ],
)  # fmt: skip
def test_a_command_in_opaque_text_is_found(text: str) -> None:
    assert isinstance(read(text), t.Opaque)
    assert RM in [one.argv[:3] for one in found_in(text)]


def test_what_surrounds_a_command_is_kept() -> None:
    found = found_in("A=1 B+=$x c a\"$y\" 2>/dev/null >$z <<< 'b' $0")[0]
    assert found.argv == ("c", None, None)
    assert [(one.name, one.value.literal, one.append) for one in found.assignments] == [
        ("A", "1", False),
        ("B", None, True),
    ]
    assert [(one.fd, one.operator, one.target.literal) for one in found.redirects] == [
        (2, ">", "/dev/null"),
        (None, ">", None),
        (None, "<<<", "b"),
    ]


def test_a_word_that_cannot_be_read_keeps_what_is_sure() -> None:
    long = "'" + "a" * 2000 + "'"
    assert found_in(f"cat {long} pre$[1]x $0")[0].words == (
        t.Word((t.Literal("cat"),)),
        t.Word((t.Literal("a" * 2000),)),
        t.Word((t.Literal("pre"), t.Variable("*", quoted=False))),
        t.Word((t.Variable("*", quoted=False),)),
    )


def test_data_is_not_taken_for_commands() -> None:
    text = "cat > f <<'E' $0\nrm -rf /\nE\nfor rm in rm; do a; done; [[ rm ]]"
    assert [one.argv[0] for one in found_in(text)] == ["cat", "a"]


def test_the_search_is_bounded() -> None:
    assert len(found_in("a;" * MAX_BYTES)) <= MAX_COMMANDS + 1
    assert len(found_in("a " * MAX_BYTES)[0].words) < MAX_TOKENS
    assert found_in("eval 'eval a';" * 200) != []
    assert found_in("$(" * 40) != []


def test_what_is_understood_is_also_found_by_searching() -> None:
    source = Texts(3)
    for _ in range(100):
        text = source.text()
        tree = read(text)
        if not isinstance(tree, t.Opaque) and ("c0",) in [one.argv[:1] for one in commands(tree)]:
            assert any(one.argv[:1] == ("c0",) for one in found_in(text)), text
