"""Resources that the app's tests read: a patient, an AI report with its results, a tiny image."""

import struct
import zlib
from typing import Any

from fhir_server.fhir.assessment import AI_ASSERTED, FINDINGS
from fhir_server.fhir.drawings import CELL, DERIVED_FROM, DRAWING, KINDS

Resource = dict[str, Any]
LABEL = {"security": [AI_ASSERTED]}

PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Okafor", "given": ["Chidi"]}],
    "gender": "male",
    "birthDate": "1990-05-17",
    "identifier": [{"value": "MR-1001", "type": {"text": "MRN"}}],
}
OTHER_PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "p2",
    "name": [{"family": "<img src=x onerror=alert(1)>", "given": ["Ada"]}],
    "birthDate": "2024-11",
}


def code(value: str, display: str) -> Resource:
    """A code of our own findings."""
    coding = {"system": FINDINGS, "code": value, "display": display}
    return {"coding": [coding], "text": display}


def smear_result(answer: str, display: str, **more: Any) -> Resource:
    """The AI's Observation about the images, as the worker writes it."""
    return {
        "resourceType": "Observation",
        "id": "smear",
        "meta": LABEL,
        "status": "preliminary",
        "code": {"coding": [{"system": FINDINGS, "code": "malaria-smear-ai"}], "text": "Smear"},
        "subject": {"reference": "Patient/p1"},
        "valueCodeableConcept": code(answer, display),
        "derivedFrom": [{"reference": "Media/m1"}],
        "component": [
            {"code": code("cells", "Red cells read"), "valueInteger": 214},
            {"code": code("made-up-later", "Something new"), "valueString": "kept"},
            {"code": code("recommendation", "Recommendation"), "valueString": "Repeat the smear."},
        ],
        **more,
    }


def symptom_result(urgency: str, display: str) -> Resource:
    """The AI's Observation about the symptoms."""
    return {
        "resourceType": "Observation",
        "id": "symptoms",
        "meta": LABEL,
        "status": "preliminary",
        "code": {
            "coding": [{"system": FINDINGS, "code": "symptom-analysis-ai"}],
            "text": "Symptoms",
        },
        "subject": {"reference": "Patient/p1"},
        "valueCodeableConcept": code(urgency, display),
        "component": [
            {"code": code("rule-fever", "Fever"), "valueString": "Fever of 39.2 °C (rule R1)"}
        ],
    }


def report(*results: str, media: bool = True) -> Resource:
    """A preliminary report as the worker writes it."""
    written: Resource = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "meta": LABEL,
        "status": "preliminary",
        "code": {"text": "Malaria assessment, AI-assisted"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-11-22T09:20:00Z",
        "issued": "2026-11-22T09:20:05Z",
        "result": [{"reference": f"Observation/{result}"} for result in results],
        "conclusion": "Images (AI): Parasites suspected.",
        "conclusionCode": [code("parasites-suspected", "Parasites suspected")],
    }
    if media:
        written["media"] = [{"link": {"reference": "Media/m1"}}]
    return written


MEDIA: Resource = {
    "resourceType": "Media",
    "id": "m1",
    "status": "completed",
    "subject": {"reference": "Patient/p1"},
    "createdDateTime": "2026-11-22T09:19:00Z",
    "content": {"contentType": "image/png", "url": "Binary/b1", "title": "Smear 1"},
}


CELLS: tuple[Resource, ...] = (
    {"answer": "parasite-likely", "probability": 0.97, "like": (412, 400)},
    {"answer": "indeterminate", "probability": 0.5},
    {"answer": "not-seen", "probability": 0.01},
    {"answer": "refused", "check": "cut-off"},
)


def drawings() -> tuple[Resource, ...]:
    """What the worker drew of MEDIA: framed, gallery with CELLS, reaction; their bytes are b1."""
    return tuple(
        {
            **MEDIA,
            "id": kind,
            "meta": LABEL,
            "extension": [
                {"url": DERIVED_FROM, "valueReference": {"reference": "Media/m1"}},
                *(_cell(cell) for cell in CELLS if kind == "cell-gallery"),
            ],
            "view": {"coding": [{"system": FINDINGS, "code": kind}]},
            "width": 256,
            "height": 64,
        }
        for kind in KINDS
    )


def drawn(report: Resource) -> Resource:
    """The report with the links to its drawings."""
    links = [
        {
            "extension": [{"url": DRAWING, "valueCode": kind}],
            "link": {"reference": f"Media/{kind}"},
        }
        for kind in KINDS
    ]
    return {**report, "media": [*report.get("media", ()), *links]}


def _cell(cell: Resource) -> Resource:
    parts: list[Resource] = [
        {"url": "answer", "valueCode": cell["answer"]},
        {"url": "box", "valueString": "10 20 40 40"},
    ]
    if "probability" in cell:
        parts.append({"url": "probability", "valueDecimal": cell["probability"]})
    if "like" in cell:
        cells, positive = cell["like"]
        ratio = {"numerator": {"value": positive}, "denominator": {"value": cells}}
        parts.append({"url": "like-scored", "valueRatio": ratio})
    if "check" in cell:
        parts.append({"url": "check", "valueCode": cell["check"]})
    return {"url": CELL, "extension": parts}


def png(width: int = 8, height: int = 8, extra: bytes = b"") -> bytes:
    """A valid PNG of one colour; `extra` are further chunks before the pixels."""
    rows = b"".join(b"\0" + b"\xc8\xa0\xb4" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk."""
    length, check = len(content), zlib.crc32(kind + content)
    return struct.pack(">I", length) + kind + content + struct.pack(">I", check)
