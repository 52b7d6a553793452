"""A browser in miniature for tests of the app: cookies by hand (httpx would not send Secure ones
over plain HTTP), redirects followed on request, forms filled from the page's hidden fields."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.routing import Mount

from smart_app.app import create_app
from smart_app.cell_check import CellCheck
from smart_app.issuers import AppConfig, Issuer
from tests.app_server import FHIR, ORIGIN, RecordSystem

EHR = "http://127.0.0.1:5000"


class Clock:
    """A clock that a test can move."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class World:
    """The app and its record system, without a network."""

    def __init__(
        self,
        origin: str = ORIGIN,
        ehr: str = EHR,
        max_upload_bytes: int = 200_000,
        cell_check: CellCheck | None = None,
    ):
        key = ECKey.generate_key("P-384", {"kid": "app"})
        self.clock = Clock()
        self.records = RecordSystem(key, origin)
        transport = httpx.ASGITransport(self.records.app)
        http = httpx.AsyncClient(transport=transport, base_url=origin)
        private = key.as_dict(private=True)
        issuer = Issuer("Demo", self.records.fhir, "medsage-app", private, (ehr,))
        config = AppConfig(
            origin,
            (issuer,),
            b"s" * 32,
            max_upload_bytes=max_upload_bytes,
            max_total_bytes=2 * max_upload_bytes,
            cell_check=cell_check,
        )
        app = create_app(config, http, clock=self.clock)
        self.app = Starlette(routes=[Mount("/app", app)])

    def browser(self) -> "Browser":
        """A new browser."""
        return Browser(self.app, self)


class Browser:
    """One browser with its own cookies."""

    def __init__(self, app: Any, world: World | None = None, origin: str = ORIGIN) -> None:
        self.world = world
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url=origin)
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """GET without following redirects."""
        return await self._send("GET", path, headers=headers)

    async def post(self, path: str, fields: Any = None, **options: Any) -> httpx.Response:
        """POST a form as the browser would from our own page."""
        headers = {"sec-fetch-site": "same-origin", **options.pop("headers", {})}
        return await self._send("POST", path, data=fields or {}, headers=headers, **options)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers"))
        headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        answer = await self.http.request(method, path, headers=headers, **options)
        for header in answer.headers.get_list("set-cookie"):
            name, _, value = header.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def through_authorization(self, answer: httpx.Response) -> str:
        """Follow a redirect to the authorization server; where it sends the browser back to."""
        assert self.world is not None
        transport = httpx.ASGITransport(self.world.records.app)
        async with httpx.AsyncClient(transport=transport) as elsewhere:
            back = await elsewhere.get(answer.headers["location"])
        url = urlsplit(back.headers["location"])
        return f"{url.path}?{url.query}"

    async def launch(self) -> str:
        """A whole EHR launch; the path of the chart (`/app/s/…/`)."""
        answer = await self.get(f"/app/launch?iss={FHIR}&launch=xyz")
        done = await self.get(await self.through_authorization(answer))
        assert done.status_code == 303, done.text
        return str(done.headers["location"])

    async def sign_in(self) -> str:
        """A whole standalone sign-in; the path of the session."""
        answer = await self.post("/app/sign-in", {"issuer": FHIR})
        done = await self.get(await self.through_authorization(answer))
        assert done.status_code == 303, done.text
        return str(done.headers["location"]).removesuffix("patients")

    async def submit(self, page: str, path: str, **fields: Any) -> httpx.Response:
        """POST a form with the hidden fields that `page` carries."""
        found = (await self.get(page)).text
        return await self.post(path, {**hidden_fields(found), **fields})


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms (the last of each name)."""
    pattern = r'<input type="hidden" name="([^"]+)" value="([^"]*)">'
    return dict(re.findall(pattern, page))


def query_of(answer: httpx.Response) -> dict[str, str]:
    """The query of a redirect's target."""
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    return {name: values[0] for name, values in query.items()}
