"""A smear prediction → its Observation, its sentences, and the issues of what was refused."""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.fhir.assessment import FINDINGS, UCUM
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.smear_answers import ONE_CELL as ABOUT_ONE_CELL
from fhir_server.fhir.smear_answers import SMEAR as ABOUT_SMEAR
from models.ai_systems import CONFIDENCE, tagged
from models.code_version import image_code_sha256
from models.findings import RECOMMENDATION, finding
from models.malaria.bands import Band, band_of, told
from models.malaria.reading import (
    CellAnswer,
    ImageKind,
    SmearAnswer,
    SmearPrediction,
    Thresholds,
)
from models.wording import CELL_STATES, NO_OPINION, NOT_EXCLUDED, SMEAR_STATES, State

Resource = dict[str, Any]

SMEAR = {
    "system": FINDINGS,
    "code": ABOUT_SMEAR,
    "display": "Parasites in red cells of a smear, image analysis by AI",
}
SOFTWARE = ("software", "Code that read the images")
ONE_CELL = {
    "system": FINDINGS,
    "code": ABOUT_ONE_CELL,
    "display": "Parasite seen in red-cell image, AI",
}


SCORE_BINS = 10
SCORES = ("score-histogram", "Cells by probability, in ten equal bins")
IMAGE_SIGNS = {
    "brightness": "Brightness of the empty slide",
    "contrast": "Contrast of the cells",
    "stain": "Stain: optical density in green",
    "sharpness": "Sharpness of the cells' rims",
}
"""Fields of ImageSigns, and what they are called."""


def state_of(prediction: SmearPrediction) -> State:
    """The one state of the result; a single cell has words of its own."""
    cell = prediction.cell_alone
    if cell is not None and not prediction.is_refused:
        return CELL_STATES[cell.answer]
    return SMEAR_STATES[prediction.pool.answer]


def answer_words(prediction: SmearPrediction) -> str:
    """The answer with its number of cells, as the governing list says it."""
    return state_of(prediction).words(prediction.pool.cells)


def smear_finding(prediction: SmearPrediction) -> Resource:
    """The answer as a CodeableConcept."""
    state = state_of(prediction)
    return {**finding(state.code, state.display), "text": answer_words(prediction)}


def like_scored(prediction: SmearPrediction) -> Band | None:
    """How validation cells scored like the one cell turned out; None for a smear, or when the
    calibration does not say."""
    cell = prediction.cell_alone
    return None if cell is None else band_of(prediction.bands, cell.probability)


def confidence(prediction: SmearPrediction) -> float | None:
    """The calibrated probability that the answer about a single cell is right. A smear answer is
    a comparison of counts and has none; its interval and detection limit are told instead."""
    cell = prediction.cell_alone
    if cell is None or cell.probability is None:
        return None
    sure = {
        CellAnswer.PARASITE_LIKELY: cell.probability,
        CellAnswer.NOT_SEEN: 1 - cell.probability,
    }
    value = sure.get(cell.answer)
    return None if value is None else round(value, 4)


def smear_observation(
    prediction: SmearPrediction, about: Resource, *, images: Sequence[str], device: str
) -> Resource:
    """The AI's Observation, `derivedFrom` its Media; `about` has subject, encounter and time.

    When every image was refused it holds no finding: `cancelled`, with the reason.
    """
    is_single = prediction.cell_alone is not None
    state = state_of(prediction)
    model = prediction.model
    observation: Resource = {
        "resourceType": "Observation",
        "status": "cancelled" if prediction.is_refused else "preliminary",
        "category": [_category("laboratory")],
        "code": {"coding": [ONE_CELL if is_single else SMEAR]},
        **about,
        "method": {
            "text": f"{model.id} {model.version}, mean of {prediction.views} views, "
            f"preprocessing {model.preprocessing}"
        },
        "device": {"reference": device},
        "derivedFrom": [{"reference": image} for image in images],
        "component": [
            *_components(prediction),
            {"code": finding(*RECOMMENDATION), "valueString": state.next_step},
        ],
    }
    notes = [{"text": text} for text in smear_lines(prediction)]
    if prediction.is_refused:
        observation["dataAbsentReason"] = _absent("not-performed", NO_OPINION)
    else:
        observation["valueCodeableConcept"] = smear_finding(prediction)
    sure = confidence(prediction)
    if sure is not None:
        observation["extension"] = [{"url": CONFIDENCE, "valueDecimal": sure}]
    observation["note"] = notes
    return tagged(observation)


def smear_lines(prediction: SmearPrediction) -> list[str]:
    """The result in sentences: state, counts, what it does not say, refusals and what to do."""
    state = state_of(prediction)
    refusals = [
        f"Image {number} refused ({issue.check}): {issue.text} {issue.advice}"
        for number, image in enumerate(prediction.images, start=1)
        if (issue := image.refusal) is not None
    ]
    if prediction.is_refused:
        return [NO_OPINION, *refusals, state.next_step]
    none_seen = prediction.pool.answer is SmearAnswer.NONE_FOUND or state.code == "not-seen"
    excluded = [NOT_EXCLUDED] if none_seen and NOT_EXCLUDED not in prediction.pool.text else []
    band = like_scored(prediction)
    return [
        f"{answer_words(prediction)}.",
        prediction.pool.text,
        *excluded,
        *([told(band)] if band else []),
        *refusals,
        *_undrawn(prediction),
        state.next_step,
    ]


