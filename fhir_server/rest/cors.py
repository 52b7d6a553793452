"""Cross-origin requests (Fetch standard, CORS): registered origins reach the FHIR base, any
origin reads the CapabilityStatement. No cookies are involved, so none are allowed."""

from collections.abc import Awaitable, Callable

from fhir_server.rest.body import PATCH_FORMATS
from fhir_server.rest.request import Headers, Message, Send

AllowsOrigin = Callable[[str], Awaitable[bool]]

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = (
    b"accept, authorization, content-type, idempotency-key, if-match, if-modified-since,"
    b" if-none-exist, if-none-match, prefer, x-request-id, x-security-context"
)
_EXPOSED = (
    b"accept-patch, content-disposition, content-location, etag, idempotency-replayed,"
    b" last-modified, location, preference-applied, retry-after, www-authenticate, x-progress,"
    b" x-request-id, x-security-context"
)


async def allowed_origin(headers: Headers, path: str, allows_origin: AllowsOrigin) -> bytes | None:
    """The value of Access-Control-Allow-Origin for this request; None when there is none."""
    origin = headers.get("origin")
    if origin is None:
        return None
    if path.strip("/") == "metadata":
        return b"*"
    return origin.encode("latin-1") if await allows_origin(origin) else None


def with_origin(send: Send, origin: bytes | None) -> Send:
    """`send`, adding the CORS headers for an allowed origin."""
    if origin is None:
        return send
    added = (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
    )

    async def send_with_origin(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return send_with_origin


async def send_preflight(send: Send, *, is_allowed: bool) -> None:
    """The answer to OPTIONS, with what may be sent; bare for an origin that is not allowed."""
    patches = ", ".join(PATCH_FORMATS).encode()
    headers = [(b"allow", _METHODS), (b"accept-patch", patches), (b"vary", b"origin")]
    if is_allowed:
        headers += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
