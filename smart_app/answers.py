"""Answers of other servers, bounded in time and size, and never taken for what they are not."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

MOST_BYTES = 16 * 1024 * 1024


class TooLarge(httpx.HTTPError):
    """An answer with more bytes than the app takes from another server."""


async def bounded(
    http: httpx.AsyncClient, method: str, url: str, *, seconds: float, **options: Any
) -> httpx.Response:
    """The whole answer, read within `seconds` in all (httpx itself limits single steps only).
    Raises httpx.HTTPError when it does not come, comes too slowly or is too large. Redirects are
    not followed: they could lead a token to another server."""
    request = http.build_request(method, url, timeout=seconds, **options)
    try:
        async with asyncio.timeout(seconds):
            answer = await http.send(request, stream=True, follow_redirects=False)
            try:
                content = await _content(answer)
            finally:
                await answer.aclose()
    except TimeoutError as error:
        raise httpx.ReadTimeout("the whole answer took too long", request=request) from error
    return httpx.Response(
        answer.status_code, headers=_plain(answer.headers), content=content, request=request
    )


async def _content(answer: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise TooLarge("the answer is too large")
        parts.append(part)
    return b"".join(parts)


def _plain(headers: httpx.Headers) -> Mapping[str, str]:
    # What was read is decoded already.
    coded = {"content-encoding", "content-length", "transfer-encoding"}
    return {name: value for name, value in headers.items() if name.lower() not in coded}
