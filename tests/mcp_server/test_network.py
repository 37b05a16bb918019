"""Named hosts on the whole road: asked, shown, reached through the broker, refused, recorded."""

import json
import subprocess
from pathlib import Path

import pytest

from approvals.request import Answer, Level, Principal
from approvals.scope import Scope, Terms
from sandbox.network import brokerage
from tests.mcp_server.indoors import Indoors
from tests.mcp_server.rig import YES, answering
from tests.world import HELLO, METADATA, PRIVATE4, PROXY, World

pytestmark = pytest.mark.threat("T28")
OWNER = Principal("terminal", 0, "owner", Level.OWNER)
POLICY = """\
version: 1
name: net
default: ask
host_sets:
  ours: [ok.test, four.test]
  python: [ok.test]
rules:
  - id: look
    allow: [fs.list, fs.read, git.read, code.exec, fs.write, fs.create]
    resources: ["/**", "<*"]
  - id: work
    allow: [pkg.install, git.write]
  - id: ours
    allow: [net.connect]
    hosts: ["@ours"]
  - id: never
    deny: [net.connect]
    hosts: [other.test]
    reason: It is not for agents.
"""


class Net:
    """An app whose broker stands in the world."""

    def __init__(
        self, base: Path, world: World, more: str = "", config: str = "", wait_s: int = 0
    ) -> None:
        base.mkdir(exist_ok=True)
        (base / "own.yaml").write_text(POLICY + more)
        text = f"approvals: {{channels: [elicitation, terminal], wait_s: {wait_s}}}\n"
        network = f"ca_bundle: {world.certificates}"
        text += f"network: {{{', '.join(filter(None, (network, config)))}}}\n"
        self.indoors = Indoors.make(base, text, ("own.yaml",))
        self.world = world

    async def exec(self, command: str, answer=None, **arguments: object) -> dict[str, object]:
        async with self.indoors.connected("auto", answer) as client:
            result = await client.call_tool("exec", {"command": command, **arguments})
        assert result.structured_content is not None, result.content[0].text
        return {**result.structured_content, "text": result.content[0].text}

    def pending(self) -> dict[str, list[str]]:
        """Return what the one question that waits shows, by key."""
        (pending,) = self.indoors.app.desk.pending()
        facts: dict[str, list[str]] = {}
        for key, text in pending.question.facts:
            facts.setdefault(key, []).append(text)
        return {**facts, "level": [str(int(pending.question.need.level))]}

    async def approved(self, command: str, **arguments: object) -> dict[str, object]:
        """Ask, say yes as the owner, and ask the same again."""
        waits = await self.exec(command, **arguments)
        assert waits["status"] == "pending", waits["text"]
        (pending,) = self.indoors.app.desk.pending()
        self.indoors.app.desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
        return await self.exec(command, **arguments)


@pytest.fixture
def open_net(tmp_path, world, monkeypatch):
    """Return what makes an app, with more rules or another configuration; each is closed again."""
    monkeypatch.setattr(brokerage, "PYTHON", world.python())
    world.forget()
    made: list[Net] = []

    def make(more: str = "", config: str = "", wait_s: int = 0) -> Net:
        made.append(Net(tmp_path / str(len(made)), world, more, config, wait_s))
        return made[-1]

    yield make
    for one in made:
        one.indoors.app.close()


@pytest.fixture
def net(open_net):
    return open_net()


def events(result: dict[str, object]) -> list[tuple[str, str, int]]:
    return [(one["verdict"], one["host"], one["port"]) for one in result["events"]["network"]]


async def test_a_host_of_a_rule_is_reached_without_asking_and_everything_is_counted(net):
    result = await net.exec("curl -sS https://ok.test/bytes/5000 | wc -c")
    assert result["status"] == "ok", result["text"]
    assert result["stdout"]["text"] == "5000\n"
    assert result["enforcement"]["profile"] == "read"
    assert events(result) == [("allowed", "ok.test", 443)]
    (seen,) = result["events"]["network"]
    assert seen["received_bytes"] > 5000
    assert seen["address"]
    assert "network allowed ok.test:443" in result["text"]
    outcome = net.indoors.records()[-1]["outcome"]
    assert outcome["network"][0]["host"] == "ok.test"
    assert outcome["network_count"] == 1
    assert "xxxx" not in json.dumps(net.indoors.records())


async def test_a_program_that_connects_elsewhere_is_refused_recorded_and_told_how_to_ask(net):
    command = "curl -sS http://ok.test/; curl -sS http://six.test/"
    (net.indoors.workspace / "fetch.sh").write_text(f"#!/bin/sh\n{command}\n")
    result = await net.exec("sh fetch.sh", network=["ok.test:80"])
    assert result["stdout"]["text"].count(HELLO) == 1
    assert ("refused", "six.test", 0) in events(result)
    assert 'network: ["six.test"]' in result["guidance"]["alternatives"][0]
    assert "six.test" in result["guidance"]["reason"]
    assert net.world.queries() == {"ok.test"}
    recorded = net.indoors.records()[-1]["outcome"]["network"]
    assert [one["verdict"] for one in recorded] == ["allowed", "refused"]


