"""The laws of the reader: total, bounded, and what it reads survives rendering."""

import itertools
import sys
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import policy.shell.tree as t
from policy.shell.cursor import MAX_BYTES, MAX_DEPTH, MAX_WORK, RefusalError
from policy.shell.folding import folded
from policy.shell.grammar import Grammar
from policy.shell.reader import read
from policy.shell.render import anchored, render
from policy.shell.search import searched
from tests.policy.shell.commands import commands
from tests.policy.shell.pieces import PIECES

soups = st.lists(
    st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", " ", " "])), max_size=24
).map(lambda pairs: "".join(piece + gap for piece, gap in pairs))

literals = st.text(
    st.characters(min_codepoint=9, max_codepoint=0x2FF, exclude_characters="\r\x0b\x0c\x00"),
    max_size=6,
)
INNER = tuple(
    tree
    for text in ("a", "a 'b c' | d & e", '! a "$(b `c`)" > f <<< x', "if a; then (b) & fi")
    if isinstance(tree := read(text), t.Sequence)
)
DATE = read("date +%s")
assert isinstance(DATE, t.Sequence)
A_NUMBER = t.Substitution(DATE, quoted=True)
names = st.sampled_from(["x", "y", "HOME", "_a1"])
bodies = st.deferred(lambda: sequences)


def words(*, value: bool = False, patterned: bool = True) -> st.SearchStrategy[t.Word]:
    """Words in normal form: no literals side by side, quoted where bash never splits."""
    quoted = st.just(True) if value else st.booleans()
    defaults = st.sampled_from([":-", "-", "+"]), st.sampled_from(["", "a.b", "/x"])
    patterns = st.sampled_from(["%", "##"]), st.sampled_from(["*.c", "a?"])
    parts = [
        st.builds(t.Literal, literals),
        st.builds(t.Variable, names, quoted),
        st.builds(t.Parameter, names, *defaults, quoted),
        st.builds(t.Parameter, names, *patterns, quoted),
        st.builds(t.Arithmetic, st.sampled_from(["1+2", "(3*4)"]), quoted),
        st.builds(t.Arithmetic, st.just("60 * $()"), quoted, st.just((A_NUMBER,))),
        st.builds(t.Substitution, st.sampled_from(INNER), quoted),
    ]
    parts += (
        [] if value or not patterned else [st.builds(t.Glob, st.sampled_from(["*", "?", "[!a-z]"]))]
    )
    return st.lists(st.one_of(parts), min_size=1, max_size=4).map(normal)


def normal(parts: list[t.Part]) -> t.Word:
    merged = list[t.Part]()
    for kind, group in itertools.groupby(parts, type):
        items = list(group)
        if kind is t.Literal:
            joined = "".join(one.text for one in items if isinstance(one, t.Literal))
            items = [t.Literal(joined)]
        merged += items
    return t.Word(tuple(merged))


def tuples(one: st.SearchStrategy, low: int, high: int) -> st.SearchStrategy:
    return st.lists(one, min_size=low, max_size=high).map(tuple)


