"""Where Subscriptions may have notifications sent: the public internet, and the networks that the
operator names. An endpoint is somebody else's choice, and its name may lead elsewhere at any time:
it is judged by the addresses that it has when it is asked for, and by those that a notification is
about to be sent to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from fhir_server.security.checked_fetch import (
    Network,
    Resolve,
    is_allowed,
    networks_from,
    resolve,
)

WORKER = "medsage-worker"
"""The client of this installation's own worker, which is woken where it listens, wherever that
is."""
_EVERYWHERE = frozenset(networks_from("0.0.0.0/0, ::/0"))
_LOOK_SECONDS = 2.0
_DEFAULT_PORTS = {"https": 443, "http": 80}


class OutOfReach(Exception):
    """Nothing is sent there; the text says why, without the address."""


@dataclass(frozen=True)
class Endpoints:
    """`networks` are those besides the public internet; `own` are origins of this installation
    itself, which lie where they lie. `resolve` is injected in tests."""

    networks: tuple[Network, ...]
    own: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def is_own(self, endpoint: str) -> bool:
        """Whether it is at an origin of this installation."""
        return _origin(endpoint) in map(_origin, self.own)

    async def require(self, endpoint: str) -> None:
        """OutOfReach for an endpoint that lies outside. One that has no address now may have one
        when something is to be sent."""
        if self.is_own(endpoint) or set(self.networks) >= _EVERYWHERE:
            return
        with suppress(OSError, TimeoutError, httpx.InvalidURL, ValueError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self.addresses(httpx.URL(endpoint))

    async def addresses(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of a host, all of which are allowed. OutOfReach when one is not, OSError
        when it has none."""
        port = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
        try:
            found = await self.resolve(url.raw_host.decode("ascii"), port)
        except UnicodeError as problem:
            raise OSError("the host can be no name") from problem
        if not found:
            raise OSError("the host has no address")
        if not all(is_allowed(each, self.networks) for each in found):
            raise OutOfReach(
                "channel.endpoint lies in a network to which no notifications are sent; the setting"
                " MEDSAGE_SUBSCRIPTION_NETWORKS names those that may be, besides the public"
                " internet"
            )
        return found


ANYWHERE = Endpoints(tuple(_EVERYWHERE))


class Within(httpx.AsyncBaseTransport):
    """Sends to allowed addresses alone: the name is resolved once for each request, and the
    connection is made to an address that was judged. It is made anew each time, so that none is
    used for another name of the same address. Certificates are still those of the name."""

    def __init__(self, endpoints: Endpoints, trusted: ssl.SSLContext) -> None:
        self._endpoints = endpoints
        self._trusted = trusted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the first address that lets itself be connected to; raises OutOfReach."""
        try:
            addresses = await self._endpoints.addresses(request.url)
        except OSError as problem:
            raise httpx.ConnectError("the host has no address", request=request) from problem
        one_way = httpx.AsyncHTTPTransport(verify=self._trusted, trust_env=False)
        try:
            answer = await _first(one_way, request, addresses)
        except BaseException:
            await one_way.aclose()
            raise
        stream = _Last(answer, one_way)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=stream, extensions=answer.extensions
        )


class _Last(httpx.AsyncByteStream):
    """The body of an answer, whose connection ends with it."""

    def __init__(self, answer: httpx.Response, one_way: httpx.AsyncHTTPTransport) -> None:
        self._answer = answer
        self._one_way = one_way

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_raw():
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()
        await self._one_way.aclose()


async def _first(
    one_way: httpx.AsyncHTTPTransport, request: httpx.Request, addresses: Sequence[str]
) -> httpx.Response:
    for address in addresses[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await one_way.handle_async_request(_to(request, address))
    return await one_way.handle_async_request(_to(request, addresses[-1]))


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """The same request, sent to the address."""
    name = request.url.raw_host.decode("ascii")
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": name},
    )


def _origin(text: str) -> tuple[str, str, int] | None:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return None
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme, 0)
