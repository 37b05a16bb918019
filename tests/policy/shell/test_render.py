"""What is rendered is what was read, and nothing in it can be anything else to bash."""

import pytest

import policy.shell.tree as t
from policy.shell.reader import read
from policy.shell.render import anchored, render


def tree_of(text: str) -> t.CommandTree:
    tree = read(text)
    assert not isinstance(tree, t.Opaque), (text, tree)
    return tree


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("a | b |& c && d || e", "'a' | 'b' 2>&1 | 'c' && 'd' || 'e'"),
        ("a > x b", "'a' 'b' > 'x'"),
        ("a &>>z", "'a' &>> 'z'"),
        ("a >& z", "'a' &> 'z'"),
        ("a <&- 2>&1- 3<>x", "'a' <&- 2>&1- 3<> 'x'"),
        ("{ a; } |& b", "{ 'a'; } 2>&1 | 'b'"),
        ("cat <<-E | b\n\ti\n\tE", "'cat' <<< 'i' | 'b'"),
        ("cat <<E\n\\$x $x\nE", "'cat' <<< '$x '\"${x}\""),
        ("cat <<E\n$x\nE", "'cat' <<< \"${x}\""),
        ("cat <<E\nE", "'cat' < '/dev/null'"),
        ("cat <<'A' <<\"B\"; c\n1\nA\n2\nB\nd", "'cat' <<< '1' <<< '2'; 'c'; 'd'"),
        ("a\\\nb 'a'\\\n'b' \\\n\"\"", "'ab' 'ab' ''"),
        ("x=~:~/b make p=~/c ~ \\~ ~u/x", "x=~:~/'b' 'make' p=~/'c' ~ '~' ~u/'x'"),
        ("x=a:~ y=$z:~ a~ --o=~", "x='a':~ y=\"${z}\":~ 'a~' '--o=~'"),
        ("make p={a,b}:~ {~,c}/d", "'make' 'p=a:~' 'p=b:~' ~/'d' 'c/d'"),
        ("p=a:~ make p=a:~", "p='a':~ 'make' p='a':~"),
        ('f $x"" "$x"', "'f' ${x}'' \"${x}\""),
        ("echo $'\\xff\\t\\u00e9\\101\\\\'", "'echo' $'\\377\téA\\\\'"),
        ("echo $'\\xc3\\xa9' \"a\\b\\\"\" 'it'\\''s'", "'echo' 'é' 'a\\b\"' 'it'\\''s'"),
        ("echo {a,b{1..2}}$x {} {a}", "'echo' 'a'${x} 'b1'${x} 'b2'${x} '{}' '{a}'"),
        ("echo {01..3} {3..1..2} {a..c} {A..B}", None),
        ("echo {x..z..2} {e..a..-2}", "'echo' 'x' 'z' 'e' 'c' 'a'"),
        ("a=(b 'c d' [2]=$x); e \"${a[@]}\" ${#a[@]}", None),
        ("a=([0]=$x [1]='b c')", "a=(\"${x}\" 'b c')"),
        ("x=5; echo $((x + 1))", "x='5'; 'echo' $((x + 1))"),
        ("export x=$y", 'export x="${y}"'),
        ("declare -x a b=c > d e", "declare '-x' 'a' b='c' 'e' > 'd'"),
        ("x=<(a) b", "x=<( 'a' ) 'b'"),
        ("x=<a b", "x='' 'b' < 'a'"),
        ("x+=1 y=", "x+='1' y=''"),
        ("rm -rf {/,}", "'rm' '-rf' '/'"),
        ("time -p ! a", "time ! 'a'"),
        ("! a & b", "! 'a' & 'b'"),
        ("if a; then b & elif c; then d; else e; fi", None),
        ("for i; do a; done", "for i in \"${@}\"; do 'a'; done"),
        ("for i in a *; do b; done < x", "for i in 'a' *; do 'b'; done < 'x'"),
        ("for ((i=0; i<3; i++)); do a; done", "for ((i=0;i<3;i++)); do 'a'; done"),
        ("((i=0)); ((i+=2)) > x", "((i=0)); ((i+=2)) > 'x'"),
        ("until a; do b; done", "until 'a'; do 'b'; done"),
        ("case $x in (a|b*) c;; d) esac", "case \"${x}\" in ('a'|'b'*) 'c' ;; ('d') ;; esac"),
        ("function f { a; }; f () ( b )", "f () { 'a'; }; f () ( 'b' )"),
        ("f () { a; } > x", "f () { 'a'; } > 'x'"),
        ("[[ ! ( -n a && b ) || c < d ]]", "[[ ! ( -n 'a' && -n 'b' ) || 'c' < 'd' ]]"),
        ("[[ $x =~ ^[0-9]+$ && 1 -lt 2 ]]", '[[ "${x}" =~ ^[0-9]+$ && \'1\' -lt \'2\' ]]'),
        ("[[ $x == a* && -v y ]]", "[[ \"${x}\" == 'a'* && -v 'y' ]]"),
        ("echo `a $x` \"`b`\"", "'echo' $( 'a' ${x} ) \"$( 'b' )\""),
        ("echo ${x:-y} ${#x} ${x%.*} ${x/a/b} ${x^^} ${x:1:2}", None),
        ("echo $ a$ \"$\" [ a[ [a-z] [!a]", "'echo' '$' 'a$' '$' '[' 'a[' [a-z] [!a]"),
        ("a # b\n#c\n\n d;", "'a'; 'd'"),
        ("a >(b) <(c)", "'a' >( 'b' ) <( 'c' )"),
        ("a \"$(b \"c $(d)\")\"", "'a' \"$( 'b' 'c '\"$( 'd' )\" )\""),
    ],
)  # fmt: skip
def test_understood_text_has_this_canonical_form(text: str, canonical: str | None) -> None:
    tree = tree_of(text)
    shown = render(tree)
    assert canonical in (None, shown)
    assert read(shown) == tree


@pytest.mark.threat("T01")
def test_a_pattern_cannot_become_an_option_of_a_dangerous_program() -> None:
    tree = tree_of("tar cf x * [a-c]* ''?; ls *; x=$(tar -t *)")
    safe = anchored(tree, lambda program: program == "tar")
    shown = "'tar' 'cf' 'x' './'* [a-c]* './'?; 'ls' *; x=\"$( 'tar' '-t' './'* )\""
    assert render(safe) == shown
    assert read(shown) == safe


@pytest.mark.threat("T01")
def test_the_words_of_a_loop_are_anchored_when_its_body_could_take_them_as_options() -> None:
    tree = tree_of('for f in * ""a; do tar x "$f"; done; for f in *; do ls $f; done')
    safe = anchored(tree, lambda program: program == "tar")
    first = "for f in './'* 'a'; do 'tar' 'x' \"${f}\"; done"
    assert render(safe) == f"{first}; for f in *; do 'ls' ${{f}}; done"


def test_a_tree_without_patterns_stays_as_it_is_when_anchored() -> None:
    tree = tree_of("a -x; (b; c ''$x)")
    assert anchored(tree, lambda program: True) == tree
