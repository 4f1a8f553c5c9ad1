"""The other end of `mcp_stdio`, a program: a server with one tool, until its stdin ends."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

from benchmarks.peers.common import answer

server = MCPServer("bench", log_level="ERROR")


@server.tool()
def call(fields: dict[str, Any]) -> dict[str, Any]:
    """What a host would do."""
    return answer(fields)


if __name__ == "__main__":
    server.run("stdio")
