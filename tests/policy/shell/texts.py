"""Random shell texts of our own making, the same for the same seed; safe to run where only
recorders can start: no endless loops, and no job outlives its text.
"""

import random

WORDS = (
    "a", "b1", "'q  q'", '"d $x"', "$x", '"$x"', "${y}", "$y$x", '""', "$x''", "''$y", "*", "*.txt",
    "src/*", "[ab].txt", "?.txt", "'*'", "\\*", "~", "~/b", "'~'", "~root/x", "{a,b}", "{1..3}x",
    "{}", "{a}", "x{,y}z", "{a,b}{c,$x}", "$(p1 $x)", '"$(p2 "$x" *)"', "`p3 a`", "$(p1; p2)",
    "$((1+2*3))", "$((n+1))", "${x:-dflt}", "${u:-dflt}", "${u-}", "${x:+alt}", "${p%.*}",
    "${p##*/}", "${#x}", "${x^^}", "${p/a/b}", "${x:1:2}", "a\\ b", "a\\\nb", "a$",
    "$'t\\tt\\x41\\u00e9'", "x=~/b", "x=~:~", "x='a':~", "--o=~/b", "a#b", "é", "!", "=", "a=b",
    "if", '"a\nb"', '"a\\\nb"', '"\\$x \\a"', "[", "]", "a[0]", "[!a]*", "*[a-b].txt", '"$@"', "$#",
    "$?", '"${x}"y', "'a'\"b\"c", "\\~", "a~", "^", "@", "a,b", "-n", "--", "1", "$u", '"$u"',
    "$u''", "\\{a,b\\}", "{~,~root}", "{'a,b',c}", '{"$x",$x}', "{01..3}", "{c..a}", "v={a,b}:~",
    "${HOME%/*}", "${p:0:3}", "${x//a}", "${y^}${y,,}", '"${p#*/}$y"', "$(p1 <<< $x)", "<(p1 a)",
    "\"$(c1 'a b' | p2)\"", "${u:+alt}", "${#p}", "$((n*2))", "''", "'a\"b'", "{a,b,}", "{x..z..2}",
    "$'\\u20ac'", "\\\"", "a=~", "=~/b",
)  # fmt: skip
PROGRAMS = (
    "c0", "c1", "c2", "c3", "echo", "printf '%s|'", "'c4'", "\\c5", 'c"6"', "command c7", "c8 -x",
    "A=1 c9", "A=$x MARKER=$y cA", "$pr", ":", "true", "false", "MARKER=~/m cB", "/bin/cC",
    "MARKER='a b'$x cC",
)  # fmt: skip
REDIRECTS = (
    "", "", "", "", "", " > o", " < f", " 2>&1", " >> o", " <<< $x", ' <<< "a $y"', " > o 2>&1",
    " &> o", " 2> e", " < <(p1 $x)", " > out/$x", ' > "$y"', " <<< 'it'\\''s'", " >&2", " >| o",
    " <<< *", " <<< ~", " 2>/dev/null", " >& o",
)  # fmt: skip
JOINS = (" && ", " || ", "; ", "\n", " ;\n", " # c ' \"\n", " &&\n")
SETUP = "x='a  b'; y=c; p=dir/a.txt; pr='c1 z'; n=4; "
FORMS = (
    "( {body} )", "({body})", "{{ {body}; }}", "{{ {body}\n}}",
    "if {one}; then {body}; else {other}; fi",
    "if {one}\nthen {body}\nelif {two}; then {other}; fi",
    'for i in {w} {v}; do {body}; c1 "$i" $i; done', "for i in {w}\ndo\n{body}\ndone",
    'while read -r l; do c2 "$l" $l; {body}; done < f',
    "case {w} in {v}) {body};; a|b*) {other};; *) c3;; esac", "case $x in (*' '*) {body};; esac",
    "[[ {w} == {v} ]] && {one}", "[[ -n {w} || ! $x == a* ]] && {one}", "[[ $x < {w} ]]",
    "[[ $y =~ ^[a-d]+$ ]] && {one}", "[ -f {w} ] || {one}", "g() {{ {one}; }}; g {w} {v}",
    "c1 <<E\n{w} $x \\$x `p1 a`\nE", "c1 <<'E' | c2\n{w} $x\nE", "c1 <<-E {v}\n\tplain\n\tE",
    "for ((n=0;n<2;n++)); do {one}; c1 $n; done", 'read -r v w <<< {w}; c1 "$v" $w',
    'export v={w}; c1 "$v"', 'v={w}; c2 $v "$v"', "printf -v v '%s' {v}; c1 \"$v\"",
    'set -- {w} {v}; c1 "$@" $# $1 "$2"', "((n+=2)) && c1 $n", 'v={w} w=$v; c1 "$w"',
    "IFS=: read -r v w <<< 'a:b c'; c1 \"$v\" \"$w\"", "c1 <<A <<B\n1\nA\n2\nB",
    "a=({w} {v} 'l m'); c1 \"${{a[@]}}\" ${{a[0]}} ${{#a[@]}}",
    "declare -a a=({w}); c2 ${{a[@]}} $a",
    "a=([0]={w} [1]=x); for i in \"${{a[@]}}\"; do {one}; c1 $i; done", "a=({v}); c1 \"${{a[*]}}\"",
    "a=({v}); a+=({w} z); c1 \"x${{a[@]}}y\"", "read -r v <<< 'l m'; $v {w}; c1 $v",
    "read v w <<< \"$x b\"; c1 $v \"$w\"", "printf -v v %s 'c1 k'; $v {w}", "v=~/a; c1 $v {w}",
    "until {one}; do {body}; break; done", "if ! {one}; then {body}; fi", "{{ {body}; }} > o 2>&1",
    "while read -r l; do {one}; done < <(p1 {w})", "( {body} ) | c2", "{{ {body}; }} | c3 {w}",
    "[ \"$x\" = a ] || [ ! -e {w} ] && {one}", "[[ ! ( -z $y && -n $x ) ]] || {one}",
    "time -p {one}", "g() ( {one} ); g {w} | c1", "g() {{ local v={w}; c1 $v \"$1\"; }}; g {v}",
    "mapfile -t a < f; c1 \"${{a[@]}}\" ${{#a[@]}}", "v={w}; c1 ${{v:-d}} \"${{v%t}}\" ${{v/a/b}}",
    "[ $n -gt 2 ] && {one}", "[ -n \"$x\" -a ! -e o ] || {one}", "for _ in {w}; do {one}; done",
    "v={w}; c1 $v; v={v}; c1 $v", "v=a; v+={w}; c1 $v \"$v\"", "v={w}; h() {{ c1 $v; }}; v=b; h",
    "v={w}; (v=c; c1 $v); c2 $v", "v=a; true && v={w}; c1 $v", "v={w} w=b; w=$v; c1 $w",
    "unset x; c1 $x {w}", "exec > o; {body}", "cd src && c1 *", "( cd src; c1 * ); c2 *",
)  # fmt: skip


