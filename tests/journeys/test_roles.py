"""The production shape without containers: nginx with TLS, two servers, two workers and the app
with the environments that Compose gives them, MongoDB (or its stand-in) and Redis behind."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey
from playwright.sync_api import Browser
from pymongo import MongoClient

from deploy.processes import supervisor
from deploy.processes.shape import Shape, running_shape
from fhir_server.system import new_id
from tests.availability import ROOT
from tests.journeys import clinician as dr
from tests.journeys.installation import (
    PASSWORD,
    Installation,
    add_user,
    aside,
    environment,
    register,
)
from tests.nginx_door import free_port

pytestmark = [
    pytest.mark.mongodb,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.nginx,
    pytest.mark.browser,
]


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, mongodb_server: str
) -> Iterator[Installation]:
    database = f"medsage_test_{new_id().replace('-', '')}"
    shape = Shape.plan(
        tmp_path_factory.mktemp("roles") / "shape",
        mongodb=mongodb_server,
        redis=None,
        port=free_port(),
        # Nobody is sent to a process that ends: nginx was told before.
        settings={"MEDSAGE_MONGODB_DATABASE": database, "MEDSAGE_DRAIN_SECONDS": "0"},
    )
    key = ECKey.generate_key("P-384", {"kid": "his"}, private=True)
    try:
        with running_shape(shape):
            given = environment(shape, "server-1")
            aside(register(given, key))
            add_user(given, shape.written.folder)
            yield Installation(shape, key)
    finally:
        drop(mongodb_server, database)
    assert not [part.name for part in shape.all_parts if part.pid is not None]


def test_the_worker_has_made_a_backup_of_the_database(installation: Installation) -> None:
    assert list(installation.shape.written.backups.glob("*/manifest.json"))
    logs = [part.log for part in installation.shape.parts.values() if part.role == "worker"]
    assert any("a backup was made" in log.read_text() for log in logs)


def drop(uri: str, database: str) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(database)


def test_nobody_gets_in_without_a_token(installation: Installation) -> None:
    with installation.browser() as browser:
        answer = browser.get(f"{installation.origin}/fhir/Patient")
    assert answer.status_code == 401
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_the_discovery_documents_name_the_public_address_alone(installation: Installation) -> None:
    with installation.browser() as browser:
        url = f"{installation.origin}/fhir/.well-known/smart-configuration"
        found = browser.get(url).json()
    addresses = [value for value in found.values() if str(value).startswith("http")]
    assert addresses
    assert all(value.startswith(installation.origin) for value in addresses)


def test_an_image_becomes_a_report_through_all_roles(installation: Installation) -> None:
    headers = {"Authorization": f"Bearer {installation.token()}"}
    form = {"age": "34", "weight": "61", "height": "168", "symptoms": "fever and chills"}
    image = (ROOT / "deploy/demo/images/cell-parasitized.png").read_bytes()
    with installation.browser() as browser:
        answer = browser.post(
            f"{installation.origin}/api/diagnose",
            headers=headers,
            data=form,
            files={"imageUpload": ("cell.png", image, "image/png")},
        )
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["status"] == "completed"
        report = browser.get(found["links"]["report"], headers=headers).json()
        assert report["status"] == "preliminary"
        provenance = browser.get(found["links"]["provenance"], headers=headers).json()
        made_by = [each["resource"]["agent"][0]["who"] for each in provenance["entry"]]
        assert all(who["reference"].startswith("Device/") for who in made_by)


def test_the_worker_is_woken_inside_and_nobody_elses_subscription_leads_into_the_network(
    installation: Installation,
) -> None:
    shape, headers = installation.shape, {"Authorization": f"Bearer {installation.token()}"}
    endpoint = f"http://127.0.0.1:{shape.written.door('worker')}/models/notifications"
    url = f"{installation.origin}/fhir/Subscription"
    with installation.browser() as browser:
        (own,) = browser.get(url, headers=headers).json()["entry"]
        assert own["resource"]["channel"]["endpoint"] == endpoint
        assert own["resource"]["status"] == "active"
        kept = ("resourceType", "status", "reason", "criteria")
        another = {name: own["resource"][name] for name in kept}
        another["channel"] = {"type": "rest-hook", "endpoint": "http://10.20.3.7:8080/hook"}
        refused = browser.post(url, json=another, headers=headers)
    assert (refused.status_code, "MEDSAGE_SUBSCRIPTION_NETWORKS" in refused.text) == (422, True)
    workers = [part.log.read_text() for part in shape.parts.values() if part.role == "worker"]
    assert not [log for log in workers if "not delivered" in log]


def test_the_trail_does_not_believe_a_callers_own_forwarded_address(
    installation: Installation,
) -> None:
    headers = {"Authorization": f"Bearer {installation.token()}", "X-Forwarded-For": "8.8.8.8"}
    with installation.browser() as browser:
        asked = browser.get(f"{installation.origin}/fhir/Patient?_count=1", headers=headers)
        request = asked.headers["X-Request-Id"]
        url = f"{installation.origin}/fhir/AuditEvent"
        for _ in range(100):
            events = browser.get(url, params={"entity:identifier": request}, headers=headers)
            if events.json().get("entry"):
                break
            time.sleep(0.2)  # sealing waits for the requests of others
        event = events.json()["entry"][0]["resource"]
    addresses = {agent["network"]["address"] for agent in event["agent"] if "network" in agent}
    assert addresses & {"127.0.0.1", "::1"}
    assert "8.8.8.8" not in addresses


def test_a_doctor_takes_a_case_from_sign_in_to_signature(
    installation: Installation, browser: Browser
) -> None:
    # The certificate is of the shape's own authority, which the browser does not know.
    context = browser.new_context(ignore_https_errors=True)
    watched = dr.Watched(context.new_page())
    watched.page.goto(f"{installation.origin}/app/")
    watched.page.get_by_role("button", name="Sign in").click()
    dr.sign_in(watched.page, "dr.test", PASSWORD)
    app = watched.page.main_frame
    dr.arrive(app, "Find a patient")
    app.get_by_role("link", name="Enter a new patient").click()
    for name, value in dr.NEW_PATIENT.items():
        app.locator(f"#{name}").fill(value)
    app.locator("#sex-female").check()
    dr.press(app, "Save and go on to symptoms", then="Symptoms and signs")
    dr.answer(app, dr.FEVERISH, dr.FEVER)
    dr.upload(app, "cell-parasitized.png")
    dr.start(app)
    dr.arrive(app, "1. Your own reading")
    dr.read_first(app, "parasites-seen")
    dr.conclude(app, "parasites-seen", "accept", "Parasites seen; treat.")
    signed = dr.sign(app)
    assert watched.complaints == []
    context.close()
    headers = {"Authorization": f"Bearer {installation.token()}"}
    with installation.browser() as reader:
        url = f"{installation.origin}/fhir/DiagnosticReport/{signed}"
        report = reader.get(url, headers=headers).json()
    assert report["status"] == "final"
    assert report["resultsInterpreter"][0]["reference"] == "Practitioner/dr-test"


def test_a_rolling_restart_refuses_nobody(installation: Installation) -> None:
    before = processes(installation.shape)
    token = installation.token()
    ended = threading.Event()
    answers: list[int] = []

    def read() -> None:
        with installation.browser() as browser:
            # Slowly enough for the limits of an address and of a client, however long it takes.
            while not ended.wait(0.1):
                headers = {"Authorization": f"Bearer {token}"}
                for path in ("/fhir/Patient?_count=1", "/app/"):
                    url = f"{installation.origin}{path}"
                    answers.append(browser.get(url, headers=headers).status_code)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        installation.shape.rolling_restart()
    finally:
        ended.set()
        reading.join()
    assert set(answers) == {200}
    after = processes(installation.shape)
    replaced = {name for name, pid in before.items() if after[name] != pid}
    assert replaced == {"server-1", "server-2", "worker-1", "worker-2", "app-1", "app-2"}
    assert Shape.open(installation.shape.written.folder).written == installation.shape.written


def test_who_was_killed_is_started_again_and_the_others_go_on(installation: Installation) -> None:
    shape = installation.shape
    told: list[str] = []
    keeper = supervisor.Supervisor(Shape.open(shape.written.folder), told.append)
    shape.parts["server-1"].kill()
    with installation.browser() as browser:
        assert browser.get(f"{installation.origin}/fhir/metadata").status_code == 200
    keeper.look()
    keeper.look()
    assert ["server-1 had ended" in line for line in told] == [True]
    shape.parts["server-1"].wait()
    keeper.look()
    assert told[1:] == ["server-1 is ready again"]


def processes(shape: Shape) -> Mapping[str, int | None]:
    return {name: part.pid for name, part in shape.parts.items()}


def test_the_logs_hold_no_query(installation: Installation) -> None:
    for part in installation.shape.parts.values():
        text = part.log.read_text("utf-8")
        assert text or part.role == "nginx", part.name
        assert "_count=" not in text, part.name
        assert "fever" not in text, part.name
