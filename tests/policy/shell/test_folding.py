"""A constant is put in its place only where bash is sure to find it there."""

import itertools
import subprocess

import pytest

import policy.shell.tree as t
from policy.shell import render
from policy.shell.folding import folded
from policy.shell.reader import read
from tests.policy.shell.commands import Found, commands

KNOWN = {"HOME": "/home/u", "PWD": "/w", "USER": "u"}


def found_in_tree(text: str) -> list[Found]:
    tree = read(text)
    assert not isinstance(tree, t.Opaque), (text, tree)
    return commands(tree, KNOWN)


def last_argv(text: str) -> tuple[str | None, ...]:
    return found_in_tree(text)[-1].argv


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("x=/; rm -rf $x", ("rm", "-rf", "/")),
        ('x=/; rm -rf "$x"y', ("rm", "-rf", "/y")),
        ("x=/tmp && rm $x/a", ("rm", "/tmp/a")),
        ("x='rm -rf'; $x /", ("rm", "-rf", "/")),
        ("x=' a  b '; c y$x", ("c", "y", "a", "b")),
        ("x=; c $x d", ("c", "d")),
        ("x=' a '; c $x", ("c", "a")),
        ("x=; c \"$x\" d", ("c", "", "d")),
        ("x=a; y=$x/b; c $y", ("c", "a/b")),
        ("export x=a y=b; c $x$y", ("c", "ab")),
        ("declare -rx x=a; c $x", ("c", "a")),
        ("x=a; for i in b; do (c $x); done", ("c", "a")),
        ("x=a; c \"$(d $x)\"", ("d", "a")),
        ("x=a; f() { c $x; }", ("c", "a")),
        ("c $HOME \"$PWD/x\" ${USER}", ("c", "/home/u", "/w/x", "u")),
        ("cd x; c $HOME", ("c", "/home/u")),
        ("x=a c; d $y", ("d", None)),
        ("c a", ("c", "a")),
        ('x=(rm -rf /); "${x[@]}"', ("rm", "-rf", "/")),
        ("x=([0]=a [1]='b c'); d ${x[1]} \"${x[*]}\" ${#x[@]} $x", ("d", "b", "c", "a b c", "2",
        "a")),
        ('x=(a b); c "l${x[@]}r" "${x[1]}"', ("c", "la", "br", "b")),
        ('x=(); c "${x[@]}" ${x[@]} l"${x[@]}"', ("c", "l")),
        ("x=('' a); c ${x[@]} \"${x[@]}\"", ("c", "a", "", "a")),
        ("declare -a x=(~ $HOME); c ${x[@]}", ("c", "/home/u", "/home/u")),
        ("y='a b'; x=($y c); d ${x[1]} ${#x[@]}", ("d", "b", "3")),
        ("x=a; c $x; x=b; c $x", ("c", "b")),
        ("x=r; x+=m; y=-rf; $x $y /", ("rm", "-rf", "/")),
        ("c $x; x=a; c $x$x; x=b; c $x", ("c", "b")),
        ("x=a; x=$x/b; c $x", ("c", "a/b")),
        ("x=a; (c $x) & x=b; (d $x)", ("d", "b")),
        ("x=a; x=b; f() { d $y; }; c $x", ("c", "b")),
        ("x=~; c $x", ("c", "/home/u")),
        ("export x=~/a:b; c $x", ("c", "/home/u/a:b")),
        ("c ${HOME%/*} \"${HOME##*/}\" ${PWD:0:1} ${#HOME}", ("c", "/home", "u", "/", "7")),
        ("read x <<< rm; $x -rf /", ("rm", "-rf", "/")),
        ("read -r x y z <<< ' a  b c  d '; c $x $y \"$z\"", ("c", "a", "b", "c  d")),
        ("y='a b'; read x <<< \"$y\" && c $x", ("c", "a", "b")),
        ("read x y <<< $'a\\nb'; c $x \"$y\"", ("c", "a", "")),
        ("printf -v x '%s' 'a b'; c \"$x\"", ("c", "a b")),
    ],
)  # fmt: skip
def test_a_provable_constant_is_known(text: str, argv: tuple[str | None, ...]) -> None:
    assert last_argv(text) == argv


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "c $x", "x=$y; c $x", "x=a; x=$y; c $x", "x=$y; x+=b; c $x",
        "x=a; x=b; f() { c $x; }", "x=a; x=b y=$x; c $y", "x=a; x=b || c $x; c $x",
        "x+=a; c $x",
        "x=a; if b; then x=c; fi; c $x", "x=a; x=b & c $x", "readonly x=a; x=b; c $x",
        "x=(a b); x=d; c $x",
        "x=a; (x=b; c $x); c $x", "x=a; export x=b; c $x", "x=a; x=(b); c $x",
        "x=a | b; c $x", "(x=a); c $x", "x=a & c $x", "if a; then x=a; fi; c $x", "a && x=b; c $x",
        "while a; do x=a; done; c $x", "f() { x=a; }; f; c $x", "! x=a; c $x", "x=a; read x; c $x",
        "for x in a; do b; done; c $x", "x=a; unset x; c $x", "x=a; printf -v x b; c $x",
        "x=a; source ./y; c $x", "x=a; $y b; c $x", "x=a; getopts o x; c $x", "x=1; ((x=2)); c $x",
        "x=1; ((x++)); c $x", "x=1; echo $((--x)); c $x",
        "x=1; for ((x=0;x<1;x++)); do b; done; c $x", "x=a; mapfile x < f; c $x", "x=a b; c $x",
        "x=a; export -p x; c $x", "export -p x=a; c $x", "declare -f x=a; c $x", "local x=a; c $x",
        "x=a < /nowhere; c $x", "x=a; declare x; c $x", "IFS=/; x=a/b; c $x",
        "read IFS; x=a/b; c $x", "x='*'; c $x", "x='a?'; c $x", "x=a; x=b d; c $x",
        "x=a; command read x; c $x", "x=a; wait -n $!; y=read; $y x; c $x",
        "x=a; y=eval; $y b; c $x", "IFS=a; c $IFS", "x=a; . ./y; c $x", "HOME=/x; c $HOME",
        "cd x; c $PWD", "pushd x; c $PWD", "command cd x; c $PWD", "PWD=x; c $PWD", "c $OLDPWD",
        "LINES=3; c $LINES", "c $1", "c $?", "c ${y:-b}",
    ],
)  # fmt: skip
def test_any_other_variable_stays_dynamic(text: str) -> None:
    assert last_argv(text) == ("c", None)


