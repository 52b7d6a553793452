"""The browser's side of a sign-in: its cookies, and proof that a form came from our own page."""

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.records import Session, digest
from fhir_server.security.authorization.server import AuthorizationServer
from fhir_server.storage.port import Record

_SESSION = "medsage-session"
_FORM = "medsage-form"


async def browser_session(server: AuthorizationServer, request: Request) -> Record | None:
    """The session record that the browser's cookie names, while it lives."""
    secret = session_secret(server, request)
    return await server.store.record(Session.KIND, digest(secret)) if secret else None


def session_secret(server: AuthorizationServer, request: Request) -> str | None:
    """The value of the session cookie."""
    return request.cookies.get(_name(server, _SESSION))


def keep_session(server: AuthorizationServer, response: Response, secret: str) -> None:
    """Set the session cookie."""
    _set(server, response, _SESSION, secret, server.lifetimes.session)


def forget_session(server: AuthorizationServer, response: Response) -> None:
    """Remove the session cookie."""
    _set(server, response, _SESSION, "", 0)


def form_secret(server: AuthorizationServer, request: Request) -> str | None:
    """The secret that forms shown before a sign-in are bound to."""
    return request.cookies.get(_name(server, _FORM))


def keep_form_secret(server: AuthorizationServer, response: Response, secret: str) -> None:
    """Set the cookie for forms shown before a sign-in."""
    _set(server, response, _FORM, secret, server.lifetimes.request)


def form_token(secret: str, purpose: str) -> str:
    """The CSRF token of a form: only who has the secret can make it, and for one purpose."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def is_own_form(request: Request, sent: str | None, secret: str | None, purpose: str) -> bool:
    """Whether a submitted form came from our own page in the same browser. The token decides;
    Sec-Fetch-Site and Origin refuse what a browser itself calls foreign. (Under the referrer
    policy no-referrer a browser sends `Origin: null` from our own pages too.)"""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin", "null")
    if origin != "null" and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    if not secret or not sent:
        return False
    return hmac.compare_digest(sent.encode(), form_token(secret, purpose).encode())


def _name(server: AuthorizationServer, name: str) -> str:
    return f"__Secure-{name}" if server.is_secure else name


def _set(
    server: AuthorizationServer, response: Response, name: str, value: str, seconds: int
) -> None:
    response.set_cookie(
        _name(server, name),
        value,
        max_age=seconds,
        path=urlsplit(server.issuer).path,
        secure=server.is_secure,
        httponly=True,
        samesite="lax",
    )
