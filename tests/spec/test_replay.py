"""`medsage models replay`: a result computed again from what is stored, compared bit by bit."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.replaying import Wanted, told
from fhir_server.fhir.assessment import Image, Intake, Parties, submission
from fhir_server.fhir.drawings import drawing_of
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.malaria.predict import MalariaModel
from models.malaria.reading import CellAnswer, Drawing, SmearAnswer, ViewKind
from models.replay import ModelOf, NotReplayable, replay
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, Statement, Urgency
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Worker
from tests.fhir_world import BASE, START, World, fhir_world
from tests.smear_predictions import VERSION, ScriptedSmearModel, field_of, one_cell

CELL = Path("deploy/demo/images/cell-parasitized.png")
INTAKE = {"symptoms": {"fever": "yes", "jaundice": "yes"}, "vitals": {"temperature": 39.25}}


class LanguageModel:
    """Says one thing about any facts, and that they are an emergency."""

    origin = "model-x (prompt 1, schema 1)"

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        said = Statement("High fever since yesterday.", ("Fever: yes",))
        return Analysis(self.origin, Urgency.EMERGENCY, statements=(said,), notes=("Left out.",))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def fhir(world: World) -> FhirClient:
    return FhirClient(world.http, BASE, CallerToken(None))


def only(model: Any) -> ModelOf:
    """An installation with one image model."""
    return lambda key: model


async def assess(world: World, smear: Any, language_model: Any = None, **intake: Any) -> str:
    patient = await world.create({"resourceType": "Patient", "birthDate": "1990-05-01"})
    # Its site is noted on the results, and nothing that a model computes.
    visit = await world.create(
        {
            "resourceType": "Encounter",
            "status": "in-progress",
            "class": {"code": "AMB"},
            "subject": {"reference": f"Patient/{patient}"},
            "serviceProvider": {"reference": "Organization/ward"},
        }
    )
    content = CELL.read_bytes()
    numbers = iter(range(1, 100))
    bundle = submission(
        Intake(START, images=[Image(content, "image/png", "cell")], **{**INTAKE, **intake}),
        Parties(f"Patient/{patient}", encounter=f"Encounter/{visit}"),
        lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
    )
    answer = await fhir(world).transaction(bundle)
    location: str = answer["entry"][-1]["response"]["location"]
    analysts = Analysts(smear, SafeAnalyst(language_model))
    await Worker(fhir(world), analysts, clock=world.clock).run_once()
    return "/".join(location.split("/_history")[0].split("/")[-2:])


async def observation_of(world: World, task: str, code: str) -> dict[str, Any]:
    done = await fhir(world).read(task)
    report = await fhir(world).read(done["output"][0]["valueReference"]["reference"])
    found = [await fhir(world).read(each["reference"]) for each in report["result"]]
    return next(each for each in found if each["code"]["coding"][0]["code"] == code)


async def test_the_shipped_model_gives_the_same_bits_again(world: World) -> None:
    model = MalariaModel.load()
    task = await assess(world, model)

    found = await replay(fhir(world), only(MalariaModel.load()), task)

    assert found.is_same, found
    smear, symptoms = found.parts
    assert smear.version.startswith(f"{model.version.id}-{model.version.version}-")
    assert smear.equal > 40
    assert await drawings_of(world, task) == {"cell-gallery", "model-reaction"}
    assert symptoms.equal > 20
    assert smear.notes == symptoms.notes == ()


async def test_a_number_that_was_changed_later_is_found(world: World) -> None:
    model = ScriptedSmearModel(one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    task = await assess(world, model)
    stored = await observation_of(world, task, "malaria-cell-ai")
    stored["component"][0]["valueQuantity"]["value"] = 0.9701
    await world.put(f"/Observation/{stored['id']}", json.loads(json.dumps(stored, default=float)))

    found = await replay(fhir(world), only(model), task)

    assert not found.is_same
    (difference,) = found.parts[0].differences
    assert difference.place == "component[probability].valueQuantity.value"
    assert (difference.stored, difference.computed) == ("0.9701", "0.97")


async def drawings_of(world: World, task: str) -> set[str]:
    done = await fhir(world).read(task)
    report = await fhir(world).read(done["output"][0]["valueReference"]["reference"])
    return {kind for each in report["media"] if (kind := drawing_of(each))}


async def test_a_drawing_that_was_exchanged_or_deleted_is_found(world: World) -> None:
    cells = field_of(600, 40, SmearAnswer.SUSPECTED)
    drawn = [Drawing(0, kind, b"bytes of a jpeg", 64, 64) for kind in ViewKind]
    model = ScriptedSmearModel(replace(cells, drawings=tuple(drawn)))
    task = await assess(world, model)
    assert (await replay(fhir(world), only(model), task)).is_same

    done = await fhir(world).read(task)
    report = await fhir(world).read(done["output"][0]["valueReference"]["reference"])
    links = {drawing_of(each): each["link"]["reference"] for each in report["media"]}
    media = await fhir(world).read(links["cells-framed"])
    binary = await fhir(world).read(media["content"]["url"])
    other = {**binary, "data": "b3RoZXI="}
    assert (await world.put(f"/Binary/{binary['id']}", other)).status_code == 200
    assert (await world.delete(f"/{links['cell-gallery']}")).status_code in (200, 204)

    found = await replay(fhir(world), only(model), task)

    assert found.parts[0].verdict == "different"
    places = {each.place: each for each in found.parts[0].differences}
    assert places["drawing[cells-framed of image 1].sha256"].stored is not None
    assert places["drawing[cell-gallery of image 1].sha256"].stored is None
    assert not any("model-reaction" in place for place in places)


async def test_inputs_are_read_as_they_were(world: World) -> None:
    model = ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND))
    task = await assess(world, model)
    done = await fhir(world).read(task)
    patient = await fhir(world).read(done["for"]["reference"])
    world.clock.now = world.clock.now.replace(hour=23)
    await fhir(world).update({**patient, "birthDate": "2024-01-01"}, "1")
    assert (await replay(fhir(world), only(model), task)).is_same


async def test_another_version_is_said_to_be_unavailable(world: World) -> None:
    task = await assess(world, ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND)))
    prediction = field_of(600, 0, SmearAnswer.NONE_FOUND)
    newer = replace(prediction, model=replace(VERSION, version="2.0.0"))

    found = await replay(fhir(world), only(ScriptedSmearModel(newer)), task)

    smear, symptoms = found.parts
    assert (smear.verdict, symptoms.verdict) == ("unavailable", "same")
    assert "not available here, which has malaria-cell-2.0.0" in smear.notes[0]
    assert not found.is_same
    found = await replay(fhir(world), lambda key: None, task)
    assert found.parts[0].verdict == "unavailable"


async def test_what_a_language_model_said_is_compared_by_its_hash(world: World) -> None:
    model = ScriptedSmearModel(field_of(600, 0, SmearAnswer.NONE_FOUND))
    task = await assess(world, model, LanguageModel(), symptoms={"cough": "yes"}, vitals={})

    found = await replay(fhir(world), only(model), task)

    assert found.is_same, found
    assert "can't be computed again; its stored hash agrees" in found.parts[1].notes[0]

    stored = await observation_of(world, task, "symptom-analysis-ai")
    for component in stored["component"]:
        if component["code"]["coding"][0]["code"] == "language-model-statement":
            component["valueString"] = "No fever. [Fever: no]"
    await world.put(f"/Observation/{stored['id']}", stored)
    found = await replay(fhir(world), only(model), task)
    assert found.parts[1].verdict == "different"
    assert "does not agree" in found.parts[1].notes[0]


async def test_a_task_without_a_result_cant_be_replayed(world: World) -> None:
    patient = await world.create({"resourceType": "Patient"})
    open_ = submission(
        Intake(START, symptoms={"fever": "yes"}), Parties(f"Patient/{patient}"), lambda: "1" * 8
    )
    task = await world.create(
        {**open_["entry"][-1]["resource"], "input": []}
        | {"input": [{"type": {"text": "x"}, "valueString": "x"}]}
    )
    with pytest.raises(NotReplayable, match="is requested and has no report"):
        await replay(fhir(world), lambda key: None, f"Task/{task}")


@pytest.mark.parametrize("named", ["Task/", "Task", "Patient/1", "1", "Task/1/_history/1"])
async def test_what_names_no_task_is_refused(world: World, named: str) -> None:
    with pytest.raises(NotReplayable, match=f"'{named}' is not Task/ID"):
        await replay(fhir(world), lambda key: None, named)


async def test_a_sample_is_told_task_by_task(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedSmearModel(one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    tasks = [await assess(world, model) for _ in range(3)]
    stored = await observation_of(world, tasks[0], "malaria-cell-ai")
    stored["component"][0]["valueQuantity"]["value"] = 0.5
    await world.put(f"/Observation/{stored['id']}", json.loads(json.dumps(stored, default=float)))
    capsys.readouterr()

    assert not await told(fhir(world), only(model), Wanted(since="2026-11-24"))

    text = capsys.readouterr().out
    assert "component[probability].valueQuantity.value: stored 0.5, computed 0.97" in text
    assert "2 the same, 1 not the same, 0 not computed" in text
    assert await told(fhir(world), only(model), Wanted(since="2027-01-01"))
    assert await told(fhir(world), only(model), Wanted(task=tasks[1]), as_json=True)
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["verdict"] == "same"
    assert [part["verdict"] for part in line["parts"]] == ["same", "same"]


async def test_what_was_not_computed_is_told_apart_from_what_was_altered(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedSmearModel(one_cell(CellAnswer.PARASITE_LIKELY, 0.97))
    task = await assess(world, model)
    nowhere = only(None)

    assert not await told(fhir(world), nowhere, Wanted(task=task))
    text = capsys.readouterr().out
    assert f"{task}: not all computed again; what was is the same" in text
    assert "NOT the same" not in text
    assert not await told(fhir(world), nowhere, Wanted(task=task), as_json=True)
    assert json.loads(capsys.readouterr().out)["verdict"] == "unavailable"
    await told(fhir(world), nowhere, Wanted(since="2026-11-24"))
    assert "0 the same, 0 not the same, 1 not computed" in capsys.readouterr().out

    stored = await observation_of(world, task, "symptom-analysis-ai")
    changed = {**stored, "note": [{"text": "altered"}]}
    await world.put(f"/Observation/{stored['id']}", changed)
    assert not await told(fhir(world), nowhere, Wanted(task=task))
    assert f"{task}: NOT the same" in capsys.readouterr().out
