"""Emergency access: asked for on a page or by an app, with a reason and an end (ADR 0018)."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fhir_server.audit.event import audit_event
from fhir_server.audit.journal import AuditTrail
from fhir_server.publication import SERVER
from fhir_server.security.authorization.users import User, register_user
from fhir_server.security.emergency_ends import EmergencyEnds
from fhir_server.security.rulebook import Rulebook
from fhir_server.security.tenants import tenant_label
from tests.guard_world import draft, write
from tests.smart_world import FHIR, SmartWorld, hidden_fields, password_hash, smart_world

WHY = {"reason": "ETREAT", "text": "found unconscious, no history known"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with smart_world(tmp_path) as opened:
        yield opened


async def granted(world: SmartWorld, user: str = "dr.amina") -> frozenset[str]:
    """The patients whom the user's next request may open in an emergency."""
    rules = await Rulebook(world.store, world.clock).rules()
    return rules.emergencies_of(user, "default", world.clock())


async def asked(world: SmartWorld, **form: str) -> httpx.Response:
    """The page's form, filled in and sent."""
    page = await world.browser.get("/auth/emergency")
    assert page.status_code == 200, page.text
    fields = {"csrf": hidden_fields(page)["csrf"], "patient": "p1", "minutes": "30", **WHY}
    return await world.browser.post("/auth/emergency", data=fields | form)


async def test_who_is_not_signed_in_is_asked_to(world: SmartWorld) -> None:
    answer = await world.browser.get("/auth/emergency")
    assert (answer.status_code, answer.headers["location"]) == (303, "login")


async def test_a_doctor_opens_one_record_for_a_time_with_a_reason(world: SmartWorld) -> None:
    await world.sign_in()
    page = await world.browser.get("/auth/emergency")
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await asked(world)).status_code == 303
    assert await granted(world) == {"p1"}
    assert await granted(world, "dr.kofi") == frozenset()
    shown = await world.browser.get("/auth/emergency")
    assert "Patient <strong>p1</strong> until 09:30 UTC" in shown.text
    world.clock.forward(30 * 60)
    assert await granted(world) == frozenset()


async def test_it_is_written_down_with_its_reason(world: SmartWorld) -> None:
    await world.sign_in()
    await asked(world)
    (entry,) = [each.entry for each in await world.store.journal(10) if b"emergency" in each.entry]
    event = audit_event(entry)
    assert event["subtype"][0]["code"] == "emergency-begin"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert "ETREAT, for 30 minutes: found unconscious" in event["outcomeDesc"]
    assert {"reference": "Patient/p1"} in [each.get("what") for each in event["entity"]]
    assert event["agent"][-1]["altId"] == "dr.amina"


async def test_it_ends_by_hand(world: SmartWorld) -> None:
    await world.sign_in()
    await asked(world)
    page = await world.browser.get("/auth/emergency")
    id = page.text.split('name="end" value="')[1].split('"')[0]
    form = {"csrf": hidden_fields(page)["csrf"], "end": id}
    assert (await world.browser.post("/auth/emergency", data=form)).status_code == 303
    assert await granted(world) == frozenset()
    (entry,) = await world.journal("emergency-end")
    assert (entry["subject"], entry["patient"], entry["purpose"]) == ("dr.amina", "p1", "BTG")


async def test_it_ends_by_itself_and_that_is_written_down_once(world: SmartWorld) -> None:
    await world.sign_in()
    await asked(world)
    trail = AuditTrail(SERVER, world.clock, world.server.new_id, FHIR)
    ends = EmergencyEnds(world.store, world.clock, trail)
    assert await ends.look() == 0
    world.clock.forward(30 * 60)
    assert await ends.look() == 1
    assert await ends.look() == 0
    (entry,) = await world.journal("emergency-end")
    assert (entry["patient"], entry["detail"]) == ("p1", "the time of user dr.amina was over")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"patient": "nobody"}, "no such patient"),
        ({"patient": ""}, "no such patient"),
        ({"reason": "CURIOSITY"}, "the reason is one of"),
        ({"text": "because"}, "say why in 10 to 500 characters"),
        ({"minutes": "61"}, "a whole number from 1 to 60"),
        ({"minutes": "-5"}, "a whole number from 1 to 60"),
    ],
)
async def test_what_is_missing_is_said_and_nothing_opened(
    world: SmartWorld, form: dict[str, str], said: str
) -> None:
    await world.sign_in()
    answer = await asked(world, **form)
    assert answer.status_code == 400
    assert said in answer.text
    assert await granted(world) == frozenset()
    (entry,) = await world.journal("emergency-begin")
    assert entry["outcome"] == "refused"


async def test_a_foreign_form_opens_nothing(world: SmartWorld) -> None:
    await world.sign_in()
    answer = await world.browser.post("/auth/emergency", data={"csrf": "x", "patient": "p1", **WHY})
    assert answer.status_code == 403
    assert await granted(world) == frozenset()


async def test_admins_and_auditors_are_given_none(world: SmartWorld) -> None:
    user = User("boss", "Boss", frozenset({"admin", "auditor"}))
    await world.store.transaction(lambda tx: register_user(tx, user, password_hash()))
    await world.sign_in("boss")
    page = await world.browser.get("/auth/emergency")
    assert page.status_code == 403
    assert "for doctors and nurses" in page.text


async def test_a_patient_is_known_by_a_whole_identifier_and_only_in_ones_own_tenant(
    world: SmartWorld,
) -> None:
    number = [{"system": "urn:hospital", "value": "4711"}]
    await write(world.store, draft({"resourceType": "Patient", "id": "p9", "identifier": number}))
    other = {"meta": {"security": [tenant_label("north")]}}
    await write(world.store, draft({"resourceType": "Patient", "id": "pn"} | other))
    await world.sign_in()
    assert (await asked(world, patient="471")).status_code == 400
    assert (await asked(world, patient="pn")).status_code == 400
    assert (await asked(world, patient="4711")).status_code == 303
    assert await granted(world) == {"p9"}


async def test_guessing_patients_is_stopped(world: SmartWorld) -> None:
    await world.sign_in()
    answers = [await asked(world, patient=f"guess{number}") for number in range(21)]
    assert "no such patient" in answers[19].text
    assert "not more than 20 in an hour" in answers[20].text


async def test_an_app_asks_with_the_users_token(world: SmartWorld) -> None:
    token = (await world.tokens())["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    form = {"patient": "p2", **WHY}
    made = await world.browser.post("/auth/emergency-access", data=form, headers=headers)
    assert made.status_code == 201
    given = made.json()
    assert (given["patient"], given["until"]) == ("p2", "2026-03-01T10:00:00.000Z")
    assert await granted(world) == {"p2"}
    listed = await world.browser.get("/auth/emergency-access", headers=headers)
    assert listed.json() == {"emergency_access": [given]}
    url = f"/auth/emergency-access/{given['id']}"
    assert (await world.browser.delete(url, headers=headers)).status_code == 204
    assert (await world.browser.delete(url, headers=headers)).status_code == 404
    assert await granted(world) == frozenset()
    bad = await world.browser.post("/auth/emergency-access", data={**WHY}, headers=headers)
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_request")


async def test_no_token_or_a_services_token_opens_nothing(world: SmartWorld) -> None:
    form = {"patient": "p2", **WHY}
    nobody = await world.browser.post("/auth/emergency-access", data=form)
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    asked_for = {"grant_type": "client_credentials", "scope": "system/Task.rus"}
    token = (await world.token("service", **asked_for)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    service = await world.browser.post("/auth/emergency-access", data=form, headers=headers)
    assert service.status_code == 403