async def test_words_that_name_another_host_ask_and_the_yes_is_for_that_host(net):
    waits = await net.exec("curl -sS http://six.test/")
    assert waits["status"] == "pending"
    shown = net.pending()
    assert shown["connects-to"] == ["six.test:80"]
    assert shown["level"] == ["1"]


async def test_a_clients_yes_reaches_the_host_it_was_shown(open_net):
    net = open_net(wait_s=9)
    result = await net.exec("curl -sS http://six.test/", YES)
    assert result["status"] == "ok", result["text"]
    assert HELLO in result["stdout"]["text"]


async def test_a_person_may_permit_a_host_for_the_rest_of_the_session(net):
    waits = await net.exec("curl -sS http://six.test/")
    assert waits["status"] == "pending"
    (pending,) = net.indoors.app.desk.pending()
    assert pending.question.for_session == ("connects-to six.test:80",)
    shown = await net.indoors.cli("approvals", "show", pending.id)
    assert "also permits, until it ends:\n  connects-to six.test:80" in shown.stdout
    yes = await net.indoors.cli(
        "approvals", "approve", pending.id, "--digest", pending.request_digest, "--session"
    )
    assert "approved" in yes.stdout, yes.stderr
    for command in ("curl -sS http://six.test/", "curl -sS http://six.test/other"):
        result = await net.exec(command)
        assert HELLO in result["stdout"]["text"], result["text"]
        assert result["approval"]["id"] == pending.id
    recorded = net.indoors.records()[-1]["approval"]
    assert recorded["for_session"] is True
    # Another port, another host, what is not understood and another session are asked about.
    for command in (
        "curl -sS http://six.test:8080/",
        "curl -sS http://six.test/ http://mixed.test/",
        "eval true; curl -sS http://six.test/",
    ):
        assert (await net.exec(command))["status"] == "pending"
    for other in net.indoors.app.desk.pending():
        net.indoors.app.desk.cancel(other.id)
    caller = net.indoors.app.caller
    object.__setattr__(caller, "session", "another")
    assert (await net.exec("curl -sS http://six.test/"))["status"] == "pending"


async def test_a_grant_with_uses_covers_calls_and_no_connection_that_no_call_asked_for(net):
    assert (await net.exec("curl -sS http://six.test/"))["status"] == "pending"
    (pending,) = net.indoors.app.desk.pending()
    terms = Terms(Scope.HOST, 3, 5)
    net.indoors.app.desk.grant(pending.id, terms, OWNER, pending.request_digest)
    for path in ("", "other"):
        result = await net.exec(f"curl -sS http://six.test/{path}")
        assert HELLO in result["stdout"]["text"], result["text"]
    assert [one.uses_left for one in net.indoors.app.desk.grants.live()] == [2]
    (net.indoors.workspace / "fetch.sh").write_text("curl -sS http://six.test/; true\n")
    result = await net.exec("sh fetch.sh", network=["ok.test:80"])
    assert ("refused", "six.test", 0) in events(result)


async def test_a_grant_of_a_program_is_for_the_hosts_that_were_shown(net):
    assert (await net.exec("curl -sS http://six.test/"))["status"] == "pending"
    (pending,) = net.indoors.app.desk.pending()
    terms = Terms(Scope.PROGRAM, 3, 5)
    net.indoors.app.desk.grant(pending.id, terms, OWNER, pending.request_digest)
    assert (await net.exec("curl -sS http://six.test/"))["status"] == "ok"
    assert (await net.exec("curl -s http://six.test/other"))["status"] == "ok"
    for host in ("mixed.test", "six.test:8080"):
        assert (await net.exec(f"curl -sS http://{host}/"))["status"] == "pending"
    assert [one.uses_left for one in net.indoors.app.desk.grants.live()] == [2]


async def test_a_clients_form_offers_the_session_only_where_there_is_one_to_grant(open_net):
    net = open_net(wait_s=9)
    yes = answering("accept", {"approve": True, "for_session": True})
    first = await net.exec("curl -sS http://six.test/", yes)
    assert HELLO in first["stdout"]["text"], first["text"]
    again = await net.exec("curl -sS http://six.test/")  # nobody is there to be asked
    assert HELLO in again["stdout"]["text"], again["text"]
    refused = await net.exec("echo x > asks/x; eval x", yes)
    assert refused["status"] == "declined"
    assert "nothing of it can be permitted for a session" in refused["text"]


