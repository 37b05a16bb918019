"""The one place where the rooms are built and joined; everything else receives what it needs.

May touch: all four rooms, the configuration, the facts about the owner. State belongs to the `App`
built here, never to a module.
"""

import logging
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import anyio

from approvals import terminal
from approvals.desk import Desk
from approvals.notify import Notifier
from approvals.request import ApprovalError, Level, Principal
from approvals.store import Store
from audit.query import Query, records
from audit.redact import Redactor
from mcp_server import known_secrets
from mcp_server.approver import Approver
from mcp_server.caller import Caller
from mcp_server.config import Config
from mcp_server.decision_proofs import DecisionProofs
from mcp_server.earlier import EarlierRequests
from mcp_server.freeze import Freezer
from mcp_server.gate import Gate, Rooms
from mcp_server.host_grants import HostGrants
from mcp_server.journal import Journal
from mcp_server.judged import Judged
from mcp_server.live_policy import Checks, LivePolicy
from mcp_server.log_place import log_directory, open_log, public_key
from mcp_server.notify import pace, shown_page, targets
from mcp_server.owner import current_owner, workspace_roots
from mcp_server.places import NOWHERE, Places
from mcp_server.policies import policy_files
from mcp_server.reach import check_levels, desk_over, voters
from mcp_server.redaction import redacted
from mcp_server.road import Road
from mcp_server.runners import Runners, Words, probed
from mcp_server.signed_policies import RevisionBook
from mcp_server.sinks import Sinks, sinks
from policy.classify import classify
from policy.decide import DeniedReads, denied_reads
from policy.document import PolicyError
from policy.model import Context, Decision, Request
from policy.rules import Policy
from sandbox.changes.recovery import recover
from sandbox.changes.shelf import Shelf
from sandbox.host import HostFacts
from sandbox.leftovers import sweep
from sandbox.permit import PermitOffice, SandboxError
from sandbox.profile import is_within

Auth = Literal["stdio", "http", "cli"]
logger = logging.getLogger(__name__)
SOME_DAY_MS = 1 << 62  # by then every open request is due
MOVE = '"move":"'  # what the approval room's records alone have in the log


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one start of the program asks for on top of the configuration."""

    auth: Auth
    workspace: Path | None = None
    policy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class App:
    """Everything one running server, or one command line call, works with."""

    config: Config
    places: Places
    caller: Caller
    live: LivePolicy
    host: HostFacts
    journal: Journal
    desk: Desk
    freezer: Freezer
    road: Road
    approver: Approver
    runners: Runners
    grants: HostGrants
    sinks: Sinks
    notifier: Notifier
    redactor: Redactor
    earlier: EarlierRequests

    @property
    def policy(self) -> Policy:
        """Return the policy in force now."""
        return self.live.current()

    async def serve_owner(self) -> None:
        """Answer at the owner's terminal and page, where they are on; notify, and serve the log."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.sinks.run)
            group.start_soon(self.notifier.run)
            group.start_soon(self.earlier.keep_current)
            group.start_soon(self._serve_page)
            await self._serve_terminal()

    async def _serve_page(self) -> None:
        settings = self.config.approvals
        if settings.page is None:
            return
        from approvals.web.listener import serve  # noqa: PLC0415  # its libraries load in 0.2 s
        from approvals.web.site import Site  # noqa: PLC0415

        uid = self.caller.owner.uid
        site = Site(
            desk=self.desk,
            directory=self.places.approvals,
            origin=settings.page.origin,
            owner=Principal("page", uid, "owner", Level.OWNER),
            approvers=settings.approvers,
            redact=self.redactor.redact_text,
            proof_of=DecisionProofs(self.log_directory).of,
        )
        try:
            await serve(site, settings.page.address)
        except ApprovalError as error:
            logger.warning("%s", error)  # the other channels still answer

    async def _serve_terminal(self) -> None:
        if "terminal" not in self.config.approvals.channels:
            return
        try:
            approvals = self.config.approvals
            await terminal.serve(self.desk, self.places.approvals, voters(approvals))
        except ApprovalError as error:
            logger.warning("%s", error)  # the other channels still answer

    def close(self) -> None:
        """End what waits for a next command, and make the log's last checkpoint durable."""
        self.runners.close()
        self.journal.close()

    @property
    def shelf(self) -> Shelf:
        """Return what is kept of changes, to look at."""
        return Shelf(self.runners.changes)

    @property
    def log_directory(self) -> Path:
        """Return where the audit log is."""
        return log_directory(self.config, self.places)

    @property
    def public_key(self) -> str:
        """Return the key that verifies the log, as C2SP text."""
        return public_key(self.config, self.places).vkey


