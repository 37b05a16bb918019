"""Construct by construct: what the reader understands, and why it leaves the rest to a human."""

import pytest

import policy.shell.tree as t
from policy.shell.reader import read
from policy.shell.render import render

UNDERSTOOD = {
    "a pipeline": "a | b |\n c",
    "a pipeline of both streams": "a |& b",
    "a list": "a && b || c; d & ! e",
    "a subshell": "(a; b)",
    "a group": "{ a; b; }",
    "if": "if a; then b; elif c; then d; else e; fi",
    "for": "for i in a *; do b; done; for j; do c; done",
    "arithmetic for": "for ((i=0; i<3; i++)); do a; done",
    "while and until": "while a; do b; done; until c; do d; done",
    "case": "case $x in (a|b*) c;; *) d; esac",
    "a function": "f() { a; }; function g { b; }; f x; g() (c)",
    "a comment": "a # b 'c\nd",
    "a redirection in any position": "> x a < y b 2>> z",
    "both streams to a file": "a &> x; b &>> y; c >& z",
    "a duplicated descriptor": "a 2>&1 3<&- >&2-",
    "reading and writing": "a <> x >| y",
    "a here-string": "a <<< 'b'",
    "a here-document": "a <<E\n$b `c`\nE",
    "a quoted here-document": "a <<'E'\n$b `c`\nE",
    "an indented here-document": "a <<-E | b\n\tc\n\tE",
    "a here-document inside a substitution": "a \"$(b <<'E'\n)\nE\n)\"",
    "quotes": "a 'b' \"c $d\" \\e $'\\x41\\n'",
    "patterns": "a * ? [a-z] [!b]*.c",
    "braces": "a {b,c{1..3}} {01..10} {a..e} {}",
    "256 words of braces": "a {0..255}",
    "a tilde": "a ~ ~/x ~root/y x=~:~",
    "a substitution": 'a $(b) "$(c "$(d)")"',
    "backquotes": 'a `b c` "`d`"',
    "a process substitution": "a <(b) >(c)",
    "defaults": "a ${x:-y} ${x-} ${x:+z} ${x:?}",
    "cuts": "a ${x%.*} ${x%%.*} ${x#a} ${x##*/}",
    "replacement, case, length and slice": "a ${x/b/c} ${x//b} ${x^} ${x,,} ${#x} ${x:1:2}",
    "special parameters": 'a $1 ${10} "$@" $# $? $! $$',
    "[[ ]]": "[[ -f a && ( $b == c* || ! $d < e ) && $f =~ ^[0-9]+$ && $# -gt 1 ]]",
    "[ and test": '[ -f a ] && [ ! -d b ] && [ "$c" = d ] && test "$e" -ge 1 && [ x ]',
    "tests joined by -a and -o": "[ -z \"$a\" -o ! -f b ] || test -r c -a -s d -a \"$e\" = f",
    "a counted loop": "n=3; while [ $n -gt 0 ]; do a; n=$((n - 1)); done; for _ in 1 2; do b; done",
    "a read that forgets": "while IFS=, read -r a _; do b; done < c",
    "arithmetic over integers": "x=5; y=$((x * 2)) z=$((RANDOM % 6)); ((x++)); ((x > y))",
    "numbers that programs print": (
        "n=$(grep -c a b) m=$(a | wc -l); echo $(($(date +%s) - n * $(stat -c %Y c))) $((m))"
    ),
    "groups, choices and escapes in a regular expression": (
        "[[ $a =~ ^(v|ve(r)?)[[:space:]]*[0-9]{1,3}\\.x$ || $b =~ (^|/)c ]] && d ${BASH_REMATCH[1]}"
    ),
    "time": "time a | b; time -p c",
    "an array of words": "a=(b 'c d' *.e $(f)); a=([0]=x [1]=y) b=(); c+=(z); declare -a d=(e)",
    "elements of an array": 'a "${b[@]}" ${b[0]} ${#b[@]} "${b[*]}" $b',
    "a declaration": "export a=b c; declare -x d=$e; readonly f=1; typeset g",
    "a plain variable read": "read -r -p '? ' x y <<< 'a b'",
    "harmless options of the shell": "set -euo pipefail; shopt -s nullglob",
    "a line continuation": "a b\\\nc \\\n d",
}  # fmt: skip


@pytest.mark.parametrize("construct", UNDERSTOOD)
def test_this_construct_is_understood(construct: str) -> None:
    tree = read(UNDERSTOOD[construct])
    assert isinstance(tree, t.Sequence), tree
    assert read(render(tree)) == tree


