"""What was drawn of a Task's images, as stored and as drawn again: to be compared (ADR 0034).

Drawing is deterministic: the same pixels and answers give the same bytes with the same code and
the same build of OpenCV, whose JPEG encoder writes them.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fhir_server.fhir.drawings import DERIVED_FROM, drawing_of
from models.fhir_client import FhirClient, FhirFailure
from models.malaria.reading import SmearPrediction
from models.smear_media import Origin, drawing_media

Resource = dict[str, Any]
Drawn = Mapping[str, Resource]
"""By place (`drawing[cell-gallery of image 1]`): the SHA-256 of the bytes, the size in pixels, and
what is said of each cell."""

_TOLD = ("extension", "height", "width")


async def drawings_stored(fhir: FhirClient, report: Resource, images: Sequence[str]) -> Drawn:
    """What the report links as drawn of these images (references). What was deleted since is
    left out."""
    found: dict[str, Resource] = {}
    for entry in report.get("media", ()):
        kind = drawing_of(entry)
        media = None if kind is None else await _read(fhir, entry["link"]["reference"])
        if media is None:
            continue
        url = str(media["content"].get("url", "")).removeprefix(f"{fhir.base_url}/")
        binary = await _read(fhir, url)
        coded = (binary or {}).get("data", "")
        place = _place(str(kind), images, _source(media))
        found[place] = _told(media, base64.b64decode(coded, validate=True))
    return found


def drawings_again(prediction: SmearPrediction, task: Resource, images: Sequence[str]) -> Drawn:
    """What the prediction draws of these images."""
    found: dict[str, Resource] = {}
    for drawing in prediction.drawings:
        origin = Origin(task, images[drawing.image], "")
        never = datetime.min.replace(tzinfo=UTC)
        media = drawing_media(drawing, "", origin, prediction=prediction, now=never)
        place = _place(drawing.kind.value, images, images[drawing.image])
        found[place] = _told(media, drawing.content)
    return found


def _place(kind: str, images: Sequence[str], source: str) -> str:
    number = images.index(source) + 1 if source in images else source
    return f"drawing[{kind} of image {number}]"


def _source(media: Resource) -> str:
    links = (e for e in media.get("extension", ()) if e.get("url") == DERIVED_FROM)
    return next((str(each["valueReference"]["reference"]) for each in links), "not named")


def _told(media: Resource, content: bytes) -> Resource:
    said = {name: media[name] for name in _TOLD if name in media}
    return {"sha256": hashlib.sha256(content).hexdigest(), **said}


async def _read(fhir: FhirClient, reference: str) -> Resource | None:
    try:
        return await fhir.read(reference)
    except FhirFailure as failure:
        if failure.status in (404, 410):
            return None
        raise
