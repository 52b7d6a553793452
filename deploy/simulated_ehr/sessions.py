"""Who is signed in at the simulated EHR: kept in memory, named by a cookie."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from deploy.simulated_ehr.oauth import Tokens

PATH = "/ehr"
_COOKIE = "medsage-ehr"
_SESSION_SECONDS = 12 * 3600
_ATTEMPT_SECONDS = 600


@dataclass(frozen=True)
class Attempt:
    """A sign-in on its way: what the callback has to match."""

    state: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True)
class _Kept:
    value: Tokens | Attempt
    expires: float


class Sessions:
    """Sign-in attempts and signed-in clinicians by the secret in the browser's cookie."""

    def __init__(self, clock: Callable[[], datetime], new_secret: Callable[[], str]) -> None:
        self._clock = clock
        self._new_secret = new_secret
        self._kept: dict[str, _Kept] = {}

    def tokens(self, request: Request) -> Tokens | None:
        """The signed-in clinician's tokens."""
        value = self._value(request)
        return value if isinstance(value, Tokens) else None

    def attempt(self, request: Request) -> Attempt | None:
        """The sign-in that this browser has begun."""
        value = self._value(request)
        return value if isinstance(value, Attempt) else None

    def start(self, response: Response, value: Tokens | Attempt, *, is_secure: bool) -> None:
        """Keep the value under a fresh secret, and set the cookie."""
        seconds = _SESSION_SECONDS if isinstance(value, Tokens) else _ATTEMPT_SECONDS
        now = self._clock().timestamp()
        self._kept = {name: kept for name, kept in self._kept.items() if kept.expires > now}
        secret = self._new_secret()
        self._kept[secret] = _Kept(value, now + seconds)
        response.set_cookie(
            _COOKIE, secret, path=PATH, httponly=True, samesite="lax", secure=is_secure
        )

    def update(self, request: Request, tokens: Tokens) -> None:
        """Replace the tokens after a refresh."""
        secret = request.cookies.get(_COOKIE, "")
        kept = self._kept.get(secret)
        if kept is not None:
            self._kept[secret] = _Kept(tokens, kept.expires)

    def end(self, request: Request, response: Response) -> None:
        """Forget the browser."""
        self._kept.pop(request.cookies.get(_COOKIE, ""), None)
        response.delete_cookie(_COOKIE, path=PATH)

    def _value(self, request: Request) -> Tokens | Attempt | None:
        kept = self._kept.get(request.cookies.get(_COOKIE, ""))
        if kept is None or kept.expires <= self._clock().timestamp():
            return None
        return kept.value