operators = st.sampled_from(["<", ">", ">>", ">|", "&>", "<>"])
files = words(patterned=False)
redirects = tuples(
    st.one_of(
        st.builds(t.Redirect, st.none(), operators, files),
        st.builds(t.Redirect, st.sampled_from([None, 0, 2]), st.just("<<<"), words(value=True)),
    ),
    0, 2,
)  # fmt: skip
assignments = st.builds(t.Assignment, names, words(value=True), st.booleans())
programs = literals.map(lambda text: t.Word((t.Literal("p" + text),)))
simple = st.builds(
    lambda assigned, program, arguments, redirected: t.SimpleCommand(
        assigned, (program, *arguments), redirected
    ),
    tuples(assignments, 0, 2), programs, tuples(words(), 0, 3), redirects,
)  # fmt: skip
items = tuples(st.builds(t.CaseItem, tuples(words(), 1, 2), bodies), 0, 2)
group = st.builds(t.Group, bodies, redirects)
compound = st.one_of(
    group,
    st.builds(t.Subshell, bodies, redirects),
    st.builds(t.If, tuples(st.tuples(bodies, bodies), 1, 2), st.none() | bodies, redirects),
    st.builds(t.For, names, tuples(words(), 0, 3), bodies, redirects),
    st.builds(t.While, bodies, bodies, st.booleans(), redirects),
    st.builds(t.Case, words(value=True), items, redirects),
    st.builds(t.FunctionDef, st.sampled_from(["f", "g-h"]), group),
)
command = st.one_of(simple, simple, simple, simple, simple, compound)
pipelines = st.one_of(
    command,
    st.builds(t.Pipeline, tuples(command, 2, 3), st.booleans(), st.booleans()),
    st.builds(t.Pipeline, st.tuples(command), st.just(True), st.booleans()),
)
rests = tuples(st.tuples(st.sampled_from(["&&", "||"]), pipelines), 1, 2)
and_ors = st.builds(t.AndOr, pipelines, rests)
statements = st.one_of(
    pipelines, pipelines, and_ors, st.builds(t.Background, st.one_of(pipelines, and_ors))
)
sequences = tuples(statements, 1, 2).map(t.Sequence)
unhurried = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.untraced
@unhurried
@given(bodies)
@pytest.mark.threat("T01")
def test_a_rendered_tree_is_read_back_as_itself(tree: t.CommandTree) -> None:
    assert read(render(tree)) == tree


@settings(unhurried, max_examples=600)
@given(soups)
@pytest.mark.threat("T01")
def test_any_text_has_a_tree_that_survives_rendering_or_is_opaque(text: str) -> None:
    tree = read(text)
    searched(text)
    if not isinstance(tree, t.Opaque):
        assert read(render(tree)) == tree
        assert len(commands(tree)) == len(commands(folded(tree)))
        safe = anchored(tree, lambda program: program != "ls")
        assert read(render(safe)) == safe


plain_words = st.text(st.sampled_from("ab2_./:,@%+-"), min_size=1, max_size=3)
firsts = st.one_of(
    plain_words, st.sampled_from(["if", "in", "time", "echo", ".", "[", "declare", "ls"])
)
plain_lines = st.tuples(
    firsts,
    st.lists(
        st.one_of(
            plain_words,
            st.sampled_from(
                ["a=b", "|", "| echo", "&& ls", "; cd", "''", "'a  b|;'", '"é !"', "||"]
            ),
        ),
        max_size=5,
    ),
)


@settings(unhurried, max_examples=300)
@given(plain_lines)
@pytest.mark.threat("T01")
def test_a_plain_line_is_read_as_the_grammar_reads_it(line: tuple[str, list[str]]) -> None:
    text = " ".join([line[0], *line[1]]).replace(" ;", ";")
    tree = read(text)
    if isinstance(tree, t.Sequence):
        assert tree == Grammar(text).script()
    else:
        with pytest.raises(RefusalError):
            Grammar(text).script()


@settings(unhurried, max_examples=500)
@given(st.text(st.characters(), max_size=60))
def test_no_text_makes_the_reader_or_the_search_raise(text: str) -> None:
    tree = read(text)
    assert isinstance(tree, t.Opaque | t.Sequence)
    searched(text)


