"""The sandbox alone: starting, and work inside it, against a plain process and plain bubblewrap.

May touch: processes of the sandbox, and a directory of its own. Everything is timed as a caller
sees it: from the call to the collected output.
"""

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from benchmarks.measure import Row, Samples, absolute, in_turns_async, ratio
from sandbox.action import Command, Landing, Limits, digest
from sandbox.changes.store import ChangeStore
from sandbox.changes.transaction import apply
from sandbox.outcome import CommandOutcome
from sandbox.permit import PermitOffice
from sandbox.probe import probe
from sandbox.profile import Profile, ProfileName
from sandbox.run import CommandRunner

START_ROUNDS, APART_ROUNDS, COLD_ROUNDS, WORK_ROUNDS = 200, 60, 15, 5
APART_S = 0.05  # an agent takes longer to think of its next command
FILES, PACKAGES = 10_000, 1_500
FILES_OF_A_PACKAGE = 20
CAT_BYTES = 256 << 20
PLAIN_BWRAP = (
    "--bind", "/", "/", "--unshare-all", "--die-with-parent", "--new-session", "--proc", "/proc",
    "--dev", "/dev", "--",
)  # fmt: skip
PROGRAM = "#include <stdio.h>\n" + "".join(
    f"int f{n}(int a) {{ for (int i = 0; i < a; i++) a ^= i * {n}; return a; }}\n"
    for n in range(800)
)


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work: bash text, and what must be so before each turn."""

    name: str
    text: str
    profile: ProfileName = "read"
    again: str = "true"  # run outside before each turn


TASKS = (
    Task("CPU", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"),
    Task("stat-heavy", "find tree -type f -size +1M"),
    Task("cat", "cat big | tail -c 1"),
    Task("C compile", "gcc -O1 -c many.c -o many.o", "write", "rm -f many.o"),
    Task("git status, 20k files", "git status --porcelain"),
    Task("git status, 20k files", "git status --porcelain", "write"),
    Task("untar 10k", "tar -xf tree.tar -C out", "write", "rm -rf out; mkdir out"),
    Task("untar 10k", "tar -xf tree.tar -C out", "live", "rm -rf out; mkdir out"),
    Task("30k packages' files", "tar -xf packages.tar", "write", "rm -rf node_modules"),
    Task("rewrite 10k", "sed -i s/x/y/ tree/*/*", "write", "git checkout -q tree"),
)
REWRITE = next(task for task in TASKS if task.name == "rewrite 10k")
TEN = "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n > ten$n; done"


class _Bench:
    """One runner over one workspace full of files."""

    def __init__(self, base: Path) -> None:
        self.workspace = base / "workspace"
        self.workspace.mkdir()
        self.store = ChangeStore(base / "state" / "changes")
        self._office, self._host = PermitOffice(), probe()
        self.runner = CommandRunner(self._office, self._host, lambda _: False, base / "state")

    def command(self, argv: Sequence[str], profile: ProfileName) -> Command:
        limits = Limits(wall_s=300.0)
        shown = Profile(profile, str(self.workspace))
        cwd = str(self.workspace)
        return Command(tuple(argv), None, False, cwd, (), None, shown, limits, (), "0" * 64)

    async def run(self, command: Command) -> CommandOutcome:
        permit = self._office.issue(command, approved_digest=digest(command), approval_id=None)
        outcome = await self.runner.run(permit)
        if outcome.status != "ok":
            raise RuntimeError(f"{command.argv} did not run: {outcome.message}")
        return outcome

    async def plain(self, argv: Sequence[str]) -> None:
        await anyio.to_thread.run_sync(partial(self._plain, argv))

    def _plain(self, argv: Sequence[str]) -> None:
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, cwd=self.workspace
        )

    async def in_bwrap(self, argv: Sequence[str]) -> None:
        await self.plain((self._host.bwrap, *PLAIN_BWRAP, *argv))

    def fill(self) -> None:
        """Make the workspace that the tasks work in."""
        (self.workspace / "many.c").write_text(PROGRAM)
        with (self.workspace / "big").open("wb") as file:
            file.truncate(CAT_BYTES)
        self._pack("tree.tar", [f"tree/{n // 100}/{n}" for n in range(FILES)])
        self._pack("more.tar", [f"more/{n // 100}/{n}" for n in range(FILES)])
        self._pack(
            "packages.tar",
            [
                f"node_modules/p{package}/lib/{n}.js"
                for package in range(PACKAGES)
                for n in range(FILES_OF_A_PACKAGE)
            ],
        )
        for argv in (
            ("tar", "-xf", "tree.tar"), ("tar", "-xf", "more.tar"), ("git", "init", "-q"),
            ("git", "add", "tree", "more"),
        ):  # fmt: skip
            self._plain(argv)

    def _pack(self, name: str, paths: Sequence[str]) -> None:
        with tarfile.open(self.workspace / name, "w") as archive:
            for path in paths:
                entry = tarfile.TarInfo(path)
                entry.size = 500
                archive.addfile(entry, io.BytesIO(b"x" * 500))


def rows(base: Path) -> list[Row]:
    """Return the cost of starting in the sandbox, and of working in it."""
    return anyio.run(_rows, base)


async def _rows(base: Path) -> list[Row]:
    bench = _Bench(base)
    started = [*await _starts(bench), *await _cold(bench)]
    bench.fill()
    worked = [row for task in TASKS for row in await _work(bench, task)]
    worked.append(await _approved(bench))
    bench.runner.close()
    return started + worked


async def _starts(bench: _Bench) -> list[Row]:
    true, writing = ("/bin/true",), ("/bin/sh", "-c", TEN)
    works: list[Callable[[], Awaitable[object]]] = [
        partial(bench.plain, true),
        partial(bench.in_bwrap, true),
        partial(bench.run, bench.command(true, "read")),
        partial(bench.run, bench.command(true, "write")),
        partial(bench.run, bench.command(writing, "write")),
        partial(bench.run, bench.command(true, "live")),
        partial(bench.run, bench.command(true, "inspect")),
        partial(bench.plain, writing),
    ]
    in_a_row = await in_turns_async(works, START_ROUNDS)
    apart = await in_turns_async(works, APART_ROUNDS, pause_s=APART_S)
    return [*_started(in_a_row, "in a row"), *_started(apart, f"{APART_S * 1000:.0f} ms apart")]


def _started(samples: Sequence[Samples], how: str) -> list[Row]:
    """Return the rows of one series; in a row, each also pays for the end of the one before."""
    process, bubblewrap, read, write, ten, live, inspect, outside = samples
    return [
        ratio(f"{name}, {how}", ours, theirs, against)
        for name, ours, theirs, against in (
            ("warm read /bin/true", read, process, "a plain process"),
            ("warm write /bin/true", write, process, "a plain process"),
            ("warm write of ten files with commit", ten, process, "a plain process"),
            ("warm write of ten files with commit", ten, outside, "the same outside"),
            ("warm live /bin/true", live, process, "a plain process"),
            ("inspect /bin/true", inspect, process, "a plain process"),
            ("plain bubblewrap /bin/true", bubblewrap, process, "a plain process"),
            ("warm read /bin/true", read, bubblewrap, "plain bubblewrap"),
        )
    ]


async def _cold(bench: _Bench) -> list[Row]:
    """Each turn in a session that has no cell yet; its canary has run."""
    true, turns = ("/bin/true",), 0

    async def cold(profile: ProfileName) -> None:
        nonlocal turns
        turns += 1
        command = bench.command(true, profile)
        # Another size of /tmp is another cell.
        other = replace(command.limits, tmp_bytes=command.limits.tmp_bytes + (turns << 12))
        await bench.run(replace(command, limits=other))

    works = (partial(bench.plain, true), partial(cold, "read"), partial(cold, "live"))
    process, read, live = await in_turns_async(works, COLD_ROUNDS)
    return [
        ratio("cold read /bin/true", read, process, "a plain process", tail=False),
        ratio("cold live /bin/true", live, process, "a plain process", tail=False),
    ]


async def _work(bench: _Bench, task: Task) -> list[Row]:
    argv = ("/bin/bash", "-c", task.text)
    if shutil.which(task.text.split()[0].rstrip(";")) is None and task.name != "CPU":
        return []
    samples: tuple[list[float], ...] = ([], [], [])
    ways = (bench.plain, bench.in_bwrap, lambda _: bench.run(bench.command(argv, task.profile)))
    for number in range(-1, WORK_ROUNDS):
        for which in range(len(ways)):
            way = (which + number) % len(ways)
            await bench.plain(("/bin/bash", "-c", task.again))
            began = time.perf_counter()
            await ways[way](argv)
            if number >= 0:
                samples[way].append(time.perf_counter() - began)
    process, bubblewrap, inside = samples
    name = f"{task.name} in {task.profile}"
    return [
        ratio(name, inside, process, "a plain process", tail=False),
        ratio(
            f"{task.name} in plain bubblewrap", bubblewrap, process, "a plain process", tail=False
        ),
    ]


async def _approved(bench: _Bench) -> Row:
    """Return how long ten thousand changed files take from a yes to the workspace."""
    command = bench.command(("/bin/bash", "-c", REWRITE.text), "write")
    held = replace(command, landing=Landing(preview=True))
    samples: list[float] = []
    for _ in range(WORK_ROUNDS):
        await bench.plain(("/bin/bash", "-c", REWRITE.again))
        effects = (await bench.run(held)).effects
        if effects is None:
            raise RuntimeError(f"{REWRITE.text} changed nothing")
        shown = bench.store.digest(effects.set_id)
        began = time.perf_counter()
        apply(bench.store, effects.set_id, approved=shown)
        samples.append(time.perf_counter() - began)
    return absolute("approve 10k changed files", samples)
