"""The page behind a proxy with TLS: nginx, as the operator's guide configures it."""

from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client

from approvals.web.entry import MOST_FAILURES
from tests.approvals.web_rig import free_port
from tests.mcp_server.indoors import Indoors, append
from tests.mcp_server.test_approval_page import called, configured, served
from tests.tls_proxy import proxied


@pytest.mark.threat("T07")
@pytest.mark.threat("T19")
async def test_behind_nginx_a_person_signs_in_sees_what_moves_and_their_yes_runs(tmp_path: Path):
    port, page_port = free_port(), free_port()
    url, listen = f"https://localhost:{port}", f"{page_port}'}}"
    public = f"{page_port}', public_url: '{url}'}}"
    config = configured(tmp_path, page_port).replace(listen, public)
    (tmp_path / "config" / "permitgate" / "config.yaml").write_text(config)
    indoors = Indoors.make(tmp_path, config)
    with proxied(tmp_path / "nginx", port, page_port) as trust:
        ours = {"base_url": url, "trust_env": False, "timeout": 20, "headers": {"Origin": url}}
        async with served(indoors) as (client, link):
            async with httpx2.AsyncClient(**ours, verify=trust) as web:
                await signs_in_by(link, url, web)
                result = await says_yes(client, web)
                await guesses_until_slowed_down(web)
            elsewhere = httpx2.AsyncHTTPTransport(verify=trust, local_address="127.0.0.2")
            async with httpx2.AsyncClient(**ours, transport=elsewhere) as other:
                refused = await other.post("/page/enter", json={"token": "guess"})
                assert refused.status_code == 401
    indoors.app.close()
    assert (result["status"], indoors.runs("owner")) == ("ok", 1)


async def signs_in_by(link: str, url: str, web: httpx2.AsyncClient) -> None:
    """Enter from the page's own origin and name alone; the cookie stays within TLS."""
    at, _, token = link.partition("/#login=")
    assert at == url
    assert (await web.get("/")).status_code == 200
    strange = await web.get("/", headers={"Host": "evil.example"})
    assert strange.json()["error"] == "wrong_host"
    for origin in ("https://evil.example", url.replace("https", "http")):
        header = {"Origin": origin}
        refused = await web.post("/page/enter", json={"token": token}, headers=header)
        assert refused.json()["error"] == "wrong_origin"
    entered = await web.post("/page/enter", json={"token": token})
    web.headers["X-Permitgate-Key"] = entered.json()["key"]
    cookie = entered.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("; secure", "; httponly", "; samesite=strict"))


async def says_yes(client: Client, web: httpx2.AsyncClient) -> dict[str, object]:
    """Return what became of a call that was seen as it came and approved."""
    results: list[dict[str, object]] = []
    async with web.stream("GET", "/page/news") as news, anyio.create_task_group() as group:
        lines = news.aiter_lines()
        await moved(lines)
        group.start_soon(called, client, append("owner"), results)
        await moved(lines)
        (row,) = (await web.get("/api/v1/approvals")).json()["approvals"]
        said = {"answer": "approve", "seen_digest": row["request_digest"]}
        await web.post(f"/api/v1/approvals/{row['id']}/decisions", json=said)
        await moved(lines)
    return results[0]


async def moved(lines) -> None:
    """Wait for the next event of the page's news."""
    with anyio.fail_after(10):  # nginx would hold back some kilobytes
        while not (await anext(lines)).startswith("data:"):
            pass


async def guesses_until_slowed_down(web: httpx2.AsyncClient) -> None:
    said = [
        await web.post("/page/enter", json={"token": "guess"}) for _ in range(MOST_FAILURES + 1)
    ]
    assert [one.status_code for one in said] == [*[401] * MOST_FAILURES, 429]
