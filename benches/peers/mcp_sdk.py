"""The Python `mcp` SDK's client as a load generator: N sessions, each calling `echo` again and again.

Arguments: URL SESSIONS SECONDS PAUSE_MS. The seconds count from when every session is open.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

from mcp import Client


async def user(client: Client, until: float, pause: float) -> None:
    while time.monotonic() < until:
        result = await client.call_tool("echo", {"text": "hello from a virtual user"})
        if result.is_error:
            raise RuntimeError(f"the tool failed: {result}")
        if pause:
            await asyncio.sleep(pause)


async def main(url: str, sessions: int, seconds: float, pause: float) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url)) for _ in range(sessions)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(user(client, until, pause) for client in clients))


if __name__ == "__main__":
    _, url, sessions, seconds, pause_ms = sys.argv
    asyncio.run(main(url, int(sessions), float(seconds), float(pause_ms) / 1000))
