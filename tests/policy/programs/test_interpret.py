"""One argument vector to accesses, on a small language of its own; nothing packaged is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.model import Context
from policy.programs.index import Programs
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin
from policy.traversal import Traversal

CONTEXT = Context("/w", "/home/me", "me", "host")
SPECS = """
look: {args: fs.read..., options: {-v --verbose: flag, -n --number: text, --color: text?}}
list: {args: fs.list..., unknown: harmless}
copy:
  args: fs.read... fs.write
  options:
    -t --target: {takes: fs.write, as: into}
    -f: flag
  modes: {into: {args: fs.read...}}
pair: {args: fs.read? fs.write?, unknown: harmless}
zip:
  options:
    -x --extract: {as: extract}
    -c --create: {as: create}
    -d --describe: {as: describe}
    -f --file: text
    -v: flag
    -I: shell
    --rm: {does: fs.delete .}
  modes:
    extract: {args: text..., does: fs.write ., options: {-f --file: fs.read}}
    create: {args: fs.read..., options: {-f --file: fs.write}}
    describe: {args: fs.write...}
    create+describe: {args: fs.list...}
  commands:
    "x*": {args: text..., does: fs.write .}
tool:
  options: {-C: cd, -q: flag}
  commands:
    get: {args: fs.read...}
    set: {args: text fs.write, unknown: harmless}
    no-args: {}
    _: {does: sys.inspect}
    "s*": {args: text..., does: sys.control}
sub: {args: text, commands: {_: {does: sys.inspect}, "*": {args: text..., does: git.write}}}
names: {commands: {"*": {args: pkg.install...}}}
wrap: {args: command, options: {-u: text, -D: cd}}
lock: {args: text command, options: {-n: flag, -c: shell}}
each: {args: command, stdin: words, options: {-I: placeholder, -0: flag}}
seek:
  args: fs.list...
  options: {-name: text, -exec: command;, -delete: {does: fs.delete ., as: delete}}
  modes: {delete: {args: fs.delete...}}
sh:
  args: code.exec rest
  stdin: shell
  options: {-c: {as: text}}
  modes: {text: {args: shell rest}}
py:
  args: code.exec rest
  stdin: script:code
  options: {-m: command, -c: {takes: script:code, as: x}}
  modes: {x: {args: rest}}
ed: {args: script:sed fs.read...}
awk: {args: script:awk fs.read...}
jq: {args: script:jq fs.read...}
every: {args: shell...}
dd: {options: {if=: fs.read, of=: fs.write}}
mode: {args: mode fs.perm...}
net: {args: net.connect..., options: {-K: fs.read, -d: text}}
send: {args: fs.read|net.connect...}
run: {args: code.exec..., options: {--plugin: code.exec, -x: {takes: shell}}}
plus: {args: fs.read..., options: {+e: flag, +n: text}}
num: {args: fs.read..., options: {"-#": flag, --: flag}}
builds: {args: text..., does: code.exec ., unknown: harmless}
maybe: {args: text..., stdin: code.exec}
tests: {args: text..., does: code.exec ., options: {-c --config: code.exec}}
cc:
  args: fs.read...
  options:
    -D:
      values:
        "CC=* *LAUNCHER=*": {takes: text, does: code.exec <a compiler>}
        "OUT=*": {does: fs.write out}
        "*": text
    --color: {values: {"auto always never": text}}
    --take: {takes: fs.read, values: {"*.so": {does: code.exec <a plugin>}, "*": text}}
    --as: {values: {in: {as: in}, "*": text}}
  modes: {in: {args: fs.list...}}
three:
  args: command
  options: {--bind: fs.read fs.write, --as: {takes: text fs.read, as: x}, -q: flag}
  modes: {x: {args: fs.list..., options: {--as: fs.delete}}}
