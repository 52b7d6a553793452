"""The doctor's way through the app on the real authorization and FHIR servers, without a record
system: sign in, new patient, intake, image, analysis, review, signature, prescription, print."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.malaria.reading import SmearAnswer
from tests.app_browser import Browser, hidden_fields
from tests.app_records import png
from tests.app_sign_in import launch_handle, sign_in_at
from tests.app_world import FHIR, ORIGIN, AppWorld, Surroundings, app_world
from tests.smear_predictions import ScriptedSmearModel, field_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AppWorld]:
    async with app_world(tmp_path) as opened:
        yield opened


async def signed_in(world: AppWorld) -> tuple[Browser, str]:
    """A browser that signed in from Home, and the path of its session."""
    browser = Browser(world.application)
    answer = await browser.post("/app/sign-in", {"issuer": FHIR})
    back = await sign_in_at(browser, answer.headers["location"], f"{ORIGIN}/app/callback")
    done = await browser.get(back)
    assert done.status_code == 303, done.text
    return browser, done.headers["location"].removesuffix("patients")


async def launched(world: AppWorld) -> tuple[Browser, str]:
    """A browser that opened the app from the chart of p1 in a record system."""
    browser = Browser(world.application)
    launch = await launch_handle(browser, world.key, "medsage-app")
    answer = await browser.get(f"/app/launch?iss={FHIR}&launch={launch}")
    back = await sign_in_at(browser, answer.headers["location"], f"{ORIGIN}/app/callback")
    done = await browser.get(back)
    assert done.status_code == 303, done.text
    return browser, done.headers["location"]


async def new_chart(browser: Browser, home: str) -> str:
    page = (await browser.get(f"{home}patients/new")).text
    who = {"family": "Banda", "given": "Thoko", "age": "31", "sex": "female", "weight": "58"}
    opened = await browser.post(f"{home}patients/new", {**hidden_fields(page), **who})
    assert opened.status_code == 303, opened.text
    return str(opened.headers["location"]).removesuffix("intake")


async def test_a_doctor_goes_the_whole_way(world: AppWorld) -> None:
    browser, home = await signed_in(world)
    chart = await new_chart(browser, home)
    await the_whole_way(world, browser, chart, "BANDA, Thoko")
    out = await browser.submit(chart, f"{chart}sign-out")
    assert out.status_code == 200
    assert (await browser.get(home)).status_code == 401


async def test_a_doctor_goes_the_whole_way_within_a_chart(world: AppWorld) -> None:
    browser, chart = await launched(world)
    assert (await browser.get(f"{chart}patients")).status_code == 404
    await the_whole_way(world, browser, chart, "OKAFOR, Chidi")


async def test_a_doctor_goes_the_whole_way_while_two_processes_answer_in_turn(
    tmp_path: Path,
) -> None:
    async with app_world(tmp_path, around=Surroundings(processes=2)) as world:
        browser, home = await signed_in(world)
        chart = await new_chart(browser, home)
        await the_whole_way(world, browser, chart, "BANDA, Thoko")
        assert (await browser.submit(chart, f"{chart}sign-out")).status_code == 200
        for _ in range(2):
            assert (await browser.get(home)).status_code == 401


async def the_whole_way(world: AppWorld, browser: Browser, chart: str, name: str) -> None:
    """From the intake to the printed report."""
    vitals = {"temperature": "39.2", "weight": "58", "fever": "yes", "convulsions": "no"}
    saved = await browser.submit(f"{chart}intake", f"{chart}intake", **vitals)
    assert saved.status_code == 303, saved.text
    fields = hidden_fields((await browser.get(f"{chart}images")).text)
    files = [("image", ("a.png", png(60, 60), "image/png"))]
    assert (await browser.post(f"{chart}images", fields, files=files)).status_code == 303
    started = await browser.submit(f"{chart}check", f"{chart}start", confirm_slides="yes")
    assert started.status_code == 303, started.text
    task = started.headers["location"]
    assert "Request received" in (await browser.get(task)).text

    await world.worker(ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))).run_once()

    finished = await browser.get(task)
    assert finished.status_code == 303, finished.text
    report = finished.headers["location"]
    first = await browser.get(report)
    assert first.status_code == 200, first.text
    assert "Parasites suspected" not in first.text
    locked = await browser.submit(report, f"{report}/reading", reading="parasites-seen")
    assert locked.status_code == 303, locked.text
    review = (await browser.get(report)).text
    assert "Parasites suspected" in review
    image = re.search(r'src="([^"]+/media/[^"]+)"', review)
    assert image
    assert (await browser.get(image[1])).content == png(60, 60)
    chosen = {"finding": "parasites-seen", "agreement": "accept", "acknowledged": "yes"}
    kept = await browser.submit(report, f"{report}/conclusion", conclusion="Malaria.", **chosen)
    assert kept.status_code == 303, kept.text
    signed = await browser.submit(f"{report}/sign", f"{report}/sign", examined="yes")
    assert signed.status_code == 303, signed.text
    assert "examined and signed by Dr Amina Njoroge" in (await browser.get(report)).text
    medicine = {
        "medicine": "Artemether-lumefantrine", "form": "tablet 20 mg/120 mg", "dose": "4",
        "dose_unit": "tablets", "frequency": "2", "days": "3", "route": "by mouth",
    }  # fmt: skip
    prescription = f"{report}/prescription"
    prescribed = await browser.submit(prescription, prescription, **medicine)
    assert prescribed.status_code == 303, prescribed.text
    printed = await browser.submit(report, f"{report}/print", what="report")
    assert printed.status_code == 303, printed.text
    assert name in (await browser.get(printed.headers["location"])).text
    await left_on_record(world, report.rpartition("/")[2])


async def left_on_record(world: AppWorld, report_id: str) -> None:
    """What the whole way must leave in the store."""
    report = await world.as_worker.read(f"DiagnosticReport/{report_id}")
    assert report["status"] == "final"
    query = {"target": f"DiagnosticReport/{report_id}"}
    provenances = [p async for p in world.as_worker.search("Provenance", query)]
    assert sum("signature" in p for p in provenances) == 1
    events = [e async for e in world.as_worker.search("AuditEvent", {})]
    kinds = {e["subtype"][0]["code"] for e in events}
    assert {"signature", "print"} <= kinds


async def test_a_refused_request_leaves_an_audit_event(world: AppWorld) -> None:
    browser = Browser(world.application)
    assert (await browser.get("/app/callback?code=a&state=b")).status_code == 400
    found = {e["subtype"][0]["code"]: e async for e in world.as_worker.search("AuditEvent", {})}
    assert found["app-refusal"]["outcomeDesc"] == "expired-launch"


async def test_a_patient_search_finds_by_name(world: AppWorld) -> None:
    browser, home = await signed_in(world)
    found = (await browser.get(f"{home}patients?name=oka")).text
    assert "OKAFOR, Chidi" in found
    assert "MWANGI" not in found