async def test_classify_says_what_a_command_would_reach(net):
    async with net.indoors.connected("auto") as client:
        asked = {"command": "curl -sS http://six.test/ http://$(cat name)/"}
        result = await client.call_tool("classify", asked)
    assert result.structured_content["network"] == ["six.test:80", "*"]
    assert "would reach six.test:80, any public host and nothing else" in result.content[0].text


async def test_a_yes_to_one_host_is_no_yes_to_another(net):
    (net.indoors.workspace / "fetch.sh").write_text("curl -sS http://mixed.test/; true\n")
    result = await net.approved("curl -sS http://six.test/; sh fetch.sh")
    assert result["stdout"]["text"].count(HELLO) == 1
    assert ("refused", "mixed.test", 0) in events(result)


async def test_what_policy_denies_no_yes_reaches(net):
    denied = await net.exec("curl -sS http://other.test/")
    assert denied["status"] == "denied"
    assert denied["decision"]["rules"][0]["id"] == "never"
    (net.indoors.workspace / "fetch.sh").write_text("curl -sS http://other.test/; true\n")
    result = await net.approved("curl -sS http://$HOST/; sh fetch.sh")
    assert HELLO not in result["stdout"]["text"]
    refused = next(one for one in result["events"]["network"] if one["host"] == "other.test")
    assert "It is not for agents" in refused["reason"]
    assert "rule never at" in refused["reason"]


async def test_a_host_that_nobody_knows_before_needs_the_owner_and_means_any_public_one(net):
    waits = await net.exec("curl -sS http://$(cat name)/")
    assert waits["status"] == "pending"
    shown = net.pending()
    assert shown["level"] == ["2"]
    assert "ANY PUBLIC HOST" in shown["connects-to"][0]
    (net.indoors.workspace / "name").write_text("six.test")
    result = await net.approved("curl -sS http://$(cat name)/")
    assert HELLO in result["stdout"]["text"]
    (net.indoors.workspace / "name").write_text(METADATA)
    result = await net.approved("curl -sS -m3 http://$(cat name)/ ")
    assert HELLO not in result["stdout"]["text"]
    assert "link-local" in result["guidance"]["reason"]


async def test_hosts_and_sets_can_be_named_beside_the_words(net):
    (net.indoors.workspace / "a.py").write_text(
        "import urllib.request as u\n"
        "print(u.urlopen('http://four.test/').read(), u.urlopen('https://ok.test/').read())\n"
    )
    result = await net.exec("python3 a.py", network=["@ours"])
    assert result["status"] == "ok", result["text"]
    assert result["stdout"]["text"].count(HELLO) == 2, result["text"]
    result = await net.exec("python3 a.py")
    assert HELLO not in (result["stdout"]["text"] or "")
    assert result["events"]["network"] == []  # there is no network at all


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("http://ok.test/", "is no host"),
        ("@nothing", "the policy has no host set"),
        ("ok.test:0", "ok.test:0"),
        ("*.test", "is no host"),
    ],
)
async def test_a_host_that_cannot_be_meant_is_refused_in_words(net, item, message):
    async with net.indoors.connected("auto") as client:
        result = await client.call_tool("exec", {"command": "true", "network": [item]})
    assert result.is_error
    assert message in result.content[0].text
    assert "Nothing ran" in result.content[0].text


async def test_a_rule_on_words_is_held_against_the_words_that_run(open_net):
    net = open_net(
        "  - {id: packed, allow: [net.connect], hosts: [six.test], args: [--compressed]}\n"
        "  - {id: pack, rewrite: {programs: [curl], args: ['{url}'],"
        " argv: [curl, -sS, --compressed, '{url}']}}\n"
    )
    result = await net.exec("curl http://six.test/")
    assert result["status"] == "ok", result["text"]
    assert HELLO in result["stdout"]["text"]


async def test_methods_of_plain_http_are_held_on_the_connection(open_net):
    more = "  - {id: reads, allow: [net.connect], hosts: [six.test], methods: [GET, HEAD]}\n"
    net = open_net(more)
    read = await net.exec("curl -sS http://six.test/")
    assert HELLO in read["stdout"]["text"], read["text"]
    sent = await net.exec("curl -sS -d secret http://six.test/")
    assert HELLO not in sent["stdout"]["text"]
    assert "403" in sent["stdout"]["text"] or "nobody said yes" in sent["stdout"]["text"]
    assert any(verdict == "refused" for verdict, *_ in events(sent)), sent["text"]
    assert "POST" not in net.world.said()


async def test_private_addresses_need_a_rule_or_a_person_that_names_them(open_net):
    more = "  - {id: any, allow: [net.connect]}\n"
    net = open_net(more)
    command = f"curl -sS -m3 http://{PRIVATE4}/"
    result = await net.exec(command)
    assert HELLO not in result["stdout"]["text"]
    assert "a rule has to list" in result["guidance"]["reason"]
    more = f"  - {{id: inside, allow: [net.connect], hosts: ['{PRIVATE4}/24']}}\n"
    net = open_net(more)
    assert HELLO in (await net.exec(command))["stdout"]["text"]