class Texts:
    """A source of texts."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self) -> str:
        """Return one whole command line; a job in its background is waited for."""
        job = f"{self.simple()} &\n" if self.rng.random() < 0.1 else ""
        return SETUP + job + self.listing(2) + ("\nwait" if job else "")

    def simple(self) -> str:
        rng = self.rng
        words = [rng.choice(WORDS) for _ in range(rng.randrange(4))]
        redirect, program = rng.choice(REDIRECTS), rng.choice(PROGRAMS)
        if redirect and rng.random() < 0.2:
            return " ".join([program, *words[:1]]) + redirect + " " + " ".join(words[1:])
        return " ".join([program, *words]) + redirect

    def pipeline(self, depth: int) -> str:
        rng = self.rng
        lead = rng.choice(("", "", "", "", "", "! ", "time "))
        items = [self.command(depth) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        return lead + rng.choice((" | ", "|", " |& ", " |\n")).join(items)

    def listing(self, depth: int) -> str:
        text = self.pipeline(depth)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            text += self.rng.choice(JOINS) + self.pipeline(depth)
        return text

    def command(self, depth: int) -> str:
        rng = self.rng
        if not depth or rng.random() < 0.6:
            return self.simple()
        return rng.choice(FORMS).format(
            body=self.listing(depth - 1), other=self.listing(depth - 1), one=self.simple(),
            two=self.simple(), w=rng.choice(WORDS), v=rng.choice(WORDS),
        )  # fmt: skip
