"""The invariants of R4 that go beyond structure, by type or backbone element.

Invariants of Bundle belong to the Bundle interactions; dom-2 to dom-5, ele-1, ext-1, ref-1, txt-1
and txt-2 are checked while walking.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fhir_server.fhir.dates import time_range
from fhir_server.validation.rules import Element, Invariant, any_of, needs, not_both, one_of
from fhir_server.validation.shape import shape_of


def _period_is_ordered(period: Element) -> bool:
    if "start" not in period or "end" not in period:
        return True
    # Compared as far as both are precise: 2012 is not before 2012-03.
    return time_range(period["start"]).low < time_range(period["end"]).high


def _range_is_ordered(element: Element) -> bool:
    low, high = element.get("low", {}), element.get("high", {})
    if low.get("code") != high.get("code") or low.get("unit") != high.get("unit"):
        return True
    if "value" not in low or "value" not in high:
        return True
    return Decimal(str(low["value"])) <= Decimal(str(high["value"]))


def _ratio_is_whole(ratio: Element) -> bool:
    if ("numerator" in ratio) != ("denominator" in ratio):
        return False
    return "numerator" in ratio or "extension" in ratio


def _not_negative(name: str) -> Callable[[Element], bool]:
    return lambda element: element.get(name, 0) >= 0


def _codes(concept: Element, system: str) -> set[Any]:
    return {each.get("code") for each in concept.get("coding", ()) if each.get("system") == system}


def _codings(concept: Element) -> set[tuple[Any, ...]]:
    names = ("system", "version", "code", "display", "userSelected")
    return {tuple(each.get(name) for name in names) for each in concept.get("coding", ())}


def _components_differ_from_code(observation: Element) -> bool:
    shape = shape_of("Observation")
    if not any(key in observation for key in shape.keys_of("value")):
        return True
    own = _codings(observation.get("code", {}))
    return not any(
        own & _codings(each.get("code", {})) for each in observation.get("component", ())
    )


_ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
_CONDITION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def _is_entered_in_error(element: Element, system: str) -> bool:
    return "entered-in-error" in _codes(element.get("verificationStatus", {}), system)


def _abatement_fits(condition: Element) -> bool:
    if not any(key in condition for key in shape_of("Condition").keys_of("abatement")):
        return True
    status = _codes(condition.get("clinicalStatus", {}), _CLINICAL)
    return bool(status & {"resolved", "remission", "inactive"})


def _appointment_has_time(appointment: Element) -> bool:
    is_timed = "start" in appointment and "end" in appointment
    return is_timed or appointment.get("status") in ("proposed", "cancelled", "waitlist")


def _cancelation_fits(appointment: Element) -> bool:
    is_called_off = appointment.get("status") in ("no-show", "cancelled")
    return "cancelationReason" not in appointment or is_called_off


def _is_no_home(name: str) -> Callable[[Element], bool]:
    return lambda element: not any(each.get("use") == "home" for each in element.get(name, ()))


def _parameter_is_single(parameter: Element) -> bool:
    shape = shape_of("Parameters.parameter")
    has_value = any(key in parameter for key in shape.keys_of("value"))
    return has_value + ("resource" in parameter) + ("part" in parameter) == 1


def _group_is_actual(group: Element) -> bool:
    return "member" not in group or group.get("actual") is True


def _item_types_fit(item: Element) -> bool:
    kind = item.get("type")
    if kind == "group":
        return "item" in item
    return kind != "display" or "item" not in item


def _without(name: str, value: str, *forbidden: str) -> Callable[[Element], bool]:
    return lambda element: (
        element.get(name) != value or not any(each in element for each in forbidden)
    )


def _link_ids_are_unique(questionnaire: Element) -> bool:
    found: list[Any] = []
    waiting = [questionnaire]
    while waiting:
        items = waiting.pop().get("item", ())
        found += [each.get("linkId") for each in items]
        waiting += items
    return len(found) == len(set(found))


_MAX_LENGTH = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")


def _table() -> list[Invariant]:
    return [
        needs("att-1", "Attachment", "data", "contentType"),
        needs("cpt-2", "ContactPoint", "value", "system"),
        needs("qty-3", "Quantity", "code", "system"),
        needs("qty-3", "Age", "code", "system"),
        needs("qty-3", "Duration", "code", "system"),
        needs("qty-3", "Count", "code", "system"),
        needs("qty-3", "Distance", "code", "system"),
        Invariant("per-1", "Period", "start must not be after end", _period_is_ordered),
        Invariant("rng-2", "Range", "low must not be above high", _range_is_ordered),
        Invariant(
            "rat-1",
            "Ratio",
            "numerator and denominator belong together, or an extension says why there are none",
            _ratio_is_whole,
        ),
        any_of("exp-1", "Expression", "expression", "reference"),
        one_of("drq-1", "DataRequirement.codeFilter", "path", "searchParam"),
        one_of("drq-2", "DataRequirement.dateFilter", "path", "searchParam"),
        not_both("trd-1", "TriggerDefinition", "data", "timing"),
        needs("trd-2", "TriggerDefinition", "condition", "data"),
        *_timing(),
        *_observation(),
        *_people(),
        *_conditions(),
        *_appointments(),
        *_questionnaires(),
        *_others(),
    ]


def _timing() -> list[Invariant]:
    repeat = "Timing.repeat"
    return [
        needs("tim-1", repeat, "duration", "durationUnit"),
        needs("tim-2", repeat, "period", "periodUnit"),
        Invariant("tim-4", repeat, "duration must not be negative", _not_negative("duration")),
        Invariant("tim-5", repeat, "period must not be negative", _not_negative("period")),
        needs("tim-6", repeat, "periodMax", "period"),
        needs("tim-7", repeat, "durationMax", "duration"),
        needs("tim-8", repeat, "countMax", "count"),
        not_both("tim-10", repeat, "timeOfDay", "when"),
    ]


def _observation() -> list[Invariant]:
    return [
        not_both("obs-6", "Observation", "dataAbsentReason", "value"),
        Invariant(
            "obs-7",
            "Observation",
            "a component must not have the code of the Observation when that has a value",
            _components_differ_from_code,
        ),
        any_of("obs-3", "Observation.referenceRange", "low", "high", "text"),
    ]


def _people() -> list[Invariant]:
    contact = ("name", "telecom", "address", "organization")
    return [
        any_of("pat-1", "Patient.contact", *contact),
        any_of("org-1", "Organization", "identifier", "name"),
        Invariant("org-2", "Organization", "an address can't be a home", _is_no_home("address")),
        Invariant("org-3", "Organization", "a telecom can't be at home", _is_no_home("telecom")),
        Invariant("grp-1", "Group", "member needs actual = true", _group_is_actual),
    ]


def _conditions() -> list[Invariant]:
    allergy, condition = "AllergyIntolerance", "Condition"
    return [
        any_of("con-1", "Condition.stage", "summary", "assessment"),
        any_of("con-2", "Condition.evidence", "code", "detail"),
        Invariant(
            "con-4",
            condition,
            "abatement needs a clinicalStatus of resolved, remission or inactive",
            _abatement_fits,
        ),
        Invariant(
            "con-5",
            condition,
            "clinicalStatus must be absent when entered in error",
            lambda each: not _is_entered_in_error(each, _CONDITION) or "clinicalStatus" not in each,
        ),
        Invariant(
            "ait-1",
            allergy,
            "clinicalStatus is needed unless entered in error",
            lambda each: _is_entered_in_error(each, _ALLERGY) or "clinicalStatus" in each,
        ),
        Invariant(
            "ait-2",
            allergy,
            "clinicalStatus must be absent when entered in error",
            lambda each: not _is_entered_in_error(each, _ALLERGY) or "clinicalStatus" not in each,
        ),
        not_both("fhs-1", "FamilyMemberHistory", "age", "born"),
        needs("fhs-2", "FamilyMemberHistory", "estimatedAge", "age"),
    ]


def _appointments() -> list[Invariant]:
    return [
        any_of("app-1", "Appointment.participant", "type", "actor"),
        needs("app-2", "Appointment", "start", "end"),
        needs("app-2", "Appointment", "end", "start"),
        Invariant("app-3", "Appointment", "start and end are needed", _appointment_has_time),
        Invariant(
            "app-4",
            "Appointment",
            "cancelationReason needs the status no-show or cancelled",
            _cancelation_fits,
        ),
        any_of("apr-1", "AppointmentResponse", "participantType", "actor"),
    ]


def _questionnaires() -> list[Invariant]:
    item = "Questionnaire.item"
    return [
        Invariant("que-1", item, "a group has items, a display has none", _item_types_fit),
        Invariant("que-2", "Questionnaire", "every linkId must be unique", _link_ids_are_unique),
        Invariant("que-3", item, "a display has no code", _without("type", "display", "code")),
        not_both("que-4", item, "answerOption", "answerValueSet"),
        Invariant(
            "que-6",
            item,
            "a display is neither required nor repeated",
            _without("type", "display", "required", "repeats"),
        ),
        Invariant(
            "que-9", item, "a display is not read-only", _without("type", "display", "readOnly")
        ),
        Invariant(
            "que-10",
            item,
            f"maxLength is for {', '.join(_MAX_LENGTH)}",
            lambda each: "maxLength" not in each or each.get("type") in _MAX_LENGTH,
        ),
        not_both("que-11", item, "answerOption", "initial"),
        not_both("qrs-1", "QuestionnaireResponse.item", "answer", "item"),
    ]


def _others() -> list[Invariant]:
    return [
        not_both("cpl-3", "CarePlan.activity", "detail", "reference"),
        any_of("cmp-1", "Composition.section", "text", "entry", "section"),
        not_both("cmp-2", "Composition.section", "emptyReason", "entry"),
        any_of("ppc-1", "Consent", "policy", "policyRule"),
        any_of("imm-1", "Immunization.education", "documentType", "reference"),
        Invariant(
            "inv-1",
            "Parameters.parameter",
            "exactly one of value, resource and part is needed",
            _parameter_is_single,
        ),
        not_both("lst-1", "List", "emptyReason", "entry"),
        any_of("mad-1", "MedicationAdministration.dosage", "dose", "rate"),
        needs("prr-1", "ServiceRequest", "orderDetail", "code"),
        not_both("sev-1", "AuditEvent.entity", "name", "query"),
        needs("spd-1", "SearchParameter", "xpath", "xpathUsage"),
        any_of("vsd-1", "ValueSet.compose.include", "valueSet", "system"),
        needs("vsd-2", "ValueSet.compose.include", "concept", "system"),
        needs("vsd-2", "ValueSet.compose.include", "filter", "system"),
        not_both("vsd-3", "ValueSet.compose.include", "concept", "filter"),
        any_of("vsd-6", "ValueSet.expansion.contains", "code", "display"),
        needs("vsd-10", "ValueSet.expansion.contains", "code", "system"),
        any_of("cpb-1", "CapabilityStatement", "rest", "messaging", "document"),
    ]


def _by_type(invariants: Sequence[Invariant]) -> dict[str, tuple[Invariant, ...]]:
    found: dict[str, tuple[Invariant, ...]] = {}
    for each in invariants:
        found[each.type] = (*found.get(each.type, ()), each)
    return found


INVARIANTS: Mapping[str, tuple[Invariant, ...]] = _by_type(_table())
