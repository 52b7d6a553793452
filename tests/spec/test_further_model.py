"""Another model is one folder and one line: worker, report, Device, card and trace follow.

Shown with the chest image demonstration, whose name, codes and words stand in its folder alone.
"""

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image as Picture

from fhir_server.fhir.assessment import FURTHER_MODELS, INPUT_FURTHER, TASK_PARTS
from fhir_server.fhir.model_versions import Standing, State, with_standing
from fhir_server.validation.validate import Validator
from models.ai_systems import ai_device
from models.app import cards_router
from models.lifecycle.installed import Installed, installed, offered
from tests.model_versions import analysts
from tests.spec.test_worker import World

MODEL = "pneumonia-cxr"


def picture(*, is_grey: bool = True) -> bytes:
    """Something with the brightness and contrast of a chest X-ray."""
    rows = np.linspace(90, 190, 112)[:, None] + 25 * np.sin(np.linspace(0, 12, 112))[None]
    pixels = np.repeat(rows.astype(np.uint8)[..., None], 3, axis=2)
    if not is_grey:
        pixels[..., 2] //= 2
    content = io.BytesIO()
    Picture.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def here() -> dict[str, Installed]:
    return {k: v for k, v in installed(demonstrations=True).items() if v.model == MODEL}


class Further(World):
    """A worker on a server where the shipped version is active."""

    def __init__(self, here: dict[str, Installed]) -> None:
        super().__init__()
        self.here = here
        (version,) = here.values()
        device = ai_device(version.system, "DocumentReference/c")
        standing = Standing(MODEL, version.entry.condition, State.ACTIVE)
        self.device = self.fhir.add(with_standing(device, standing))

    def ask(self, content: bytes, model: str = MODEL, **more: Any) -> str:
        """The reference of a Task with one image for the model."""
        media = self.fhir.add(
            {
                "resourceType": "Media",
                "status": "completed",
                "subject": {"reference": self.patient},
                "content": {"contentType": "image/png", "data": base64.b64encode(content).decode()},
            }
        )
        codings = [
            {"system": TASK_PARTS, "code": INPUT_FURTHER},
            {"system": FURTHER_MODELS, "code": model},
        ]
        task = {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "code": {
                "coding": [
                    {
                        "system": "https://medsage.example/fhir/CodeSystem/task-code",
                        "code": "malaria-assessment",
                    }
                ]
            },
            "for": {"reference": self.patient},
            "authoredOn": "2026-11-24T09:00:00Z",
            "input": [{"type": {"coding": codings}, "valueReference": {"reference": media}}],
        }
        task["input"] += more.get("inputs", [])
        return self.fhir.add(task)

    async def work(self, *, demonstrations: bool = True) -> None:
        worker = self.worker()
        worker.analysts = analysts(self.fhir, self.here, demonstrations=demonstrations)
        await worker.run_once()


@pytest.fixture
def world(here: dict[str, Installed]) -> Further:
    return Further(here)


async def test_its_report_is_traced_and_marked_like_any_other(world: Further) -> None:
    reference = world.ask(picture())
    await world.work()

    task = world.task(reference)
    assert task["status"] == "completed", task.get("statusReason")
    (report,), (observation,) = world.reports(), world.fhir.of_type("Observation")
    assert "demonstration only" in report["code"]["text"]
    assert "Demonstration only, not for any patient." in report["conclusion"]
    assert "negative." not in report["conclusion"].replace("Not a negative result.", "")
    for resource in (report, observation):
        assert "AIAST" in str(resource["meta"]["security"])
    assert report["status"] == observation["status"] == "preliminary"
    assert observation["device"]["reference"] == world.device
    assert observation["derivedFrom"] == [link["link"] for link in report["media"]]
    (trace,) = world.fhir.of_type("Provenance")
    assert trace["agent"][0]["who"]["reference"] == world.device
    targets = {target["reference"] for target in trace["target"]}
    assert targets == {f"DiagnosticReport/{report['id']}", f"Observation/{observation['id']}"}
    (card,) = world.fhir.of_type("DocumentReference")
    text = base64.b64decode(card["content"][0]["attachment"]["data"]).decode()
    assert "DEMONSTRATION ONLY" in text
    assert "names no patients" in " ".join(text.split())
    validator = Validator()
    assert [issue for r in world.fhir.resources.values() for issue in validator.issues(r)] == []


async def test_the_same_image_gives_the_same_answer(world: Further) -> None:
    world.ask(picture())
    world.ask(picture())
    await world.work()
    first, second = (o["component"] for o in world.fhir.of_type("Observation"))
    assert first == second


async def test_it_is_not_offered_where_the_operator_has_not_allowed_it(world: Further) -> None:
    assert MODEL not in offered(demonstrations=False)
    assert all(version.model != MODEL for version in installed().values())
    reference = world.ask(picture())
    await world.work(demonstrations=False)
    task = world.task(reference)
    assert task["status"] == "failed"
    assert "no model pneumonia-cxr is offered" in task["statusReason"]["text"]
    assert world.reports() == []


async def test_it_never_shares_a_task_with_inputs_of_care(world: Further) -> None:
    vital = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": {"reference": world.patient},
        "valueQuantity": {"value": 39, "code": "Cel"},
    }
    part = {"coding": [{"system": TASK_PARTS, "code": "vital-sign"}]}
    given = {"type": part, "valueReference": {"reference": world.fhir.add(vital)}}
    reference = world.ask(picture(), inputs=[given])
    await world.work()
    assert "stands alone" in world.task(reference)["statusReason"]["text"]


@pytest.mark.parametrize(
    ("content", "says"), [(picture(is_grey=False), "colour"), (b"GIF89a no", "refused")]
)
async def test_what_is_no_chest_image_is_refused(world: Further, content: bytes, says: str) -> None:
    reference = world.ask(content)
    await world.work()
    task = world.task(reference)
    assert task["status"] == "failed"
    assert says in task["statusReason"]["text"]
    assert world.reports() == []


async def test_an_image_for_a_model_that_nobody_knows_is_refused(world: Further) -> None:
    reference = world.ask(picture(), "flu")
    await world.work()
    assert "no model flu" in world.task(reference)["statusReason"]["text"]


async def test_its_card_is_among_the_models_where_it_is_offered(here: dict[str, Installed]) -> None:
    (version,) = here.values()
    app = FastAPI()
    app.include_router(cards_router(lambda: [version.card]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://m") as http:
        (card,) = (await http.get("/models")).json()["models"]
    assert card["summary"].strip().startswith("DEMONSTRATION ONLY")
    assert card["metrics"]["AUC"] > 0.9
    assert len(card["hashes"]) == 3


def test_it_is_one_folder_and_one_line_of_the_table() -> None:
    root = Path(__file__).parents[2]
    sources = [*root.glob("models/**/*.py"), *root.glob("deploy/**/*.py")]
    importing = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8").count(f'"{MODEL}"')
        for path in sources
        if path.parent.name != "pneumonia" and "models.pneumonia" in path.read_text("utf-8")
    }
    # What trains is a command of its own; what serves is the table.
    assert importing == {"models/registry.py": 1, "models/training/commands.py": 0}
