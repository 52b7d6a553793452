"""What a clinician says about an AI result, as an Observation (`fhir_server.fhir.feedback`).

It is written in the transaction that signs, or later from the report's page, and amended by a new
version. Nothing learns from it by itself: see docs/adr/0022-drift-holds-and-feedback.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.feedback import (
    AGREEMENTS,
    AI_FEEDBACK,
    COMMENT,
    FEEDBACK_OF_REPORT,
    NEEDS_A_REASON,
    REASON,
    REASONS,
    coded,
    comment_in,
    reasons_in,
)
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.history import made_with_ai
from smart_app.reading import agreement_words, reading_key
from smart_app.signing import Signer, created

IMAGE_RESULTS = frozenset({"malaria-smear-ai", "malaria-cell-ai"})
OTHER = "other-reason"


@dataclass(frozen=True)
class Feedback:
    """An agreement (of AGREEMENTS), its reasons (of REASONS) and a comment."""

    agreement: str
    reasons: tuple[str, ...] = field(default=())
    comment: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """The form's fields that must still be filled in."""
        if self.agreement not in AGREEMENTS:
            return ("agreement",)
        if self.agreement in NEEDS_A_REASON and not self.reasons:
            return ("reasons",)
        return ("comment",) if OTHER in self.reasons and not self.comment else ()


def reason_words(code: str) -> str:
    """A reason in words."""
    words = {
        "wrong-finding": _("Wrong finding"),
        "missed-finding": _("Missed finding"),
        "wrong-species": _("Wrong species"),
        "artefact": _("Artefact or stain"),
        "wrong-slide": _("Wrong patient or slide"),
        "poor-image": _("Poor image"),
        "other-reason": _("Other"),
    }
    return words[code]


def judged_in(results: Sequence[Resource]) -> Resource | None:
    """The AI Observation of a report that feedback is about: that of the images, else any; None
    when no AI gave an opinion."""
    by_ai = [result for result in results if made_with_ai(result)]
    of_images = [result for result in by_ai if IMAGE_RESULTS & set(_codes(result))]
    return next(iter((*of_images, *by_ai)), None)


def feedback_observation(
    report: Resource, judged: Resource, said: Feedback, signer: Signer
) -> Resource:
    """The first version of the Observation."""
    reference = f"Observation/{judged['id']}"
    seen = f"{reference}/_history/{judged['meta']['versionId']}"
    observation: Resource = {
        "resourceType": "Observation",
        "identifier": [
            {"system": FEEDBACK_OF_REPORT, "value": reading_key(report, signer.reference)}
        ],
        "status": "final",
        "code": {"coding": [AI_FEEDBACK], "text": AI_FEEDBACK["display"]},
        "subject": report["subject"],
        "focus": [{"reference": reference}],
        "effectiveDateTime": signer.when,
        "issued": signer.when,
        "performer": [{"reference": signer.reference, "display": signer.name}],
        "derivedFrom": [{"reference": seen}],
        **_said(said),
    }
    if "encounter" in report:
        observation["encounter"] = report["encounter"]
    return observation


def amended(feedback: Resource, said: Feedback, signer: Signer) -> Resource:
    """The next version: what is said now, and that it was said otherwise before."""
    kept = {name: value for name, value in feedback.items() if name != "component"}
    return {**kept, "status": "amended", "issued": signer.when, **_said(said)}


def amendment(feedback: Resource, said: Feedback, signer: Signer, event: Resource) -> Resource:
    """The transaction that amends: refused when the feedback has changed since it was read."""
    version = feedback["meta"]["versionId"]
    url = f"Observation/{feedback['id']}"
    who = {"reference": signer.reference, "display": signer.name}
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": url}],
        "recorded": signer.when,
        "activity": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                    "code": "UPDATE",
                }
            ]
        },
        "agent": [{"who": who}],
        "entity": [{"role": "revision", "what": {"reference": f"{url}/_history/{version}"}}],
    }
    put = {"method": "PUT", "url": url, "ifMatch": f'W/"{version}"'}
    entries = [
        {"resource": amended(feedback, said, signer), "request": put},
        created(provenance),
        created(event),
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def read_feedback(feedback: Resource) -> Feedback:
    """What an Observation of feedback says."""
    return Feedback(coded(feedback) or "", reasons_in(feedback), comment_in(feedback))


def feedback_of(fields: Mapping[str, str]) -> Feedback:
    """What a form says; reasons that are none of the table are left out."""
    chosen = fields.get("reasons", "").split()
    return Feedback(
        fields.get("agreement", ""),
        tuple(reason for reason in REASONS if reason in chosen),
        fields.get("comment", ""),
    )


def _said(said: Feedback) -> Resource:
    components: list[Resource] = [
        {
            "code": {"coding": [REASON], "text": REASON["display"]},
            "valueCodeableConcept": _concept(reason, REASONS[reason]),
        }
        for reason in said.reasons
    ]
    if said.comment:
        code = {"coding": [COMMENT], "text": COMMENT["display"]}
        components.append({"code": code, "valueString": said.comment})
    value = _concept(said.agreement, agreement_words(said.agreement))
    return {"valueCodeableConcept": value, **({"component": components} if components else {})}


def _concept(code: str, text: str) -> Resource:
    return {"coding": [{"system": FINDINGS, "code": code}], "text": text}


def _codes(observation: Resource) -> list[str]:
    codings = observation.get("code", {}).get("coding", ())
    return [each["code"] for each in codings if each.get("system") == FINDINGS and "code" in each]
