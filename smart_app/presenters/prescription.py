"""What has been prescribed after one report."""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.fhir.assessment import FINDINGS
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.prescribing import NO_MEDICINE
from smart_app.presenters.elements import has_code, show_concept
from smart_app.presenters.patient import TAKEN_BACK
from smart_app.presenters.times import show_time


@dataclass(frozen=True)
class MedicineLine:
    """One prescribed medicine as it is printed."""

    medicine: str
    dosage: str
    instruction: str
    prescriber: str
    when: str


@dataclass(frozen=True)
class PrescriptionView:
    """The medicines, or the recorded decision that there are none, or neither yet."""

    medicines: tuple[MedicineLine, ...]
    decided_none: str

    @property
    def prescribers(self) -> tuple[str, ...]:
        """Who prescribed: not always who prints it."""
        return tuple(dict.fromkeys(line.prescriber for line in self.medicines))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was decided yet."""
        return not self.medicines and not self.decided_none


def prescription_view(
    requests: Iterable[Resource], decisions: Iterable[Resource], report_id: str
) -> PrescriptionView:
    """Those of the patient's requests and decisions that follow from this report."""
    report = {"reference": f"DiagnosticReport/{report_id}"}
    medicines = [
        _medicine(request)
        for request in requests
        if report in request.get("supportingInformation", ()) and request["status"] == "active"
    ]
    none = [
        d
        for d in decisions
        if report in d.get("focus", ())
        and d.get("status") not in TAKEN_BACK
        and has_code(d.get("valueCodeableConcept"), FINDINGS, NO_MEDICINE)
    ]
    decided = ""
    if none and not medicines:
        performer = none[0].get("performer", [{}])[0]
        words = {
            "who": performer.get("display") or performer.get("reference", ""),
            "when": show_time(none[0].get("effectiveDateTime")),
        }
        decided = _("No medicine prescribed (%(who)s, %(when)s)") % words
    return PrescriptionView(tuple(medicines), decided)


def _medicine(request: Resource) -> MedicineLine:
    dosage = request.get("dosageInstruction", [{}])[0]
    requester = request.get("requester", {})
    return MedicineLine(
        medicine=show_concept(request.get("medicationCodeableConcept")),
        dosage=dosage.get("text", _("No dosage recorded")),
        instruction=dosage.get("patientInstruction", ""),
        prescriber=requester.get("display") or requester.get("reference", ""),
        when=show_time(request.get("authoredOn")),
    )
