"""A doctor's token: the SMART standalone launch as a browser would go through it, by HTTP."""

import base64
import hashlib
import secrets
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from deploy.demo.client import CLIENT_ID, REDIRECT_URI, demo_key
from deploy.demo.identities import PASSWORD
from fhir_server.system import new_id, utc_now

_SCOPE = "openid fhirUser user/*.cruds user/AuditEvent.c"
_MOST_STEPS = 6


class SignInFailed(Exception):
    """The authorization server did not give a token; the text says at which step."""


class _Fields(HTMLParser):
    """The hidden fields of the page's form."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        field = dict(attrs)
        if tag == "input" and field.get("type") == "hidden" and field.get("name"):
            self.found[str(field["name"])] = field.get("value") or ""


async def doctors_token(http: httpx.AsyncClient, base_url: str, user: str) -> str:
    """An access token of `user`, who signs in with the demonstration's password."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": _SCOPE,
        "state": state,
        "aud": f"{base_url}/fhir",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    http.cookies.clear()
    answer = await http.get(f"{base_url}/auth/authorize", params=asked)
    back = parse_qs(urlsplit(await _signed_in(http, answer, user)).query)
    if back.get("state") != [state] or "code" not in back:
        raise SignInFailed(f"authorize: {back.get('error', ['no code'])[0]}")
    return await _redeem(http, base_url, back["code"][0], verifier)


async def _signed_in(http: httpx.AsyncClient, answer: httpx.Response, user: str) -> str:
    """Follow the server's pages to the redirect URI."""
    for _ in range(_MOST_STEPS):
        if answer.status_code in (302, 303):
            url = str(answer.url.join(answer.headers["location"]))
            if url.startswith(REDIRECT_URI):
                return url
            answer = await http.get(url)
        elif answer.status_code == 200:
            form = _Fields(answer.text).found | {"username": user, "password": PASSWORD}
            action = answer.url.copy_with(query=None)
            origin = f"{action.scheme}://{action.netloc.decode()}"
            answer = await http.post(action, data=form, headers={"Origin": origin})
        else:
            raise SignInFailed(f"HTTP {answer.status_code} at {answer.url.path}")
    raise SignInFailed("the sign-in page was shown again and again")


async def _redeem(http: httpx.AsyncClient, base_url: str, code: str, verifier: str) -> str:
    token_url = f"{base_url}/auth/token"
    now = int(utc_now().timestamp())
    claims = {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": token_url,
        "iat": now,
        "exp": now + 240,
        "jti": new_id(),
    }
    header = {"alg": "ES384", "typ": "JWT", "kid": CLIENT_ID}
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(header, claims, ECKey.import_key(demo_key()), ["ES384"]),
    }
    answer = await http.post(token_url, data=form)
    if answer.status_code != 200:
        raise SignInFailed(f"token: {answer.json().get('error', answer.status_code)}")
    token: str = answer.json()["access_token"]
    return token