def _undrawn(prediction: SmearPrediction) -> Iterable[str]:
    if prediction.undrawn:
        yield (
            f"{prediction.undrawn} of the images were read and counted, but there was no room to "
            "keep drawings of their cells."
        )


def refusal_issues(prediction: SmearPrediction) -> tuple[Issue, ...]:
    """One issue for each refused image: the check that failed, what was found, what to do."""
    return tuple(
        Issue(
            "error",
            "processing",
            f"Image {number} refused ({refusal.check}): {refusal.text} {refusal.advice}",
        )
        for number, image in enumerate(prediction.images, start=1)
        if (refusal := image.refusal) is not None
    )


def _components(prediction: SmearPrediction) -> Iterable[Resource]:
    pool, cell = prediction.pool, prediction.cell_alone
    if cell is not None:
        if cell.probability is not None:
            yield _number("probability", "Calibrated probability", cell.probability)
        if cell.distance is not None:
            yield _number("distance", "Distance from training cells", cell.distance)
    band = like_scored(prediction)
    if band is not None:
        yield {
            "code": finding("like-scored", "Parasitized among validation cells scored like this"),
            "valueRatio": ratio(band),
        }
    yield _count("images", "Images", pool.images)
    yield _count("images-refused", "Images refused", pool.images_refused)
    yield _count("cells", "Red cells read", pool.cells)
    yield _count("cells-refused", "Cells refused", pool.cells_refused)
    yield _count("cells-positive", "Cells with parasite likely", pool.positive)
    yield _count("cells-indeterminate", "Cells indeterminate", pool.indeterminate)
    if pool.share is not None:
        yield _number("share", "Share of cells with parasite likely", pool.share)
    if pool.share_low is not None and pool.share_high is not None:
        yield {
            "code": finding("share-interval", "95 % Wilson interval of the share"),
            "valueRange": {"low": _one(pool.share_low), "high": _one(pool.share_high)},
        }
    yield _number("floor", "False-positive share of the model", pool.floor)
    if pool.detection_limit is not None:
        yield _number("detection-limit", "Smallest share told from the floor", pool.detection_limit)
    yield _count("cells-needed", "More cells needed for an answer", pool.cells_needed)
    yield from _thresholds(prediction.thresholds)
    yield {"code": finding(*SOFTWARE), "valueString": f"sha256 {image_code_sha256()}"}
    yield from watched(prediction)
    for image in prediction.images:
        read = "refused" if image.kind is ImageKind.REFUSED else image.kind.value
        text = f"sha256 {image.sha256}, {read}"
        yield {"code": finding("image-hash", "Image read"), "valueString": text}


_OF_KIND = {ImageKind.CELL: "in images of single cells", ImageKind.FIELD: "in fields"}


def _thresholds(judged: Sequence[Thresholds]) -> Iterable[Resource]:
    """What cells were judged by; where both kinds of image were, the text says which is whose."""
    for limits in judged:
        of = f", {_OF_KIND[limits.kind]}" if len(judged) > 1 else ""
        for code, display, value in (
            ("threshold-low", "Threshold: below, not seen", limits.low),
            ("threshold-high", "Threshold: from here, parasite likely", limits.high),
            ("threshold-distance", "Threshold: largest distance read", limits.distance),
        ):
            told = _number(code, display, value)
            yield {**told, "code": {**told["code"], "text": f"{display}{of}"}}


def ratio(band: Band) -> Resource:
    """Positive of all cells of a band as a Ratio."""
    return {"numerator": {"value": band.positive}, "denominator": {"value": band.cells}}


def watched(prediction: SmearPrediction) -> Iterable[Resource]:
    """What drift is seen by (models.monitoring): how often which probability was given, and what
    was measured of each field."""
    scores = [
        min(int(cell.probability * SCORE_BINS), SCORE_BINS - 1)
        for image in prediction.images
        for cell in image.cells
        if cell.probability is not None
    ]
    if scores:
        counts = " ".join(str(scores.count(each)) for each in range(SCORE_BINS))
        yield {"code": finding(*SCORES), "valueString": counts}
    measured = [image.signs for image in prediction.images if image.signs is not None]
    for name, words in IMAGE_SIGNS.items() if measured else ():
        values = " ".join(f"{getattr(signs, name):.2f}" for signs in measured)
        yield {"code": finding(f"image-{name}", words), "valueString": values}


def _count(code: str, display: str, value: int) -> Resource:
    return {"code": finding(code, display), "valueInteger": value}


def _number(code: str, display: str, value: float) -> Resource:
    return {"code": finding(code, display), "valueQuantity": _one(value)}


def _one(value: float) -> Resource:
    return {"value": round(float(value), 4), "unit": "1", "system": UCUM, "code": "1"}


def _category(code: str) -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {"coding": [{"system": system, "code": code}]}


def _absent(code: str, text: str) -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return {"coding": [{"system": system, "code": code}], "text": text}
