"""The published door with a real nginx in front of a stand-in for the roles: who is let through
where, and what the roles are told about the caller."""

import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509

from deploy.monitoring.certificates import PUBLIC, Certificate, certificates
from deploy.monitoring.status import certificate_findings
from fhir_server.load_settings import load
from tests.nginx_door import Door, opened

pytestmark = pytest.mark.nginx

END = b"\r\n\r\n"


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    """Head and body go together; apart, each answer would wait for an acknowledgement."""

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

    def ask_at_once(self, path: str, method: str, times: int) -> bytes:
        """All by one connection without waiting for answers; these, one behind the other."""
        asked = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        last = asked + "Connection: close\r\n"
        everything = f"{asked}\r\n".encode() * (times - 1) + f"{last}\r\n".encode()
        with self._connected() as connection:
            connection.sendall(everything)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def _connected(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("localhost", self.door.tls))
        return self._trust.wrap_socket(plain, server_hostname="localhost")

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
    there = f"https://localhost:{door.door.tls}"
    assert answer.headers["Location"] == f"{there}/fhir/Patient?name=x"


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


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_resource_too_large_for_the_door_is_refused_in_fhir(door: Caller, method: str) -> None:
    length = {"Content-Length": "70000000"}
    answer, content = door.ask("/fhir/Patient/1", method=method, headers=length)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/fhir+json"
    assert json.loads(content)["issue"][0]["code"] == "too-long"
    assert "Retry-After" not in answer.headers


def test_a_form_too_large_for_the_door_is_refused_in_a_page(door: Caller) -> None:
    answer, content = door.ask("/auth/account", method="POST", body=b"x" * (300 * 1024))
    assert (answer.status, answer.headers["Cache-Control"]) == (413, "no-store")
    assert "Nothing was sent" in content.decode()


OF_PROGRAMS = [
    "token",
    "revoke",
    "introspect",
    "userinfo",
    "register",
    "register/a-client",
    "launch",
    "emergency-access",
]
"""Below /auth: who asks there is a program, and reads JSON."""


def told_in_oauth(head: http.client.HTTPMessage, content: bytes) -> str:
    """The error of RFC 6749, section 5.2, whose description has these characters alone."""
    assert head["Content-Type"] == "application/json"
    assert (head["Cache-Control"], head["Pragma"]) == ("no-store", "no-cache")
    assert head["Strict-Transport-Security"]
    assert head["X-Request-Id"]
    told = json.loads(content)
    assert set(told) == {"error", "error_description"}
    assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", told["error_description"])
    return str(told["error"])


@pytest.mark.parametrize("path", OF_PROGRAMS)
def test_a_program_whose_body_is_too_large_is_told_in_oauths_words(path: str, door: Caller) -> None:
    length = {"Content-Length": str(300 * 1024)}
    method = "PUT" if path == "register/a-client" else "POST"
    answer, content = door.ask(f"/auth/{path}", method=method, headers=length)
    assert answer.status == 413
    assert told_in_oauth(answer.headers, content) == "invalid_request"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("path", ["authorize", "login", "tokens", "account/token"])
def test_a_page_of_auth_is_refused_in_a_page(path: str, door: Caller) -> None:
    length = {"Content-Length": str(300 * 1024)}
    answer, _ = door.ask(f"/auth/{path}", method="POST", headers=length)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_end_of_the_certificate_that_the_door_shows_is_known(door: Caller) -> None:
    shown = x509.load_pem_x509_certificate(door.door.certificate.read_bytes())
    settings, _ = load({"MEDSAGE_BASE_URL": f"https://localhost:{door.door.tls}"})
    assert list(certificates(settings)) == [Certificate(PUBLIC, shown.not_valid_after_utc)]


def test_a_certificate_of_another_name_is_told(door: Caller) -> None:
    settings, _ = load({"MEDSAGE_BASE_URL": f"https://127.0.0.2:{door.door.tls}"})
    (found,) = certificate_findings(certificates(settings), datetime.now(UTC))
    assert (found.state, "is not one of 127.0.0.2" in found.found) == ("warning", True)


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


def test_a_client_that_asks_for_tokens_too_often_is_told_in_oauths_words(door: Caller) -> None:
    answers = (door.ask("/auth/token", method="POST", body=b"x") for _ in range(60))
    answer, content = next(each for each in answers if each[0].status == 429)
    assert told_in_oauth(answer.headers, content) == "temporarily_unavailable"
    assert answer.headers["Retry-After"] == "2"


def test_too_many_requests_at_once_are_refused_in_fhir_with_when_to_come_again(
    door: Caller,
) -> None:
    for method in ("GET", "PUT"):
        answers = door.ask_at_once("/fhir/Patient/1", method, times=400).split(b"HTTP/1.1 ")
        head, _, body = next(each for each in answers if each.startswith(b"429")).partition(END)
        assert b"\r\nContent-Type: application/fhir+json\r\n" in head
        assert b"\r\nRetry-After: 2" in head
        assert b"\r\nStrict-Transport-Security: " in head
        assert json.loads(body)["issue"][0]["code"] == "throttled"
