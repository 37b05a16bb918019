"""Program text inside arguments: what the scanners see, and that they own up to the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.programs.awk import awk
from policy.programs.findings import Runs, Touches, Unknown
from policy.programs.scripts import (
    SCANNERS,
    bang,
    code,
    jq,
    mount,
    paths,
    perl,
    setting,
    socat,
    upload,
)
from policy.programs.sed import sed
from policy.programs.sql import sql

AWK = {
    "printing": ("{print $1}", []),
    "a comparison": ("$1 > 5 && $2 < 3 {print ($1 > 2)}", []),
    "a pipe in a string": ('{print "a|b > c"}', []),
    "a division": ("{print 4 / 2 / 1}", []),
    "a regular expression": ('/a|b > "c"/ {print}', []),
    "a bracket in one": ("$0 ~ /[]|]/ {print}", []),
    "a slash in a bracket": ("/[/|]/ {print}", [Unknown("awk text that does not parse")]),
    "a comment": ('{print} # system("x")\n', []),
    "a command": ('BEGIN {system("ls a")}', [Runs("ls a")]),
    "a computed command": ("{system($1)}", [Unknown("awk system")]),
    "a joined command": ('{system("ls " $1)}', [Unknown("awk system")]),
    "a pipe to a command": ('{print | "sort"}', [Runs("sort")]),
    "a pipe to a computed command": ('{print | "sort" x}', [Unknown("awk pipe")]),
    "a pipe from a command": ('{"date" | getline d}', [Runs("date")]),
    "a pipe from a joined command": ('{"date " x | getline d}', [Unknown("awk pipe")]),
    "the second half of a joined command": ('{x "date" | getline d}', [Unknown("awk pipe")]),
    "a written file": ('{print > "out"}', [Touches("fs.write", "out")]),
    "an appended file": ('{printf("%s", $1) >> "o\\tut"}', [Touches("fs.write", "o\tut")]),
    "a computed file": ("{print > $1}", [Unknown("awk opens a file whose name is computed")]),
    "a joined file": ('{print > "a" $1}', [Unknown("awk opens a file whose name is computed")]),
    "a file that is read": ('{getline x < "in"}', [Touches("fs.read", "in")]),
    "a computed file that is read": (
        "{getline < f}",
        [Unknown("awk opens a file whose name is computed")],
    ),
    "a field that is read into": ('{getline $1 < "in"}', [Touches("fs.read", "in")]),
    "the environment": ('BEGIN{print ENVIRON["A"]}', [Touches("credential.read", "<a variable>")]),
    "its own arguments": ('BEGIN{ARGV[1]="x"}', [Unknown("awk changes its arguments")]),
    "an extension": ('@load "x"', [Unknown("awk @load")]),
    "an indirect call": ("{@f(1)}", [Unknown("awk @f")]),
    "a computed call": ("{@ f(1)}", [Unknown("an awk function whose name is computed")]),
    "a socket": ('{print |& "/inet/h"}', [Runs("/inet/h"), Touches("net.connect", "/inet/h")]),
    "an unfinished expression": ("/a", [Unknown("awk text that does not parse")]),
    "an unfinished string": ('{print "a}', [Unknown("awk text that does not parse")]),
}  # fmt: skip


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("text", "expected"), AWK.values(), ids=AWK.keys())
def test_awk_text_reaches_what_its_tokens_say(text, expected):
    assert list(awk(text)) == expected


SED = {
    "substitution": ("s/a/b/g", []),
    "another delimiter": ("s|w a|e|2p", []),
    "a bracket with the delimiter": ("s/[a/]/b/", [Unknown("sed text that does not parse")]),
    "a bracket without it": ("s/[a|]b/c/", []),
    "an escape": (r"s/\/w x/b/", []),
    "translation": ("y/abc/wer/", []),
    "addresses": ("1~2d;$!N;/w x/,+3p;\\,a,I d;2,5!s/a/b/", []),
    "text": ("a\\\nw x\n$d", []),
    "text on one line": ("/x/i w y\nd", []),
    "labels": (":a;N;$!ba;q5", []),
    "blocks and comments": ("/a/{p;d} # w x\n", []),
    "a version": ("v 4.2", []),
    "a written file": ("w out", [Touches("fs.write", "out")]),
    "a written file in a flag": ("s/a/b/gw out", [Touches("fs.write", "out")]),
    "a file that is read": ("1r in\n$W o", [Touches("fs.read", "in"), Touches("fs.write", "o")]),
    "a command": ("1e ls a", [Runs("ls a")]),
    "a command that is input": ("e", [Unknown("sed e")]),
    "a command that is the result": ("s/a/b/ge", [Unknown("sed s///e")]),
    "too many addresses": ("1,2,p", []),
    "an unknown command": ("u", [Unknown("sed command 'u'")]),
    "an unfinished part": ("s/a/b", [Unknown("sed text that does not parse")]),
    "an impossible delimiter": ("s\\a\\b\\", [Unknown("sed text that does not parse")]),
    "nothing after s": ("s", [Unknown("sed text that does not parse")]),
}  # fmt: skip


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("text", "expected"), SED.values(), ids=SED.keys())
def test_sed_text_reaches_what_its_commands_say(text, expected):
    assert list(sed(text)) == expected


INLINE = Unknown("inline code")
CODE = {
    "arithmetic": ("print(1 + 1)", [INLINE]),
    "a file": ("print(open('/etc/x').read())", [INLINE, Touches("fs.read", "/etc/x")]),
    "a written file": ("open('~/x', 'w')", [INLINE, Touches("fs.write", "~/x")]),
    "a deleted tree": ('shutil.rmtree("/srv")', [INLINE, Touches("fs.delete", "/srv")]),
    "an address": ("get('https://h/x')", [INLINE, Touches("net.connect", "https://h/x")]),
    "code from an address": (
        "exec(get('https://h/x'))",
        [INLINE, Touches("net.connect", "https://h/x"), Touches("code.exec", "<network>")],
    ),
    "a command": ("os.system('rm -rf x')", [INLINE, Runs("rm -rf x")]),
    "a shell on a socket": (
        "s.connect(h); exec(sh)",
        [INLINE, Touches("code.exec", "<network>")],
    ),
    "a secret by its name": ("open('.env')", [INLINE, Touches("fs.read", ".env")]),
    "a key in a folder": ("read('config/a.key')", [INLINE, Touches("fs.read", "config/a.key")]),
    "a joined path": (
        'open("/etc/" + "hosts")',
        [INLINE, Touches("fs.read", "/etc/"), Touches("fs.read", "/etc/hosts")],
    ),
    "a joined command": ("system('rm' ' -rf x')", [INLINE, Runs("rm -rf x")]),
    "a ruby command": ("puts %x(ls a)", [INLINE, Runs("ls a")]),
    "a bomb": ("while 1: fork", [INLINE, Touches("resource.exhaust", "function fork in a loop")]),
}


@pytest.mark.threat("T03")
@pytest.mark.parametrize(("text", "expected"), CODE.values(), ids=CODE.keys())
def test_inline_code_is_never_understood_but_its_strings_show(text, expected):
    assert list(code(text)) == expected


SETTING = Unknown("a setting that runs a command")
OTHERS = {
    "a host": (socat, "TCP:h:1", [Touches("net.connect", "TCP:h:1")]),
    "a listener": (socat, "TCP-LISTEN:1,fork", [Touches("net.listen", "TCP-LISTEN:1,fork")]),
    "a program on a socket": (
        socat,
        "EXEC:'ls a',pty",
        [Touches("code.exec", "<network>"), Runs("ls a")],
    ),
    "a file": (socat, "FILE:/x,raw", [Touches("fs.read", "/x"), Touches("fs.write", "/x")]),
    "the terminal": (socat, "STDIO", []),
    "a filter": (jq, '.a | test("env")', []),
    "a variable": (jq, "$ENV.A", [Touches("credential.read", "<a variable>")]),
    "a variable in a string": (jq, '"\\(env.A)"', [Touches("credential.read", "<a variable>")]),
    "a loaded file": (
        jq,
        'load("x")',
        [Touches("fs.read", "x"), Unknown("a filter that loads files")],
    ),
    "a shell escape": (bang, "x !ls a", [Unknown("a shell command after !"), Runs("ls a")]),
    "a setting": (setting, "alias.x=!ls a", [SETTING, Runs("ls a")]),
    "an empty setting": (setting, "core.pager=", [SETTING]),
    "a field": (upload, "a=b c", []),
    "a field from a file": (upload, "a=@b;type=c", [Touches("fs.read", "b")]),
    "a field from files": (upload, 'a=<"b",c', [Touches("fs.read", "b"), Touches("fs.read", "c")]),
    "a volume": (mount, "data:/data", []),
    "a folder of the host": (
        mount,
        "/x:/y",
        [Touches("fs.write", "/x"), Touches("fs.delete", "/x")],
    ),
    "a folder to read": (
        mount,
        "type=bind,source=./x,target=/y,readonly",
        [Touches("fs.read", "./x")],
    ),
    "the daemon's socket": (
        mount,
        "/run/docker.sock:/s",
        [
            Touches("fs.write", "/run/docker.sock"),
            Touches("fs.delete", "/run/docker.sock"),
            Touches("privilege.escalate", "<the container daemon>"),
        ],
    ),
    "an encoded field": (upload, "a@/b", [Touches("fs.read", "/b")]),
    "a sum": (bang, "1 1 +", []),
    "commands": (
        paths,
        "get /etc/x y",
        [Unknown("commands of another program"), Touches("fs.read", "/etc/x")],
    ),
}


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("scan", "text", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_other_scanners_say_what_they_are_sure_of(scan, text, expected):
    assert list(scan(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        r"s/\bfoo\b/bar/g", "s|a|b|; s/c/d/i;", "tr/a-z/A-Z/", "print if /x/", 'print $F[0], "\n"',
        "print unless /^#/",
    ],
)  # fmt: skip
def test_perl_that_only_edits_says_nothing(text):
    assert list(perl(text)) == []


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "text",
    [
        "s/a/system(1)/e", "s/a/@{[`id`]}/", "s/(?{x})//", "s/a/`id`/", "print `id`", "s/a/b/gee",
        "system 'id'", "print if /x/; unlink", "s/a/b/" + "x" * 600, "tr/a/b/e", "print STDERR 1",
        "s/a/b/ or exec", 'print "@{[1]}"', "do 'x'",
    ],
)  # fmt: skip
def test_perl_that_may_do_more_is_inline_code(text):
    assert INLINE in list(perl(text))


DOT = Unknown("a database command")
FILES = Unknown("a statement that reaches files")
SQL = {
    "a query": ("select count(*) from t where a = 'drop' -- drop", []),
    "new rows": ("insert into t values (1); create table u (a)", []),
    "looking": (".tables\n.schema t\nselect 1;", []),
    "a dump to a pipe": (".print |x", [Unknown("a database command with a path")]),
    "lost rows": ("DELETE FROM t", [Touches("fs.delete", "<rows of a database>")]),
    "another file": ("attach '/x' as y", [FILES, Touches("fs.read", "/x")]),
    "a file as a table": ("select * from '/x.csv'", [FILES, Touches("fs.read", "/x.csv")]),
    "rows into a file": (
        "copy t to 'x.csv'",
        [FILES, Touches("fs.read", "x.csv"), Touches("fs.write", "x.csv")],
    ),
    "an extension": ("select load_extension('x')", [FILES]),
    "a script": (".read /x", [DOT, Touches("fs.read", "/x")]),
    "a script from a program": (".read |ls a", [DOT, Runs("ls a")]),
    "a written file": (".once 'o'", [DOT, Touches("fs.write", "o")]),
    "a shell": (".shell ls a", [DOT, Runs("ls a")]),
    "an abbreviated shell": (".sh ls a", [DOT]),
    "a client's shell": ("\\! ls a", [DOT, Runs("! ls a")]),
}


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("text", "expected"), SQL.values(), ids=SQL.keys())
def test_statements_say_what_leaves_the_database(text, expected):
    assert list(sql(text)) == expected


@given(
    st.sampled_from(sorted(SCANNERS)),
    st.text(alphabet="ab/\\\"'[]{}();|<>$@ewrs!:,\n1~+-", max_size=40),
)
def test_a_scanner_never_raises(language, text):
    assert isinstance(list(SCANNERS[language](text)), list)
