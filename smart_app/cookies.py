"""The binding cookie: it ties launch attempts and sessions to one browser (and, in a frame, to
one embedding site). Its value is random and means nothing by itself."""

import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import Response

CHART_COOKIE = "__Host-medsage"
HOME_COOKIE = "__Host-medsage-home"


def cookie_name(standalone: bool) -> str:
    """Which cookie binds a session: framed charts and the app's own pages never share one."""
    return HOME_COOKIE if standalone else CHART_COOKIE


def binding_of(request: Request, standalone: bool) -> str | None:
    """The hash under which this browser's sessions are kept, None without the cookie."""
    value = request.cookies.get(cookie_name(standalone))
    return hash_binding(value) if value else None


def hash_binding(value: str) -> str:
    """The stored form of a cookie's value."""
    return hashlib.sha256(value.encode()).hexdigest()


def is_bound(request: Request, binding: str, standalone: bool) -> bool:
    """Whether the request comes from the browser that the attempt or session belongs to."""
    mine = binding_of(request, standalone)
    return mine is not None and hmac.compare_digest(mine, binding)


def set_binding(response: Response, value: str, standalone: bool) -> None:
    """Append the Set-Cookie header; Python before 3.14 can't write `Partitioned` itself."""
    site = "SameSite=Lax" if standalone else "SameSite=None; Partitioned"
    name = cookie_name(standalone)
    header = f"{name}={value}; Secure; HttpOnly; Path=/; {site}"
    response.raw_headers.append((b"set-cookie", header.encode("latin-1")))
