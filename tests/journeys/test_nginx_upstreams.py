"""Two servers behind the door, and one of them goes, stays silent or has not the file: what is
passed on to the other, what is never repeated, and what the caller is told."""

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.nginx_door import Door, free_port, opened

pytestmark = pytest.mark.nginx

READS = [("GET", {}), ("HEAD", {}), ("GET", {"Prefer": "handling=strict"})]
ONCE = [
    ("POST", {}),
    ("PUT", {"If-Match": 'W/"1"'}),
    ("PATCH", {}),
    ("DELETE", {}),
    ("GET", {"Prefer": "respond-async"}),
]
BODY = b"x" * 100_000


@dataclass
class Role:
    """A stand-in for one server: what it does with a request, and what it was asked."""

    answers: Callable[["Asked"], None]
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    port: int = 0


class Asked(BaseHTTPRequestHandler):
    """One request at a role."""

    protocol_version = "HTTP/1.1"
    role: ClassVar[Role]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.role.asked.append((self.command, self.path, len(body)))
        self.role.connections.add(self.client_address)
        self.role.answers(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the role remembers what the test wants to know."""


def answer(asked: Asked, status: int = 200, **headers: str) -> None:
    asked.send_response(status)
    for name, value in headers.items():
        asked.send_header(name.replace("_", "-"), value)
    asked.send_header("Content-Length", "2")
    asked.end_headers()
    if asked.command != "HEAD":
        asked.wfile.write(b"{}")


def stay_silent(asked: Asked) -> None:
    """The connection ends without an answer, as when a process is killed."""
    asked.close_connection = True


@dataclass
class Pair:
    """Two servers, of which each test says how they behave, and the door before them."""

    door: Door
    roles: tuple[Role, Role]

    def ask(
        self, method: str = "GET", path: str = "/fhir/Patient/1",
        headers: dict[str, str] | None = None, body: bytes | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:  # fmt: skip
        trust = ssl.create_default_context(cafile=str(self.door.certificate))
        connection = http.client.HTTPSConnection("localhost", self.door.tls, context=trust)
        connection.request(method, path, body=body, headers=headers or {})
        found = connection.getresponse()
        content = found.read()
        connection.close()
        return found, content

    def ask_inside(self, method: str, headers: dict[str, str]) -> int:
        """The status of an answer to what worker and app ask where all are processes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.door.inner)
        connection.request(method, "/fhir/Task/1", b"" if method == "GET" else b"{}", headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def asked(self) -> int:
        return sum(len(role.asked) for role in self.roles)


def listening(role: Role) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Asked,), {"role": role}))
    role.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def pair_behind_a_door(folder: Path, *also: int) -> Iterator[Pair]:
    """`also` are further ports of servers."""
    roles = Role(answer), Role(answer)
    servers = [listening(role) for role in roles]
    ports = [roles[0].port, *also, roles[1].port]
    with opened(folder, server=ports, app=free_port()) as door:
        yield Pair(door, roles)
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_behind_a_door(tmp_path_factory.mktemp("three"), free_port()) as found:
        yield found


@pytest.fixture
def pair(three: Pair) -> Pair:
    """The two, and a third that is gone."""
    for role in three.roles:
        role.answers = answer
        role.asked.clear()
        role.connections.clear()
    return three


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Pair]:
    """The two behind a door of their own, since nginx remembers who did not answer."""
    with pair_behind_a_door(tmp_path) as found:
        yield found


@pytest.mark.parametrize(("method", "headers"), READS + ONCE)
def test_a_server_that_is_gone_costs_no_request(
    pair: Pair, method: str, headers: dict[str, str]
) -> None:
    body = None if method in ("GET", "HEAD", "DELETE") else BODY
    statuses = [pair.ask(method, headers=headers, body=body)[0].status for _ in range(6)]
    assert statuses == [200] * 6
    assert {asked[2] for role in pair.roles for asked in role.asked} == {len(body or b"")}
    assert pair.asked() == 6


def test_what_may_have_been_carried_out_is_not_sent_again(two: Pair) -> None:
    for role in two.roles:
        role.answers = stay_silent
    for turn, (method, headers) in enumerate(ONCE, 1):
        body = None if method == "GET" else b"{}"
        found, content = two.ask(method, headers=headers, body=body)
        assert (two.asked(), found.status) == (turn, 504), method
        issue = json.loads(content)["issue"][0]
        assert (issue["severity"], issue["code"]) == ("error", "timeout")
        assert "not known" in issue["diagnostics"]
        assert "Retry-After" not in found.headers


