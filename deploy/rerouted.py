"""Reaching the server role by its inner address while speaking of it by its public one.

Tokens, links and the issuer name the public origin; between containers the same requests go
straight to the server, without a way out through the proxy and its certificate.
"""

import httpx


class Rerouted(httpx.AsyncBaseTransport):
    """Sends requests for the origin `public` to `inner` (an origin too) under the public Host
    and protocol; everything else goes where it says. Without cookies, redirects and proxies."""

    def __init__(self, transport: httpx.AsyncBaseTransport, public: str, inner: str) -> None:
        self._transport = transport
        self._public = httpx.URL(public)
        self._inner = httpx.URL(inner)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if _origin(request.url) == _origin(self._public):
            request.headers["Host"] = self._public.netloc.decode("ascii")
            request.headers["X-Forwarded-Proto"] = self._public.scheme
            request.url = request.url.copy_with(
                scheme=self._inner.scheme, host=self._inner.host, port=self._inner.port
            )
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default