@pytest.mark.threat("T03")
@pytest.mark.parametrize(
    "text",
    [
        "IFS=a read x <<< bab; c $x", "IFS=a; read x <<< bab; c $x", "read x <<< 'a\\ b'; c $x",
        "x=(a); x+=(b); c ${x[0]}", "x=(*); c ${x[0]}", "x=('*'); c ${x[@]}",
        "x=(a); IFS=,; c ${x[@]}",
        "x=(a b); c ${x[2]}", "x=(a); y=\"${x[@]}\"; c $z", "export -a x=(a); c $x", "x=(); c $x",
        "mapfile -t x < f; c \"${x[@]}\"", "x=(a); IFS=,; c \"${x[*]}\"", "c ${#x[@]}",
        "read x < f; c $x", "a | read x <<< b; c $x", "read x <<< $y; c $x", "(read x <<< a); c $x",
        "read -d a x <<< bac; c $x", "read x <<< a; read x <<< b; c $x", "read x 3<<< a; c $x",
        "read x <<< a <<< b; c $x", "if read x <<< a; then c $x; fi", "x=a; read x <<< b; c $x",
        "printf -v x '%d' 1; c $x", "x=é; c ${#x}", "x='a*'; c ${x%b}", "x=~nobody; c $x",
        "x=ab; c ${x/a*/b}", "c ${HOME#*u}",
        f"x={'a' * 300}; c ${{x%b}}", "x=a; c ${x%*b*c*d*}", "HOME=/x; y=~; c $y", "x=; c ${x:?}",
    ],
)  # fmt: skip
def test_a_value_that_is_not_certain_stays_dynamic(text: str) -> None:
    assert last_argv(text)[-1] is None


CUT = ["a.b.c", "dir/a.txt", "aaa", "", "/", "a/b//c", "x=y=z", "-n", "A.b"]
OPERATORS = [
    ":-d", "-d", ":+d", "+d", "%.*", "%%.*", "#*.", "##*.", "%/*", "##*/", "%a", "#a", "%%a*a",
    "##a*a", "#?", "%?", "%%*", "#*", "/a/b", "//a/b", "//a", "/./_", "/b", "^", "^^", ",", ",,",
    ":0:1", ":1", ":2:2", ":9", ":0",
]  # fmt: skip


def test_operators_on_known_values_give_what_bash_gives() -> None:
    script, expected = list[str](), list[str]()
    for value, operator in itertools.product(CUT, OPERATORS):
        found = last_argv(f'x={render.quote(value)}; c "${{x{operator}}}"')[-1]
        assert found is not None, (value, operator)
        script.append(f"x={render.quote(value)}; printf '%s\\0' \"${{x{operator}}}\"")
        expected.append(found)
    done = subprocess.run(
        ["bash", "--norc", "--noprofile"], input="\n".join(script), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\0")[:-1] == expected


@pytest.mark.threat("T03")
@pytest.mark.parametrize("builtin", ["printf", "read", "eval", "command printf", "[", "declare"])
def test_a_builtin_named_by_a_constant_stays_dynamic(builtin: str) -> None:
    assert last_argv(f"b='{builtin}'; $b -v 'a[$(id)]'") == (None, "-v", "a[$(id)]")


def test_every_place_of_a_word_is_folded_or_kept() -> None:
    text = "x='a b'; y=$x c < $x <<< $x; export z=$x w; case $x in $x) d;; esac; [[ $x == $x ]]"
    first, second, exported, inner = found_in_tree(text)
    assert first.assignments[0].value.literal == "a b"
    assert [one.value.literal for one in second.assignments] == ["a b"]
    assert [one.target.literal for one in second.redirects] == [None, "a b"]
    assert (exported.argv, exported.assignments[0].value.literal) == (("export", "w"), "a b")
    assert inner.argv == ("d",)


def test_the_words_of_a_loop_split_as_bash_splits_them() -> None:
    tree = read("x='a b'; for i in $x; do c; done")
    assert isinstance(tree, t.Sequence)
    loop = folded(tree).statements[1]
    assert isinstance(loop, t.For)
    assert [word.literal for word in loop.words] == ["a", "b"]


def test_a_tree_with_nothing_to_fold_is_returned_as_it_is() -> None:
    for text in ("a b", "x=1; a b", "x=$y; a $z", "a $HOME $x"):
        tree = read(text)
        assert isinstance(tree, t.Sequence)
        assert folded(tree) is tree or text.startswith("x")


def test_commands_come_in_source_order_with_those_in_substitutions() -> None:
    text = 'a "$(b `c`)" <(d) && e | f || { g; } ; [[ -n $(h) ]]; i <<< $(j); (k) > "$(l)"'
    assert [one.argv[0] for one in found_in_tree(text)] == list("abcdefghijkl")
