"""The published door with a real nginx in front of a stand-in for the roles: who is let through
where, and what the roles are told about the caller."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


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


class Door:
    """nginx with the repository's configuration on two free ports."""

    def __init__(self, plain: int, tls: int, certificate: Path) -> None:
        self._plain = plain
        self._tls = tls
        self._trust = ssl.create_default_context(cafile=str(certificate))

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPSConnection("localhost", self._tls, context=self._trust)
        return self._sent(connection, path, method, headers or {}, body)

    def ask_plainly(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("localhost", self._plain)
        return self._sent(connection, path, "GET", {}, None)

    @staticmethod
    def _sent(
        connection: http.client.HTTPConnection,
        path: str,
        method: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with suppress(BrokenPipeError):  # a refused body is not read to its end
            connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("nginx")
    roles = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=roles.serve_forever, daemon=True).start()
    script = ROOT / "deploy/nginx/self_signed.sh"
    subprocess.run([script, folder / "tls", "localhost"], check=True, capture_output=True)
    plain, tls, alive = free_port(), free_port(), free_port()
    configuration = (ROOT / "deploy/nginx/nginx.conf").read_text("utf-8")
    for old, new in {
        "/tmp/": f"{folder}/",
        "/run/secrets/": f"{folder}/tls/",
        "/etc/nginx/proxy.conf": f"{ROOT}/deploy/nginx/proxy.conf",
        "/dev/stdout": f"{folder}/access.log",
        "listen 8080": f"listen {plain}",
        "listen 8443": f"listen {tls}",
        "127.0.0.1:8081": f"127.0.0.1:{alive}",
        "http://server:5000": f"http://127.0.0.1:{roles.server_port}",
        "http://app:5000": f"http://127.0.0.1:{roles.server_port}",
    }.items():
        assert old in configuration
        configuration = configuration.replace(old, new)
    file = folder / "nginx.conf"
    file.write_text(configuration)
    assert NGINX is not None
    command = [NGINX, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    # Started by root, nginx would give its workers another user, who can't write to our folder.
    user = " user root;" if os.geteuid() == 0 else ""
    running = subprocess.Popen([*command, "-g", f"daemon off;{user}"])
    try:
        wait_for(tls)
        yield Door(plain, tls, folder / "tls/tls.crt")
    finally:
        running.terminate()
        running.wait(10)
        roles.shutdown()


def wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("nginx did not start")


def test_plain_http_leads_to_https_and_keeps_method_path_and_query(door: Door) -> None:
    answer, _ = door.ask_plainly("/fhir/Patient?name=x")
    assert answer.status == 308
    assert answer.headers["Location"] == "https://localhost/fhir/Patient?name=x"


def test_answers_over_tls_ask_browsers_to_stay_there(door: Door) -> None:
    answer, _ = door.ask("/health")
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "nginx/" not in answer.headers["Server"]


def test_the_root_leads_to_the_app(door: Door) -> None:
    answer, _ = door.ask("/")
    assert (answer.status, answer.headers["Location"]) == (303, "/app/")


@pytest.mark.parametrize(
    "path",
    ["/fhir/metadata", "/fhir?_type=Task", "/auth/authorize", "/auth/token", "/api/diagnose",
     "/models", "/health/ready", "/app/launch?iss=x", "/app/s/abc/tasks/1/events"],
)  # fmt: skip
def test_the_public_paths_go_through_unchanged(door: Door, path: str) -> None:
    answer, content = door.ask(path)
    assert answer.status == 200
    assert json.loads(content)["path"] == path


@pytest.mark.parametrize(
    "path", ["/api/metrics", "/models/notifications", "/ehr/", "/.env", "/health/x"]
)
def test_what_is_for_the_inside_is_not_found_outside(door: Door, path: str) -> None:
    answer, _ = door.ask(path)
    assert answer.status == 404


def test_a_callers_own_forwarded_headers_are_replaced(door: Door) -> None:
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


def test_authorization_and_host_arrive_as_they_were_sent(door: Door) -> None:
    _, content = door.ask("/fhir/metadata", headers={"Authorization": "Bearer abc"})
    told = json.loads(content)["headers"]
    assert told["authorization"] == "Bearer abc"
    assert told["host"].startswith("localhost:")


def test_a_body_too_large_for_its_place_is_refused(door: Door) -> None:
    large = b"x" * (300 * 1024)
    assert door.ask("/auth/token", method="POST", body=large)[0].status == 413
    accepted, content = door.ask("/api/diagnose", method="POST", body=large)
    assert (accepted.status, json.loads(content)["bytes"]) == (200, len(large))


def test_sign_in_is_slowed_down_before_the_rest_is(door: Door) -> None:
    answers = [door.ask("/auth/login")[0].status for _ in range(60)]
    assert 429 in answers
    assert door.ask("/fhir/metadata")[0].status == 200
