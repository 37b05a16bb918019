"""Facts about the read-only file tools: bounded, below their path, blind to what is denied."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import files
from sandbox.action import ListDirectory, ReadFile, SearchFiles, digest
from sandbox.files import FileRunner
from sandbox.outcome import Entry, FileOutcome, Match
from sandbox.permit import PermitError, PermitOffice


class Bench:
    """A small tree, and a runner that denies `.env` files and `secret` directories."""

    def __init__(self, base: Path, denies: Callable[[str], bool]) -> None:
        self.root = base / "w"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "secret").mkdir()
        (self.root / ".git").mkdir()
        (self.root / "a.txt").write_bytes(b"one\ntwo\nthree token\nfour")
        (self.root / "sub" / "b.py").write_bytes(b"import os\r\ntoken = 1\r\n")
        (self.root / ".env").write_bytes(b"token=hidden\n")
        (self.root / "secret" / "k").write_bytes(b"token=hidden\n")
        (self.root / ".git" / "config").write_bytes(b"token\n")
        (self.root / "bin").write_bytes(b"\0token\n")
        (self.root / "out").symlink_to("/etc")
        (self.root / "link").symlink_to(".env")
        os.mkfifo(self.root / "fifo")
        self.office = PermitOffice()
        self.runner = FileRunner(self.office, denies)

    async def run(self, action: ReadFile | ListDirectory | SearchFiles) -> FileOutcome:
        permit = self.office.issue(action, approved_digest=digest(action), approval_id=None)
        return await self.runner.run(permit)

    async def read(self, name: str, first: int = 1, lines: int = 100, size: int = 1000):
        return await self.run(ReadFile(f"{self.root}/{name}", first, lines, size, "p"))

    async def search(
        self, pattern: str, *, regex: bool = False, glob: str | None = None, most: int = 100
    ) -> FileOutcome:
        return await self.run(SearchFiles(str(self.root), pattern, regex, glob, most, "p"))


def denies(path: str) -> bool:
    return path.endswith("/.env") or "/secret" in path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path.resolve(), denies)


@pytest.mark.as_user
@pytest.mark.parametrize(
    ("first", "lines", "size", "content", "truncated"),
    [
        (1, 100, 1000, b"one\ntwo\nthree token\nfour", False),
        (2, 1, 1000, b"two\n", True),
        (4, 1, 1000, b"four", False),
        (3, 9, 5, b"three", True),
        (1, 100, 24, b"one\ntwo\nthree token\nfour", False),
        (9, 9, 1000, b"", False),
    ],
)
async def test_a_read_returns_the_lines_asked_for(
    bench: Bench, first: int, lines: int, size: int, content: bytes, *, truncated: bool
):
    outcome = await bench.read("a.txt", first, lines, size)
    assert (outcome.status, outcome.content, outcome.truncated) == ("ok", content, truncated)
    assert outcome.first_line == first
    assert outcome.total_bytes == 24 or first == 9


async def test_a_window_behind_the_end_says_how_long_the_file_is(bench: Bench):
    assert "4 lines" in (await bench.read("a.txt", 9)).message


async def test_a_window_deep_in_a_large_file_is_exact(bench: Bench):
    (bench.root / "long").write_text("".join(f"line {n}\n" for n in range(1, 200_001)))
    outcome = await bench.read("long", 150_000, 2)
    assert outcome.content == b"line 150000\nline 150001\n"
    assert outcome.truncated


@pytest.mark.threat("T10")
@pytest.mark.as_user
@pytest.mark.parametrize("name", [".env", "secret/k"])
async def test_a_denied_file_is_not_read(bench: Bench, name: str):
    outcome = await bench.read(name)
    assert (outcome.status, outcome.content) == ("blocked", b"")
    assert outcome.hidden == (f"{bench.root}/{name}",)


@pytest.mark.threat("T10")
@pytest.mark.as_user
@pytest.mark.parametrize("name", ["link", "out/passwd", "out/../a.txt", "sub/../../w/.env", "."])
async def test_a_link_or_climb_is_refused(bench: Bench, name: str):
    outcome = await bench.read(name)
    assert (outcome.status, outcome.content) == ("blocked", b"")
    assert outcome.message


@pytest.mark.threat("T06")
@pytest.mark.as_user
@pytest.mark.parametrize("path", ["fifo", "sub"])
async def test_what_is_no_regular_file_is_refused_at_once(bench: Bench, path: str):
    started = time.monotonic()
    assert (await bench.read(path)).status == "blocked"
    assert time.monotonic() - started < 1


async def test_a_device_is_refused(bench: Bench):
    assert (await bench.run(ReadFile("/dev/zero", 1, 1, 1, "p"))).status == "blocked"


async def test_an_absent_file_is_an_error_with_its_name(bench: Bench):
    outcome = await bench.read("nope")
    assert (outcome.status, outcome.message) == ("error", "No such file or directory: 'nope'")


async def test_a_proc_file_without_a_size_is_read(bench: Bench):
    outcome = await bench.run(ReadFile("/proc/version", 1, 5, 1000, "p"))
    assert outcome.content.startswith(b"Linux")


@pytest.mark.as_user
async def test_a_listing_names_kinds_and_what_is_denied(bench: Bench):
    outcome = await bench.run(ListDirectory(str(bench.root), 100, "p"))
    assert Entry("a.txt", "file", 24) in outcome.entries
    kinds = {entry.name: entry.kind for entry in outcome.entries}
    assert kinds["out"] == "symlink"
    assert kinds["fifo"] == "other"
    assert kinds["sub"] == "directory"
    assert outcome.hidden == (f"{bench.root}/.env", f"{bench.root}/secret")


async def test_a_long_listing_is_cut_and_says_so(bench: Bench):
    outcome = await bench.run(ListDirectory(str(bench.root), 2, "p"))
    assert [entry.name for entry in outcome.entries] == [".env", ".git"]
    assert outcome.truncated


async def test_a_name_that_is_not_utf8_is_shown_escaped(bench: Bench):
    (bench.root / "sub" / os.fsdecode(b"\xff")).touch()
    outcome = await bench.run(ListDirectory(f"{bench.root}/sub", 9, "p"))
    assert [entry.name for entry in outcome.entries] == ["\\xff", "b.py"]


@pytest.mark.threat("T10")
async def test_a_listing_through_a_link_is_refused(bench: Bench):
    assert (await bench.run(ListDirectory(f"{bench.root}/out", 9, "p"))).status == "blocked"


@pytest.mark.threat("T10")
@pytest.mark.as_user
@pytest.mark.parametrize(("pattern", "regex"), [("token", False), (r"\bto[k]en\b", True)])
async def test_a_search_finds_lines_and_leaves_out_what_is_denied(
    bench: Bench, pattern: str, regex: bool
):
    outcome = await bench.search(pattern, regex=regex)
    assert outcome.matches == (
        Match(f"{bench.root}/a.txt", 3, "three token"),
        Match(f"{bench.root}/sub/b.py", 2, "token = 1"),
    )
    assert outcome.hidden == (f"{bench.root}/.env", f"{bench.root}/secret")
    assert not outcome.truncated


@pytest.mark.parametrize("glob", ["*.py", "sub/*.py", "**/*.py"])
async def test_a_glob_narrows_the_search(bench: Bench, glob: str):
    outcome = await bench.search("o", glob=glob)
    assert {match.path for match in outcome.matches} == {f"{bench.root}/sub/b.py"}


async def test_a_search_stops_at_its_matches_and_says_so(bench: Bench):
    outcome = await bench.search("o", most=2)
    assert len(outcome.matches) == 2
    assert outcome.truncated


async def test_a_search_for_nothing_or_with_a_wrong_pattern_is_an_error(bench: Bench):
    assert (await bench.search("")).status == "error"
    assert "back-references" in (await bench.search(r"(a)\1", regex=True)).message


@pytest.mark.threat("T06")
async def test_a_search_ends_at_its_deadline(bench: Bench):
    late = FileRunner(bench.office, denies, deadline_s=-1)
    action = SearchFiles(str(bench.root), "x", False, None, 9, "p")
    permit = bench.office.issue(action, approved_digest=digest(action), approval_id=None)
    outcome = await late.run(permit)
    assert outcome.truncated
    assert "narrow it" in outcome.message


async def test_a_file_too_large_to_search_is_said(bench: Bench):
    with (bench.root / "huge").open("wb") as file:
        file.truncate((16 << 20) + 1)
    outcome = await bench.search("token")
    assert outcome.truncated
    assert "1 files larger" in outcome.message


async def test_a_permit_is_spent_by_its_first_read(bench: Bench):
    action = ReadFile(f"{bench.root}/a.txt", 1, 1, 1, "p")
    permit = bench.office.issue(action, approved_digest=digest(action), approval_id=None)
    await bench.runner.run(permit)
    with pytest.raises(PermitError, match="spent"):
        await bench.runner.run(permit)


@pytest.mark.threat("T10")
async def test_a_denied_directory_is_neither_listed_nor_searched(bench: Bench):
    path = f"{bench.root}/secret"
    assert (await bench.run(ListDirectory(path, 9, "p"))).status == "blocked"
    search = SearchFiles(path, "token", False, None, 9, "p")
    assert (await bench.run(search)).status == "blocked"


@pytest.mark.ordinary_only
@pytest.mark.as_user
@pytest.mark.as_user
async def test_what_the_system_hides_is_said(bench: Bench):
    (bench.root / "a.txt").chmod(0)
    (bench.root / "sub").chmod(0)
    outcome = await bench.search("token")
    (bench.root / "sub").chmod(0o700)
    assert {f"{bench.root}/a.txt", f"{bench.root}/sub"} <= set(outcome.hidden)


async def test_long_lines_are_cut_in_the_answer(bench: Bench):
    (bench.root / "wide").write_text("token" + "x" * 10_000)
    (match,) = (await bench.search("token", glob="wide")).matches
    assert len(match.text) == 400


async def test_a_file_system_that_does_not_answer_ends_the_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    held = threading.Event()
    monkeypatch.setattr(files, "_GRACE_S", 0.05)
    stuck = FileRunner(bench.office, lambda _: held.wait(5), deadline_s=0.05)
    action = ReadFile(f"{bench.root}/a.txt", 1, 1, 1, "p")
    permit = bench.office.issue(action, approved_digest=digest(action), approval_id=None)
    outcome = await stuck.run(permit)
    held.set()
    assert outcome.status == "timeout"


async def test_a_slow_read_ends_at_its_deadline(bench: Bench):
    with (bench.root / "huge").open("wb") as file:
        file.truncate(64 << 20)
    late = FileRunner(bench.office, denies, deadline_s=-1)
    action = ReadFile(f"{bench.root}/huge", 5, 1, 1, "p")
    permit = bench.office.issue(action, approved_digest=digest(action), approval_id=None)
    assert (await late.run(permit)).status == "timeout"