sends: {args: "net.connect?", does: [net.connect, sys.inspect]}
base: {args: "fs.read? script:sed...", stdin: script:sed}
words: {args: fs.read..., clusters: none, options: {-x: flag, -o: fs.write, -one: flag}}
finds: {args: text fs.read..., options: {--in: {takes: name, does: fs.read <what it finds>}}}
pack: {args: text..., stdin: fs.read}
swap: {args: change...}
runs: {args: text? module, options: {-m: module, -q: flag}}
opt: {args: fs.read..., options: {"--[no-]a": fs.read}}
make:
  args: fs.read?
  words: {"CC=* LD=*": {takes: text, does: code.exec <a compiler>}, "*=*": text}
  commands: {get: {args: text..., words: {"secret*": credential.read}}}
"""
PROGRAMS = Programs({"t.yaml": SPECS})


def run(*words, stdin=None, programs=PROGRAMS):
    arguments = [word if isinstance(word, Argument) else Argument.of(word) for word in words]
    walk = Traversal(programs, CONTEXT)
    accesses = walk.argv(arguments, Place("/w", CONTEXT), stdin or Stdin())
    return [f"{one.operation} {one.resource}" for one in accesses]


def words(text):
    return tuple(text.split())


KNOWN = {
    "values and operands": ("look -n 3 a b", ["fs.read /w/a", "fs.read /w/b"]),
    "an attached value": ("look -n3 a", ["fs.read /w/a"]),
    "a long value after =": ("look --number=3 a", ["fs.read /w/a"]),
    "a long value as a word": ("look --number 3 a", ["fs.read /w/a"]),
    "an abbreviated long option": ("look --num 3 a", ["fs.read /w/a"]),
    "a cluster": ("look -vn 3 a", ["fs.read /w/a"]),
    "an optional value is attached or absent": ("look --color a", ["fs.read /w/a"]),
    "words after --": ("look -- -n a", ["fs.read /w/-n", "fs.read /w/a"]),
    "a dash is standard input": ("look -", []),
    "an option of two words": (
        "three --bind a b look c",
        ["fs.read /w/a", "fs.write /w/b", "fs.read /w/c"],
    ),
    "an option of two words, one attached": (
        "three --bind=a b look c",
        ["fs.read /w/a", "fs.write /w/b", "fs.read /w/c"],
    ),
    "an option of two words in a mode": (
        "three --as a b c",
        ["fs.delete /w/a", "fs.read /w/b", "fs.list /w/c"],
    ),
    "a host that is named": ("sends h", ["sys.inspect sends", "net.connect h"]),
    "a host that is not named": (
        "sends",
        ["net.connect <a host that is not named>", "sys.inspect sends"],
    ),
    "letters that are no cluster": (
        "words -xo a",
        ["opaque option '-xo' of words is not described", "fs.read /w/a"],
    ),
    "a program without clusters": ("words -one -o a b", ["fs.write /w/a", "fs.read /w/b"]),
    "what is read and written": ("swap a", ["fs.read /w/a", "fs.write /w/a"]),
    "a flag that is switched": ("look -v=false --verbose=true a", ["fs.read /w/a"]),
    "a script with an entry of its own": ("py ./jq .a b", ["code.exec /w/jq", "fs.read /w/b"]),
    "a path elsewhere that a build is given": (
        "builds a /tmp/x/y opt=~/z,/tmp/b/c https://h/x /usr/a/b ../c /t:Build /w/a/b",
        [
            "code.exec /w",
            "code.exec /tmp/x/y",
            "code.exec /home/me/z",
            "code.exec /tmp/b/c",
            "code.exec /c",
        ],
    ),
    "a module of the project": ("runs -m a.b /c d", ["code.exec /w", "fs.read /c"]),
    "a module that is a program": ("runs -m look a", ["fs.read /w/a"]),
    "a script of the project": ("runs x @a/b", ["code.exec /w/@a/b"]),
    "a tool of the project": ("runs x lint a", ["code.exec /w"]),
    "no module": ("runs -m ./x", ["code.exec /w/x"]),
    "a flag that can be switched off": ("opt --no-a f --a x", ["fs.read /w/x", "fs.read /w/f"]),
    "the last word is the target": (
        "copy a b c",
        ["fs.read /w/a", "fs.read /w/b", "fs.write /w/c"],
    ),
    "an option names the target": ("copy -t d a", ["fs.write /w/d", "fs.read /w/a"]),
    "a mode gives an option its meaning": (
        "zip -x -f a b",
        ["fs.read /w/a", "fs.write /w"],
    ),
    "the other mode": ("zip -cf a b", ["fs.write /w/a", "fs.read /w/b"]),
    "several modes all apply": (
        "zip -xc b",
        ["fs.write /w", "fs.read /w/b"],
    ),
    "modes that mean something else together": ("zip -d -c b", ["fs.list /w/b"]),
    "a glob of sub-commands": ("zip xv a", ["fs.write /w"]),
    "a sub-command": ("tool get a", ["fs.read /w/a"]),
    "a directory before the sub-command": ("tool -C d get a", ["fs.read /w/d/a"]),
    "no sub-command": ("tool", ["sys.inspect tool"]),
    "a sub-command of any name": ("tool start x", ["sys.control tool"]),
    "a positional before the sub-command": ("sub a stop", ["git.write sub"]),
    "a positional and no sub-command": ("sub a", ["sys.inspect sub"]),
    "the name of the sub-command is a value": ("names pkg", ["pkg.install pkg"]),
    "a wrapper": ("wrap -u me look a", ["fs.read /w/a"]),
    "a wrapper in a directory": ("wrap -D /etc look a", ["fs.read /etc/a"]),
    "a wrapper after a positional": ("lock f look a", ["fs.read /w/a"]),
    "a wrapper with options after it": ("lock -n f look -n 3 a", ["fs.read /w/a"]),
    "wrappers nest": ("wrap wrap lock f look a", ["fs.read /w/a"]),
    "an assignment in a wrapper": (
        "wrap LD_PRELOAD=x look a",
        ["env.poison LD_PRELOAD", "fs.read /w/a"],
    ),
    "a harmless assignment in a wrapper": ("wrap FOO=x look a", ["fs.read /w/a"]),
    "a wrapper with --": ("wrap -- look a", ["fs.read /w/a"]),
    "a wrapper that is given shell text": ("lock f -c look", []),
    "one command per file": ("seek d -name x -exec look {} ;", ["fs.read /w/d/\0", "fs.list /w/d"]),
    "a command without the file": ("seek d -exec look ;", ["fs.read /w/d/\0", "fs.list /w/d"]),
    "a command for several starts": (
        "seek a b -exec look {} +",
        ["fs.read /w/a/\0", "fs.read /w/b/\0", "fs.list /w/a", "fs.list /w/b"],
    ),
    "a command for no start": ("seek -exec look {} ;", ["fs.read /w/\0"]),
    "deleting where it began": ("seek d -delete", ["fs.delete /w", "fs.delete /w/d"]),
    "an unfinished -exec": ("seek d -exec", ["fs.list /w/d"]),
    "a script": ("sh s.sh a", ["code.exec /w/s.sh"]),
    "a script and a path for it": ("sh s.sh a /etc/x", ["code.exec /w/s.sh", "fs.read /etc/x"]),
    "text and a path for it": ("sh -c look _ ~/x", ["fs.read /home/me/x"]),
    "a module is a program": ("py -m look a", ["fs.read /w/a"]),
    "text of the shell in several words": ("every look a", ["fs.read /w/a"]),
    "name=value words": ("dd if=a of=b", ["fs.read /w/a", "fs.write /w/b"]),
    "an operand": ("mode 644 a", ["fs.perm /w/a"]),
    "set-user-id": ("mode u+s a", ["privilege.escalate <set-user-id>", "fs.perm /w/a"]),
    "set-group-id": ("mode g+s a", ["privilege.escalate <set-group-id>", "fs.perm /w/a"]),
    "set-group-id in digits": (
        "mode 2755 a",
        ["privilege.escalate <set-group-id>", "fs.perm /w/a"],
    ),
    "both": ("mode u+s,g+s a", ["privilege.escalate <set-user-id>", "fs.perm /w/a"]),
    "set-user-id in digits": ("mode 4755 a", ["privilege.escalate <set-user-id>", "fs.perm /w/a"]),
    "writable for all": ("mode 777 a", ["privilege.escalate <world-writable>", "fs.perm /w/a"]),
    "a host": ("net example.org", ["net.connect example.org"]),
    "a file that is sent": ("net -d @a h", ["fs.read /w/a", "net.connect h"]),
    "a field that is sent": ("net -d x=@a h", ["fs.read /w/a", "net.connect h"]),
    "no file after @": ("net -d @- h", ["net.connect h"]),
    "a file as address": ("net file:///etc/a", ["fs.read /etc/a"]),
    "a file as short address": ("net file:/etc/a", ["fs.read /etc/a"]),
    "a path": ("send a", ["fs.read /w/a"]),
    "host:path": ("send h:a", ["net.connect h:a"]),
    "a scheme": ("send ftp://h/a", ["net.connect ftp://h/a"]),
    "a socket of bash": ("look /dev/tcp/h/1", ["net.connect /dev/tcp/h/1"]),
    "nothing is at /dev/null": ("look /dev/null", []),
    "an endless file": ("look /dev/zero", ["resource.exhaust an endless file"]),
    "arguments from a file": (
        "look @a",
        ["fs.read /w/a", "opaque arguments from the file a", "fs.read /w/@a"],
    ),
    "settings that run code, of a program that runs the project's": (
        "tests -c ./t.ini",
        ["code.exec /w/t.ini", "fs.read /w/t.ini", "code.exec /w"],
    ),
    "settings that may be a program": (
        "tests -c sh",
        ["code.exec <named by the option -c>", "fs.read /w/sh", "code.exec /w"],
    ),
    "an option by its value": ("cc -D CC=x a", ["code.exec <a compiler>", "fs.read /w/a"]),
    "an option by its second glob": ("cc -DX_LAUNCHER=x", ["code.exec <a compiler>"]),
    "an option by another value": ("cc -DOUT=1", ["fs.write /w/out"]),
    "an option by any other value": ("cc -DX=CC=1 --color=auto", []),
    "a value in another case": ("cc -DCc=x", []),
    "a value nobody described": (
        "cc --color=red",
        ["opaque <a value of --color that is not described>"],
    ),
    "a value and what it means besides": (
        "cc --take a.so",
        ["fs.read /w/a.so", "code.exec <a plugin>"],
    ),
    "a mode chosen by a value": ("cc --as in a", ["fs.list /w/a"]),
    "a mode not chosen by a value": ("cc --as out a", ["fs.read /w/a"]),
    "an option without its value": ("cc -D", []),
    "words with their own meaning": ("make a=b CC=x f", ["code.exec <a compiler>", "fs.read /w/f"]),
    "words of the outer command": (
        "make f get CC=x secret/a",
        ["fs.read /w/f", "code.exec <a compiler>", "credential.read secret/a"],
    ),
    "a plugin": ("run --plugin p", ["code.exec <named by the option --plugin>", "fs.read /w/p"]),
    "text for the shell": ("run -x look", ["code.exec <named by the option -x>"]),
    "a program to run from the network": (
        "run http://h/x",
        ["code.exec <network>", "code.exec /w/http:/h/x"],
    ),
    "a plus option": ("plus +e +n 3 a", ["fs.read /w/a"]),
    "a plus value": ("plus +n3 a", ["fs.read /w/a"]),
    "a number": ("num -12 -- a", ["fs.read /w/a"]),
    "home": (
        "look ~/a ~me/b ~you/c ~root/d",
        ["fs.read /home/me/a", "fs.read /home/me/b", "fs.read /home/you/c", "fs.read /root/d"],
    ),
    "dots and slashes": ("look .././/x //etc/./p", ["fs.read /x", "fs.read /etc/p"]),
    "a path to a system binary": ("/usr/bin/look a", ["fs.read /w/a"]),
    "about": ("copy --help", []),
    "about a sub-command": ("tool set --help", []),
    "standard input of nobody": ("sh", ["code.exec <a terminal>"]),
    "a module attached to its option": ("py -mlook a", ["fs.read /w/a"]),
    "a reference": ("look @{u}", ["fs.read /w/{u}", "fs.read /w/@{u}"]),
    "a wrapper with a dash": ("wrap - look a", ["fs.read /w/a"]),
    "a command attached to its option": ("seek d -exec=look", ["fs.list /w/d"]),
    "a filter": ("jq .a f", ["fs.read /w/f"]),
}


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("command", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_arguments_mean_what_the_program_takes_them_for(command, expected):
    assert run(*words(command)) == expected


SUSPECT = {
    "an unknown program": ("nope a", "code.exec <unknown program nope>"),
    "an unknown program and its files": ("nope /etc/x", "fs.read /etc/x"),
    "an unknown option": ("look -z a", "opaque option '-z' of look is not described"),
    "an unknown long option": (
        "look --zed=1 a",
        "opaque option '--zed=1' of look is not described",
    ),
    "a value where none is known": ("look --verbose=x a", "opaque option '--verbose=x'"),
    "an unlisted option that sounds like writing": (
        "list --output=x",
        "opaque option '--output=x'",
    ),
    "an unlisted -o": ("list -o x", "opaque option '-o' of list"),
    "a harmless promise still reads paths": ("list --style=./x", "fs.read /w/x"),
    "a word too many": ("dd x", "opaque argument 'x' of dd is not described"),
    "a sub-command nobody described": ("tool fly", "opaque sub-command 'fly' of tool"),
    "words of a sub-command without any": ("tool no-args x", "opaque argument 'x' of tool no-args"),
    "a program in the workspace": ("./x a", "code.exec /w/x"),
    "a known name somewhere else": (
        "/tmp/look a",
        "code.exec <unknown program /tmp/look, not the usual look>",
    ),
    "a cluster with an unknown letter": ("zip -xz -f a", "opaque option '-xz' of zip"),
    "inline code": ("py -c x=1", "code.exec <inline code>"),
    "a wrapper whose command may be its operand": ("lock look", "opaque lock without the command"),
}


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("command", "expected"), SUSPECT.values(), ids=SUSPECT.keys())
def test_what_is_not_understood_is_an_access_too(command, expected):
    assert any(one.startswith(expected) for one in run(*words(command))), run(*words(command))


def test_of_an_ambiguous_abbreviation_every_candidate_applies():
    programs = Programs({"t.yaml": "x: {options: {--out: fs.write, --outer: fs.delete}}"})
    assert run("x", "--ou", "a", programs=programs) == ["fs.write /w/a", "fs.delete /w/a"]


@pytest.mark.threat("T02")
def test_more_abbreviations_than_anybody_writes_are_not_described():
    assert "opaque option '--ver' of look is not described" in run("look", *["--ver"] * 100)
    assert run("look", *["--ver"] * 50) == []


def test_a_doubtful_cluster_keeps_the_meaning_without_a_mode():
    programs = Programs(
        {"t.yaml": "x: {args: fs.delete..., unknown: harmless, options: {-t: {as: look}}, "
         "modes: {look: {args: fs.list...}}}"}
    )  # fmt: skip
    assert "fs.delete /w/a" in run("x", "-tq", "a", programs=programs)
    assert run("x", "-t", "a", programs=programs) == ["fs.list /w/a"]


def test_code_that_runs_anyway_may_have_any_option():
    assert run("builds", "--output", "x") == ["code.exec /w"]


def test_a_program_of_the_projects_own_environment_is_code_of_the_project():
    assert run("/w/.venv/bin/builds") == ["code.exec /w/.venv/bin/builds", "code.exec /w"]


@pytest.mark.threat("T03")
@pytest.mark.parametrize("name", [HOLE, "a" + HOLE, FETCHED, ""])
def test_a_program_whose_name_is_not_known_is_opaque(name):
    found = run(name, "x")
    assert found[0].startswith("opaque the program's name is not known")
    assert ("code.exec <network>" in found) == (FETCHED in name)


@pytest.mark.threat("T03")
def test_a_program_named_by_output_is_opaque_even_if_known():
    named = Argument("look", computed=True)
    assert run(named, "a") == ["opaque a program named by a command's output", "fs.read /w/a"]


@pytest.mark.threat("T03")
def test_a_word_not_known_may_be_an_option_of_a_program_that_can_act():
    assert any(one.startswith("opaque a word that is not known") for one in run("zip", HOLE))
    assert run("look", HOLE) == ["fs.read " + HOLE]
    assert run("zip", "--", HOLE) != run("zip", HOLE)
    split = Argument("a" + HOLE, "dynamic", several=True)
    assert any(one.startswith("opaque a word that is not known") for one in run("zip", split))


@pytest.mark.threat("T03")
def test_a_value_or_word_that_is_not_known_may_mean_all_that_is_described():
    assert run("cc", "-D", HOLE) == ["code.exec <a compiler>", "fs.write /w/out"]
    assert run("make", HOLE) == ["code.exec <a compiler>", "fs.read \0"]
    several = Argument("x", several=True)
    assert run("make", several) == ["code.exec <a compiler>", "fs.read /w/x"]


def test_a_sub_command_that_is_not_known_is_opaque():
    assert any(one.startswith("opaque sub-command") for one in run("tool", HOLE, "x"))
    assert any(one.startswith("opaque sub-command") for one in run("tool", "s" + HOLE))


@pytest.mark.threat("T02")
def test_a_word_that_may_be_several_may_also_be_the_one_written():
    several = Argument("./*", "pattern", several=True)
    assert run("pair", several) == ["fs.read /w/*", "fs.write /w/*"]
    assert run("copy", "a", several) == ["fs.read /w/a", "fs.write /w/*"]


@pytest.mark.threat("T03")
def test_what_comes_from_the_network_and_runs_says_so():
    network = Stdin(connected=True, network=True)
    assert "code.exec <network>" in run("sh", stdin=network)
    assert "code.exec <network>" in run("nope", stdin=network)
    assert "code.exec <network>" in run("py", "-c", "x", stdin=network)
    assert "code.exec <network>" in run("sh", "-c", FETCHED)
    assert "code.exec <network>" in run("py", "-c", FETCHED)
    assert "code.exec <network>" in run("each", "sh", "-c", stdin=network)
    assert "code.exec <network>" in run("run", "/dev/fd/" + FETCHED)
    assert "code.exec <network>" in run("each", "-I", "%", "sh", "-c", "%", stdin=network)
    assert "code.exec <network>" in run(HOLE, stdin=network)


@pytest.mark.threat("T03")
def test_known_text_on_standard_input_is_read():
    assert run("sh", stdin=Stdin("look a")) == ["fs.read /w/a"]
    assert run("sh", "-", stdin=Stdin("look a")) == ["fs.read /w/a"]
    assert "code.exec <inline code>" in run("py", stdin=Stdin("x", connected=True))
    assert run("sh", stdin=Stdin(connected=True)) == ["code.exec <standard input>"]
    assert run("sh", stdin=Stdin(file=Argument("s"))) == ["code.exec /w/s"]
    assert run("maybe", stdin=Stdin("look a")) == ["code.exec <a terminal>"]
    assert run("sh", stdin=Stdin("x" * 70_000)) == ["code.exec <a terminal>"]


def test_words_on_standard_input_follow_the_command():
    assert run("each", "look", stdin=Stdin("a b")) == ["fs.read /w/a", "fs.read /w/b"]
    assert run("each", "look", stdin=Stdin(origins=(Argument.of("/e/" + HOLE),))) == [
        "fs.read /e/" + HOLE
    ]
    assert run("each", "-I", "%", "look", "x%", stdin=Stdin("a")) == ["fs.read /w/xa"]
    assert run("each", "look", "x{}", stdin=Stdin("a")) == ["fs.read /w/xa", "fs.read /w/a"]
    assert run("each", "-I%", "look", "x%") == ["fs.read /w/x" + HOLE]


@pytest.mark.threat("T03")
def test_names_on_standard_input_are_read():
    origins = (Argument("/e/*", "pattern"),)
    assert run("pack", stdin=Stdin(origins=origins)) == ["fs.read /e/*"]
    assert run("pack", stdin=Stdin()) == ["fs.read " + HOLE]


def test_standard_input_is_read_unless_a_word_stands_for_it():
    text = Stdin("w /x\n")
    assert run("base", "a", stdin=text) == ["fs.read /w/a", "fs.write /x"]
    assert run("base", "a", "p", stdin=text) == ["fs.read /w/a"]


def test_a_pattern_that_cannot_begin_with_a_dash_is_no_option():
    maybe = "opaque a word that is not known may be an option of zip; put -- or ./ before it"
    for text, found in {"*": True, "[s]*": False, "[^s]*": True, "[!-]*": False}.items():
        assert (maybe in run("zip", "-v", Argument(text, "pattern"))) is found, text


def test_an_option_that_makes_a_program_look_is_no_danger():
    assert run("finds", HOLE, "a") == ["fs.read /w/a"]
    assert run("finds", "--in", "*.b", "x", "a") == ["fs.read /w/a/\0*.b", "fs.read /w/a"]


def test_words_joined_to_a_text_are_also_taken_as_they_are():
    assert run("every", "sh", "-c", "look a") == ["opaque x", "fs.read /w/a"][1:]


def test_code_that_is_not_known_is_code():
    assert run("awk", HOLE) == ["code.exec <awk text not known>"]
    assert run("sh", "-c", HOLE)[0] == "code.exec <shell text that is not known>"


@pytest.mark.threat("T03")
def test_code_that_is_too_long_to_read_is_code():
    assert run("ed", "p;" * 4000) == ["code.exec <sed text longer than is read>"]


def test_scanners_of_text_add_what_it_reaches():
    assert run("ed", "w out", "in") == ["fs.write /w/out", "fs.read /w/in"]
    assert run("ed", "e look a") == ["fs.read /w/a"]
    assert run("awk", 'BEGIN{x=ENVIRON["a"]}') == ["credential.read <a variable>"]


@pytest.mark.threat("T03")
def test_a_path_with_dots_after_what_is_not_known_is_not_known():
    assert run("look", "/w/" + HOLE + "/../x") == ["fs.read " + HOLE]
    assert run("look", "/w/./a" + HOLE) == ["fs.read /w/a" + HOLE]
    assert run("look", "~/../../x") == ["fs.read /x"]


def test_commands_that_start_one_another_too_deeply_are_opaque():
    assert run(*["wrap"] * 40, "look", "a") == [
        "opaque programs start programs, deeper than is followed"
    ]


def test_shell_text_nested_too_deeply_is_opaque():
    walk = Traversal(PROGRAMS, CONTEXT)
    found = walk.text(Argument("look a"), Place("/w", CONTEXT, depth=20), Stdin())
    assert [one.operation for one in found] == ["opaque"]


WORDS = st.lists(st.sampled_from(["a", "/etc/x", "~/y", "b.c", "x/../z"]), min_size=1, max_size=4)


@pytest.mark.threat("T02")
@given(WORDS, st.sampled_from(["look", "copy", "pair", "nope", "dd", "list", "wrap"]))
def test_no_word_of_a_command_is_dropped(operands, program):
    found = run(program, *operands)
    known = {"/w/a", "/etc/x", "/home/me/y", "/w/b.c", "/w/z"}
    named = {one.partition(" ")[2] for one in found}
    explained = any(one.startswith(("opaque", "code.exec")) for one in found)
    expected = {run("look", word)[0].partition(" ")[2] for word in operands}
    assert expected <= known
    assert explained or expected <= named


@pytest.mark.threat("T02")
@given(
    st.lists(
        st.sampled_from([("wrap",), ("wrap", "-u", "x"), ("lock", "f"), ("each",)]), max_size=3
    ),
    st.sampled_from(["look", "copy", "zip", "nope", "sh", "seek"]),
    st.lists(st.sampled_from(["a", "-x", "-c", "-n", "b", "--", "-f", HOLE]), max_size=5),
)
def test_a_wrapper_never_touches_less_than_what_it_wraps(wrappers, program, rest):
    wrapped = [word for wrapper in wrappers for word in wrapper]
    plain = run(program, *rest)
    found = run(*wrapped, program, *rest, stdin=Stdin(""))
    bare = run(program, *rest, stdin=Stdin(""))
    assert set(bare) <= set(found)
    assert plain or found == bare
