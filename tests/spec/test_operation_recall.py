"""Device/[id]/$recall: a version of an AI system is recalled (docs/adr/0024)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.audit.event import audit_event
from fhir_server.fhir.recalls import OPERATORS, RECALL, recalls_of
from fhir_server.operations.definitions import definitions
from fhir_server.security.principal import Principal, own_principal
from tests.fhir_world import Json, World, fhir_world, text_of, validator
from tests.operation_world import caller, named, store_all

AI = {
    "coding": [
        {
            "system": "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS",
            "code": "Artificial-Intelligence",
        }
    ]
}
REASON = "Weights were built from mislabelled cells"


def asking(**values: Any) -> Json:
    parts = [{"name": name.rstrip("_"), **value} for name, value in values.items()]
    return {"resourceType": "Parameters", "parameter": parts}


def why(reason: str = REASON) -> Json:
    return {"valueString": reason}


def told(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {
        part["name"]: next(value for name, value in part.items() if name != "name")
        for part in response.json()["parameter"]
    }


def made_by(device: str, report: str, recorded: str) -> Json:
    return named(
        "Provenance",
        f"p-{report}-{device}",
        target=[{"reference": f"DiagnosticReport/{report}"}],
        recorded=recorded,
        agent=[{"who": {"reference": f"Device/{device}"}}],
    )


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as world:
        await _filled(world)
        yield world


async def _filled(world: World) -> None:
    reports = [
        named("DiagnosticReport", id, status=status, code={"text": "x"})
        for id, status in (("r1", "preliminary"), ("r2", "final"), ("r3", "final"))
    ]
    await store_all(
        world,
        named("Device", "ai", status="active", type=AI),
        named("Device", "pump"),
        *reports,
        made_by("ai", "r1", "2026-11-01T08:00:00Z"),
        made_by("ai", "r2", "2026-11-02T08:00:00Z"),
        made_by("pump", "r3", "2026-11-02T08:00:00Z"),
    )


async def test_a_recall_stands_on_the_device_which_is_out_of_use(ward: World) -> None:
    found = told(await ward.post("/Device/ai/$recall", asking(reason=why())))

    assert (found["status"], found["device"]) == ("open", {"reference": "Device/ai"})
    device = (await ward.get("/Device/ai")).json()
    assert device["status"] == "inactive"
    (recall,) = recalls_of(device)
    assert (recall.id, recall.reason, recall.end) == (found["recall"], REASON, None)
    waiting = await ward.get("/Device?_tag=https://medsage.example/fhir/CodeSystem/recall|open")
    assert [each["resource"]["id"] for each in waiting.json()["entry"]] == ["ai"]
    assert validator().issues(device) == ()


async def test_asked_for_again_it_is_the_same_recall_and_no_new_version(ward: World) -> None:
    first = told(await ward.post("/Device/ai/$recall", asking(reason=why())))
    again = told(await ward.post("/Device/ai/$recall", asking(reason=why(f" {REASON} "))))
    other = told(await ward.post("/Device/ai/$recall", asking(reason=why("Another reason"))))

    assert again == first
    assert other["recall"] != first["recall"]
    device = (await ward.get("/Device/ai")).json()
    assert device["meta"]["versionId"] == "3"
    assert len([each for each in device["extension"] if each["url"] == RECALL]) == 2


async def test_a_recall_of_a_past_period_leaves_the_version_in_use(ward: World) -> None:
    period = {"from": {"valueInstant": "2026-11-01T00:00:00Z"}}
    period["to"] = {"valueInstant": "2026-11-01T23:59:59Z"}
    await ward.post("/Device/ai/$recall", asking(reason=why(), **period))
    assert (await ward.get("/Device/ai")).json()["status"] == "active"
    backwards = {"from": period["to"], "to": period["from"]}
    refused = await ward.post("/Device/ai/$recall", asking(reason=why(), **backwards))
    assert refused.status_code == 400
    assert "from lies after to" in text_of(refused)


async def test_a_dry_run_counts_and_changes_nothing(ward: World) -> None:
    asked = asking(reason=why(), dryRun={"valueBoolean": True})
    found = told(await ward.post("/Device/ai/$recall", asked))
    assert (found["status"], found["reports"], found["signed"]) == ("dry-run", 2, 1)
    late = {"from": {"valueInstant": "2026-11-02T00:00:00Z"}}
    found = told(
        await ward.post(
            "/Device/ai/$recall", {**asking(reason=why(), dryRun={"valueBoolean": True}, **late)}
        )
    )
    assert (found["reports"], found["signed"]) == (1, 1)
    assert (await ward.get("/Device/ai")).json()["meta"]["versionId"] == "1"


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (caller("user/*.cruds", role="doctor"), 403),
        (caller("user/Device.rs", role="admin"), 403),
        (caller("user/Device.rus", role="admin"), 200),
    ],
)
async def test_only_an_administrator_who_may_write_devices_recalls(
    ward: World, who: Any, status: int
) -> None:
    ward.caller.principal = who
    response = await ward.post("/Device/ai/$recall", asking(reason=why()))
    assert response.status_code == status, response.text


async def test_an_administrator_who_sees_no_reports_is_told_no_number(ward: World) -> None:
    ward.caller.principal = caller("user/*.cruds", role="admin")
    asked = asking(reason=why(), dryRun={"valueBoolean": True})
    assert (await ward.post("/Device/ai/$recall", asked)).status_code == 403


@pytest.mark.parametrize(("device", "status"), [("pump", 422), ("none", 404)])
async def test_what_is_no_ai_system_is_not_recalled(ward: World, device: str, status: int) -> None:
    response = await ward.post(f"/Device/{device}/$recall", asking(reason=why()))
    assert response.status_code == status, response.text


async def test_a_recall_is_written_by_its_operation_alone(ward: World) -> None:
    await ward.post("/Device/ai/$recall", asking(reason=why()))
    device = (await ward.get("/Device/ai")).json()
    without = {**device, "extension": []}
    active = {**device, "status": "active"}
    for changed in ({**without, "extension": []}, active):
        refused = await ward.put("/Device/ai", {k: v for k, v in changed.items() if v != []})
        assert refused.status_code == 422, refused.text
    forged = {**device, "id": "pump"}
    assert (await ward.put("/Device/pump", forged)).status_code == 422
    named_anew = {**device, "deviceName": [{"name": "x", "type": "other"}]}
    assert (await ward.put("/Device/ai", named_anew)).status_code == 200


async def test_without_a_reason_nothing_is_recalled(ward: World) -> None:
    response = await ward.post("/Device/ai/$recall", {"resourceType": "Parameters"})
    assert response.status_code == 400
    assert "reason" in text_of(response)


def service(client: str = "medsage-worker") -> Principal:
    return own_principal(client, "MedSAGE worker")


async def test_a_service_says_which_operator_gave_the_order(ward: World) -> None:
    scopes = "system/Device.rus"
    ward.caller.principal = replace(service(), scopes=scopes)
    asked = asking(reason=why(), operator={"valueString": "amina"})
    assert (await ward.post("/Device/ai/$recall", asked)).status_code == 200

    (recall,) = recalls_of((await ward.get("/Device/ai")).json())
    assert (recall.by, recall.operator) == ("medsage-worker", "amina")
    record = next(r for r in await ward.journal() if "$recall" in r.get("query", ""))
    agents = audit_event(orjson.dumps(record))["agent"]
    by = [each for each in agents if each["requestor"]]
    who = {"identifier": {"system": OPERATORS, "value": "amina"}, "display": "operator amina"}
    assert [each["who"] for each in by] == [who]
    assert agents[0]["who"]["identifier"]["value"] == "medsage-worker"


async def test_a_person_recalls_in_their_own_name_and_not_as_an_operator(ward: World) -> None:
    ward.caller.principal = caller("user/Device.rus", role="admin")
    asked = asking(reason=why(), operator={"valueString": "somebody else"})
    refused = await ward.post("/Device/ai/$recall", asked)
    assert refused.status_code == 403
    assert "their own name" in text_of(refused)
    assert (await ward.get("/Device/ai")).json()["meta"]["versionId"] == "1"


def test_its_definition_says_where_it_is_called() -> None:
    (definition,) = [each for each in definitions() if each["code"] == "recall"]
    assert (definition["resource"], definition["instance"]) == (["Device"], True)
    assert {each["name"] for each in definition["parameter"]} == {
        "reason", "from", "to", "dryRun", "operator", "return",
    }  # fmt: skip