def test_what_may_have_been_carried_out_is_not_sent_again_inside_either(two: Pair) -> None:
    for role in two.roles:
        role.answers = stay_silent
    for turn, (method, headers) in enumerate(ONCE, 1):
        assert two.ask_inside(method, headers) in (502, 504), method
        assert two.asked() == turn, method


def test_inside_too_a_server_that_is_gone_costs_no_request(pair: Pair) -> None:
    for method, headers in (*READS, *ONCE):
        assert pair.ask_inside(method, headers) == 200, method
    assert pair.asked() == len(READS + ONCE)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_changes_a_registered_client_is_not_sent_again(method: str, two: Pair) -> None:
    for role in two.roles:
        role.answers = stay_silent
    found, content = two.ask(method, "/auth/register/abc", body=b"{}")
    assert (two.asked(), found.status) == (1, 504)
    assert json.loads(content)["error"] == "server_error"


def test_a_read_without_an_answer_is_asked_of_another(two: Pair) -> None:
    two.roles[0].answers = stay_silent
    for method, headers in READS:
        assert two.ask(method, headers=headers)[0].status == 200
    assert len(two.roles[0].asked) >= 1
    assert len(two.roles[1].asked) == len(READS)


def test_a_503_of_a_server_is_an_answer_and_keeps_its_words(pair: Pair) -> None:
    for role in pair.roles:
        role.answers = lambda asked: answer(asked, 503, Retry_After="7")
    found, content = pair.ask()
    assert (found.status, found.headers["Retry-After"], content) == (503, "7", b"{}")
    assert pair.asked() == 1
    assert pair.ask()[0].status == 503


def test_connections_to_a_server_are_kept_for_the_next_request(pair: Pair) -> None:
    for _ in range(8):
        assert pair.ask()[0].status == 200
    assert pair.asked() == 8
    # One for each worker of nginx and server at most.
    assert sum(len(role.connections) for role in pair.roles) < 8


def test_without_any_server_callers_are_told_to_come_again(pair: Pair) -> None:
    found, content = pair.ask(path="/app/patients")
    assert (found.status, found.headers["Retry-After"]) == (503, "2")
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Nothing was sent" in content.decode()
    assert found.headers["Cache-Control"] == "no-store"
    assert found.headers["Strict-Transport-Security"]


def test_without_any_server_fhir_clients_are_told_in_fhir(tmp_path: Path) -> None:
    with opened(tmp_path, server=[free_port(), free_port()], app=free_port()) as door:
        nobody = Pair(door, (Role(answer), Role(answer)))
        for method in ("GET", "POST", "PUT"):
            found, content = nobody.ask(method)
            assert (found.status, found.headers["Retry-After"]) == (503, "2"), method
            assert found.headers["Content-Type"] == "application/fhir+json"
            assert json.loads(content)["issue"][0]["code"] == "transient"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "token"), ("POST", "register"), ("PUT", "register/a-client")]
)
def test_without_any_server_programs_are_told_in_oauths_words(
    method: str, path: str, tmp_path: Path
) -> None:
    with opened(tmp_path, server=[free_port(), free_port()], app=free_port()) as door:
        nobody = Pair(door, (Role(answer), Role(answer)))
        found, content = nobody.ask(method, f"/auth/{path}", body=b"{}")
    assert (found.status, found.headers["Retry-After"]) == (503, "2")
    assert (found.headers["Content-Type"], found.headers["Pragma"]) == (
        "application/json",
        "no-cache",
    )
    assert json.loads(content)["error"] == "temporarily_unavailable"


def test_a_token_without_an_answer_may_have_been_given_and_is_not_asked_for_again(
    two: Pair,
) -> None:
    for role in two.roles:
        role.answers = stay_silent
    found, content = two.ask("POST", "/auth/token", body=b"{}")
    assert (found.status, two.asked()) == (504, 1)
    assert found.headers["Content-Type"] == "application/json"
    assert "Retry-After" not in found.headers
    told = json.loads(content)
    assert told["error"] == "server_error"
    assert "not known" in told["error_description"]


def test_a_file_is_kept_and_one_that_only_the_new_version_has_is_found_there(pair: Pair) -> None:
    def kept(asked: Asked) -> None:
        answer(asked, 200, Cache_Control="public, max-age=31536000, immutable")

    pair.roles[0].answers = lambda asked: answer(asked, 404)
    pair.roles[1].answers = kept
    for turn in range(3):
        found, _ = pair.ask(path=f"/auth/static/pages.0123456789a{turn}.css")
        assert found.status == 200
        assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    before = pair.asked()
    assert pair.ask(path="/auth/static/pages.0123456789a0.css?x=1")[0].status == 200
    assert pair.asked() == before
