"""What goes wrong on the way out is said in the result, and never opens another way."""

import os
import signal
from dataclasses import replace
from textwrap import dedent

import anyio
import pytest
from anyio import to_thread

from sandbox.network import brokerage
from tests.mcp_server.rig import until
from tests.sandbox.network.conftest import Net
from tests.world import EXPIRED_PORT, HELLO, World

pytestmark = [pytest.mark.threat("T28"), pytest.mark.untraced]


@pytest.fixture
def online(net: Net) -> Net:
    net.allowed = {"ok.test:*", "silent.test:80", "nowhere.test:80"}
    net.network = replace(net.network, ports=(7, 80, 81, 443, EXPIRED_PORT))
    return net


def script(text: str) -> str:
    return f"python3 - <<'END'\n{dedent(text)}\nEND"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://silent.test/", "silent.test could not be resolved on this host"),
        ("http://nowhere.test/", "nowhere.test could not be resolved on this host"),
        ("http://ok.test:81/", "ok.test:81 refused the connection"),
    ],
)
async def test_what_cannot_be_reached_says_so_and_is_no_refusal(online: Net, url: str, reason: str):
    outcome = await online.run(f"curl -sS -m9 {url}")
    assert outcome.status == "failed"
    (contact,) = outcome.contacts
    assert contact.verdict == "failed"
    assert reason in contact.reason


async def test_an_expired_certificate_is_the_programs_own_to_see(online: Net):
    outcome = await online.run(f"curl -sS https://ok.test:{EXPIRED_PORT}/")
    assert "expired" in outcome.stderr.head.decode()
    assert [one.verdict for one in outcome.contacts] == ["allowed"]


async def test_a_broker_that_is_killed_ends_what_was_open_and_opens_nothing(online: Net):
    async with anyio.create_task_group() as group:

        def kill() -> None:
            until(lambda: "GET /slow HTTP/1.1" in online.world.said())
            process = online.rig.runner._broker._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)

        group.start_soon(to_thread.run_sync, kill)
        outcome = await online.run(
            "curl -sS http://ok.test/slow; echo $?; curl -sS -m3 http://ok.test/; echo $?;"
            " ip route 2>&1; cat /proc/net/route"
        )
    said = outcome.stdout.head.decode()
    assert said.startswith(("begun 18\n", "begun 56\n")), said
    assert HELLO not in said
    assert [one.reason for one in outcome.contacts] == [brokerage.GONE]
    assert online.world.said().count("GET") == 1
    again = await online.run("curl -sS http://ok.test/")
    assert HELLO in again.stdout.head.decode()


async def test_the_end_of_a_command_is_the_end_of_its_connections(online: Net):
    outcome = await online.run("curl -sS http://ok.test/slow", wall_s=1)
    assert outcome.status == "timeout"
    (contact,) = outcome.contacts
    assert (contact.verdict, contact.host) == ("allowed", "ok.test")
    assert contact.received_bytes > 0


async def test_a_full_descriptor_table_is_said_and_passes(
    online: Net, world: World, monkeypatch: pytest.MonkeyPatch
):
    small = world.directory / "small-python"
    small.write_text(f'#!/bin/sh\nulimit -n 48\nexec {world.python()} "$@"\n')
    small.chmod(0o755)
    monkeypatch.setattr(brokerage, "PYTHON", str(small))
    outcome = await online.run(
        script("""
            import socket
            kept = [socket.create_connection(("ok.test", 7), 5) for _ in range(60)]
            for one in kept:
                one.close()
            import time, urllib.request
            time.sleep(0.5)
            print(urllib.request.urlopen("http://ok.test/").read())
        """)
    )
    assert HELLO in outcome.stdout.head.decode(), outcome
    assert any("no descriptor left" in one.reason for one in outcome.contacts), outcome.contacts


async def test_five_hundred_connections_at_a_time(online: Net):
    outcome = await online.run(
        script("""
            import asyncio

            async def one(number):
                reader, writer = await asyncio.open_connection("ok.test", 7)
                await opened.put(number)
                await all_open.wait()
                writer.write(b"%d\\n" % number)
                answer = await reader.readline()
                writer.close()
                return int(answer) == number

            async def main():
                global opened, all_open
                opened, all_open = asyncio.Queue(), asyncio.Event()
                tasks = [asyncio.create_task(one(number)) for number in range(500)]
                for _ in tasks:
                    await opened.get()
                all_open.set()
                print(sum(await asyncio.gather(*tasks)))

            asyncio.run(main())
        """)
    )
    assert outcome.stdout.head == b"500\n", outcome
    assert sum(one.connections for one in outcome.contacts) == 500


async def test_long_transfers_arrive_whole_both_ways(online: Net):
    outcome = await online.run(
        "curl -sS http://ok.test/bytes/30000000 | sha256sum; "
        "head -c 30000000 /dev/zero | tr '\\0' x | sha256sum; "
        "head -c 9000000 /dev/zero > up; curl -sS -T up http://ok.test/; "
        "curl -sS -T up https://ok.test/; curl -sS -H 'Expect: 100-continue' -T up http://ok.test/",
        "write",
    )
    first, second, *answers = outcome.stdout.head.decode().splitlines()
    assert first == second
    assert [answer.split()[-1] for answer in answers] == ["9000000"] * 3


async def test_a_half_closed_connection_goes_on_in_the_other_direction(online: Net):
    outcome = await online.run(
        script("""
            import socket
            s = socket.create_connection(("ok.test", 7), 5)
            s.sendall(b"y" * 100_000)
            s.shutdown(socket.SHUT_WR)
            got = 0
            while data := s.recv(1 << 16):
                got += len(data)
            print(got)
        """)
    )
    assert outcome.stdout.head == b"100000\n"


async def test_many_requests_of_one_kept_connection_are_each_looked_at(online: Net):
    urls = " ".join(["http://ok.test/"] * 30)
    outcome = await online.run(f"curl -sS {urls}")
    assert outcome.stdout.head.decode().count(HELLO) == 30
    (contact,) = outcome.contacts
    assert contact.connections == 1
    assert [one.method for one in online.asked if one.method] == ["GET"]  # asked once, kept


async def test_what_is_tried_over_and_over_is_counted_not_listed(online: Net):
    outcome = await online.run(
        script("""
            import socket
            for number in range(2000):
                try:
                    socket.create_connection((f"93.184.{number // 250}.{number % 250}", 80), 20)
                except OSError:
                    pass
        """)
    )
    assert len(outcome.contacts) <= 258
    assert {one.verdict for one in outcome.contacts} <= {"refused", "failed"}
    assert sum(one.connections for one in outcome.contacts) == 2000
