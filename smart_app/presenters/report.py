"""A DiagnosticReport made with AI, as it is reviewed, signed and printed.

Every result has exactly one state in words and shape; a missing AI result is never shown as a
negative one. Codes that are not known here are listed as they came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fhir_server.fhir.assessment import FINDINGS, FURTHER_MODELS
from fhir_server.fhir.feedback import FIRST_READING
from fhir_server.fhir.recalls import is_recalled
from fhir_server.fhir.smear_answers import ONE_CELL, SMEAR, Shown, shown_as
from fhir_server.fhir.withdrawn import is_withdrawn
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import code_in, show_concept, show_value
from smart_app.presenters.history import is_signed, made_with_ai, report_status
from smart_app.presenters.times import show_time
from smart_app.reading import AGREEMENT, FINAL_FINDING

Tone = Literal["suspected", "none", "uncertain", "no-opinion", "superseded", "danger", "plain"]

# Urgency codes → how they are shown; image results have their states in fhir.smear_answers.
TONES: Mapping[str, Tone] = {
    "emergency": "danger",
    "urgent": "suspected",
    "routine": "plain",
}
IMAGE_RESULTS = frozenset({SMEAR, ONE_CELL})
STATES: Mapping[Shown, Tone] = {
    Shown.SUSPECTED: "suspected",
    Shown.NONE: "none",
    Shown.UNCERTAIN: "uncertain",
    Shown.NO_OPINION: "no-opinion",
    Shown.SUPERSEDED: "superseded",
}
RECOMMENDATION, STATEMENT, NOTE = "recommendation", "language-model-statement", "note"
# What a language model said: sentences, and conditions that it named.
BY_MODEL = frozenset({STATEMENT, "language-model-possibility"})
SUPPORTING = ("rule-", "possibility")
OPPOSITE = {
    "suspected": frozenset({"parasites-not-seen", "malaria-unlikely"}),
    "none": frozenset({"parasites-seen", "malaria-likely"}),
}


@dataclass(frozen=True)
class Finding:
    """One result Observation: what, its value and state, and everything said with it.

    `state` is the state of an image result in words, empty for others; `trace` says which model
    read which image. `support` is what speaks for it, by rule; `statements` come from a language
    model; `details` are the technical components, those of unknown codes too.
    """

    id: str
    title: str
    code: str
    value: str
    tone: Tone
    state: str
    trace: str
    is_image: bool
    is_ai: bool
    support: tuple[str, ...]
    recommendations: tuple[str, ...]
    statements: tuple[str, ...]
    details: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImageLine:
    """One image of the report, with the text that stands for it."""

    media: str
    text: str
    can_show: bool


@dataclass(frozen=True)
class ReportView:
    """The report's facts. `image_state` is the AI's answer about the images, None when there
    were none; `refusals` are images that the analysis would not read, and why. `is_withdrawn`: a
    draft whose patient does not permit the analysis any more. `is_further`: by a model of another
    condition, whose images are no smear: it is shown, and neither read nor signed here."""

    id: str
    version: str
    status: str
    is_signed: bool
    is_recalled: bool
    is_withdrawn: bool
    is_further: bool
    title: str
    when: str
    conclusion: str
    interpreters: tuple[str, ...]
    findings: tuple[Finding, ...]
    refusals: tuple[str, ...]
    images: tuple[ImageLine, ...]
    first_reading: Finding | None
    final_finding: Finding | None

    @property
    def image_state(self) -> Finding | None:
        """The AI's answer about the images."""
        return next((f for f in self.findings if f.is_image), None)

    @property
    def urgency(self) -> Finding | None:
        """The finding that says how soon the patient must be seen."""
        return next((f for f in self.findings if f.code in {"emergency", "urgent"}), None)

    @property
    def is_danger(self) -> bool:
        """Whether the analysis saw danger signs."""
        return any(f.tone == "danger" for f in self.findings)

    @property
    def is_discordant(self) -> bool:
        """The model found nothing in someone who must be seen at once or today."""
        state = self.image_state
        return state is not None and state.tone == "none" and self.urgency is not None

    def disagrees_with(self, reading: str) -> bool:
        """Whether a reading (its code) says the opposite of the AI's answer about the images."""
        state = self.image_state
        return state is not None and reading in OPPOSITE.get(state.tone, ())


def report_view(
    report: Resource, results: Sequence[Resource], media: Sequence[Resource]
) -> ReportView:
    """The view of a report, its result Observations and the Media of its images."""
    findings = [finding(observation) for observation in results]
    is_further = code_in(report.get("code"), FURTHER_MODELS) is not None
    own = {FIRST_READING, FINAL_FINDING}
    codes = [code_in(o.get("code"), FINDINGS) for o in results]
    by_code = dict(zip(codes, findings, strict=True))
    interpreters = report.get("resultsInterpreter", ())
    return ReportView(
        id=report["id"],
        version=report.get("meta", {}).get("versionId", ""),
        status=report_status(report),
        is_signed=is_signed(report),
        is_recalled=is_recalled(report),
        is_withdrawn=is_withdrawn(report) and not is_signed(report),
        is_further=is_further,
        title=show_concept(report.get("code")),
        when=show_time(report.get("issued") or report.get("effectiveDateTime")),
        conclusion=report.get("conclusion", ""),
        interpreters=tuple(i.get("display") or i.get("reference", "") for i in interpreters),
        findings=tuple(f for code, f in zip(codes, findings, strict=True) if code not in own),
        refusals=tuple(_refusals(report)),
        images=tuple(
            _image(number, m, is_smear=not is_further) for number, m in enumerate(media, start=1)
        ),
        first_reading=by_code.get(FIRST_READING),
        final_finding=by_code.get(FINAL_FINDING),
    )


