"""The commands that read a log: what an operator sees, what a script can rely on."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.note import PublicKey
from mcp_server.cli.main import app
from tests.stories import HOSTILE, hostile, log_of, working_days


class Line:
    """The command line in this process, and a log with its key."""

    def __init__(self, base: Path, log: Path, key: PublicKey) -> None:
        self.base, self.log, self.key = base, log, key.vkey

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "XDG_STATE_HOME": str(self.base / "state"),
            "XDG_CONFIG_HOME": str(self.base / "config"),
            "COLUMNS": "100",
        }
        done = CliRunner().invoke(app, ("audit", *arguments), env=environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def keyed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(*arguments, "--key", self.key)

    def damage(self) -> None:
        (segment,) = self.log.glob("seg-*")
        segment.write_bytes(segment.read_bytes().replace(b"git status", b"git st4tus"))


@pytest.fixture
def days(tmp_path: Path) -> Line:
    return Line(tmp_path, *log_of(tmp_path, working_days))


@pytest.fixture
def bad(tmp_path: Path) -> Line:
    return Line(tmp_path, *log_of(tmp_path, hostile))


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_query_finds_by_each_option_and_prints_lines_or_json(days):
    for option, value, count in [
        ("--effect", "deny", 2),
        ("--subject", "agent:codex", 11),
        ("--session", "s2", 14),
        ("--host", "api.example.com", 1),
        ("--event", "policy", 3),
        ("--text", "docker compose", 1),
        ("--since", "2026-03-05", 16),
        ("--until", "2026-03-04T08:13", 4),
        ("--last", "3", 3),
        ("--since", "1s", 0),
    ]:
        found = days.run("query", str(days.log), option, value, "--json")
        assert (found.returncode, len(rows(found.stdout))) == (0, count), option
    line = days.run("query", str(days.log), "--effect", "deny", "--last", "1").stdout
    assert line.endswith("  exec.outcome  denied  cat ./.env | head -3\n")
    assert line.split()[:2] == ["17", "2026-03-04T08:41:35.406000Z"]


def test_query_makes_an_index_beside_the_log_unless_told_to_scan(days):
    days.run("query", str(days.log), "--scan")
    assert not (days.log / "index.sqlite").exists()
    days.run("query", str(days.log))
    assert (days.log / "index.sqlite").exists()


def test_a_query_that_finds_nothing_says_so_beside_the_output(days):
    found = days.run("query", str(days.log), "--subject", "nobody")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "no records\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("query", "--since", "yesterday"), "--since 'yesterday' is no time; write"),
        (("query", "--effect", "no"), "--effect 'no' is not one of allow, ask, deny"),
        (("show", "--seq", "999"), "there is no record 999"),
    ],
)
def test_a_wrong_option_is_explained(days, arguments, says):
    command, *rest = arguments
    done = days.run(command, str(days.log), *rest)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_log_that_is_not_there_is_named(days):
    done = days.run("query", str(days.base / "nowhere"))
    assert done.returncode == 12
    assert "nowhere: cannot be read: No such file or directory" in done.stderr


def test_show_prints_the_newest_or_one_record_whole(days):
    assert len(days.run("show", str(days.log), "--last", "4").stdout.splitlines()) == 4
    whole = days.run("show", str(days.log), "--seq", "17").stdout
    assert '  command: "cat ./.env | head -3"' in whole
    assert '  rules[0]:\n    id: "secrets-anywhere"' in whole
    as_json = days.run("show", str(days.log), "--seq", "17", "--json").stdout
    assert json.loads(as_json)["@seq"] == 17


def test_the_timeline_shows_the_day_and_ends_with_the_verdicts_exit_code(days):
    done = days.keyed("timeline", str(days.log))
    assert done.returncode == 0
    assert done.stdout.startswith(" VERIFIED   permitgate/box/1000  45 records, 45 signed")
    for text in ("DENIED", "changed 1: created", "network refused telemetry", "approved: dev"):
        assert text in done.stdout
    assert "ran outside the sandbox" in done.stdout
    assert "15 ran, 5 changed files, 2 reached the network, 3 denied" in done.stdout
    assert "30 older records are not shown" in days.keyed(
        "timeline", str(days.log), "--last", "15"
    ).stdout  # fmt: skip
    days.damage()
    tampered = days.keyed("timeline", str(days.log))
    assert tampered.returncode == 1
    assert "TAMPERED" in tampered.stdout
    assert "nothing here is proven" in tampered.stdout


def test_the_page_is_written_whole_and_private(days):
    page = days.base / "page.html"
    assert days.keyed("timeline", str(days.log), "--html", str(page)).returncode == 0
    assert page.stat().st_mode & 0o777 == 0o600
    assert "default-src 'none'" in page.read_text()
    refused = days.keyed("timeline", str(days.log), "--html", str(days.base / "no" / "page.html"))
    assert refused.returncode == 2
    assert "cannot be written: No such file or directory" in refused.stderr


def test_a_report_is_markdown_a_page_or_json(days):
    place = ("report", "s1", "--directory", str(days.log))
    text = days.keyed(*place).stdout
    assert text.startswith("# Session `s1`\n\nVERIFIED: the log has 45 records, 45 signed.\n")
    assert "**Another way after a no**: `refused 2 times" in text
    page = days.base / "report.html"
    written = days.keyed(*place, "--html", str(page))
    assert (written.returncode, written.stdout) == (0, "")
    assert "<strong>New host</strong>" in page.read_text()
    found = json.loads(days.keyed(*place, "--json").stdout)
    assert found["findings"][0]["kind"] == "around_a_no"
    nobody = days.keyed("report", "s9", "--directory", str(days.log))
    assert (nobody.returncode, "no record of session 's9'" in nobody.stderr) == (2, True)


def test_a_host_that_an_earlier_session_reached_is_not_new(tmp_path):
    def story(tell):
        working_days(tell)
        tell.session = "s3"
        tell.call("curl", outcome={"network": [{"host": "api.example.com", "verdict": "allowed"}]})
        tell.call("curl", outcome={"network": [{"host": "new.example", "verdict": "allowed"}]})

    line = Line(tmp_path, *log_of(tmp_path, story))
    found = json.loads(line.keyed("report", "s3", "--directory", str(line.log), "--json").stdout)
    texts = [one["text"] for one in found["findings"] if one["kind"] == "first_host"]
    assert texts == ["first contact of this log with new.example"]


@pytest.mark.threat("T15")
def test_a_report_on_a_changed_log_says_not_to_rely_on_it(days):
    days.damage()
    done = days.keyed("report", "s1", "--directory", str(days.log))
    assert done.returncode == 1
    assert "TAMPERED" in done.stdout
    assert "Do not rely on what follows." in done.stdout


def test_export_joins_calls_and_says_how_far_trust_goes(days):
    events = rows(days.keyed("export", str(days.log), "--ocsf").stdout)
    assert sum(one["class_uid"] == 1007 for one in events) == 16
    assert {one["unmapped"]["trust"] for one in events} == {"signed"}
    (told,) = rows(days.keyed("export", str(days.log), "--otlp").stdout)
    assert len(told["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 45
    file = days.base / "log.csv"
    assert days.keyed("export", str(days.log), "--csv", "--output", str(file)).returncode == 0
    assert len(list(csv.reader(io.StringIO(file.read_text())))) == len(events) + 1
    only = days.keyed("export", str(days.log), "--csv", "--effect", "deny").stdout
    assert len(only.splitlines()) == 3
    days.damage()
    broken = days.keyed("export", str(days.log), "--ocsf")
    assert broken.returncode == 1
    assert {one["unmapped"]["trust"] for one in rows(broken.stdout)} == {"broken"}
    assert "git" in broken.stderr or "record" in broken.stderr


@pytest.mark.parametrize("forms", [(), ("--ocsf", "--csv")])
def test_export_takes_exactly_one_form(days, forms):
    done = days.keyed("export", str(days.log), *forms)
    assert done.returncode == 2
    assert "choose one of --ocsf, --otlp, --csv" in done.stderr


@pytest.mark.threat("T24")
@pytest.mark.parametrize(
    "command",
    [
        ("query",),
        ("show",),
        ("show", "--seq", "17"),
        ("timeline",),
        ("export", "--csv"),
        ("export", "--ocsf"),
        ("export", "--otlp"),
        ("report", "s1"),
    ],
    ids=" ".join,
)
def test_hostile_text_reaches_no_terminal(bad, command):
    name, *rest = command
    place = ["--directory", str(bad.log)] if name == "report" else [str(bad.log)]
    key = ["--key", bad.key] if name not in ("query", "show") else []
    done = bad.run(
        name, *(rest if name == "report" else []), *place, *key, *(rest if name != "report" else [])
    )
    assert done.returncode == 0
    letters = set(done.stdout) | set(done.stderr)
    assert [letter for letter in letters if not letter.isprintable()] in (
        [],
        ["\n"],
        ["\r", "\n"],
        ["\n", "\r"],
    )


def test_the_hostile_log_holds_what_must_not_come_out():
    assert any("\x1b" in text for text in HOSTILE)
    assert any("\u202e" in text for text in HOSTILE)
