"""Logs for the tests of what reads them: two working days as the gate writes them, and a hostile one."""

# ruff: noqa: E501, PLR0915 - a story reads as one
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit.canonical import Json, spell
from audit.keys import FileSigner
from audit.log import AuditLog, Draft
from audit.note import PublicKey

ORIGIN = "permitgate/box/1000"
DIGEST = {"old": "a" * 64, "new": "b" * 64}
START = datetime(2026, 3, 4, 8, 12, 30, tzinfo=UTC)
Record = dict[str, Json]


class Clock:
    """Goes on by as much as the story says."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=137)
        return self.now


class Teller:
    """Writes calls as the gate does."""

    def __init__(self, append: Callable[..., object], clock: Clock) -> None:
        self.append, self.clock = append, clock
        self.session, self.actor, self.policy = "s1", "agent:claude-code", DIGEST["old"]
        self._count = 0

    def wait(self, **passed: float) -> None:
        self.clock.now += timedelta(**passed)

    def call(
        self,
        command: str | None,
        effect: str = "allow",
        *,
        family: str = "exec",
        status: str = "ok",
        rule: str = "read-workspace",
        request: Mapping[str, Json] | None = None,
        outcome: Mapping[str, Json] | None = None,
        approval: Mapping[str, Json] | None = None,
    ) -> None:
        self._count += 1
        ran = status not in ("denied", "declined", "pending", "blocked")
        common: Record = {
            "action_id": f"{self.session}-{self._count:04x}",
            "session": self.session,
            "actor": {"kind": "agent", "id": self.actor, "uid": 1000, "auth": "stdio"},
            "tool": family,
            "policy": {
                "effect": effect,
                "rules": [{"id": rule, "place": "dev-safe.yaml:28:5"}],
                "risk": {"allow": 5, "ask": 50, "deny": 90}[effect],
                "digest": self.policy,
            },
            **({"approval": approval} if approval else {}),
        }
        asked: Record = {
            "cwd": "/home/dev/shop",
            "env_keys": [],
            "profile": "read",
            "digest": "d" * 64,
        }
        asked = {
            **asked,
            **({"command": command} if command is not None else {}),
            **(request or {}),
        }
        if ran:
            self.append({**common, "event": f"{family}.intent", "request": asked})
            self.wait(milliseconds=420)
            ended: Record = {
                "status": status,
                "exit": 0 if status == "ok" else 1,
                "dur_us": 412_000,
            }
            self.append(
                {**common, "event": f"{family}.outcome", "outcome": {**ended, **(outcome or {})}},
                is_outcome=True,
            )
        else:
            message = (
                "It reads where secrets are kept." if status == "denied" else "Nobody said yes."
            )
            ended = {"status": status, "message": message, "ran": False}
            record = {**common, "event": f"{family}.outcome", "request": asked, "outcome": ended}
            self.append(record, is_outcome=True)

    def approval(self, name: str, command: str, answer: str = "approve") -> None:
        def move(kind: str, **facts: Json) -> None:
            self.append(
                {
                    "event": f"approval.{kind}",
                    "move": f"{name}-{kind}",
                    "session": self.session,
                    "approval": {"id": name, "request_digest": "e" * 64, **facts},
                }
            )

        statement = f"permitgate-approval-v1\nid {name}\ncommand {command}\ncwd /home/dev/shop\n"
        move("opened", tool="exec", requester=f"{self.actor}@1000 via stdio", statement=statement)
        self.wait(seconds=11)
        voter: Json = {"channel": "terminal", "uid": 1000, "name": "dev", "level": 2}
        move("voted", answer=answer, by=voter)
        move("resolved", state="approved" if answer == "approve" else "denied")
        if answer == "approve":
            move("consumed")


def contact(host: str, verdict: str = "allowed", **more: Json) -> Record:
    return {
        "host": host, "port": 443, "protocol": "tcp", "verdict": verdict, "address": "192.0.2.7",
        "connections": 1, "sent_bytes": 517, "received_bytes": 90_412, "dur_us": 80_000, **more,
    }  # fmt: skip


def changes(**kinds: list[str]) -> Record:
    count = sum(map(len, kinds.values()))
    return {"changes": {"id": "cs_1", "count": count, "bytes": 1200, **kinds}}


def working_days(tell: Teller) -> None:
    """Tell two days of an agent in a shop's code."""
    tell.append(
        {"event": "policy.loaded", "policy": {"digest": tell.policy, "sources": ["dev-safe.yaml"]}}
    )
    for command in ("ls -la", "git status", "git log --oneline -n 20", "rg -n 'def checkout' src"):
        tell.call(command)
        tell.wait(seconds=40)
    write = {"profile": "write"}
    tell.call(
        "pytest -q",
        status="failed",
        request=write,
        outcome=changes(created=[".pytest_cache/README.md"]),
    )
    tell.wait(minutes=6)
    tell.call(
        None, family="patch", rule="write-workspace",
        request={"files": ["fs.write src/shop/checkout.py", "fs.write tests/test_checkout.py"], "file_count": 2},
        outcome={"files": [
            {"path": "src/shop/checkout.py", "operation": "modified", "sha256": "1" * 64},
            {"path": "tests/test_checkout.py", "operation": "created", "sha256": "2" * 64},
        ]},
    )  # fmt: skip
    tell.call("pytest -q", request=write)
    tell.wait(minutes=20)
    tell.call("cat .env", "deny", status="denied", rule="secrets-anywhere")
    tell.wait(seconds=20)
    tell.call("cat ./.env | head -3", "deny", status="denied", rule="secrets-anywhere")
    tell.wait(seconds=50)
    tell.call("cat .env.example")
    yes = {"id": "ap_1", "level": 2, "by": ["dev (terminal)"]}
    tell.call(
        "pip install requests==2.32.5",
        "ask",
        status="pending",
        rule="new-software",
        approval={"id": "ap_1"},
    )
    tell.approval("ap_1", "pip install requests==2.32.5")
    tell.call(
        "pip install requests==2.32.5", "ask", rule="new-software", approval=yes, request=write,
        outcome={**changes(created=["venv/lib/requests/__init__.py"]), "network": [
            contact("packages.example.org", connections=4),
            contact("telemetry.example.net", "refused", reason="no rule permits it"),
        ]},
    )  # fmt: skip
    tell.wait(hours=3)
    tell.call(
        "curl -H 'Authorization: Bearer [redacted:bearer]' https://api.example.com/v1/orders", "ask",
        rule="network", approval={"id": "ap_2", "level": 2, "by": ["dev (web page)"]},
        outcome={"network": [contact("api.example.com")]},
    )  # fmt: skip
    tell.wait(hours=18)
    tell.session, tell.actor, tell.policy = "s2", "agent:codex", DIGEST["new"]
    tell.append(
        {
            "event": "policy.loaded",
            "policy": {"digest": tell.policy, "sources": ["dev-safe.yaml", "shop.yaml"]},
        }
    )
    tell.call("systemctl status nginx", family="ssh", request={"hosts": ["web1.example.com"]})
    tell.call("rm -rf build dist", "ask", request=write, rule="deletes", approval={"id": "ap_3", "level": 1, "by": ["dev (form)"]},
        outcome={"changes": {"id": "cs_9", "count": 214, "bytes": 0, "deleted": ["build/lib/shop.py", "dist/shop.whl"],
        "held": [{"rule": "many-deletes", "text": "214 files would be deleted"}]}})  # fmt: skip
    tell.wait(minutes=2)
    tell.call(None, "ask", family="patch", rule="held", request={"files": ["fs.delete build/lib/shop.py"], "change_set": "cs_9"},
        outcome=changes(deleted=["build/lib/shop.py", "dist/shop.whl"]), approval={"id": "ap_4", "level": 2, "by": ["dev (terminal)"]})  # fmt: skip
    tell.policy = "c" * 64
    tell.append(
        {
            "event": "policy.loaded",
            "policy": {"digest": tell.policy, "sources": ["dev-safe.yaml", "shop.yaml"]},
        }
    )
    tell.approval("ap_5", "git push --force origin main", "deny")
    tell.call(
        "git push --force origin main",
        "ask",
        status="declined",
        rule="shared-history",
        approval={"id": "ap_5"},
    )
    tell.call("docker compose up -d", "ask", request={"profile": "unconfined"}, rule="outside",
        approval={"id": "ap_6", "level": 3, "by": ["dev (terminal)"]})  # fmt: skip
    tell.call("make bench", status="timeout")


