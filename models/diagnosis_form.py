"""The form of `POST /api/diagnose`: every field known, every range checked, all faults at once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import filetype

from fhir_server import spans
from fhir_server.fhir.assessment import BLOOD_GROUPS, VITAL_SIGNS, Image, Intake
from fhir_server.fhir.idempotency_key import HEADER
from fhir_server.fhir.outcome import FhirError, Issue
from models.malaria.reading import Refusal, SmearImage

CheckImage = Callable[[SmearImage], Refusal | None]

IMAGE_FIELD = "imageUpload"
# The seed had two spellings of one field.
SPELLINGS = {"bloodGroup": "blood_group"}
MEASURED = tuple(VITAL_SIGNS)
REQUIRED = ("age", "weight", "height", "symptoms")
OPTIONAL = ("name", "blood_group", "sex", "onset", *(v for v in MEASURED if v not in REQUIRED))
SEXES = ("male", "female", "other", "unknown")
AGE_YEARS = (0.0, 130.0)
MOST_SYMPTOMS, MOST_NAME, MOST_IMAGES = 5000, 200, 20
# Checks of the file itself. Those of the picture (focus, stain, no smear) are for the analysis,
# which still has the symptoms and tells what was wrong with the image.
_UNREADABLE = {
    "size": 413,
    "type": 415,
    "content-type": 415,
    "pixels": 422,
    "dimensions": 422,
    "corrupt": 422,
    "animated": 422,
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class DiagnosisForm:
    """A form that was accepted."""

    intake: Intake
    name: str | None = None
    sex: str | None = None


@dataclass
class _Faults:
    """Problems found so far; `number` and `text` read one field each and note what is wrong."""

    fields: dict[str, str]
    issues: list[Issue] = field(default_factory=list)

    def note(self, code: str, name: str, text: str) -> None:
        self.issues.append(Issue("error", code, f"{name}: {text}", (name,)))

    def number(self, name: str, low: float, high: float) -> float | None:
        if name not in self.fields:
            return None
        try:
            value = float(self.fields[name])
        except ValueError:
            self.note("value", name, "is no number")
            return None
        if not low <= value <= high:  # NaN fails this too
            self.note("value", name, f"must lie between {low:g} and {high:g}")
            return None
        return value

    def text(self, name: str, longest: int) -> str:
        value = self.fields.get(name, "").strip()
        if len(value) > longest:
            self.note("too-long", name, f"is longer than {longest} characters")
        if _CONTROL.search(value):
            self.note("value", name, "holds control characters")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.fields.get(name)
        if value is not None and value not in choices:
            self.note("value", name, f"must be one of {', '.join(choices)}")
        return value


def read_form(
    pairs: Sequence[tuple[str, str]], images: Sequence[Image], now: datetime
) -> DiagnosisForm:
    """The form as an Intake. Raises FhirError 400 with every problem, each naming its field."""
    faults = _Faults({})
    _collect(pairs, faults)
    for name in REQUIRED:
        if not faults.fields.get(name, "").strip():
            faults.fields.pop(name, None)
            faults.note("required", name, "is required")
    age = faults.number("age", *AGE_YEARS)
    vitals = {
        name: value
        for name in MEASURED
        if (value := faults.number(name, *VITAL_SIGNS[name].possible)) is not None
    }
    name = faults.text("name", MOST_NAME)
    if len(images) > MOST_IMAGES:
        faults.note("too-costly", IMAGE_FIELD, f"more than {MOST_IMAGES} images")
    form = DiagnosisForm(
        Intake(
            authored=now,
            vitals=vitals,
            blood_group=faults.choice("blood_group", BLOOD_GROUPS),
            age_years=age,
            symptoms_text=faults.text("symptoms", MOST_SYMPTOMS),
            onset=_onset(faults, now.date()),
            images=images,
            trace=spans.current(),
        ),
        name=name or None,
        sex=faults.choice("sex", SEXES),
    )
    if faults.issues:
        raise FhirError(400, tuple(faults.issues))
    return form


def read_image(upload: SmearImage, check: CheckImage) -> Image:
    """One upload as an Image, its type found by content (blocking: it is decoded in part).

    Raises FhirError: 415 for what is no image of a type read here, 413 for one that is too large,
    422 for one that is broken or not what it says.
    """
    found = filetype.guess_mime(upload.content)
    refusal = check(upload)
    if refusal is not None and refusal.check in _UNREADABLE:
        status = _UNREADABLE[refusal.check]
        text = f"{IMAGE_FIELD}: {refusal.check}: {refusal.text} {refusal.advice}"
        raise FhirError(status, (Issue("error", "processing", text, (IMAGE_FIELD,)),))
    if found is None or not found.startswith("image/"):
        text = f"{IMAGE_FIELD}: the content is no image"
        raise FhirError(415, (Issue("error", "not-supported", text, (IMAGE_FIELD,)),))
    return Image(upload.content, found, upload.name or "image")


def patient_of(form: DiagnosisForm) -> dict[str, Any]:
    """The new Patient of a form. Without a name it is anonymous; an age makes no birth date."""
    patient: dict[str, Any] = {"resourceType": "Patient", "active": True}
    if form.name:
        patient["name"] = [{"text": form.name}]
    if form.sex:
        patient["gender"] = form.sex
    return patient


def _collect(pairs: Sequence[tuple[str, str]], faults: _Faults) -> None:
    for given, value in pairs:
        name = SPELLINGS.get(given, given)
        if name == IMAGE_FIELD:
            faults.note("invalid", given, "must be a file")
        elif name not in REQUIRED and name not in OPTIONAL:
            faults.note("not-supported", given, "is no field of this form")
        elif name in faults.fields:
            faults.note("duplicate", given, "is given more than once")
        elif value.strip() or name in REQUIRED:
            # Browsers send empty fields; an empty optional field is one not given.
            faults.fields[name] = value


def _onset(faults: _Faults, today: date) -> str | None:
    text = faults.fields.get("onset")
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        faults.note("value", "onset", "must be a date such as 2026-11-24")
        return None
    if day > today:
        faults.note("value", "onset", "lies in the future")
    return day.isoformat()


def form_schema() -> dict[str, Any]:
    """The form as an OpenAPI request body, from the same tables that check it, and the key with
    which it may be sent again."""
    text: dict[str, Any] = {"type": "string"}
    properties: dict[str, Any] = dict.fromkeys((*REQUIRED, *OPTIONAL), text)
    for name, sign in VITAL_SIGNS.items():
        low, high = sign.possible
        properties[name] = {
            "type": "number",
            "minimum": low,
            "maximum": high,
            "description": f"{sign.display}, {sign.unit}",
        }
    properties |= {
        "age": {
            "type": "number",
            "minimum": AGE_YEARS[0],
            "maximum": AGE_YEARS[1],
            "description": "years",
        },
        "blood_group": {**text, "enum": list(BLOOD_GROUPS)},
        "sex": {**text, "enum": list(SEXES)},
        "onset": {**text, "format": "date"},
        "symptoms": {**text, "maxLength": MOST_SYMPTOMS, "description": "in words"},
        IMAGE_FIELD: {"type": "array", "items": {**text, "format": "binary"}},
    }
    schema = {"type": "object", "required": list(REQUIRED), "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    key = {"name": HEADER, "in": "header", "required": False, "schema": text}
    return {"requestBody": {"required": True, "content": content}, "parameters": [key]}
