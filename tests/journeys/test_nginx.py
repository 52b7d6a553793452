"""The published door with a real nginx in front of a stand-in for the roles: who is let through
where, and what the roles are told about the caller."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509

from deploy.monitoring.certificates import PUBLIC, Certificate, certificates
from fhir_server.load_settings import load
from tests.nginx_door import Door, opened

pytestmark = pytest.mark.nginx


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        told = {name.lower(): value for name, value in self.headers.items()}
        answer = json.dumps({"path": self.path, "headers": told, "bytes": len(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the test asks, it needs no log."""


class Caller:
    """Asks the door, and trusts its certificate alone."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._trust = ssl.create_default_context(cafile=str(door.certificate))

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPSConnection("localhost", self.door.tls, context=self._trust)
        with suppress(BrokenPipeError):  # a refused body is not read to its end
            connection.request(method, path, body=body, headers=headers or {})
        return answered(connection)

    def ask_plainly(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("localhost", self.door.plain)
        connection.request("GET", path)
        return answered(connection)


def answered(connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    roles = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=roles.serve_forever, daemon=True).start()
    port = roles.server_port
    with opened(tmp_path_factory.mktemp("nginx"), server=port, app=port) as found:
        yield Caller(found)
    roles.shutdown()


def test_plain_http_leads_to_https_and_keeps_method_path_and_query(door: Caller) -> None:
    answer, _ = door.ask_plainly("/fhir/Patient?name=x")
    assert answer.status == 308
    assert answer.headers["Location"] == "https://localhost/fhir/Patient?name=x"


def test_answers_over_tls_ask_browsers_to_stay_there(door: Caller) -> None:
    answer, _ = door.ask("/health")
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "nginx/" not in answer.headers["Server"]


def test_the_root_leads_to_the_app(door: Caller) -> None:
    answer, _ = door.ask("/")
    assert (answer.status, answer.headers["Location"]) == (303, "/app/")


@pytest.mark.parametrize(
    "path",
    ["/fhir/metadata", "/fhir?_type=Task", "/auth/authorize", "/auth/token", "/api/diagnose",
     "/models", "/health/ready", "/app/launch?iss=x", "/app/s/abc/tasks/1/events"],
)  # fmt: skip
def test_the_public_paths_go_through_unchanged(door: Caller, path: str) -> None:
    answer, content = door.ask(path)
    assert answer.status == 200
    assert json.loads(content)["path"] == path


@pytest.mark.parametrize(
    "path", ["/api/metrics", "/models/notifications", "/ehr/", "/.env", "/health/x"]
)
def test_what_is_for_the_inside_is_not_found_outside(door: Caller, path: str) -> None:
    answer, _ = door.ask(path)
    assert answer.status == 404


def test_a_callers_own_forwarded_headers_are_replaced(door: Caller) -> None:
    lies = {
        "X-Forwarded-For": "8.8.8.8",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=8.8.8.8",
        "X-Request-Id": "mine",
    }
    _, content = door.ask("/fhir/metadata", headers=lies)
    told = json.loads(content)["headers"]
    assert told["x-forwarded-for"] in ("127.0.0.1", "::1")
    assert told["x-forwarded-proto"] == "https"
    assert "forwarded" not in told
    assert told["x-request-id"] != "mine"


def test_authorization_and_host_arrive_as_they_were_sent(door: Caller) -> None:
    _, content = door.ask("/fhir/metadata", headers={"Authorization": "Bearer abc"})
    told = json.loads(content)["headers"]
    assert told["authorization"] == "Bearer abc"
    assert told["host"].startswith("localhost:")


def test_a_body_too_large_for_its_place_is_refused(door: Caller) -> None:
    large = b"x" * (300 * 1024)
    assert door.ask("/auth/token", method="POST", body=large)[0].status == 413
    accepted, content = door.ask("/api/diagnose", method="POST", body=large)
    assert (accepted.status, json.loads(content)["bytes"]) == (200, len(large))


def test_the_end_of_the_certificate_that_the_door_shows_is_known(door: Caller) -> None:
    shown = x509.load_pem_x509_certificate(door.door.certificate.read_bytes())
    settings, _ = load({"MEDSAGE_BASE_URL": f"https://localhost:{door.door.tls}"})
    assert list(certificates(settings)) == [Certificate(PUBLIC, shown.not_valid_after_utc)]


def test_an_authority_finds_its_challenges_over_plain_http_and_nothing_else(door: Caller) -> None:
    folder = door.door.certificate.parent / "webroot/.well-known/acme-challenge"
    folder.mkdir(parents=True)
    (folder / "a-token").write_text("a-token.its-proof")
    answer, content = door.ask_plainly("/.well-known/acme-challenge/a-token")
    assert (answer.status, content) == (200, b"a-token.its-proof")
    assert answer.headers["Content-Type"] == "text/plain"
    for path in ("b-token", "", "../../../tls.key", "%2e%2e/%2e%2e/%2e%2e/tls.key"):
        answer, content = door.ask_plainly(f"/.well-known/acme-challenge/{path}")
        assert answer.status in (308, 400, 403, 404), path
        assert b"PRIVATE" not in content


def test_sign_in_is_slowed_down_before_the_rest_is(door: Caller) -> None:
    answers = [door.ask("/auth/login")[0].status for _ in range(60)]
    assert 429 in answers
    assert door.ask("/fhir/metadata")[0].status == 200
