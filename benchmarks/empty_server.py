"""An MCP server with one empty tool: what the protocol and the SDK cost by themselves.

May touch: standard input and output. Run as a program by protocol.py.
"""

from mcp.server.mcpserver import MCPServer

server = MCPServer[None]("empty", log_level="WARNING")


@server.tool()
def nothing(command: str) -> dict[str, str]:
    """Return what came."""
    return {"command": command}


if __name__ == "__main__":
    server.run("stdio")
