"""What is drawn of smear images → Binary and Media, tagged as AI, derived from the images sent."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.codec import instant
from fhir_server.fhir.drawings import CELL, DERIVED_FROM, DRAWING, DRAWINGS_OF_TASK
from models.ai_systems import tagged
from models.malaria.bands import Band, band_of
from models.malaria.reading import CellReading, Drawing, SmearPrediction, ViewKind
from models.smear_report import ratio

Resource = dict[str, Any]

CONTENT_TYPE = "image/jpeg"
DISPLAYS = {
    ViewKind.FRAMED: "Field with cells framed by AI",
    ViewKind.GALLERY: "Cells of an image, with AI answers",
    ViewKind.REACTION: "Where the model reacted; not proof",
}


@dataclass(frozen=True)
class Origin:
    """What a drawing was made of and for: the Task, the reference of the image's Media, and the
    AI's Device."""

    task: Resource
    image: str
    device: str


def drawing_binary(drawing: Drawing, task: Resource) -> Resource:
    """The bytes of a drawing, guarded as the patient's."""
    return tagged(
        {
            "resourceType": "Binary",
            "contentType": CONTENT_TYPE,
            "securityContext": task["for"],
            "data": base64.b64encode(drawing.content).decode(),
        }
    )


def drawing_media(
    drawing: Drawing, binary: str, origin: Origin, *, prediction: SmearPrediction, now: datetime
) -> Resource:
    """The Media of a drawing; of a gallery with what was answered about each cell."""
    task, display = origin.task, DISPLAYS[drawing.kind]
    checksum = hashlib.sha1(drawing.content, usedforsecurity=False).digest()  # Attachment.hash
    media: Resource = {
        "resourceType": "Media",
        "extension": [
            {"url": DERIVED_FROM, "valueReference": {"reference": origin.image}},
            *(_cell(cell, prediction.bands) for cell in drawing.cells),
        ],
        "identifier": [{"system": DRAWINGS_OF_TASK, "value": task["id"]}],
        "status": "completed",
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/media-type", "code": "image"}
            ]
        },
        "view": {"coding": [{"system": FINDINGS, "code": drawing.kind, "display": display}]},
        "subject": task["for"],
        "createdDateTime": instant(now),
        "device": {"reference": origin.device},
        "height": drawing.height,
        "width": drawing.width,
        "content": {
            "contentType": CONTENT_TYPE,
            "url": binary,
            "size": len(drawing.content),
            "hash": base64.b64encode(checksum).decode(),
            "title": f"{display}: image {drawing.image + 1}",
        },
    }
    if "encounter" in task:
        media["encounter"] = task["encounter"]
    return tagged(media)


def report_link(drawing: Drawing, media: str) -> Resource:
    """The entry of DiagnosticReport.media that names a drawing."""
    return {
        "extension": [{"url": DRAWING, "valueCode": drawing.kind.value}],
        "comment": f"{DISPLAYS[drawing.kind]}: image {drawing.image + 1}",
        "link": {"reference": media},
    }


def _cell(cell: CellReading, bands: tuple[Band, ...]) -> Resource:
    box, band = cell.box, band_of(bands, cell.probability)
    parts: list[Resource] = [
        {"url": "answer", "valueCode": cell.answer.value},
        {"url": "box", "valueString": f"{box.x} {box.y} {box.width} {box.height}"},
    ]
    if cell.probability is not None:
        parts.append({"url": "probability", "valueDecimal": round(cell.probability, 4)})
    if band is not None:
        parts.append({"url": "like-scored", "valueRatio": ratio(band)})
    if cell.refusal is not None:
        parts.append({"url": "check", "valueCode": cell.refusal.check})
    return {"url": CELL, "extension": parts}
