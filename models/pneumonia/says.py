"""A chest prediction → its part of a report: marked as a demonstration wherever it is read."""

from typing import Any

from fhir_server.fhir.assessment import FURTHER_MODELS, UCUM
from fhir_server.fhir.outcome import Issue
from models.ai_systems import CONFIDENCE, tagged
from models.pneumonia.manifest import ID
from models.pneumonia.predict import ChestAnswer, ChestPrediction
from models.spoken import Spoken, SpokenBy
from models.wording import NO_OPINION

Resource = dict[str, Any]

DEMONSTRATION = "Demonstration only, not for any patient."
STATES = {
    ChestAnswer.SUSPECTED: "Opacity suspected",
    ChestAnswer.INDETERMINATE: "Uncertain",
    ChestAnswer.NOT_FOUND: "None found by model",
    ChestAnswer.REFUSED: "No AI opinion",
}
_NOT_EXCLUDED = "This does not exclude pneumonia."


def says(prediction: ChestPrediction, by: SpokenBy) -> Spoken:
    """What the report says of the images."""
    state = STATES[prediction.answer]
    return Spoken(
        by=by,
        observation=lambda about, device: _observation(prediction, by, (about, device)),
        heading="Chest image, demonstration only",
        lines=_lines(prediction),
        code=_concept(prediction.answer, state),
        report=_concept("report", "Chest image by AI, demonstration only"),
        refusals=_refusals(prediction),
        is_refused=prediction.answer is ChestAnswer.REFUSED,
    )


def _observation(prediction: ChestPrediction, by: SpokenBy, of: tuple[Resource, str]) -> Resource:
    about, device = of
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    observation: Resource = {
        "resourceType": "Observation",
        "status": "cancelled" if prediction.answer is ChestAnswer.REFUSED else "preliminary",
        "category": [{"coding": [{"system": system, "code": "imaging"}]}],
        "code": _concept("reading", "Opacity in a chest image, AI, demonstration only"),
        **about,
        "method": {"text": f"{by.system.name} {by.system.version}. {DEMONSTRATION}"},
        "device": {"reference": device},
        "derivedFrom": [{"reference": source} for source in by.sources],
        "component": _components(prediction),
        "note": [{"text": text} for text in _lines(prediction)],
    }
    if prediction.answer is ChestAnswer.REFUSED:
        absent = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
        coding = {"system": absent, "code": "not-performed"}
        observation["dataAbsentReason"] = {"coding": [coding], "text": NO_OPINION}
    else:
        state = STATES[prediction.answer]
        observation["valueCodeableConcept"] = _concept(prediction.answer, state)
    if (sure := _confidence(prediction)) is not None:
        observation["extension"] = [{"url": CONFIDENCE, "valueDecimal": sure}]
    return tagged(observation)


def _confidence(prediction: ChestPrediction) -> float | None:
    """The calibrated probability that the answer about a single image is right."""
    if len(prediction.images) != 1 or prediction.images[0].probability is None:
        return None
    probability = prediction.images[0].probability
    right = {ChestAnswer.SUSPECTED: probability, ChestAnswer.NOT_FOUND: 1 - probability}
    found = right.get(prediction.answer)
    return None if found is None else round(found, 4)


def _components(prediction: ChestPrediction) -> list[Resource]:
    found = []
    for image in prediction.images:
        text = f"sha256 {image.sha256}, {image.answer.value}"
        found.append({"code": _concept("image-hash", "Image read"), "valueString": text})
        if image.probability is not None:
            found.append(_number("probability", "Calibrated probability", image.probability))
    limits = prediction.manifest
    found.append(_number("threshold-low", "Threshold: below, none found", limits.low))
    found.append(_number("threshold-high", "Threshold: from here, suspected", limits.high))
    return found


def _lines(prediction: ChestPrediction) -> list[str]:
    refusals = [issue.diagnostics for issue in _refusals(prediction)]
    if prediction.answer is ChestAnswer.REFUSED:
        return [DEMONSTRATION, NO_OPINION, *refusals]
    none = [_NOT_EXCLUDED] if prediction.answer is ChestAnswer.NOT_FOUND else []
    return [DEMONSTRATION, f"{STATES[prediction.answer]}.", *none, *refusals]


def _refusals(prediction: ChestPrediction) -> tuple[Issue, ...]:
    return tuple(
        Issue(
            "error",
            "processing",
            f"Image {number} refused ({image.refusal.check}): {image.refusal.text} "
            f"{image.refusal.advice}",
        )
        for number, image in enumerate(prediction.images, start=1)
        if image.refusal is not None
    )


def _concept(code: str, display: str) -> Resource:
    coding = {"system": FURTHER_MODELS, "code": f"{ID}.{code}", "display": display}
    return {"coding": [coding], "text": display}


def _number(code: str, display: str, value: float) -> Resource:
    quantity = {"value": round(value, 4), "unit": "1", "system": UCUM, "code": "1"}
    return {"code": _concept(code, display), "valueQuantity": quantity}
