"""A process served and ended as MedSAGE's are: `python -m tests.draining_server PORT SECONDS`.

It answers each request with its own process id, a few milliseconds later, and `/long` when the end
was asked for.
"""

import asyncio
import os
import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from deploy.draining import Draining
from deploy.serving import bound, heeding, serve

PAUSE_SECONDS = 0.005


async def main(port: int, drain_seconds: float) -> None:
    """Serve until SIGTERM has ended it."""
    draining = Draining()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        while scope["path"] == "/long" and not draining.has_begun:
            await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
        body = str(os.getpid()).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(answer, lifespan="off", log_config=None, access_log=False)
    with bound("127.0.0.1", port) as listening, heeding(draining):
        await serve(config, listening, draining, drain_seconds)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
