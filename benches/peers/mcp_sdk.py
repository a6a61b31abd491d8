"""The Python `mcp` SDK's client as a load generator: N sessions, each calling `echo` again and again.

Arguments: URL TOKEN SESSIONS SECONDS PAUSE_MS. The seconds count from when every session is open.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def user(client: Client, until: float, pause: float) -> None:
    while time.monotonic() < until:
        result = await client.call_tool("echo", {"text": "hello from a virtual user"})
        if result.is_error:
            raise RuntimeError(f"the tool failed: {result}")
        if pause:
            await asyncio.sleep(pause)


def connect(url: str, token: str) -> Client:
    # The SDK's own HTTP client, one each: what it makes by itself where no header is wanted.
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
    return Client(streamable_http_client(url, http_client=http))


async def main(url: str, token: str, sessions: int, seconds: float, pause: float) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(url, token)) for _ in range(sessions)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(user(client, until, pause) for client in clients))


if __name__ == "__main__":
    _, url, token, sessions, seconds, pause_ms = sys.argv
    asyncio.run(main(url, token, int(sessions), float(seconds), float(pause_ms) / 1000))