def finding(observation: Resource) -> Finding:
    """One result Observation as a Finding."""
    code = code_in(observation.get("valueCodeableConcept"), FINDINGS) or ""
    is_ai = made_with_ai(observation)
    is_image = is_ai and code_in(observation.get("code"), FINDINGS) in IMAGE_RESULTS
    tone = _tone(observation, code, is_ai=is_ai)
    lines = _lines(observation)
    notes = [note["text"] for note in observation.get("note", ()) if "text" in note]
    return Finding(
        id=observation.get("id", ""),
        title=show_concept(observation.get("code")),
        code=code,
        value=_("No AI opinion") if tone == "no-opinion" else _value(observation),
        tone=tone,
        state=state_words(tone) if is_image else "",
        trace=_trace(observation) if is_image else "",
        is_image=is_image,
        is_ai=is_ai,
        support=tuple(text for kind, _label, text in lines if kind.startswith(SUPPORTING)),
        recommendations=tuple(text for kind, _label, text in lines if kind == RECOMMENDATION),
        statements=tuple(text for kind, _label, text in lines if kind in BY_MODEL),
        details=tuple((label, text) for kind, label, text in lines if not _is_prose(kind)),
        notes=(*notes, *(text for kind, _label, text in lines if kind == NOTE)),
    )


def state_words(tone: Tone) -> str:
    """The state of an image result in words; empty for what is none."""
    words: Mapping[Tone, str] = {
        "suspected": _("Parasites suspected"),
        "none": _("None found by model"),
        "uncertain": _("Uncertain"),
        "no-opinion": _("No AI opinion"),
        "superseded": _("Superseded"),
    }
    return words.get(tone, "")


def _tone(observation: Resource, code: str, *, is_ai: bool) -> Tone:
    shown = shown_as(code, observation.get("status", ""))
    if is_ai and shown is not Shown.SUPERSEDED and "dataAbsentReason" in observation:
        return "no-opinion"
    return STATES[shown] if shown is not None else TONES.get(code, "plain")


def _trace(observation: Resource) -> str:
    """Which model, when, which images, which threshold and arm: one line."""
    found: dict[str, list[str]] = {}
    for component in observation.get("component", ()):
        code = code_in(component.get("code"), FINDINGS) or ""
        found.setdefault(code, []).append(show_value(component))
    hashes = [text.removeprefix("sha256 ")[:8] for text in found.get("image-hash", ())]
    method = observation.get("method", {}).get("text", "").partition(",")[0]
    written = observation.get("meta", {}).get("lastUpdated")
    parts = [
        method,
        show_time(written) if written else "",
        _("images sha256 %(hashes)s") % {"hashes": ", ".join(hashes)} if hashes else "",
        *(_("threshold %(at)s") % {"at": at} for at in found.get("threshold-high", ())),
        *(_("arm %(arm)s") % {"arm": arm} for arm in found.get("arm", ())),
    ]
    return " · ".join(part for part in parts if part)


def _is_prose(kind: str) -> bool:
    return kind in {RECOMMENDATION, NOTE, *BY_MODEL} or kind.startswith(SUPPORTING)


def _value(observation: Resource) -> str:
    return (
        show_concept(observation["dataAbsentReason"])
        if ("dataAbsentReason" in observation)
        else show_value(observation)
    )


def agreement_of(found: Finding) -> str:
    """What a final finding says about the AI result, in words; empty when nothing."""
    return next((value for label, value in found.details if label == _("AI result")), "")


def _lines(observation: Resource) -> list[tuple[str, str, str]]:
    """The components as (code, label, value), then method and device."""
    lines = []
    for component in observation.get("component", ()):
        code = code_in(component.get("code"), FINDINGS) or ""
        label = _("AI result") if code == AGREEMENT else show_concept(component.get("code"))
        lines.append((code, label, show_value(component)))
    if "method" in observation:
        lines.append(("method", _("Method"), show_concept(observation["method"])))
    return lines


def _refusals(report: Resource) -> list[str]:
    # The analysis says in its notes what it refused; other makers may contain the outcome.
    outcomes = [r for r in report.get("contained", ()) if r["resourceType"] == "OperationOutcome"]
    return [
        issue.get("diagnostics") or show_concept(issue.get("details"))
        for outcome in outcomes
        for issue in outcome.get("issue", ())
    ]


def _image(number: int, media: Resource, *, is_smear: bool) -> ImageLine:
    content = media.get("content", {})
    words = {
        "n": number,
        "title": content.get("title", ""),
        "when": show_time(media.get("createdDateTime")),
    }
    smear, other = (
        _("Smear image %(n)s: %(title)s, uploaded %(when)s"),
        _("Image %(n)s: %(title)s, uploaded %(when)s"),
    )
    return ImageLine(
        media=media["id"],
        text=(smear if is_smear else other) % words,
        can_show=content.get("contentType") in {"image/png", "image/jpeg"},
    )
