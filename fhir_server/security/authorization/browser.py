"""The browser's side of a sign-in: its cookies, and proof that a form came from our own page."""

import hashlib
import hmac
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.lockout import Source, source_of_address
from fhir_server.security.authorization.records import Session, digest
from fhir_server.security.authorization.server import AuthorizationServer, address_of
from fhir_server.storage.port import Record

_SESSION = "medsage-session"
_FORM = "medsage-form"
_KNOWN = "medsage-known"
_KNOWN_SECONDS = 90 * 24 * 3600
_USED_SECONDS = 60
KNOWN = "known-browser"
USED = "session-used"
_BROWSERS = {
    "Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome",
    "Safari/": "Safari",
}  # fmt: skip
_SYSTEMS = {
    "Windows": "Windows", "Android": "Android", "iPhone": "iOS", "iPad": "iOS",
    "Mac OS X": "macOS", "CrOS": "ChromeOS", "Linux": "Linux",
}  # fmt: skip


async def browser_session(server: AuthorizationServer, request: Request) -> Record | None:
    """The session record that the browser's cookie names, while it lives; notes that it is used,
    to the minute."""
    secret = session_secret(server, request)
    session = await server.store.record(Session.KIND, digest(secret)) if secret else None
    if session is not None:
        await _note_use(server, session)
    return session


async def _note_use(server: AuthorizationServer, session: Record) -> None:
    noted = await server.store.record(USED, session.id)
    if server.now() - (noted.value["at"] if noted else session.value["started"]) > _USED_SECONDS:
        used = use_of(server, session.id)
        await server.store.transaction(lambda tx: tx.put_record(used))


def use_of(server: AuthorizationServer, session: str) -> Record:
    """The record that a session is used now; kept for as long as a session can last from now."""
    expires = server.clock() + timedelta(seconds=server.lifetimes.session)
    return Record(USED, session, {"at": server.now()}, expires=expires)


def known_secret(server: AuthorizationServer, request: Request) -> str | None:
    """The secret of a browser that somebody has signed in from before."""
    return request.cookies.get(_name(server, _KNOWN))


def keep_known_secret(server: AuthorizationServer, response: Response, secret: str) -> None:
    """Set the cookie by which the browser is known again."""
    _set(server, response, _KNOWN, secret, _KNOWN_SECONDS)


def known_record(server: AuthorizationServer, secret: str, user: str) -> Record:
    """The record that the user has signed in from the browser."""
    expires = server.clock() + timedelta(seconds=_KNOWN_SECONDS)
    return Record(KNOWN, f"{digest(secret)}\x1f{digest(user)}", {}, expires=expires)


async def source_of(server: AuthorizationServer, request: Request, name: str) -> Source:
    """Where an attempt to sign in under the name comes from."""
    secret = known_secret(server, request)
    if secret:
        known = known_record(server, secret, name)
        if await server.store.record(KNOWN, known.id) is not None:
            return Source(f"browser {digest(secret)}", is_known=True)
    return source_of_address(address_of(request))


def browser_family(request: Request) -> str:
    """Browser and system as their owner would call them."""
    agent = request.headers.get("user-agent", "")
    browser = next((name for word, name in _BROWSERS.items() if word in agent), None)
    system = next((name for word, name in _SYSTEMS.items() if word in agent), None)
    return " on ".join(name for name in (browser or "another browser", system) if name)


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
