"""Running: the whole gate around a command, against the same sandbox without a gate.

May touch: processes of the sandbox, and a directory of its own.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from audit.redact import Redactor
from benchmarks.measure import Row, in_turns_async, ratio
from mcp_server.approver import Verdict
from mcp_server.calls import Call, Frozen
from mcp_server.client import Client, NoClient
from mcp_server.config import Config
from mcp_server.freeze import CommandWish, Freezer
from mcp_server.gate import Gate, Rooms
from mcp_server.journal import Journal
from mcp_server.log_place import log_directory, open_log
from mcp_server.places import Places
from mcp_server.redaction import redacted
from mcp_server.runners import Runners, Words
from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Decision, Exec, Request, Subject
from sandbox.action import Command, digest
from sandbox.permit import PermitOffice
from sandbox.probe import probe
from sandbox.run import CommandRunner

ROUNDS = 60


class _Nobody:
    """Nobody is asked here: what is measured is allowed."""

    async def decide(
        self, call: Call, decision: Decision, frozen: Frozen, client: Client
    ) -> Verdict:
        raise AssertionError(f"an allowed command asked: {decision.reason}")


class _House:
    """A gate over real rooms, and the same runner without the gate."""

    def __init__(self, base: Path) -> None:
        workspace = base / "workspace"
        workspace.mkdir()
        where, config = Places(base / "c.yaml", base / "policy.d", base / "state"), Config()
        policy = load([pack("dev-safe")], check_examples=False)
        host, self.office, redactor = probe(), PermitOffice(), Redactor()
        self.runner = CommandRunner(self.office, host, lambda _: False, where.state)
        self.journal = Journal(open_log(config, where), log_directory(config, where), redactor)
        words = Words(lambda _: False, lambda *_: ())
        runners = Runners(self.office, host, words, where, config.changes)
        settings = (config.limits, config.network, config.minimum_enforcement)
        self._freezer = Freezer(lambda: policy, host, settings, runners)
        self._context = Context(str(workspace), host.home, host.user, "host")
        decide: Callable[[Request, Context], Decision] = lambda request, context: classify(  # noqa: E731  # one line of wiring
            request, policy, context
        )
        self._decide = decide
        redact = partial(redacted, redactor)
        self._gate = Gate(Rooms(decide, _Nobody(), self.office, self.journal, self.runner, redact))
        action = Exec("/bin/true", None, str(workspace))
        self._wish = CommandWish(action, self._context)
        self._request = Request(Subject("agent:bench", "s", 1000, "stdio"), action, "exec")

    async def frozen(self) -> Command:
        """Return the command that both ways run."""
        frozen = await self._freezer.command(self._wish, self._decide(self._request, self._context))
        match frozen:
            case Frozen(action=Command() as command):
                return command
            case _:
                raise RuntimeError(f"/bin/true cannot be run here: {frozen}")

    async def through_the_gate(self) -> None:
        """Decide, freeze, permit, record, run, record."""
        call = Call(self._request, self._context, partial(self._freezer.command, self._wish))
        reply = await self._gate.handle(call, NoClient())
        if reply.status != "ran":
            raise RuntimeError(f"the gate did not run /bin/true: {reply.message}")

    async def without_the_gate(self, command: Command) -> None:
        """Run the same command in the same sandbox, unrecorded."""
        permit = self.office.issue(command, approved_digest=digest(command), approval_id=None)
        outcome = await self.runner.run(permit)
        if outcome.status != "ok":
            raise RuntimeError(f"/bin/true did not run: {outcome.message}")


def rows(base: Path) -> list[Row]:
    """Return the cost of the sandbox, and of the whole gate around it."""
    return anyio.run(_rows, base)


async def _rows(base: Path) -> list[Row]:
    house = _House(base)
    command = await house.frozen()
    if command.profile.name != "read":
        raise RuntimeError(f"/bin/true would run in {command.profile.name}, not in read")

    works = (partial(house.without_the_gate, command), house.through_the_gate)
    sandboxed, gated = await in_turns_async(works, ROUNDS)
    house.journal.close()
    return [
        ratio("/bin/true through the whole gate", gated, sandboxed, "the sandbox without the gate"),
    ]
