"""Each MUST of SMART App Launch 2.2 about resource scopes, broken on purpose against the FHIR base
with tokens of the authorization server: v1, v2, granular, batches, update as create. The keys are
the ids in the requirements' list of SMART 2.2.0."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt

from tests.availability import ROOT
from tests.launch_world import LAB, VITAL, Caller, caller, granted, launch_world, observation
from tests.smart_world import SmartWorld, answer_of, put

Break = Callable[[SmartWorld], Awaitable[None]]
FORBIDDEN, UNKNOWN = 403, 404
NEW = observation("x", "ama", VITAL) | {"id": "chosen"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmartWorld]:
    async with launch_world(tmp_path) as opened:
        yield opened


def _without_id(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "id"}


def _bundle(kind: str, *requests: tuple[str, str, Any]) -> dict[str, Any]:
    entries = []
    for method, url, resource in requests:
        entry: dict[str, Any] = {"request": {"method": method, "url": url}}
        entries.append(entry if resource is None else entry | {"resource": resource})
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


async def _statuses(who: Caller, kind: str, *requests: tuple[str, str, Any]) -> list[str]:
    """The status of each entry of a batch or transaction; of the whole where that was refused."""
    status, answer = await who.call("POST", "", _bundle(kind, *requests))
    if status != 200:
        return [str(status)]
    return [entry["response"]["status"][:3] for entry in answer["entry"]]


async def _roles_bound_every_scope(world: SmartWorld) -> None:
    nurse = await caller(world, "user/*.cruds", user="nurse.esi")
    assert await nurse.status("GET", "DiagnosticReport/report-1") == 200
    assert await nurse.status("DELETE", "Observation/vital-1") == FORBIDDEN
    report = (await nurse.call("GET", "DiagnosticReport/report-1"))[1]
    assert await nurse.status("PUT", "DiagnosticReport/report-1", report) == FORBIDDEN
    admin = await caller(world, "user/*.cruds", user="admin.esi")
    for path in ("Observation/vital-1", "Patient/ama", "Patient?name=osei"):
        assert await admin.status("GET", path) == FORBIDDEN


async def _an_update_that_creates_is_an_update(world: SmartWorld) -> None:
    creator = await caller(world, "user/Observation.c")
    assert await creator.status("PUT", "Observation/chosen", NEW) == FORBIDDEN
    assert await creator.status("POST", "Observation", _without_id(NEW)) == 201
    updater = await caller(world, "user/Observation.u")
    assert await updater.status("POST", "Observation", _without_id(NEW)) == FORBIDDEN
    assert await updater.status("PUT", "Observation/chosen", NEW) == 201


async def _each_action_is_its_own(world: SmartWorld) -> None:
    """A scope of one letter does what the letter says and nothing else."""
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    requests: dict[str, list[tuple[str, str, Any]]] = {
        "c": [("POST", "Observation", _without_id(NEW))],
        "r": [
            ("GET", "Observation/vital-1", None),
            ("GET", "Observation/vital-1/_history/1", None),
            ("GET", "Observation/vital-1/_history", None),
        ],
        "u": [("PUT", "Observation/lab-1", observation("lab-1", "ama", LAB))],
        "d": [("DELETE", "Observation/vital-2", None)],
        "s": [("GET", "Observation?code=8867-4", None), ("GET", "Observation/_history", None)],
    }
    for letter in "rsucd":
        who = await caller(world, f"user/Observation.{letter}")
        for other, asked in requests.items():
            for method, path, body in asked:
                status = await who.status(method, path, body)
                assert (status != FORBIDDEN) == (other == letter), (letter, method, path, status)
    reader = await caller(world, "user/Observation.rs")
    headers = {
        "Authorization": f"Bearer {reader.token}",
        "Content-Type": "application/json-patch+json",
    }
    answer = await world.browser.patch("/fhir/Observation/vital-1", json=patch, headers=headers)
    assert answer.status_code == FORBIDDEN


async def _v1_scopes(world: SmartWorld) -> None:
    reader = await caller(world, "user/Observation.read")
    assert await reader.found("Observation?code=8867-4") == {"vital-1", "lab-1", "vital-2"}
    assert await reader.status("POST", "Observation", _without_id(NEW)) == FORBIDDEN
    writer = await caller(world, "user/Observation.write")
    assert await writer.status("PUT", "Observation/chosen", NEW) == 201
    for path in ("Observation/vital-1", "Observation?code=8867-4"):
        assert await writer.status("GET", path) == FORBIDDEN
    tokens = await granted(world, "user/Observation.* user/Patient.read user/Encounter.rs")
    assert tokens["scope"] == "user/Observation.* user/Patient.read user/Encounter.rs"


async def _entries_are_judged_alone(world: SmartWorld) -> None:
    who = await caller(world, "patient/Observation.rs patient/Patient.r")
    asked: tuple[tuple[str, str, Any], ...] = (
        ("GET", "Observation/vital-1", None),
        ("GET", "Observation/vital-2", None),
        ("GET", "Patient/ama-2", None),
        ("GET", "Patient?name=osei", None),
        ("POST", "Observation", _without_id(NEW)),
        ("DELETE", "Observation/vital-1", None),
    )
    expected = ["200", "404", "404", "403", "403", "403"]
    assert await _statuses(who, "batch", *asked) == expected
    for number, status in enumerate(expected):
        outcome = await _statuses(who, "transaction", asked[0], asked[number])
        assert (outcome[0] == "200") == (status == "200"), (asked[number], outcome)
    nothing = await caller(world, "openid user/Device.r")
    assert await _statuses(nothing, "batch", *asked[:3]) == ["403"] * 3


async def _only_the_patient(world: SmartWorld) -> None:
    who = await caller(world, "patient/*.cruds")
    assert await who.found("Observation?code=8867-4") == {"vital-1", "lab-1"}
    assert await who.found("Patient?name=osei") == {"ama"}
    assert await who.found("Observation?subject:Patient.name=osei") == {"vital-1", "lab-1"}
    assert await who.found("Patient?_has:Observation:subject:code=8867-4") == {"ama"}
    assert await who.found("Observation?subject=Patient/ama-2") == set()
    for path in ("Patient/ama-2", "Observation/vital-2", "Observation/vital-2/_history/1"):
        assert await who.status("GET", path) == UNKNOWN
    other = observation("y", "ama-2", VITAL)
    assert await who.status("POST", "Observation", _without_id(other)) == FORBIDDEN
    moved = observation("vital-1", "ama-2", VITAL)
    assert await who.status("PUT", "Observation/vital-1", moved) == FORBIDDEN
    hidden = await who.status("DELETE", "Observation/vital-2")
    assert hidden == await who.status("DELETE", "Observation/nothing")
    doctor = await caller(world, "user/Observation.r")
    assert await doctor.status("GET", "Observation/vital-2") == 200  # still there


async def _linked_patients_are_not_one(world: SmartWorld) -> None:
    """A patient who is linked to another opens nothing of the other; the documentation says so."""
    linked = {
        "resourceType": "Patient",
        "id": "linked",
        "link": [{"other": {"reference": "Patient/ama"}, "type": "replaces"}],
    }
    await world.store.transaction(lambda tx: put(tx, linked))
    who = await caller(world, "patient/*.rs", patient="linked")
    assert await who.found("Patient") == {"linked"}
    assert await who.found("Observation?code=8867-4") == set()
    assert await who.status("GET", "Patient/ama") == UNKNOWN
    assert "`Patient.link`" in (ROOT / "docs/security.md").read_text(encoding="utf-8")


async def _user_scopes_end_at_the_user(world: SmartWorld) -> None:
    """What a user scope opens is what the user may see, not more, and not only what is about
    the user."""
    doctor = await caller(world, "user/Patient.rs")
    assert await doctor.found("Patient?name=osei") == {"ama", "ama-2"}
    assert await doctor.status("GET", "Observation/vital-1") == FORBIDDEN
    assert await doctor.status("GET", "AuditEvent") == FORBIDDEN
    admin = await caller(world, "user/Patient.rs user/Practitioner.rs", user="admin.esi")
    assert await admin.status("GET", "Patient?name=osei") == FORBIDDEN
    assert await admin.status("GET", "Practitioner/dr-amina") == 200


async def _system_scopes_are_for_systems(world: SmartWorld) -> None:
    await world.sign_in()
    sent = answer_of(await world.authorize(scope="system/Observation.rs"))
    assert sent["error"] == "invalid_scope"
    for scope in ("user/Task.rs", "patient/Task.rs", "openid", "launch/patient", "system/*.rs"):
        answer = await world.token("service", grant_type="client_credentials", scope=scope)
        if scope == "system/*.rs":  # what was registered is all that it gets
            assert "*" not in answer.json()["scope"]
        else:
            assert answer.json()["error"] == "invalid_scope", scope


async def _wildcards(world: SmartWorld) -> None:
    """Every type that the server has and the role reads, now; the letters stay the letters; and
    the audit trail is only for who names it."""
    who = await caller(world, "user/*.rs")
    statement = (await world.browser.get("/fhir/metadata")).json()
    types = {each["type"] for each in statement["rest"][0]["resource"]}
    for type_ in sorted(types - {"AuditEvent", "Subscription"})[::7]:
        assert await who.status("GET", f"{type_}?_count=1") == 200, type_
    assert await who.status("GET", "AuditEvent?_count=1") == FORBIDDEN
    assert await who.status("POST", "Observation", _without_id(NEW)) == FORBIDDEN
    reader = await caller(world, "user/*.r")
    assert await reader.status("GET", "Observation?code=8867-4") == FORBIDDEN


async def _granular(world: SmartWorld) -> None:
    """The query of a scope is part of read, search, include, write and batch alike."""
    only = f"patient/Observation.cruds?category={VITAL}"
    who = await caller(world, f"{only} patient/Encounter.rs")
    assert await who.found("Observation?code=8867-4") == {"vital-1"}
    assert await who.found("Observation?_id=lab-1,vital-1,vital-2") == {"vital-1"}
    assert await who.found("Encounter?_id=visit-1&_revinclude=Observation:encounter") == {
        "visit-1",
        "vital-1",
    }
    assert await who.found("Encounter?_has:Observation:encounter:_id=lab-1") == set()
    for path in ("Observation/lab-1", "Observation/lab-1/_history", "Observation/vital-2"):
        assert await who.status("GET", path) == UNKNOWN
    lab = observation("lab-1", "ama", LAB)
    assert await who.status("POST", "Observation", _without_id(lab)) == FORBIDDEN
    assert await who.status("PUT", "Observation/lab-1", lab) == UNKNOWN
    out = observation("vital-1", "ama", LAB)
    assert await who.status("PUT", "Observation/vital-1", out) == FORBIDDEN
    reads: list[tuple[str, str, Any]] = [
        ("GET", f"Observation/{id}", None) for id in ("vital-1", "lab-1")
    ]
    assert await _statuses(who, "batch", *reads) == ["200", "404"]
    tokens = await granted(world, only)
    assert tokens["scope"] == only
    bad = await caller(world, "user/Observation.rs?colour=red")
    assert await bad.status("GET", "Observation/vital-1") == FORBIDDEN


async def _out_of_order(world: SmartWorld) -> None:
    """What is no scope of SMART's grammar is refused by name, not guessed at."""
    await world.sign_in()
    for wrong in ("dus", "sr", "rr", "read.write", "readonly", "R", ""):
        sent = answer_of(await world.authorize(scope=f"openid user/Observation.{wrong}"))
        assert sent["error"] == "invalid_scope", wrong
    for wrong in ("users/Observation.rs", "user/observation.rs", "user/Observation.rs?", "*/*.rs"):
        sent = answer_of(await world.authorize(scope=f"openid {wrong}"))
        assert sent["error"] == "invalid_scope", wrong


