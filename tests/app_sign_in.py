"""The authorization server's own pages, gone through as a person and as a record system does."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx
from joserfc.jwk import ECKey

from smart_app.launch.exchange import ASSERTION_TYPE
from smart_app.launch.keys import client_assertion
from tests.app_browser import Browser, hidden_fields
from tests.app_world import EHR_ORIGIN, ORIGIN, PASSWORD


async def sign_in_at(browser: Browser, url: str, until: str, user: str = "dr.amina") -> str:
    """Go through the authorization server's own pages; the address that it sends back to."""
    while not url.startswith(until):
        page = await browser.get(url)
        here = httpx.URL(ORIGIN).join(url)
        if page.status_code == 200:
            action = re.search(r'action="([^"]+)"', page.text)
            assert action, page.text
            who = {"user": user, "username": user, "password": PASSWORD}
            fields = {**hidden_fields(page.text), **who}
            page = await browser.post(str(here.join(action[1])), fields)
        assert page.status_code in {302, 303}, page.text
        url = str(here.join(page.headers["location"]))
    return url


async def launch_handle(browser: Browser, key: ECKey, client: str, origin: str = ORIGIN) -> str:
    """The `launch` that the record system makes for an app, for p1, at the server of `origin`."""
    callback = f"{EHR_ORIGIN}/ehr/callback"
    verifier = "v" * 64
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": "medsage-ehr",
        "redirect_uri": callback,
        "scope": "openid fhirUser user/Patient.rs",
        "state": "s" * 32,
        "aud": f"{origin}/fhir",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    back = await sign_in_at(browser, f"{origin}/auth/authorize?{urlencode(asked)}", callback)
    form = {
        "grant_type": "authorization_code",
        "code": httpx.URL(back).params["code"],
        "redirect_uri": callback,
        "code_verifier": verifier,
        "client_id": "medsage-ehr",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": client_assertion(
            "medsage-ehr",
            key.as_dict(private=True),
            audience=f"{origin}/auth/token",
            now=datetime.now(UTC),
        ),
    }
    token = (await browser.post(f"{origin}/auth/token", form)).json()["access_token"]
    handle = await browser.http.post(
        f"{origin}/auth/launch",
        json={"client_id": client, "patient": "p1"},
        headers={"authorization": f"Bearer {token}"},
    )
    return str(handle.json()["launch"])
