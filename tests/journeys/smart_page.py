"""A foreign SMART app for a browser: pages on a loopback port of their own, with the SMART JS
client from npm and nothing else."""

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from playwright.sync_api import Page

from tests.availability import fhirclient

BUNDLE = "package/build/fhir-client.js"
CLIENT_ID = "journey-app"
LAUNCH = "/launch.html"
STANDALONE = "/standalone.html"
REDIRECT = "/app.html"
_LAUNCH_PAGE = """<!doctype html><title>Launching</title><script src="/fhir-client.js"></script>
<script>FHIR.oauth2.authorize(OPTIONS).catch(console.error)</script>"""
# What a small app does: read its patient and user, search, refresh, read again.
_APP_PAGE = """<!doctype html><title>App</title><script src="/fhir-client.js"></script><pre></pre>
<script>
const show = result => { document.querySelector("pre").textContent = JSON.stringify(result) };
FHIR.oauth2.ready().then(async client => {
  const first = client.getState("tokenResponse.access_token");
  const patient = await client.patient.read();
  const user = await client.user.read();
  const found = await client.request(
    `Observation?patient=${client.patient.id}&_count=3`, { pageLimit: 0, flat: true });
  await client.refresh();
  const again = await client.patient.read();
  show({
    told: client.getState("tokenResponse"), patient, user, found,
    isRefreshed: first !== client.getState("tokenResponse.access_token"), again: again.id,
    encounter: client.encounter.id,
  });
}).catch(problem => show({ problem: String(problem) }));
</script>"""


@dataclass(frozen=True)
class SmartPage:
    """The app's address; `result` is what its page shows at the end."""

    origin: str

    @property
    def launch_uri(self) -> str:
        return self.origin + LAUNCH

    @property
    def redirect_uri(self) -> str:
        return self.origin + REDIRECT

    def result(self, page: Page) -> Mapping[str, Any]:
        """Wait for the app's page to be done."""
        page.wait_for_url(f"{self.redirect_uri}*")
        page.wait_for_function("document.querySelector('pre').textContent !== ''")
        shown: Mapping[str, Any] = json.loads(page.locator("pre").inner_text())
        return shown


@contextmanager
def smart_page(iss: str, launch_scope: str, standalone_scope: str) -> Iterator[SmartPage]:
    """Serve the app until the end; it asks `iss` for these scopes."""
    shared = {"clientId": CLIENT_ID, "redirectUri": REDIRECT, "pkceMode": "required"}
    launch = {**shared, "scope": launch_scope}
    standalone = {**shared, "scope": standalone_scope, "iss": iss}
    pages = {
        "/fhir-client.js": ("text/javascript", _bundle()),
        LAUNCH: ("text/html", _LAUNCH_PAGE.replace("OPTIONS", json.dumps(launch)).encode()),
        STANDALONE: ("text/html", _LAUNCH_PAGE.replace("OPTIONS", json.dumps(standalone)).encode()),
        REDIRECT: ("text/html", _APP_PAGE.encode()),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, pages))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield SmartPage(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Page(BaseHTTPRequestHandler):
    def __init__(self, pages: Mapping[str, tuple[str, bytes]], *given: Any) -> None:
        self._pages = pages
        super().__init__(*given)

    def do_GET(self) -> None:
        """Send the page of the path; any other path gets an empty one."""
        kind, body = self._pages.get(self.path.partition("?")[0], ("text/html", b""))
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _bundle() -> bytes:
    pack = fhirclient()
    assert pack is not None
    with tarfile.open(pack) as opened:
        member = opened.extractfile(BUNDLE)
        assert member is not None
        return member.read()
