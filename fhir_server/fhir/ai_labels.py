"""How a part of a resource is marked as the work of artificial intelligence.

HL7 AI Transparency on FHIR, "Tagging", with the inline label of FHIR Data Segmentation for Privacy
1.0.0 ("Inline Security Labels"): the whole resource bears AIAST, each element that a system wrote
bears the label itself, and PROCESSINLINELABEL tells a reader to look for these.
"""

import re
from typing import Any

from fhir_server.fhir.assessment import AI_ASSERTED

Resource = dict[str, Any]

INLINE_LABEL = (
    "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
)
PROCESS_INLINE = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "code": "PROCESSINLINELABEL",
    "display": "process inline security label",
}
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_FEWEST_WORDS = 3
"""A shorter sentence may stand in two texts by chance."""


def labelled_by_ai(concept: Resource) -> Resource:
    """A CodeableConcept (or another complex element) that bears the inline label."""
    return {**concept, "extension": [*concept.get("extension", ()), _label()]}


def with_labels(report: Resource) -> Resource:
    """A report whose conclusion and conclusion codes a system wrote, each marked as its work."""
    made = dict(report)
    if "conclusion" in report:
        made["_conclusion"] = {"extension": [_label()]}
    if "conclusionCode" in report:
        made["conclusionCode"] = [labelled_by_ai(each) for each in report["conclusionCode"]]
    return _with_security(made, [*_security(report), PROCESS_INLINE])


def concluded_by_person(report: Resource, conclusion: str, codes: list[Resource]) -> Resource:
    """The report with a person's conclusion and codes. Its text keeps the inline label as long as
    a sentence of the system's draft stands in it; the resource keeps AIAST, for its results."""
    made = {**report, "conclusion": conclusion, "conclusionCode": codes}
    was_labelled = any(is_inline_label(each) for each in _extensions(report))
    if was_labelled and _keeps(conclusion, report.get("conclusion", "")):
        return made
    others = [each for each in _extensions(report) if not is_inline_label(each)]
    made.pop("_conclusion", None)
    if others:
        made["_conclusion"] = {"extension": others}
    return _with_security(made, [each for each in _security(made) if not _is_process(each)])


def is_inline_label(extension: Resource) -> bool:
    """Whether an extension says that its element is the work of artificial intelligence."""
    label = extension.get("valueCoding", {})
    return extension.get("url") == INLINE_LABEL and label.get("code") == AI_ASSERTED["code"]


def _label() -> Resource:
    return {"url": INLINE_LABEL, "valueCoding": AI_ASSERTED}


def _extensions(report: Resource) -> list[Resource]:
    return list(report.get("_conclusion", {}).get("extension", ()))


def _security(resource: Resource) -> list[Resource]:
    return list(resource.get("meta", {}).get("security", ()))


def _with_security(resource: Resource, labels: list[Resource]) -> Resource:
    unique = {(each.get("system"), each["code"]): each for each in labels}
    return {**resource, "meta": {**resource.get("meta", {}), "security": list(unique.values())}}


def _is_process(label: Resource) -> bool:
    return label.get("code") == PROCESS_INLINE["code"]


def _keeps(text: str, draft: str) -> bool:
    kept = set(_sentences(text))
    return any(sentence in kept for sentence in _sentences(draft))


def _sentences(text: str) -> list[str]:
    found = (" ".join(each.split()) for each in _SENTENCES.split(text))
    return [each for each in found if len(each.split()) >= _FEWEST_WORDS]