@pytest.mark.parametrize(
    ("text", "reason", "byte"),
    [
        ("a" * (MAX_BYTES + 1), "longer than 16 KiB", 0),
        ("é" * (MAX_BYTES // 2 + 1), "longer than 16 KiB", 0),
        ("ls \x00", "control character", 3),
        ("ls\r", "control character", 2),
        ("é \ud800", "not text", 3),
        ("ls \u200b", "space or invisible character outside quotes", 3),
        ("ls\u00a0-l", "space or invisible character outside quotes", 2),
        ("echo 'a", "unterminated quote", 5),
        ('echo "a', "unterminated quote", 6),
        ("é 'a", "unterminated quote", 3),
        ("`é 'a`", "unterminated quote", 4),
        ("a \\", "backslash at the end", 2),
        ("a; ;", "a command was expected", 3),
        ("a )", "unexpected token", 2),
        ("a &&", "a command was expected", 4),
        ("( )", "empty body", 1),
        ("if a; fi", "then was expected", 6),
        ("for 1 in a; do b; done", "for without a name", 4),
        ("{ a; } b", "word after a compound command", 7),
        ("( " * (MAX_DEPTH + 1), "nested deeper than 32", 2 * MAX_DEPTH + 1),
        ("[[ " + "(" * 40, "nested deeper than 32", 36),
        ("[[ " + "! " * 40, "nested deeper than 32", 70),
        ("[[ a" + " && a" * 40 + " ]]", "more than 32 joined tests", 167),
        ("a " * 3000, "work budget spent", None),
        ("$((" + "(" * 40, "arithmetic", 3),
        ("echo $(( é ))", "arithmetic", 8),
        ("echo {a..{b}}", "braces inside braces without a comma", None),
    ],
)
def test_opaque_text_says_why_and_where(text: str, reason: str, byte: int | None) -> None:
    tree = read(text)
    assert isinstance(tree, t.Opaque)
    assert tree.reason == reason
    assert byte in (None, tree.byte)


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "eval x", "[[ $(a) -eq 1 ]]", "[[ a$x -eq 1 ]]", "a <<E $'b\nc'\nd\nE",
        "a <<E 'b\nc'\nd\nE", "trap x EXIT", "let x=1", "source $x", ". /dev/stdin", "source <(a)",
        "alias a=b", ". ../dev/fd/0", ". //proc/self/fd/0", "source", "read RANDOM",
        "read 'a[$(b)]'", "read -a x", 'read "$x"', "read $x y", "read -p", "read -d $x y",
        "read -", "[ $x ]", '[ "$a" "$b" ]', "[ a -a b ]", "IFS=1; n=5; [ $n -gt 0 ]",
        "command [ $x = a ]", "[ -f a -a -v x ]",
        "[ -f a -a \"$x\" b ]", "[ -f a -a \"$x\" ]", "[ -f a -o ]", "[ -f a b -f c ]",
        "x=$y; [ $x -gt 1 ]",
        "[ ( a ) ]", "[ -v 'a[1]' ]", "[ a",
        "test a b c d e", "[ ! a b c d ]", "[[ $x -eq 0 ]]", "[[ -v x[1] ]]", "[[ a -eq 'b[1]' ]]",
        "[[ $x =~ $y ]]", "[[ a", "[[ ( a ]]", "[[ $x =~ a(b ]]", "x=$y; echo $((x))",
        "x=5; $y; echo $((x))", "x=5; read x; ((x))", "x=5; x+=1; ((x))",
        "for x in a; do ((x)); done", "echo $(($1))", "((x))", "echo $((y=x))", 'printf "$f" x',
        "printf -v", "printf -v 'a[1]' x", "printf -x", "printf $x", "echo {fd}>x", "export $x",
        "declare -i x=1", "declare x={a,b}", "command export x=$y", "command $x", "e\\xport x=$y",
        "\\ <(c)", "a<(b)c<(d)", "a[1]=2", "x=([2]=1)", "x=([0]=\"$@\")", "x=([0]={a,b})",
        "x=([a]=1)", "x=(1) y", "x=(1)y", "x=(1",
        "x=(a;b)", "x=(a=~)", "x=([a]*)",
        "declare -a x='(a)'", "x=(1); declare x=$y", "mapfile x < f; local x=$1", "x=${y[@]}",
        "${1[0]}",
        "${x[y]}", "${x[-1]}", "${#x[0]}", "${x[0]%a}", "{a..Z}", "{+1..3}", "{1..12345678901}",
        "a=([1]=x)",
        "x=(<(a) b<(c))", "cat <<E\n${x[@]}\nE", "x[0]=1", "x+=(y) z", "declare -A x=([a]=b)",
        "unset 'x[1]'", "unset -n x",
        "unset BASH_ENV2 RANDOM", "getopts o", "getopts $x y", "getopts o 'a[1]'", "wait -p x",
        "hash -p a b", "jobs -x a", "wait $x", "set -o posix", "set -o", "set -B", "set +",
        "set $x", "shopt -s extglob", "shopt extglob", "shopt -s", "history -w x", "history -s x",
        "RANDOM=1", "PS4=x a", "BASH_CMDS=x", "for PS4 in a; do b; done", "time -v a", "time",
        "time time a", "a |& f() { b; } |& c", "f() ((1))", "f() { a; } |& b", "function",
        "function f a", "cd() { a; }", "if() { a; }", "function cd { a; }",
        "select x in a; do b; done", "coproc a", "case a in b) c;& esac",
        "case a in b) c;;& d) e;; esac", "${x:=y}", "${!x}", "${x@P}", "${##}", "${#x%y}",
        "${x:-*}", "${x:a}", "${x", "$[1]", "$0", "$-", '$"a"', "$'a", "$'\\xzz'", "$'\\x00'",
        "$'\\777'", "$'\\ud800'", "$'\\U00110000'", "$BASH_COMMAND", "x=$@", "`a \\`b\\``",
        "\"`a \"b\"`\"", "`a", "a > *", "a > {b,c}", "a >& $x", "a 1&> b", "a 1>& b", "a <<E",
        "a <<E\nb", "a <<$x\nE", "a <<-E\n\t$x\n\tE", "a <<E\n$@\nE", "a <<E\nb\\\nc\nE",
        "a <<E\n$(b\nE", "a <<E\n$(\nE\n)", "a <<E $(b\nc)\nE", "$(a <<E)\nE", "`a <<E`\nE",
        "@(a|b)", "[$x]", "echo [[.a.]]", "{a,b", "{1..999}", "{a,b}{c,d}{1..9}{1..9}", "x~{a,b",
        "{" + "a" * 600 + ",b}", "{" * 40, "~$x", "~'a'", "~1", "~+", "x=~$y",
        "for ((a;b)); do c; done", "for ((a", "for ((a[1];;)); do b; done", "a;;b", "a & & b",
        "while; do a; done", "fi", "in a", "a <<A | b <<'\nA\n'", "echo ${x:-'a'}", "bind x", "fc",
        "compgen -W x", "complete x", "enable x", "mapfile -C x y", "readarray -c 1 $x", "local $x",
        "x=1 export y=2",
    ],
)  # fmt: skip
def test_what_bash_could_read_otherwise_is_opaque(text: str) -> None:
    assert isinstance(read(text), t.Opaque)


