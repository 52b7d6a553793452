"""The app's pages for governance: versions and decisions by two people, drift and release, the
third reader. Decisions on the real server, whose guard decides; the rest on a small one."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.model_versions import State, standing_of
from fhir_server.publication import Publisher, publish
from fhir_server.search.extract import Extractor
from fhir_server.security.authorization.users import User, hash_password, register_user
from fhir_server.security.guard_terms import with_guard_terms
from tests.app_browser import Browser, World, hidden_fields
from tests.app_records import MEDIA, report
from tests.app_sign_in import sign_in_at
from tests.app_world import FHIR, ORIGIN, PASSWORD, AppWorld, app_world
from tests.fhir_world import registry
from tests.governance_records import drifted, governed, held, read_by
from tests.spec.test_operation_model_versions import comparison, version

Json = dict[str, Any]
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.fixture
def small() -> World:
    world = World()
    for resource in governed():
        world.records.put(resource)
    return world


async def test_the_versions_page_tells_states_recalls_holds_and_the_training_set(
    small: World,
) -> None:
    browser = small.browser()
    home = await browser.sign_in()
    page = (await browser.get(f"{home}versions")).text
    for said in (
        "Malaria cells 3.1",
        "Active: in use",
        "Candidate: gets its share",
        "RECALLED",
        "12 reports marked",
        "held at 1 site",
        "Clean cells",
        "2000: not enough yet",
        "Left out: no consent to training",
    ):
        assert said in page, said
    one = (await browser.get(f"{home}versions/old")).text
    assert "Marked so far: 12 reports, 7 of them signed; 12 requests" in one
    assert "Under way." in one
    trial = (await browser.get(f"{home}versions/on-trial")).text
    assert "Better beyond the interval" in trial
    assert "key-of-on-trial" in trial
    assert "3 patients (120 cells)" in trial
    better = small.records.resources["MeasureReport", "better"]
    files = better["extension"][1]["extension"]
    better["extension"][1]["extension"] = [e for e in files if "left-out" not in e["url"]]
    before = (await browser.get(f"{home}versions/on-trial")).text
    assert "not looked for: it promotes nothing" in before
    assert "No comparison has found it better." in before


@pytest.mark.parametrize("share", ["half", "9" * 5000])
async def test_a_share_that_is_no_number_is_told(small: World, share: str) -> None:
    browser = small.browser()
    home = await browser.sign_in()
    given = {"to": "candidate", "reason": "Try it", "share": share}
    assert "whole number, 0 to 50" in problems(
        await decide(browser, home, "on-trial", "propose", **given)
    )


async def test_what_a_role_may_not_see_says_so_and_the_rest_is_shown(small: World) -> None:
    small.records.forbidden |= {"MeasureReport", "HealthcareService", "DiagnosticReport"}
    browser = small.browser()
    home = await browser.sign_in()
    for path in ("versions", "versions/on-trial", "drift", "adjudication"):
        answer = await browser.get(f"{home}{path}")
        assert answer.status_code == 200
        assert "You are not permitted to see this" in answer.text, path


async def test_pages_of_governance_are_not_in_a_session_launched_from_a_chart(
    small: World,
) -> None:
    browser = small.browser()
    chart = await browser.launch()
    for path in ("versions", "versions/on-trial", "drift", "adjudication"):
        assert (await browser.get(f"{chart}{path}")).status_code == 404, path
    assert "AI systems" not in (await browser.get(chart)).text


async def test_drift_has_its_figures_and_a_hold_is_released_with_a_reason(small: World) -> None:
    browser = small.browser()
    home = await browser.sign_in()
    page = f"{home}drift"
    shown = (await browser.get(page)).text
    for said in (
        "North clinic (Organization/north)",
        "31.0%",
        "22.0% to 41.0%",
        "87.5%",
        "20.0%",
        "Above the limit that holds",
        "Too few cases to judge",
        "Stain changed",
    ):
        assert said in shown, said
    ask = {"reading": "reading", "version": "1"}
    nothing = await browser.submit(page, f"{page}/release", **ask, reason=" ")
    assert nothing.status_code == 422
    assert "Say why the hold is released" in nothing.text
    done = await browser.submit(page, f"{page}/release", **ask, reason="Stained anew")
    assert done.status_code == 303, done.text
    reading = small.records.resources["HealthcareService", "reading"]
    assert (reading["active"], reading["comment"]) == (True, "Stained anew")
    assert "No AI reading is held" in (await browser.get(page)).text
    late = await browser.submit(page, f"{page}/release", **ask, reason="Again")
    assert late.status_code == 412
    other = {"resourceType": "HealthcareService", "id": "ward", "active": False}
    small.records.put(other)
    refused = await browser.submit(page, f"{page}/release", reading="ward", version="1", reason="x")
    assert refused.status_code == 404


def signed(**changes: Any) -> Json:
    """A signed report on malaria."""
    kind = {"system": FINDINGS, "code": "malaria-assessment-ai"}
    return {**report(), "code": {"coding": [kind]}, "status": "final", **changes}


def case_of(number: int, status: str = "final") -> list[Json]:
    """A report of an image of its own that two readers read differently."""
    name = f"case-{number:02}"
    media = [{"link": {"reference": f"Media/{name}"}}]
    readings = [
        {
            **read_by(reader, answer, of=name),
            "id": f"{name}-{reader}",
            "derivedFrom": [{"reference": f"Media/{name}"}],
        }
        for reader, answer in (("ada", "parasites-seen"), ("ben", "parasites-not-seen"))
    ]
    return [*readings, signed(id=name, media=media, status=status)]


async def test_cases_that_are_not_signed_hide_none_that_are(small: World) -> None:
    for number in range(45):
        for each in case_of(number, "preliminary" if number else "final"):
            small.records.put(each)
    for spoilt in ("subject", "performer"):
        for each in case_of(45):
            made = {name: value for name, value in each.items() if name != spoilt}
            small.records.put({**made, "id": f"{each['id']}-{spoilt}"})
    browser = small.browser()
    home = await browser.sign_in()

    page = (await browser.get(f"{home}adjudication")).text

    assert 'value="case-00"' in page
    assert "1 case waits" in page


async def test_the_queue_goes_on_until_the_list_ends_and_says_where(small: World) -> None:
    for number in range(60):
        for each in case_of(number):
            small.records.put(each)
    browser = small.browser()
    at, listed = f"{await browser.sign_in()}adjudication", []
    for _page in range(2):
        page = (await browser.get(at)).text
        listed += re.findall(r'name="report" value="(case-\d+)"', page)
        link = re.search(r'href="([^"]+)">Look through older reports', page)
        assert ("These are not all" in page) == bool(link)
        at = link[1] if link else ""
    assert at == ""
    assert sorted(listed) == [f"case-{number:02}" for number in range(60)]
    assert "The list ends here." in page


async def test_a_queue_that_finds_nothing_in_time_says_that_there_is_more(small: World) -> None:
    for number in range(60):
        for each in case_of(number)[2 if number else 0 :]:
            small.records.put(each)
    slow(small, "DiagnosticReport")
    browser = small.browser()
    page = (await browser.get(f"{await browser.sign_in()}adjudication")).text
    assert "No case of this part of the list waits" in page
    assert "Look through older reports" in page


def slow(world: World, type_: str) -> None:
    """Answers about this type take a minute each."""
    answer = world.records.search_or_create

    async def late(request: Any) -> Any:
        if request.path_params["type"] == type_:
            world.clock.ahead += timedelta(minutes=1)
        return await answer(request)

    world.records.replace_endpoint(late)


def counted_at(number: int, site: str = "") -> Json:
    """A report of drift so many minutes ago, at a site of its own if none is named."""
    when = (datetime.now(UTC) - timedelta(minutes=number)).isoformat()
    reporter = {"reference": f"Organization/{site or f'site-{number}'}"}
    return {**drifted(), "id": f"drift-{number}", "reporter": reporter, "date": when}


async def test_every_site_that_was_counted_is_on_the_page_of_drift(small: World) -> None:
    small.records.put(counted_at(830, "seldom"))
    for number in reversed(range(830)):
        small.records.put(counted_at(number, "often"))
    browser = small.browser()
    page = (await browser.get(f"{await browser.sign_in()}drift")).text
    assert ">Organization/often" in page
    assert ">Organization/seldom" in page
    assert "Of 832 reports counted since" in page


async def test_a_page_of_drift_that_was_cut_short_says_so(small: World) -> None:
    for number in reversed(range(250)):
        small.records.put(counted_at(number))
    slow(small, "MeasureReport")
    browser = small.browser()
    home = await browser.sign_in()
    page = (await browser.get(f"{home}drift")).text
    assert "These are the newest 200 of 251, back to" in page
    assert "Organization/site-199" in page
    assert "Organization/site-220" not in page
    earlier = re.search(r'href="([^"]+)">Earlier figures', page)
    assert earlier
    assert (await browser.get(unescape(earlier[1]))).status_code == 200
    assert (await browser.get(f"{home}drift?until=yesterday")).status_code == 400


async def opened_case(browser: Browser) -> str:
    home = await browser.sign_in()
    queue = f"{home}adjudication"
    assert "1 case waits" in (await browser.get(queue)).text
    answer = await browser.submit(queue, f"{queue}/open", patient="p1", report="r1")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def test_a_third_reader_decides_without_seeing_what_others_said(small: World) -> None:
    for resource in (
        MEDIA,
        signed(),
        read_by("ada", "parasites-seen"),
        read_by("ben", "parasites-not-seen"),
    ):
        small.records.put(resource)
    browser = small.browser()
    page = await opened_case(browser)
    asked = (await browser.get(page)).text
    assert "What do you see in the smear?" in asked
    assert "first-reading" not in asked
    assert "parasites-not-seen:" not in asked
    assert "Images (AI)" not in asked
    missing = await browser.submit(page, page)
    assert missing.status_code == 422
    assert "Choose your own reading" in missing.text
    stored = await browser.submit(page, page, reading="parasites-seen")
    assert stored.status_code == 303, stored.text
    (third,) = [
        each
        for each in small.records.all("Observation")
        if each["code"]["coding"][0]["code"] == "adjudicated-reading"
    ]
    assert third["performer"] == [{"reference": "Practitioner/dr-amina"}]
    assert third["derivedFrom"] == [{"reference": "Media/m1"}]
    after = (await browser.get(page)).text
    assert "The case is decided." in after
    assert "parasites-not-seen" in after
    again = await browser.submit(page, page, reading="parasites-not-seen")
    assert again.status_code == 403
    home = page.partition("reports/")[0]
    assert "No case waits for a third reader" in (await browser.get(f"{home}adjudication")).text


@pytest.mark.parametrize(
    ("readers", "status"),
    [
        (("ada", "dr-amina"), "final"),
        (("ada", "ben", "dr-amina"), "final"),
        (("ada", "ben"), "preliminary"),
        (("ada",), "final"),
    ],
    ids=[
        "who read before is not asked",
        "who opened the AI at once",
        "not signed yet",
        "read once",
    ],
)
async def test_nobody_else_adjudicates(small: World, readers: tuple[str, ...], status: str) -> None:
    answers = ("parasites-seen", "parasites-not-seen")
    small.records.put(MEDIA)
    small.records.put({**signed(), "status": status})
    for reader, answer in zip_longest(readers, answers[: len(readers)]):
        made = read_by(reader, answer or "")
        if answer is None:
            del made["valueCodeableConcept"]
        small.records.put(made)
    browser = small.browser()
    home = await browser.sign_in()
    queue = f"{home}adjudication"
    listed = (await browser.get(queue)).text
    assert f"{home}adjudication/open" not in listed
    fields = {**hidden_fields(listed), "patient": "p1", "report": "r1"}
    fields["csrf"] = hidden_fields((await browser.get(f"{home}drift")).text)["csrf"]
    page = (await browser.post(f"{queue}/open", fields)).headers["location"]
    form = {**fields, "expected_patient": "p1", "reading": "parasites-seen"}
    chart = hidden_fields((await browser.get(page.partition("reports/")[0])).text)
    refused = await browser.post(page, {**form, **chart})
    assert refused.status_code in {403, 404, 412}
    assert len(small.records.all("Observation")) == len(readers)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([read_by("dr-amina", "parasites-seen")], "The case is decided."),
        (
            [
                read_by("ben", "parasites-not-seen"),
                read_by("cleo", "parasites-seen", "adjudicated-reading"),
                read_by("dr-amina", "parasites-not-seen", "adjudicated-reading"),
            ],
            "The case is not decided, and nobody else is asked.",
        ),
    ],
    ids=["two who agree", "two adjudicators who differ"],
)
async def test_who_has_read_a_case_is_told_where_it_stands(
    small: World, others: list[Json], said: str
) -> None:
    for resource in (
        MEDIA,
        signed(),
        read_by("ada", "parasites-seen"),
        *others,
    ):
        small.records.put(resource)
    browser = small.browser()
    home = await browser.sign_in()
    queue = f"{home}adjudication"
    token = hidden_fields((await browser.get(f"{home}drift")).text)["csrf"]
    fields = {"csrf": token, "patient": "p1", "report": "r1"}
    page = (await browser.post(f"{queue}/open", fields)).headers["location"]
    assert said in (await browser.get(page)).text


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AppWorld]:
    async with app_world(tmp_path) as opened:
        await _fill(opened)
        yield opened


async def _fill(world: AppWorld) -> None:
    """Three enrolled versions, a comparison, a hold; two who may decide."""
    extract = with_guard_terms(Extractor(registry(), FHIR), FHIR)
    numbers = iter(range(99))
    publisher = Publisher(
        world.store, extract, lambda: datetime.now(UTC), lambda: f"own-{next(numbers)}", FHIR
    )
    versions = [
        version("in-use", State.ACTIVE, was_active=True),
        version("on-trial", State.CANDIDATE),
    ]
    verdict = {**comparison("Device/on-trial", "Device/in-use"), "id": "better"}
    await publish(publisher, [*versions, verdict, held()])
    password = hash_password(PASSWORD)

    async def unit(tx: Any) -> None:
        for name, role in (("ruth", "governance"), ("ben", "admin")):
            user = User(name, name.title(), frozenset({role}), f"Practitioner/{name}")
            await register_user(tx, user, password)

    await world.store.transaction(unit)


async def signed_in(world: AppWorld, user: str) -> tuple[Browser, str]:
    browser = Browser(world.application)
    answer = await browser.post("/app/sign-in", {"issuer": FHIR})
    until = f"{ORIGIN}/app/callback"
    back = await sign_in_at(browser, answer.headers["location"], until, user)
    done = await browser.get(back)
    assert done.status_code == 303, done.text
    return browser, done.headers["location"].removesuffix("patients")


async def decide(
    browser: Browser, home: str, device: str, step: str, **given: str
) -> httpx.Response:
    page = f"{home}versions/{device}"
    return await browser.submit(page, f"{page}/{step}", **given)


def problems(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.status_code
    found = re.search(r'id="problems".*?</div>', answer.text, re.DOTALL)
    assert found, answer.text
    return found[0]


async def test_one_proposes_another_approves_and_the_guard_decides_who(world: AppWorld) -> None:
    doctor, clinic = await signed_in(world, "dr.amina")
    ruth, home = await signed_in(world, "ruth")
    ben, office = await signed_in(world, "ben")
    better = {"to": "active", "reason": "Better on 40 patients", "verdict": "better"}

    refused = await decide(doctor, clinic, "on-trial", "propose", **better)
    assert "for the roles admin, governance" in problems(refused)
    held_on = {"reading": "reading", "version": "1", "reason": "Stained anew"}
    no = await doctor.submit(f"{clinic}drift", f"{clinic}drift/release", **held_on)
    assert no.status_code in {403, 422}
    bare = await decide(ruth, home, "on-trial", "propose", to="active", reason="It is new")
    assert "needs a comparison" in problems(bare)

    proposed = await decide(ruth, home, "on-trial", "propose", **better)
    assert proposed.status_code == 303, proposed.text
    own = (await ruth.get(f"{home}versions/on-trial")).text
    assert "You proposed this: somebody else must approve it" in own
    alone = await decide(ruth, home, "on-trial", "approve")
    assert "must be somebody else" in problems(alone)

    approved = await decide(ben, office, "on-trial", "approve")
    assert approved.status_code == 303, approved.text
    assert "Active: in use" in (await ben.get(f"{office}versions/on-trial")).text
    assert "Better on 40 patients" in (await ruth.get(f"{home}versions/on-trial")).text
    before = standing_of(await world.as_worker.read("Device/in-use"))
    assert before is not None
    assert before.state is State.RETIRED

    unsure = await decide(ruth, home, "on-trial", "retire", reason="Too many alarms")
    assert "Confirm that it goes out of use" in problems(unsure)
    retired = await decide(ruth, home, "on-trial", "retire", reason="Too many alarms", sure="yes")
    assert retired.status_code == 303, retired.text
    assert "Too many alarms" in (await ruth.get(f"{home}versions/on-trial")).text

    released = await ruth.submit(f"{home}drift", f"{home}drift/release", **held_on)
    assert released.status_code == 303, released.text
    reading = await world.as_worker.read("HealthcareService/reading")
    assert reading["active"] is True


async def test_what_anybody_else_says_of_a_version_is_no_decision(world: AppWorld) -> None:
    forged = {
        "resourceType": "Provenance",
        "target": [{"reference": "Device/on-trial"}],
        "recorded": "2030-01-01T00:00:00Z",
        "reason": [{"text": "candidate to active, share 0 %. Approved by all"}],
        "activity": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                    "code": "UPDATE",
                }
            ]
        },
        "agent": [{"who": {"reference": "Practitioner/ben"}}],
    }
    entry = {"resource": forged, "request": {"method": "POST", "url": "Provenance"}}
    await world.as_worker.transaction(
        {"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 3}
    )
    ruth, home = await signed_in(world, "ruth")
    given = {"to": "candidate", "share": "20", "reason": "A larger share"}
    assert (await decide(ruth, home, "on-trial", "propose", **given)).status_code == 303

    who = {"resourceType": "Practitioner", "id": "ruth", "name": [{"family": "Wanjiru"}]}
    put = {"resource": who, "request": {"method": "PUT", "url": "Practitioner/ruth"}}
    await world.as_worker.transaction(
        {"resourceType": "Bundle", "type": "transaction", "entry": [put]}
    )

    page = (await ruth.get(f"{home}versions/on-trial")).text

    assert page.count("Wanjiru (Practitioner/ruth)") == 2
    assert "Proposed: candidate, share 20 %. A larger share" in page
    assert "Approved by all" not in page


async def test_queue_and_drift_are_read_from_the_real_server_page_by_page(world: AppWorld) -> None:
    practitioners = ({"resourceType": "Practitioner", "id": each} for each in ("ada", "ben"))
    often = {"resourceType": "Organization", "id": "often", "name": "Often"}
    organizations = (often, {**often, "id": "north"})
    images = ({**MEDIA, "id": f"case-{n:02}", "content": {"title": "Smear"}} for n in range(51))
    cases = (each for number in range(51) for each in case_of(number))
    reports = (counted_at(number, "often") for number in range(5))
    put = [*practitioners, *organizations, *images, *cases, *reports]
    entries = [
        {
            "resource": each,
            "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"},
        }
        for each in (plain(each) for each in put)
    ]
    await world.as_worker.transaction(
        {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    )
    doctor, clinic = await signed_in(world, "dr.amina")

    first = (await doctor.get(f"{clinic}adjudication")).text
    assert first.count('name="report"') == 50
    link = re.search(r'href="([^"]+)">Look through older reports', first)
    assert link
    assert (await doctor.get(link[1])).text.count('name="report"') == 1
    drift = (await doctor.get(f"{clinic}drift")).text
    assert "Of 5 reports counted since" in drift
    assert "Often (Organization/often)" in drift


def plain(resource: Json) -> Json:
    """As a client sends it: without labels and empty lists."""
    return {name: value for name, value in resource.items() if name != "meta" and value != []}
