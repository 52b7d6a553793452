"""Protection of forms against requests forged by other sites (the framed cookie is SameSite=None).

Two checks, both must pass: the browser's word on where the request comes from, and a token that
only our own pages know."""

import hashlib
import hmac

from starlette.requests import Request


def form_token(secret: bytes, sid: str, binding: str) -> str:
    """The synchroniser token of one session in one browser."""
    return hmac.new(secret, f"form:{sid}:{binding}".encode(), hashlib.sha256).hexdigest()


def token_matches(expected: str, given: str) -> bool:
    """Constant-time comparison of form tokens."""
    return hmac.compare_digest(expected.encode(), given.encode())


def comes_from_us(request: Request, own_origin: str) -> bool:
    """Whether the browser says that the request was made by our own origin.

    `Sec-Fetch-Site` decides where it is sent: under `Referrer-Policy: no-referrer` the
    browser's own form posts carry `Origin: null`.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == own_origin