async def _expired(world: SmartWorld) -> None:
    who = await caller(world, "user/Patient.rs offline_access")
    assert await who.status("GET", "Patient/ama") == 200
    world.clock.forward(3600)
    assert await who.status("GET", "Patient/ama") == 401


async def _uncovered(world: SmartWorld) -> None:
    who = await caller(world, "user/Patient.r")
    for method, path in (("GET", "Observation/vital-1"), ("GET", "Patient?name=osei")):
        assert await who.status(method, path) == FORBIDDEN
    assert await Caller(world, "").status("GET", "Patient/ama") == 401


async def _for_another_server(world: SmartWorld) -> None:
    """The same claims for another audience, signed by the right key."""
    who = await caller(world, "user/Patient.rs")
    claims = jwt.decode(who.token, world.server.keys.access, ["ES256"]).claims
    for audience in ("https://evil.test/fhir", f"{claims['aud']}/x", [claims["aud"]], None):
        token = world.server.keys.sign_access_token({**claims, "aud": audience})
        assert await Caller(world, token).status("GET", "Patient/ama") == 401
    assert (
        await Caller(world, world.server.keys.sign_access_token(claims)).status(
            "GET", "Patient/ama"
        )
        == 200
    )


BREAKS: Mapping[int, Break] = {
    77: _expired,
    94: _expired,
    95: _uncovered,
    96: _for_another_server,
    119: _roles_bound_every_scope,
    120: _each_action_is_its_own,
    121: _each_action_is_its_own,
    122: _each_action_is_its_own,
    123: _an_update_that_creates_is_an_update,
    124: _each_action_is_its_own,
    125: _each_action_is_its_own,
    128: _v1_scopes,
    129: _out_of_order,
    130: _entries_are_judged_alone,
    132: _granular,
    135: _out_of_order,
    136: _only_the_patient,
    139: _linked_patients_are_not_one,
    140: _user_scopes_end_at_the_user,
    142: _system_scopes_are_for_systems,
    144: _wildcards,
}
ONCE = list({test: must for must, test in BREAKS.items()}.values())
"""One id of each break: several musts may be broken by one."""


@pytest.mark.parametrize("must", ONCE, ids="SMART-{}".format)
async def test_what_breaks_a_must_is_refused(world: SmartWorld, must: int) -> None:
    await BREAKS[must](world)
