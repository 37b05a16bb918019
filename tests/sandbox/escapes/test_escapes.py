import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import Limits
from sandbox.network.model import Network
from sandbox.outcome import CommandOutcome
from tests.sandbox.escapes import (
    descriptors,
    environment,
    files,
    git,
    kernel,
    network,
    persistence,
    processes,
    resources,
    sockets,
    terminals,
)
from tests.sandbox.escapes.attempt import Attempt, Places, batch, single
from tests.sandbox.escapes.scene import TOKENS, doors, make_workspace, scene, shared_rig
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
CLASSES = {
    module.__name__.rpartition(".")[2]: module.ATTEMPTS
    for module in (files, environment, network, processes, kernel, sockets, git, persistence,
                   resources, descriptors, terminals)
}  # fmt: skip
IS_ROOT = os.getuid() == 0
ENFORCED = {control.name for control in HOST.controls if control.seen == "enforced"}
LIMITS = Limits(
    wall_s=30.0, memory_bytes=150 << 20, processes=128, file_bytes=64 << 20, open_files=256,
    tmp_bytes=10 << 20,
)  # fmt: skip
ALONE_S = 8.0
WITH_NETWORK = " with a network"
# Where an attempt leaves nothing but files of the workspace, the next may run in the same cell.
STEADY = {"files", "git", "kernel", "persistence"}
KEPT = re.compile(r"/tmp|HOME|~|/dev/shm")  # what a cell keeps, or could be thought to


class Stage:
    """Makes attempts in scenes of their own, a class at a time where they may share one."""

    def __init__(self, base: Path, around: dict[str, object]) -> None:
        self._base, self._around, self._scenes = base, around, 0
        self._said: dict[tuple[str, str], dict[str, str]] = {}
        self._template = base / "template"
        make_workspace(self._template)
        (base / "shared").mkdir()
        self.rig = shared_rig(base / "shared")

    def confined(self, group: str, attempt: Attempt, profile: str) -> str:
        """Return what a confined attempt came to: "held …", or else what it did."""
        if attempt.alone:
            return self._make(group, [attempt], profile)[attempt.name]
        if (group, profile) not in self._said:
            plain = profile.removesuffix(WITH_NETWORK)
            together = [a for a in CLASSES[group] if not a.alone and plain in a.profiles]
            self._said[group, profile] = self._make(group, together, profile)
        return self._said[group, profile][attempt.name]

    def outside(self, group: str, attempt: Attempt) -> str:
        """Return what an attempt comes to without the sandbox."""
        if attempt.alone:
            return self._make(group, [attempt], "")[attempt.name]
        if (group, "") not in self._said:
            together = [a for a in CLASSES[group] if not a.alone and can_be_shown(a)]
            self._said[group, ""] = self._make(group, together, "")
        return self._said[group, ""][attempt.name]

    def close(self) -> None:
        """End the cells, then remove the scenes: what a cell has mounted is slow to go."""
        self.rig.runner.close()
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*words, self._base], check=False, capture_output=True)

    def _make(self, group: str, attempts: list[Attempt], profile: str) -> dict[str, str]:
        self._scenes += 1
        base = self._base / "scene"
        base.mkdir()
        try:
            with scene(base, self._template, self._around, self.rig) as (rig, places):
                rig.session = "" if is_steady(group, attempts) else str(self._scenes)
                if profile:
                    outcome = anyio.run(confined, rig, places, attempts, profile)
                    said = read(attempts, outcome.stdout.head, places, outcome)
                    return {name: unharmed(places, rig) or text for name, text in said.items()}
                plain = replace(places, home=base / "home")
                return read(attempts, plainly(plain, attempts), plain, None)
        finally:
            base.rename(self._base / str(self._scenes))


def is_steady(group: str, attempts: list[Attempt]) -> bool:
    texts = [each for attempt in attempts for each in (attempt.text, attempt.then)]
    return attempts[0].alone and group in STEADY and not any(map(KEPT.search, texts))


def can_be_shown(attempt: Attempt) -> bool:
    return not attempt.why_not_shown and (IS_ROOT or not attempt.only_root)


def program(attempts: list[Attempt], places: Places) -> list[str]:
    is_alone = attempts[0].alone
    text = single(attempts[0], places) if is_alone else batch(attempts, places)
    return [HOST.interpreter, "-I", "-S", "-c", text]


async def confined(
    rig: Rig, places: Places, attempts: list[Attempt], profile: str
) -> CommandOutcome:
    name = profile.removesuffix(WITH_NETWORK)
    command = rig.vector(*program(attempts, places), profile=name)
    if name != profile:
        # A broker stands behind it, and refuses all.
        command = replace(command, profile=replace(command.profile, network=Network((), (81,))))
    limits = replace(LIMITS, wall_s=ALONE_S if attempts[0].alone else LIMITS.wall_s)
    outcome = await rig.run(replace(command, limits=limits))
    assert outcome.status != "error", outcome.message
    if attempts[0].then:
        script = rig.script(places.fill(attempts[0].then), attempts[0].then_in)
        outcome = await rig.run(script)
    return outcome