RUNS = "runs text or code in this shell"
OPAQUE = {
    "a; eval b": (RUNS, 3),
    "trap a EXIT": (RUNS, 0),
    "let x=1": (RUNS, 0),
    "bind x": (RUNS, 0),
    "fc": (RUNS, 0),
    "compgen -W x": (RUNS, 0),
    "complete -C a b": (RUNS, 0),
    "enable -f a b": (RUNS, 0),
    "a | coproc b": ("reserved word coproc", 4),
    "alias a=b": ("changes aliases", 0),
    "mapfile -C a -c 1 b": ("options of mapfile", 0),
    "source $x": ("computed file for source", 0),
    ". /dev/stdin": ("computed file for source", 0),
    "a; source ../proc/self/fd/0": ("computed file for source", 3),
    "read 'x[1]'": ("computed variable name", 0),
    "a && printf -v $x b": ("computed variable name", 5),
    "unset 'x[1]'": ("computed variable name", 0),
    "declare -i x=1": ("computed variable name", 0),
    "declare -n x=y": ("computed variable name", 0),
    "export $x": ("computed variable name", 0),
    "[[ a =~ $x ]]": ("regular expression match", 8),
    "a @(b|c)": ("extended pattern, array or stray parenthesis", 3),
    "shopt -s extglob": ("options of shopt", 0),
    "select x in a; do b; done": ("reserved word select", 0),
    "case a in b) c;& d) e;; esac": ("unexpected token", 14),
    "case a in b) c;;& d) e;; esac": ("case item that falls through", 14),
    "a ${x:=y}": ("parameter expansion", 2),
    "a ${!x}": ("parameter expansion", 2),
    "a ${x@P}": ("parameter expansion", 2),
    'a $"b"': ("translated string", 2),
    "a `b \\`c\\``": ("quoting inside backquotes", 2),
    "a <<-E\n\t$b\n\tE": ("expansion in a <<- here-document", 5),
    "a=([2]=x)": ("array subscript", 3),
    "a; b=(c) d": ("array before a command", 3),
    "a ${b[$c]}": ("parameter expansion", 2),
    "a {b..C}": ("brace range", None),
    "a {0..256}": ("brace expansion too large", None),
    "echo '\u202ea'": ("character that misleads who reads it", 6),
    "echo $((x))": ("x is used as a number", 0),
    "echo $((1)2))": ("arithmetic", 8),
    "echo $(($(cat x)))": ("$( is used as a number", 0),
    "(($(date +%s) > 1))": ("arithmetic", 2),
    "[[ $(a; b) -eq 0 ]]": ("computed number in [[ ]]", 0),
    "[[ $(wc -l > a) -eq 0 ]]": ("computed number in [[ ]]", 0),
    "[[ $(LC_ALL=x wc -l < a) -eq 0 ]]": ("computed number in [[ ]]", 0),
    '[[ $(wc -l"$x" < a) -eq 0 ]]': ("computed number in [[ ]]", 0),
    "[[ $(grep -rc a b) -eq 0 ]]": ("computed number in [[ ]]", 0),
    "wc() { a; }; [[ $(wc -l < a) -eq 0 ]]": ("wc is used as a number", 0),
    "[[ $x -eq 0 ]]": ("x is used as a number", 0),
    "[ $x = a ]": ("x is used as a number", 0),
    "[ $x$y = a ]": ("unquoted dynamic word in test", 0),
    '[ "$a" "$b" ]': ("form of test", 0),
    "RANDOM=1 a": ("assigns RANDOM", 0),
    "PS4=a; b": ("assigns PS4", 0),
    "set -o posix": ("options of set", 0),
    "wait -n -p x": ("options of a builtin", 0),
    "hash -p a b": ("options of a builtin", 0),
    "history -p a": ("options of history", 0),
    "printf '-v' 'a[1]' b": ("computed variable name", 0),
    "command eval a": (RUNS, 0),
    "a 'b": ("unterminated quote", 2),
    "a &&": ("a command was expected", 4),
    "a\u200b": ("space or invisible character outside quotes", 1),
}  # fmt: skip


@pytest.mark.threat("T03")
@pytest.mark.parametrize("text", OPAQUE)
def test_this_use_is_opaque_for_this_reason_at_this_byte(text: str) -> None:
    reason, byte = OPAQUE[text]
    tree = read(text)
    assert isinstance(tree, t.Opaque)
    assert tree.reason == reason
    assert byte in (None, tree.byte)