@pytest.mark.parametrize(
    "text",
    [
        "read -r -p '? ' x y", "read -rsn1 x", "[ -f x ]", "[ ! -f x ]", "[ ! a = b ]", "test",
        "[ ]", "[ ! = x ]", "[ -v x ]", "[[ -v x ]]", "[ \"$a\" -eq 1 ]", "x=5; [[ $x -lt 3 ]]",
        "[[ $# -gt 1 ]]", "[[ ${#x} -eq 0 ]]", "x=5; y=$((x + 1)); echo $((y % 2))",
        "echo $((RANDOM % 6))", "((i=0)); ((i++))", "printf '%s' x", "printf -v x '%s' y",
        "printf -- x", "printf ''", "printf", "unset x", "unset -f f", "getopts ab: o", "wait",
        "wait $!", "wait %1", "jobs -l", "hash -r", "set -euo pipefail", "set -- -x $y", "set +e",
        "shopt -s nullglob", "shopt", "history", "history 5", "source ./x", ". venv/bin/activate",
        "command -v x", "command -p ls", "command", "alias", "export", "declare -p x",
        "mapfile -t x < f", "for i in 1 2; do ((i)); done", "[[ a == b ]]; echo $((1))",
        "[[ a == b && 1 -eq 1 ]]", "[ \"a$((1))\" = b ]", "[ ~ = b ]", "[[ $((1)) -eq 1 ]]",
        "declare -x x", "unset -- x", "read -- x", "unset", "[[ a || b && ! c ]]",
        "a \u00e9 '\u200b'",
    ],
)  # fmt: skip
def test_ordinary_uses_of_builtins_are_understood(text: str) -> None:
    assert not isinstance(read(text), t.Opaque), read(text)


