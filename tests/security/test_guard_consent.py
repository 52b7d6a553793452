"""Consents in the guard: what a patient denies does not exist for whom it is denied (R4 Consent;
docs/spec-readings.md, "Consent")."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_server.security.circumstances import Policy
from tests.consent_world import (
    ACCESS,
    RECORDS,
    Json,
    actor,
    client,
    coded,
    condition,
    consent,
    deny,
    exceptions,
    image,
    labelled,
    observation,
    of_document,
    of_type,
    permit,
    purpose,
)
from tests.fhir_world import World, fhir_world, text_of
from tests.security.test_guard_http import principal
from tests.worlds import world_on

DOCTOR = principal("user/*.cruds", patient=None)
SERVICE = principal("system/*.cruds", subject="app", roles=frozenset(), fhir_user=None)
OF_X = {"Patient/x", "Observation/ox", "Condition/cx", "DocumentReference/dx", "Binary/bx"}
ALL_OF_X = OF_X | {"Binary/bd"}
TYPES = ("Patient", "Observation", "Condition", "DocumentReference", "Binary")


TOLD: list[tuple[Json | None, str | None, set[str]]] = [
    (None, "OPTOUT", ALL_OF_X),
    (None, "OPTIN", set()),
    (exceptions(deny()), None, ALL_OF_X),
    (deny(**ACCESS), "OPTIN", ALL_OF_X),
    (exceptions(permit()), "OPTOUT", set()),
    (exceptions(deny(**of_type("Observation"))), "OPTIN", {"Observation/ox"}),
    (exceptions(permit(**of_type("Observation"))), "OPTOUT", ALL_OF_X - {"Observation/ox"}),
    (
        exceptions(deny(**of_document("11506-3"))),
        "OPTIN",
        {"DocumentReference/dx", "Binary/bx", "Binary/bd"},
    ),
    (exceptions(deny(**of_document("34133-9"))), "OPTIN", {"Binary/bx"}),
    (exceptions(deny(**coded("8867-4"), **of_type("Observation"))), "OPTIN", {"Observation/ox"}),
    (exceptions(deny(**coded("8310-5"), **of_type("Observation"))), "OPTIN", set()),
    (exceptions(deny(**actor("Practitioner/amina"))), "OPTIN", ALL_OF_X),
    (exceptions(deny(**actor("Practitioner/kofi"))), "OPTIN", set()),
    (exceptions(deny(**client("app"))), "OPTIN", ALL_OF_X),
    (exceptions(deny(**client("other"))), "OPTIN", set()),
    (exceptions(deny(**purpose("TREAT"))), "OPTIN", ALL_OF_X),
    (exceptions(deny(**purpose("HRESCH"))), "OPTIN", set()),
    (exceptions(deny(period={"start": "2026-01-01"})), "OPTIN", ALL_OF_X),
    (exceptions(deny(period={"end": "2026-01-01"})), "OPTIN", set()),
    ({"period": {"end": "2026-01-01"}}, "OPTOUT", set()),
    (
        exceptions(
            deny(dataPeriod={"start": "2026-05", "end": "2026-05"}, **of_type("Observation"))
        ),
        "OPTIN",
        {"Observation/ox"},
    ),
    (exceptions(deny(dataPeriod={"start": "2026-06"}, **of_type("Observation"))), "OPTIN", set()),
    (
        exceptions(permit(dataPeriod={"start": "2026-05", "end": "2026-05"})),
        "OPTOUT",
        ALL_OF_X - {"Observation/ox"},
    ),
    (
        exceptions(
            deny(data=[{"meaning": "instance", "reference": {"reference": "Condition/cx"}}])
        ),
        "OPTIN",
        {"Condition/cx"},
    ),
    (exceptions(deny(provision=[permit(**actor("Practitioner/amina"))])), "OPTIN", set()),
    (exceptions(deny(provision=[permit(**actor("Practitioner/kofi"))])), "OPTIN", ALL_OF_X),
    (exceptions(permit(), deny()), "OPTIN", ALL_OF_X),
]

REFUSED: list[tuple[Json, str]] = [
    ({"patient": {"display": "somebody"}}, "patient"),
    ({"policyRule": {"text": "as usual"}}, "policyRule"),
    ({"provision": of_type("Observation")}, "type"),
    ({"provision": exceptions({"action": ACCESS["action"]})}, "type"),
    ({"provision": exceptions(deny(action=[{"text": "correct"}]))}, "action"),
    ({"provision": exceptions(deny(**actor("CareTeam/c")))}, "actor.reference"),
    (
        {"provision": exceptions(deny(**actor("https://else.example/fhir/Practitioner/p")))},
        "actor.reference",
    ),
    (
        {
            "provision": exceptions(
                deny(
                    actor=[
                        {"role": {"text": "author"}, "reference": {"reference": "Practitioner/p"}}
                    ]
                )
            )
        },
        "actor.role",
    ),
    ({"provision": exceptions(deny(purpose=[{"code": "TREAT"}]))}, "purpose"),
    (
        {
            "provision": exceptions(
                deny(**{"class": [{"system": "urn:ietf:bcp:13", "code": "text/xml"}]})
            )
        },
        "class",
    ),
    ({"provision": exceptions(deny(code=[{"text": "HIV"}]))}, "code"),
    (
        {
            "provision": exceptions(
                deny(data=[{"meaning": "related", "reference": {"reference": "Task/t"}}])
            )
        },
        "data",
    ),
    (
        {"provision": exceptions(deny(modifierExtension=[{"url": "http://e", "valueCode": "x"}]))},
        "modifierExtension",
    ),
]


async def fill(world: World) -> None:
    for resource in RECORDS:
        url = f"/{resource['resourceType']}/{resource['id']}"
        assert (await world.put(url, resource)).status_code == 201


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as world:
        await fill(world)
        yield world


async def say(world: World, made: Json, id: str = "c1") -> None:
    """Store a Consent, as whoever keeps them may."""
    caller, world.caller.principal = world.caller.principal, None
    answer = await world.put(f"/Consent/{id}", made | {"id": id})
    assert answer.is_success, answer.text
    world.caller.principal = caller


async def hidden(world: World, who: Any = DOCTOR) -> set[str]:
    """What of the ward the caller does not see; read and search agree."""
    world.caller.principal = who
    found: set[str] = set()
    for type_ in TYPES:
        answer = (await world.get(f"/{type_}")).json()
        found |= {f"{type_}/{each['resource']['id']}" for each in answer.get("entry", ())}
    missing = set()
    for resource in RECORDS:
        name = f"{resource['resourceType']}/{resource['id']}"
        if name.partition("/")[0] not in TYPES:
            continue
        status = (await world.get(f"/{name}")).status_code
        assert (status == 200) == (name in found), name
        if status == 404:
            missing.add(name)
    return missing


async def test_what_a_consent_denies_is_hidden_from_whom_it_names(ward: World) -> None:
    for provision, base, expected in TOLD:
        changes = {} if provision is None else {"provision": provision}
        await say(ward, consent(base=base, **changes))
        assert await hidden(ward) == expected, (provision, base)


async def test_of_two_consents_the_stricter_holds(ward: World) -> None:
    await say(ward, consent(base="OPTIN"), "c1")
    await say(ward, consent(base="OPTOUT"), "c2")
    assert await hidden(ward) == ALL_OF_X


async def test_a_change_counts_with_the_next_request(ward: World) -> None:
    await say(ward, consent(base="OPTOUT"))
    assert await hidden(ward) == ALL_OF_X
    await say(ward, consent(base="OPTOUT", status="inactive"))
    assert await hidden(ward) == set()
    await say(ward, consent(base="OPTOUT"))
    assert await hidden(ward) == ALL_OF_X
    ward.caller.principal = DOCTOR
    assert (await ward.delete("/Consent/c1")).status_code == 204
    assert await hidden(ward) == set()


async def test_a_consent_begins_and_ends_by_the_clock(ward: World) -> None:
    await say(ward, consent(base="OPTOUT", provision={"period": {"start": "2026-11-25"}}))
    assert await hidden(ward) == set()
    ward.clock.now = datetime(2026, 11, 25, tzinfo=UTC)
    assert await hidden(ward) == ALL_OF_X


async def test_a_draft_or_a_consent_to_something_else_changes_nothing(ward: World) -> None:
    other = {"coding": [{"code": "research"}]}
    await say(ward, consent(base="OPTOUT", status="draft"), "c1")
    await say(ward, consent(base="OPTOUT", scope=other), "c2")
    assert await hidden(ward) == set()


async def test_what_cannot_be_told_of_a_caller_counts_against_permission(ward: World) -> None:
    await say(ward, consent(provision=exceptions(deny(**purpose("HRESCH")))))
    assert await hidden(ward, SERVICE) == ALL_OF_X
    await say(ward, consent(base="OPTOUT", provision=exceptions(permit(**purpose("TREAT")))))
    assert await hidden(ward, SERVICE) == ALL_OF_X
    assert await hidden(ward) == set()


async def test_an_organization_means_those_whose_role_is_there(ward: World) -> None:
    rule = exceptions(permit(**actor("Organization/ward7")))
    await say(ward, consent(base="OPTOUT", provision=rule))
    assert await hidden(ward) == ALL_OF_X
    ward.caller.principal = None
    role = {"practitioner": {"reference": "Practitioner/amina"}, "active": True}
    role |= {"organization": {"reference": "Organization/ward7"}, "id": "pr"}
    await ward.put("/PractitionerRole/pr", {"resourceType": "PractitionerRole", **role})
    assert await hidden(ward) == set()


async def test_labels_of_a_provision_reach_up_where_it_denies(ward: World) -> None:
    ward.caller.principal = None
    label = {"security": [labelled("L")["securityLabel"][0]]}
    assert (await ward.put("/Condition/cx", condition("cx", "x") | {"meta": label})).is_success
    await say(ward, consent(provision=exceptions(deny(**labelled("N")))))
    assert await hidden(ward) == ALL_OF_X - {"Condition/cx"}
    await say(ward, consent(base="OPTOUT", provision=exceptions(permit(**labelled("L")))))
    assert await hidden(ward) == ALL_OF_X - {"Condition/cx"}


async def test_with_opt_in_only_what_was_permitted_is_seen(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, policy=Policy(consents_by_default=False)) as world:
        await fill(world)
        of_y = {name.replace("x", "y") for name in OF_X}
        assert await hidden(world) == ALL_OF_X | of_y
        await say(world, consent(base="OPTIN"))
        assert await hidden(world) == of_y
        assert (await world.get("/Practitioner/amina")).status_code == 200


async def test_nobodys_consent_keeps_their_own_record_from_them(ward: World) -> None:
    await say(ward, consent(base="OPTOUT"))
    own = principal("user/*.rs", fhir_user="Patient/x", subject="kofi")
    assert await hidden(ward, own) == set()


async def test_a_consent_that_would_not_be_honoured_is_refused_by_name(ward: World) -> None:
    ward.caller.principal = SERVICE
    for changes, named in REFUSED:
        answer = await ward.post("/Consent", consent() | changes)
        assert answer.status_code == 422, (changes, answer.text)
        assert named in text_of(answer)
        harmless = await ward.post("/Consent", consent() | changes | {"status": "draft"})
        assert harmless.status_code == 201


async def test_with_open_access_nothing_is_honoured_and_any_is_kept(ward: World) -> None:
    for changes, _ in REFUSED:
        assert (await ward.post("/Consent", consent() | changes)).status_code == 201


async def test_one_that_was_stored_before_denies_everything(ward: World) -> None:
    from tests.guard_world import draft, write

    odd = consent(provision=exceptions(deny(code=[{"text": "HIV"}]))) | {"id": "odd"}
    await write(ward.store, draft(odd))
    assert await hidden(ward) == ALL_OF_X


async def test_every_route_is_as_if_the_denied_did_not_exist(ward: World) -> None:
    ward.caller.principal = None
    linked = observation("oz", "y", hasMember=[{"reference": "Observation/ox"}])
    await ward.put("/Observation/oz", linked)
    await say(ward, consent(base="OPTOUT"))
    ward.caller.principal = DOCTOR
    for url in (
        "/Observation/ox/_history", "/Observation/ox/_history/1", "/Patient/x/$everything",
        "/Patient/x/Observation?code=unknown", "/Observation/ox/$meta",
    ):  # fmt: skip
        denied, unknown = await ward.get(url), await ward.get(url.replace("x", "q", 1))
        assert denied.status_code == unknown.status_code, url
    told = [
        await ward.get("/Observation?_id=oz&_include=Observation:has-member"),
        await ward.get("/Observation?has-member:Observation._id=ox"),
        await ward.get("/Observation?_summary=count"),
        await ward.get("/Patient?_has:Observation:patient:_id=ox"),
        await ward.get("/Observation/_history"),
        await ward.get("/Observation/$lastn?patient=Patient/x"),
    ]
    ids = [each["resource"]["id"] for answer in told for each in answer.json().get("entry", ())]
    assert "ox" not in ids
    assert told[2].json()["total"] == 2
    for write in (
        await ward.put("/Observation/ox", observation("ox", "y")),
        await ward.patch("/Observation/ox", [{"op": "remove", "path": "/subject"}]),
        await ward.patch("/Observation?_id=ox", [{"op": "remove", "path": "/subject"}]),
    ):
        assert write.status_code == 404
    stranger = observation("", "x")
    del stranger["id"]
    assert (await ward.post("/Observation", stranger)).status_code == 403


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("mongodb", marks=pytest.mark.mongodb)])
async def test_many_consents_are_one_filter_on_both_stores(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    async with world_on(request, kind, tmp_path) as world:
        await fill(world)
        await world.put("/Binary/bo", image("bo", "Observation/ox"))
        await say(world, consent("x", base="OPTOUT"), "c1")
        await say(world, consent("y", base="OPTOUT"), "c2")
        await say(world, consent("nobody", base="OPTOUT"), "c3")
        of_y = {name.replace("x", "y") for name in OF_X}
        assert await hidden(world) == ALL_OF_X | of_y
        assert (await world.get("/Binary/bo")).status_code == 404