def open_app(config: Config, where: Places, wishes: Wishes) -> App:
    """Return the rooms, joined.

    Raises:
        PolicyError, AuditError, ApprovalError, SandboxError, CallRefusedError: a room cannot do
            its job, so nothing may run; the message says what to do.
    """
    told = targets(config.approvals)
    _make_state(where.state)
    owner = current_owner()
    roots = workspace_roots(config, wishes.workspace, owner.home)
    # The command line is one session for its user, so a yes outlives the process that asked.
    session = f"cli-{owner.uid}" if wishes.auth == "cli" else secrets.token_hex(8)
    caller = Caller(owner, session, wishes.auth, roots)
    redactor = known_secrets.redactor(config, where)
    journal = Journal(open_log(config, where), log_directory(config, where), redactor)
    checks = Checks(
        reachable=partial(check_levels, approvals=config.approvals),
        note=journal.note,
        book=RevisionBook(where.state / "policy-revisions.json"),
    )
    files = policy_files(config, where, roots, wishes.policy)
    try:
        live = LivePolicy(files, checks, is_server=wishes.auth != "cli")
    except PolicyError:
        journal.close()
        raise
    desk, earlier = _desk(config, where, journal)
    speed = pace(is_command=wishes.auth == "cli")
    tells = Notifier(desk, where.approvals, told, shown_page(config.approvals), speed)
    host, office = probed(config, where), PermitOffice()
    sweep(where.state)
    denied = _Denied(live, caller, _own_files(config, where))
    words, grants = Words(denied, Judged(live, caller)), HostGrants(desk.grants)
    runners = Runners(office, host, words, where, config.changes)
    for line in recover(runners.changes):
        logger.warning("%s", line)
    if wishes.auth != "cli":
        runners.changes.prune()  # what a killed server left, and what became too old
    approver = Approver(desk, config.approvals, (owner.uid, redactor.redact_text))
    gate = Gate(
        Rooms(
            classify=partial(_classified, live),
            asker=approver,
            office=office,
            journal=journal,
            runner=runners,
            redact=partial(redacted, redactor),
        )
    )
    freezer = Freezer(
        live.current, host, (config.limits, config.network, config.minimum_enforcement), runners,
        _own_ports(config),
    )  # fmt: skip
    return App(
        config, where, caller, live, host, journal, desk, freezer, Road(gate), approver, runners,
        grants, sinks(config, where), tells, redactor, earlier,
    )  # fmt: skip


def _own_ports(config: Config) -> frozenset[int]:
    page = config.approvals.page
    return frozenset() if page is None else frozenset({page.address[1]})


def _own_files(config: Config, where: Places) -> tuple[str, ...]:
    """Return what no command may read: what answers and notices are given by, or asked for by."""
    told_with = (target.secret for target in config.approvals.notify)
    approvers, server = config.approvals.approvers, config.approvals.server
    asking = None if server is None else server.token_file
    ours = (where.approvals, where.config_file, where.http_token)
    named = (*ours, approvers, asking, *told_with)
    return tuple(str(path.resolve()) for path in named if path is not None)


def _make_state(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(
            f"{error.filename}: {error.strerror}. Permitgate keeps its log and keys in {state}: "
            "make that writable for you, or set XDG_STATE_HOME to a directory that is. Nothing ran."
        ) from None


def _desk(config: Config, where: Places, journal: Journal) -> tuple[Desk, EarlierRequests]:
    """Return the desk, after finishing the moves that a crash left half done, and what counts.

    The log is read only while some request or grant could still move, which each stops doing.
    """
    store = Store(where.approvals / "approvals.sqlite")
    log = log_directory(config, where)
    earlier = EarlierRequests(log)
    desk = desk_over(store, journal, config.approvals, earlier)
    if store.due(SOME_DAY_MS) or desk.grants.live():
        desk.recover(records(log, Query(text=MOVE)))
    return desk, earlier


def _classified(live: LivePolicy, request: Request, context: Context) -> Decision:
    return classify(request, live.current(), context)


class _Denied:
    """Which paths may never be read: our own, and those the live policy denies in any workspace."""

    def __init__(self, live: LivePolicy, caller: Caller, own: tuple[str, ...]) -> None:
        self._live = live
        self._own = own
        self._contexts = [caller.context(root) for root in caller.roots or (NOWHERE,)]
        self._policy: Policy | None = None
        self._denied: list[DeniedReads] = []

    def __call__(self, path: str) -> bool:
        if any(is_within(path, own) for own in self._own):
            return True  # whatever the policy says: who reads these can answer
        policy = self._live.in_force  # what the call at hand was decided by
        if policy is not self._policy:
            self._denied = [denied_reads(policy, context) for context in self._contexts]
            self._policy = policy
        return any(one.denies(path) for one in self._denied)

    @property
    def edition(self) -> object:
        """Return what the answers depend on: they are to be forgotten when it changes."""
        return self._live.in_force
