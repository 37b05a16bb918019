"""The whole MCP surface of one app: every tool and resource, on one server.

May touch: the SDK, the tools. `examples/server.py` and both transports build from here.
"""

import json
from importlib.metadata import version

from anyio import to_thread
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings

from mcp_server.app import App
from mcp_server.server import PermitgateServer
from mcp_server.tool import AnyTool
from mcp_server.tools import approvals, audit, change_sets, execute, files, patch, remote
from policy.obligations import described
from policy.rules import Rule


def all_tools(app: App) -> list[AnyTool]:
    """Return every tool of the surface, in the order clients list them."""
    return [
        tool
        for family in (execute, files, patch, change_sets, remote, approvals, audit)
        for tool in family.tools(app)
    ]


def build_server(
    app: App, *, token_verifier: TokenVerifier | None = None, auth: AuthSettings | None = None
) -> PermitgateServer:
    """Return a server with every tool and resource of `app`."""
    server = PermitgateServer(
        all_tools(app), app, version=version("permitgate"), token_verifier=token_verifier, auth=auth
    )

    @server.resource(
        "policy://active",
        title="The policy in force",
        description="Every rule in force with its place; what no rule covers takes the default.",
        mime_type="application/json",
    )
    async def active_policy() -> str:
        return json.dumps(policy_document(app), indent=1)

    @server.resource(
        "audit://checkpoint",
        title="The audit log's checkpoint",
        description="The newest signed tree head (C2SP signed note).",
        mime_type="text/plain",
    )
    async def checkpoint() -> str:
        return await to_thread.run_sync(audit.read_checkpoint, app)

    return server


def policy_document(app: App) -> dict[str, object]:
    """Return the rules in force as plain values; a key that a rule leaves out is left out."""
    policy = app.policy
    return {
        "digest": policy.digest,
        "sources": list(policy.names),
        "default": policy.default.name.lower(),
        "problem": app.live.problem,  # why the files on disk are not in force, if they are not
        "rules": [_rule(rule) for rule in policy.rules],
        "rewrites": [
            {
                "id": rewrite.id,
                "place": rewrite.place,
                "programs": [" ".join(words) for words in rewrite.programs],
                "args": list(rewrite.args),
                "argv": list(rewrite.argv),
                "tools": sorted(rewrite.tools),
                "reason": rewrite.reason,
            }
            for rewrite in policy.rewrites
        ],
    }


def _rule(rule: Rule) -> dict[str, object]:
    narrowed: dict[str, object] = {
        "except": list(rule.exceptions),
        "with": sorted(rule.together_with),
        "programs": sorted(rule.programs),
        "args": list(rule.args),
        "tools": sorted(rule.tools),
        "subjects": list(rule.subjects),
        "hosts": list(rule.hosts),
        "ports": [f"{first}-{last}" for first, last in rule.ports],
        "methods": sorted(rule.methods),
        "remote_hosts": list(rule.remote_hosts),
        "lifts": sorted(rule.lifts),
        "demands": [f"{key} {text}" for key, text in described(rule.obligations)],
        "grantable": rule.grantable,
    }
    return {
        "id": rule.id,
        "place": rule.place,
        "effect": rule.effect.name.lower(),
        "operations": sorted(rule.operations),
        "resources": list(rule.resources) if rule.resources is not None else None,
        **{key: value for key, value in narrowed.items() if value},
        "reason": rule.reason,
    }
