"""GET from an address that somebody else chose, without being sent where only this server can go
(server-side request forgery).

The name is resolved once, every address that it resolves to is checked, and the connection is
made to an address that was checked, so a name that resolves differently a moment later leads
nowhere else. The certificate is still that of the name. Redirects are not followed; time and size
are bounded.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

SECONDS = 5.0
_TIMES = httpx.Timeout(SECONDS, connect=2)
MOST_BYTES = 64 * 1024
_DEFAULT_PORTS = {"https": 443, "http": 80}
_NAT64 = IPv6Network("64:ff9b::/96")

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Unreachable(Exception):
    """Nothing was fetched; the text says why, free of what the other side sent."""


@dataclass(frozen=True)
class Reach:
    """Where may be fetched from: the public internet by https, and the operator's `networks`.
    `allows_http` is for development."""

    networks: tuple[Network, ...] = ()
    allows_http: bool = False


@dataclass(frozen=True)
class Fetched:
    """A whole answer with status 200; the names of `headers` are in lower case."""

    body: bytes
    headers: Mapping[str, str]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system resolves it; OSError when it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class CheckedFetch:
    """Fetches within a Reach. `resolve` and `trusted` (the TLS settings) are injected in tests."""

    def __init__(
        self,
        reach: Reach,
        *,
        resolve: Resolve = resolve,
        trusted: Callable[[], ssl.SSLContext] = _trusted,
    ) -> None:
        self._reach = reach
        self._resolve = resolve
        self._trusted = trusted

    async def __call__(self, url: str) -> Fetched:
        """What a GET of the address answers; Unreachable when it may not be, or can't be, had."""
        try:
            parsed = httpx.URL(url)
            async with asyncio.timeout(SECONDS):
                return await self._first(parsed, await self._addresses(parsed))
        except TimeoutError as problem:
            raise Unreachable(f"no answer within {SECONDS:.0f} s") from problem
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as problem:
            raise Unreachable(f"the connection failed ({type(problem).__name__})") from problem

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of a host, all of which are allowed."""
        if url.scheme != "https" and not (url.scheme == "http" and self._reach.allows_http):
            raise Unreachable("the address is not https")
        port = url.port or _DEFAULT_PORTS[url.scheme]
        addresses = await self._resolve(url.raw_host.decode("ascii"), port)
        if not addresses:
            raise Unreachable("the host has no address")
        if not all(is_allowed(one, self._reach.networks) for one in addresses):
            raise Unreachable("the host's address is not a public one")
        return addresses

    async def _first(self, url: httpx.URL, addresses: Sequence[str]) -> Fetched:
        """The answer of the first address that lets itself be connected to."""
        for address in addresses[:-1]:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._get(url, address)
        return await self._get(url, addresses[-1])

    async def _get(self, url: httpx.URL, address: str) -> Fetched:
        request = httpx.Request(
            "GET",
            url.copy_with(host=address),
            headers={
                "Host": url.netloc.decode("ascii"),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        async with httpx.AsyncClient(
            verify=self._trusted(), timeout=_TIMES, trust_env=False, follow_redirects=False
        ) as http:
            answer = await http.send(request, stream=True)
            try:
                return Fetched(await _body(answer), dict(answer.headers))
            finally:
                await answer.aclose()


async def _body(answer: httpx.Response) -> bytes:
    if answer.status_code != 200:
        raise Unreachable(f"answered with status {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Unreachable("the answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Unreachable(f"the answer has more than {MOST_BYTES} bytes")
    return bytes(body)


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address is public, or in one of the networks."""
    try:
        carried = _carried(ip_address(address))
    except ValueError:
        return False  # with a zone, or no address at all
    return any(carried[-1] in network for network in networks) or all(map(_is_public, carried))


def networks_from(text: str) -> tuple[Network, ...]:
    """Networks and addresses, separated by commas; ValueError names what is none."""
    words = [word.strip() for word in text.split(",")]
    return tuple(ip_network(word) for word in words if word)


def _carried(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that it leads to through a mapping or a tunnel."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address.teredo is not None:
        return (address, *address.teredo)
    if address in _NAT64:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast
