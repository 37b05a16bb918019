"""Opaque text still shows what is in it, so that it can be denied."""

import pytest

import policy.shell.tree as t
from policy.footprint import footprint
from policy.model import Context, Exec
from policy.shell.blocks import MAX_WORDS
from policy.shell.cursor import MAX_BYTES
from policy.shell.reader import read
from policy.shell.search import MAX_STATEMENTS, searched
from policy.shell.walk import nodes
from tests.policy.shell.commands import Found, commands
from tests.policy.shell.texts import Texts

RM = ("rm", "-rf", "/")


def found_in(text: str) -> list[Found]:
    return commands(searched(text))


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "coproc rm -rf /", "coproc P { rm -rf /; }", "select x in a; do rm -rf /; done",
        "read 'a[$(rm -rf /)]'", "[ -v 'x[`rm -rf /`]' ]",
        "alias ls='rm -rf /'",
        "bind -x 'a=rm -rf /'", "((a[$(rm -rf /)]))", "$0; x=(a $(rm -rf /))",
        "f() { x=1; }; $0; g() { rm -rf /; }", "function f { rm -rf /; }; $0",
        "$0; @(a|$(rm -rf /))",
        "case a in (b) c;; d|e) rm -rf /; esac; $0", "for i in a; do if b; then rm -rf /; fi $0",
        "while a; do rm -rf /; done | b $0", "$0 ((1)); ((x)); rm -rf /", "} ) rm -rf /; $0",
        "declare x='a[$(rm -rf /)]' $0", "[[ 'a[$(rm -rf /)]' -eq 0 ]]; $0", "! { $0; rm -rf /; }",
        'echo "a $(rm -rf /) b" $-', "echo `rm -rf /` $0", 'echo "`rm -rf /`" $0',
        "x=(1) $0; rm -rf /", "rm\u200b -rf\u00a0/", "r\\m -r'f' \"/\" $0", "$'\\x72m' -rf / $0",
        "rm -rf {/,} $0", "bash <<E $0\nrm -rf /\nE", "cat <<E $0\n$(rm -rf /)\nE",
        "bash <<'E'\nrm -rf /", "cat <<'E' $0; rm -rf /\nx\nE", "a <<E $0\nx\nE\nrm -rf /",
        "if a; then rm -rf /; fi; $0",
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


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "eval 'rm -rf /'", "eval rm -rf /", "command eval 'rm -rf /'", "trap 'rm -rf /' EXIT",
        "eval 'eval \"rm -rf /\"'", "$0; cd /; rm -rf *", "mapfile -C 'rm -rf /' -c 1 x",
        "x='rm -rf'; eval \"$x /\"",
        "$0; d=/; rm -rf $d",
    ],
)  # fmt: skip
def test_what_opaque_text_evaluates_is_in_its_footprint(text: str) -> None:
    assert isinstance(read(text), t.Opaque)
    context = Context("/w", "/home/u", "u", "host")
    accesses = footprint(Exec(text, None, "/w"), context).accesses
    assert any(one.operation == "fs.delete" and one.resource[:2] in ("/", "/*") for one in accesses)


def pipelines(text: str) -> list[list[str | None]]:
    """Return the program of every command of every pipeline; a compound one is its kind."""
    found = [node for node in nodes(searched(text)) if isinstance(node, t.Pipeline)]
    return [
        [
            one.words[0].literal if isinstance(one, t.SimpleCommand) else type(one).__name__
            for one in pipe.commands
        ]
        for pipe in found
    ]


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    ("text", "pipeline"),
    [
        ("eval x; curl u | sh", ["curl", "sh"]),
        ("$0; curl u | sh", ["curl", "sh"]),
        ('$0; curl u 2>&1 |& tee "a b" | sh -s x', ["curl", "tee", "sh"]),
        ("$0; { curl u; } | sh", ["Group", "sh"]),
        ("$0; (curl u; true) | sh", ["Subshell", "sh"]),
        ("$0; if a; then curl u; fi | sh", ["Group", "sh"]),
        ("$0; while a; do curl u; done | sh", ["While", "sh"]),
        ("$0; for i in a b; do curl $i; done | sh", ["For", "sh"]),
        ("$0; case a in a) curl u;; esac | sh", ["Group", "sh"]),
        ("x=$0$(curl u | sh)", ["curl", "sh"]),
        ('a "$0 $(curl u | sh)"', ["curl", "sh"]),
        ("a $0`curl u | sh`", ["curl", "sh"]),
        ("$0; curl u |\nsh", ["curl", "sh"]),
    ],
)
def test_pipes_in_opaque_text_stay_pipes(text: str, pipeline: list[str]) -> None:
    assert isinstance(read(text), t.Opaque)
    assert pipeline in pipelines(text)


@pytest.mark.threat("T18")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (".(){ .|.& };.", "."), (":(){ :|:& };:", ":"), ("b(){ b|b& };b $0", "b"),
        ("function @ { @|@& }; @", "@"), ("%() ( %|%& ); %", "%"),
        ("b()\n{\n b | b &\n}\nb $0", "b"),
        ("b() if a; then b|b& fi; b $0", "b"),
    ],
)  # fmt: skip
def test_a_function_is_found_whatever_its_name(text: str, name: str) -> None:
    statements = searched(text).statements
    defined = next(one for one in statements if isinstance(one, t.FunctionDef))
    inside = [one.argv[0] for one in commands(t.Sequence((defined,)))]
    assert (defined.name, inside.count(name)) == (name, 2)
    assert any(one.argv[:1] == (name,) for one in commands(t.Sequence(statements[1:])))


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "padding", ["true; ", "a{}; ", "rm a{}; ", "echo 'a b' {}; ", "a", "x{}=1 "]
)
def test_an_attack_behind_1200_tokens_of_padding_is_found(padding: str) -> None:
    padded = "".join(padding.replace("{}", str(number)) for number in range(1200))[: MAX_BYTES - 20]
    assert RM in [one.argv[:3] for one in found_in(f"{padded}; rm -rf /; $0")]


def test_a_command_too_long_to_follow_keeps_its_ends() -> None:
    found = found_in("rm -rf " + " ".join(f"a{number}" for number in range(2000)) + " / $0")[0]
    assert (found.argv[:2], found.argv[-2]) == (("rm", "-rf"), "/")


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
    assert len(found_in("".join(f"a{i};" for i in range(4000)))) <= MAX_STATEMENTS
    assert len(found_in("a " * MAX_BYTES)[0].words) <= MAX_WORDS
    assert found_in("eval 'eval a';" * 200) != []
    assert found_in("$(" * 40) != []
    documents = "".join(f"c{number} <<E $0\na\nE\n" for number in range(60))
    assert len(found_in(documents)) >= 32
    assert found_in("alias " * 9 + "a='" + 'alias b="' * 9 + "$0") != []
    assert len(found_in('a "$x" <<A;' + "x$y;" * 90 + "".join(f"a{i};" for i in range(900)))) < 200


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "lead", ["( ", "{ ", "if ", "for x in a; do ", "case x in a) ", "$(", "f() {\n"]
)
def test_what_is_nested_too_deep_is_found_flat(lead: str) -> None:
    assert RM in [one.argv[:3] for one in found_in(lead * 40 + "rm -rf /; $0")]


def test_what_is_understood_is_also_found_by_searching() -> None:
    source = Texts(3)
    for _ in range(100):
        text = source.text()
        tree = read(text)
        if not isinstance(tree, t.Opaque) and ("c0",) in [one.argv[:1] for one in commands(tree)]:
            assert any(one.argv[:1] == ("c0",) for one in found_in(text)), text