HOSTILE = (
    "(", "$(", "{", "${", "`", '"', "'", '"$(', "$((", "if ", "case x in ", "<<A ", "<<A\n", "a|",
    "a;", "a ", "a&&", ">a ", "! ", "[[ ", "[", "{a,b}", "\n", "\\\n", "&", "<(", "$", "*?[",
    "f(){ ", "while a;do ", "a=1 ", "a=(", "#\n", "<<<a ", "(a)|", "${a:-", ")", '$({"`([', "$(a)",
    '$x"y"', "a)b;;", "!(", "\\", "a\\\n", "$'", "$'\\x41'", "~:", "x=~:~", "{a,{b,c}}", "{1..9}",
    "a<<E\nE\n", "$a", "[a", "[a]", "time ", "! ! ", "a\n", "''", '""', "-", "é", "\u200b", "1+",
    "((1+", "{{", "}", "x=$(", "x=1;", "f;f(){ a;};", "a<b", "2>&1 ", "[[ ! ", "[[ (", "[[ a&&",
    "case a in a);;", "`a`", "$((1))", "${x}", "<<'E'\n", "$[", "a'b'", "echo $(a;", "{a..b}", ",",
    "{,", "$'\\", "[[:a:]", "[ a = b ];", "read a;", "$((a+", "x=1;echo $((x));", "a=~:~", "a[",
    "for i in a;do a;done;", "export a=b;", "{ a;};", "if a;then a;fi;", "a|&", "a &>b ", "x=\\",
    "eval 'a' ", "trap '$(' ", "bash <<A\n", "cat <<A;", "a=(b) ", "a=([0]=b);", "${a[@]}",
    '"${a[@]}"', "x[1]=2;", "declare -a a=(b);", "read x <<< a;", "printf -v x %s a;",
    "[ $a -gt 1 ];", "[ a -a b -o ", "{a..z..2}", "a=$(b);", "a;b=$((b+1));", "cat <<E\n$(a)\nE\n",
    "bash <<E\na\nE\n", "a<<E<<F\n", "\u202e", "\U0001f600", "a\u00a0", "'\u00e9' ", "$'\\u00e9'",
    '\\"', "a()(", "function a ", "b(){ b|b&};", "do ", "esac ", "(a", "a|b ", "! a|", "'a b' ",
    "alias a='$(b)';", 'eval "$(a)";', "${a%b}", "${a:0:1}", "~/a ", "case a in b|c)d;;esac;",
    "until a;do b;done;", "for((;;));", "((a++));", "[[ a=~b ]];", "exec 3<&-;", "sudo a;",
    "a;#b\n",
    "coproc ", "select a in b;do c;done;", "\t", "x=y z;", "echo 'a b' c; ", "case a in (b) ",
)  # fmt: skip


def calls_of(text: str) -> int:
    """Return how many Python calls reading, folding, rendering and searching a text cost."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        tree = read(text)
        if isinstance(tree, t.Opaque):
            folded(searched(text))
        else:
            commands(tree)
            render(tree)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.threat("T18")
@pytest.mark.parametrize(("lead", "every"), [("", 1), ("x=1;coproc a;", 4)])
def test_hostile_text_of_16_kib_costs_bounded_work(lead: str, every: int) -> None:
    def filled(piece: str) -> str:
        room = (MAX_BYTES - len(lead)) // len(piece.encode())
        return lead + piece * room

    costs = {piece: calls_of(filled(piece)) for piece in HOSTILE[::every]}
    assert max(costs.values()) < 45_000, max(costs, key=lambda piece: costs[piece])


def test_the_work_of_reading_is_counted() -> None:
    grammar = Grammar("a b $(c d) 'e'")
    grammar.script()
    assert 0 < grammar.work < MAX_WORK