HOSTILE = (
    "<script>globalThis.ran=1</script><img src=x onerror='globalThis.ran=1'>",
    "</script><script>globalThis.ran=1</script><!--",
    "javascript:globalThis.ran=1",
    '"><svg onload=globalThis.ran=1>',
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x9b31m",
    "rm \u202egpj.sh\u202c \u2066\u2069 zero\u200bwidth\ufeff \u00ad",
    "nul \x00 \u0000 tab\t newline\nrow carriage\rreturn",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|'x'!A0",
    "| a | b |\n|---|---|\n[click](javascript:alert(1)) ![x](https://track.example/x.png) `code` ```",
    "\U000e0041\U000e0042 tags \ud7ff \u2028\u2029 \ue000",
    "Z" + "\u0335\u0321\u0322" * 400,
    "@@DATA@@ {{x}} ${globalThis.ran=1} %s",
    "A" * 50_000,
    "<b>" * 8_000,
)


def hostile(tell: Teller) -> None:
    """Tell of an agent that writes to whoever will read the log."""
    for text in HOSTILE:
        tell.actor = text[:120]
        tell.call(text, "deny", status="denied", rule=text[:80])
        tell.call(
            "true", request={"profile": text[:60]},
            outcome={**changes(created=[text[:200]]), "message": text[:200],
                     "network": [contact(text[:100], "refused", reason=text[:100])]},
        )  # fmt: skip
        tell.append({"event": "policy.refused", "error": text[:1000]})


def many(count: int) -> Callable[[Teller], None]:
    """Return a story of many calls."""

    def told(tell: Teller) -> None:
        for number in range(count // 2):
            tell.call(f"git log --oneline -n {number} -- src/module_{number % 97}.py")
            tell.wait(seconds=30)

    return told


def log_of(
    root: Path, story: Callable[[Teller], None], origin: str = ORIGIN, *, at_once: bool = False
) -> tuple[Path, PublicKey]:
    """Return a log in which a story was told, and its key; `at_once`, all at the last moment."""
    signer = FileSigner.open(root / "keys" / "audit.pem", name=origin)
    clock = Clock()
    log = AuditLog.open(root / "log", signer, origin=origin, clock=clock)
    drafts: list[Draft] = []

    def keep(record: Record, *, is_outcome: bool = False) -> None:
        drafts.append(Draft(spell(record), is_outcome))

    story(Teller(keep if at_once else log.append, clock))
    log.append_all(drafts)
    log.close()
    return root / "log", signer.public_key


def records_of(story: Callable[[Teller], None]) -> list[Record]:
    """Return a story's records without a log."""
    found: list[Record] = []
    clock = Clock()

    def append(record: Record, *, is_outcome: bool = False) -> None:
        moment = clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
        found.append({"@prev": "0" * 64, "@seq": len(found), "v": 1, "ts": moment, **record})

    story(Teller(append, clock))
    return found


def sessions(records: Iterator[Record] | list[Record]) -> set[str]:
    return {str(record["session"]) for record in records if "session" in record}
