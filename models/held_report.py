"""What a report says of images that were not read because the model is held at the site."""

from collections.abc import Sequence
from typing import Any

from models.ai_systems import tagged
from models.findings import RECOMMENDATION, finding
from models.malaria.reading import SmearAnswer
from models.smear_report import SMEAR
from models.wording import NO_OPINION, SMEAR_STATES, State

Resource = dict[str, Any]

HELD = "No AI opinion (model held)"
NEXT_STEP = "Have a microscopist read the slide, or do a rapid diagnostic test."


def held_state() -> State:
    """The state of the result: that of images that could not be read, in words of its own."""
    refused = SMEAR_STATES[SmearAnswer.REFUSED]
    return State(refused.code, refused.display, NEXT_STEP)


def held_text(since: str) -> str:
    """The sentences of a report; `since` is the instant at which the hold began."""
    return (
        f"{HELD}: at this site images have not been read by the model since {since[:10]}. "
        f"{NO_OPINION}"
    )


def held_observation(text: str, about: Resource, *, images: Sequence[str], device: str) -> Resource:
    """The cancelled Observation that stands in the place of a result; `device` is the worker's."""
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return tagged(
        {
            "resourceType": "Observation",
            "status": "cancelled",
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "laboratory",
                        }
                    ]
                }
            ],
            "code": {"coding": [SMEAR]},
            **about,
            "device": {"reference": device},
            "derivedFrom": [{"reference": image} for image in images],
            "dataAbsentReason": {
                "coding": [{"system": system, "code": "not-performed"}],
                "text": f"{HELD}. Not a negative result.",
            },
            "component": [{"code": finding(*RECOMMENDATION), "valueString": NEXT_STEP}],
            "note": [{"text": text}],
        }
    )