def plainly(places: Places, attempts: list[Attempt]) -> bytes:
    environment = {**TOKENS, "HOME": str(places.home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    environment["TMPDIR"] = environment["HOME"]
    places.home.mkdir()
    lines = [program(attempts, places)]
    if attempts[0].then:
        lines.append(["/bin/bash", "-c", places.fill(attempts[0].then)])
    answer = places.home / "answer"  # a file: what stays behind would hold a pipe open
    for line in lines:
        with answer.open("wb") as stdout:
            subprocess.run(
                line, env=environment, cwd=places.ws, stdout=stdout, stderr=stdout, timeout=60,
                check=False, close_fds=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
    return answer.read_bytes()


def read(
    attempts: list[Attempt], said: bytes, places: Places, outcome: CommandOutcome | None
) -> dict[str, str]:
    """Return what each attempt said, and ESCAPED where the host side was harmed."""
    if attempts[0].alone:
        words = {0: said.decode("utf-8", "replace")}
        if outcome is not None and outcome.status == "error":
            words = {0: f"refused: {outcome.message}"}
    else:
        words = dict(json.loads(line) for line in said.splitlines() if line.startswith(b"["))
        missing = [a.name for n, a in enumerate(attempts) if n not in words]
        assert not missing, (missing, outcome)
    harmed = {a.name for a in attempts if a.harm is not None and a.harm(places, outcome)}
    return {
        attempt.name: "ESCAPED, as the host sees" if attempt.name in harmed else words[number]
        for number, attempt in enumerate(attempts)
    }


def unharmed(places: Places, rig: Rig) -> str:
    """Return what is no longer as it was outside of the workspace; empty when all is."""
    victim = places.out / "victim"
    if not victim.exists() or victim.read_text() != "victim" or victim.stat().st_mode & 0o22:
        return "ESCAPED: the victim was changed"
    new = {path.name for path in places.out.iterdir()} - {"secret", "victim", "door", "letters"}
    if new:
        return f"ESCAPED: {new}"
    set_ids = subprocess.run(["find", rig.base, "-perm", "/6000"], capture_output=True, check=False)
    if set_ids.stdout:
        return f"ESCAPED: {set_ids.stdout}"
    if Path(f"/proc/{places.pid}/limits").exists() and os.getpriority(0, places.pid):
        return "ESCAPED: a host process is slower"
    return ""


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with doors() as around:
        stage = Stage(tmp_path_factory.mktemp("escapes"), around)
        yield stage
        stage.close()


def cases() -> list[object]:
    return [
        pytest.param(
            group, attempt, profile,
            marks=pytest.mark.threat(attempt.threat), id=f"{slug(group, attempt)}-{profile}",
        )
        for group, attempts in CLASSES.items()
        for attempt in attempts
        if not attempt.needs or attempt.needs in ENFORCED
        for profile in attempt.profiles
    ]  # fmt: skip


def slug(group: str, attempt: Attempt) -> str:
    return f"{group}-{attempt.name}".replace(" ", "-").replace("\n", "-")


@pytest.mark.parametrize(("group", "attempt", "profile"), cases())
def test_no_attempt_gets_out(stage, monkeypatch, group, attempt, profile):
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    said = stage.confined(group, attempt, profile)
    assert "ESCAPED" not in said, said


@pytest.mark.parametrize(
    ("group", "attempt"),
    [
        pytest.param(group, attempt, id=slug(group, attempt))
        for group, attempts in CLASSES.items()
        for attempt in attempts
        if can_be_shown(attempt)
    ],
)
def test_the_attempt_is_real(stage, group, attempt):
    said = stage.outside(group, attempt)
    assert "ESCAPED" in said, said


@pytest.mark.threat("T28")
@pytest.mark.parametrize("profile", ["read", "write"])
@pytest.mark.parametrize("group", CLASSES)
def test_a_network_opens_no_way_for_any_attempt(stage, group, profile):
    attempts = [
        attempt
        for attempt in CLASSES[group]
        if not attempt.alone
        and profile in attempt.profiles
        and (not attempt.needs or attempt.needs in ENFORCED)
    ]
    said = {a.name: stage.confined(group, a, profile + WITH_NETWORK) for a in attempts}
    assert {name: text for name, text in said.items() if "ESCAPED" in text} == {}


def test_every_attempt_has_a_name_of_its_own():
    names = [slug(group, attempt) for group, attempts in CLASSES.items() for attempt in attempts]
    assert len(names) == len(set(names)) >= 130