async def test_a_rule_may_list_the_hosts_that_a_call_is_kept_to(open_net):
    more = (
        "  - {id: secrets, allow: {operations: [fs.read], network: [four.test]},"
        " resources: ['**/secret']}\n"
    )
    net = open_net(more)
    (net.indoors.workspace / "secret").write_text("x")
    free = await net.exec("curl -sS http://ok.test/ http://four.test/")
    assert free["stdout"]["text"].count(HELLO) == 2
    kept = await net.exec("cat secret; curl -sS -m3 http://ok.test/ http://four.test/")
    assert kept["stdout"]["text"].count(HELLO) == 1, kept["text"]
    assert "only four.test, says secrets at" in kept["guidance"]["reason"]
    assert "network four.test" in " ".join(kept["decision"]["demands"])


async def test_where_a_rule_permits_no_network_nothing_is_asked_and_nothing_runs(open_net):
    more = "  - {id: shut, allow: {operations: [net.connect], network: none}}\n"
    net = open_net(more)
    result = await net.exec("curl -sS http://ok.test/")
    assert result["status"] == "blocked"
    assert "permits none here (shut at" in result["text"]


def with_remote(workspace: Path, url: str) -> None:
    (workspace / ".git").rmdir()
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    add = ["git", "-C", str(workspace), "remote", "add", "origin", url]
    subprocess.run(add, check=True)


async def test_a_remote_of_git_is_shown_by_its_host(net):
    with_remote(net.indoors.workspace, "https://six.test/r.git")
    waits = await net.exec("git fetch")
    assert waits["status"] == "pending", waits["text"]
    shown = net.pending()
    assert shown["connects-to"] == ["six.test:443"]
    assert shown["profile"] == [
        "write (writes a copy of the workspace, committed when it has ended)"
    ]


async def test_an_address_that_is_named_stands_for_the_remote(net):
    with_remote(net.indoors.workspace, "https://six.test/r.git")
    assert (await net.exec("git ls-remote https://four.test/r.git"))["status"] == "pending"
    assert net.pending()["connects-to"] == ["four.test:443"]


async def test_a_remote_behind_ssh_needs_the_owners_keys(net):
    with_remote(net.indoors.workspace, "git@six.test:r.git")
    assert (await net.exec("git fetch"))["status"] == "pending"
    assert "OUTSIDE" in net.pending()["profile"][0]


@pytest.mark.parametrize("command", ["git push", "ssh x ls", "aws s3 ls", "ping -c1 six.test"])
async def test_what_needs_the_owners_credentials_or_raw_network_runs_outside_as_before(
    net, command
):
    waits = await net.exec(command)
    assert waits["status"] == "pending", waits["text"]
    shown = net.pending()
    assert "OUTSIDE" in shown["profile"][0]
    assert shown["level"] == ["2"]


async def test_who_wishes_to_run_outside_asks_the_owner(net):
    waits = await net.exec("true", profile="unconfined")
    assert waits["status"] == "pending"
    shown = net.pending()
    assert "OUTSIDE" in shown["profile"][0]
    assert shown["level"] == ["2"]
    assert shown["why-asked"] == ["it asks to run outside the sandbox"]


async def test_with_a_proxy_everything_leaves_through_it(open_net):
    net = open_net(config="proxy: http://127.0.0.1:3128")
    result = await net.exec("curl -sS https://ok.test/; curl -sS http://four.test/")
    assert result["stdout"]["text"].count(HELLO) == 2, result["text"]
    assert ("127.0.0.1", PROXY) in net.world.seen()
    assert "CONNECT ok.test:443" in net.world.said()
    assert [one["address"] for one in result["events"]["network"]] == ["proxy", "proxy"]
    (net.indoors.workspace / "a.sh").write_text(f"curl -sS -m3 http://{METADATA}/\n")
    refused = await net.exec("curl -sS http://ok.test/; sh a.sh")
    assert METADATA not in net.world.said()
    assert ("refused", METADATA, 80) in events(refused)


async def test_bounds_of_bytes_and_connections_are_those_of_the_configuration(open_net):
    net = open_net(config="bytes: 50000, connections: 2")
    result = await net.exec("curl -sS http://ok.test/bytes/100000 | wc -c")
    assert int(result["stdout"]["text"]) <= 50_000
    assert "50000 bytes" in result["guidance"]["reason"]
    result = await net.exec("for i in 1 2 3 4; do curl -sS http://ok.test/; done")
    assert result["stdout"]["text"].count(HELLO) == 2
    assert "2 connections" in result["guidance"]["reason"]
