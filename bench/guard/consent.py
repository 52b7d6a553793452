"""What one Consent says of one resource to one caller, by plain Python on the JSON.

Each test answers yes, no or perhaps; a permission needs a yes, a denial a perhaps.
"""

from typing import Any

from fhir_server.security.consents import LOINC
from fhir_server.security.labels import CONFIDENTIALITY

Resource = dict[str, Any]
Facts = dict[str, Any]

YES, PERHAPS, NO = 2, 1, 0
TODAY = "2026-11-24"
LEVELS = "ULMNRV"
DOCUMENTS = ("DocumentReference", "Composition")


def verdict(consent: Resource, resource: Resource, caller: Facts) -> list[str]:
    """Nothing, "permit" or "deny"."""
    root = consent.get("provision", {})
    if not _holds(root.get("period")):
        return []
    codings = consent.get("policyRule", {}).get("coding", [])
    base = {"OPTIN": "permit", "OPTOUT": "deny"}.get(codings[0]["code"]) if codings else None
    rule = {"type": base, "provision": root.get("provision", [])}
    return _of_rule(rule, resource, caller)


def _of_rule(rule: Resource, resource: Resource, caller: Facts) -> list[str]:
    met = min((test(rule, resource, caller) for test in TESTS), default=YES)
    if met == NO:
        return []
    said = [
        each for inner in rule.get("provision", []) for each in _of_rule(inner, resource, caller)
    ]
    if "deny" in said:
        return ["deny"]
    effect = "permit" if "permit" in said else rule["type"]
    is_doubtful = effect == "permit" and met == PERHAPS
    return [effect] if effect and not is_doubtful else []


def _holds(period: Resource | None) -> bool:
    if not period:
        return True
    return bool(period.get("start", "0") <= TODAY <= period.get("end", "9"))


def _in_time(rule: Resource, resource: Resource, caller: Facts) -> int:
    return YES if _holds(rule.get("period")) else NO


def _by_actor(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "actor" not in rule:
        return YES
    named = {each["reference"]["reference"] for each in rule["actor"]}
    if named & caller["names"]:
        return YES
    is_place = any(each.startswith("Organization/") for each in named)
    return PERHAPS if is_place and not caller["is_person"] else NO


def _by_purpose(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "purpose" not in rule:
        return YES
    if caller["purposes"] is None:
        return PERHAPS
    return YES if {each["code"] for each in rule["purpose"]} & caller["purposes"] else NO


def _by_class(rule: Resource, resource: Resource, caller: Facts) -> int:
    type_ = resource["resourceType"]
    answers = [YES] if "class" not in rule else []
    for each in rule.get("class", []):
        is_document = each["system"] == LOINC
        if each["code"] == type_:
            answers.append(YES)
        elif type_ == "Binary" and (is_document or each["code"] in ("DocumentReference", "Media")):
            answers.append(PERHAPS)
        elif type_ in ("DocumentReference", "Composition") and each["code"] == _code(
            resource, "type"
        ):
            answers.append(YES)
        else:
            answers.append(NO)
    return max(answers)


def _code(resource: Resource, name: str) -> str | None:
    codings = resource.get(name, {}).get("coding", [])
    return codings[0]["code"] if codings else None


def _by_code(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "code" not in rule:
        return YES
    if resource["resourceType"] == "Binary":
        return PERHAPS
    if resource["resourceType"] not in ("Observation", "Condition"):
        return NO
    asked = {coding["code"] for each in rule["code"] for coding in each["coding"]}
    return YES if _code(resource, "code") in asked else NO


def _by_label(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "securityLabel" not in rule:
        return YES
    given = resource.get("meta", {}).get("security", [])
    own = [LEVELS.index(each["code"]) for each in given if each["system"] == CONFIDENTIALITY]
    level = max(own) if own else LEVELS.index("N")
    answers = []
    for asked in rule["securityLabel"]:
        if asked["system"] != CONFIDENTIALITY:
            answers.append(any(each["code"] == asked["code"] for each in given))
        elif rule["type"] == "permit":
            answers.append(level <= LEVELS.index(asked["code"]))
        else:
            answers.append(level >= LEVELS.index(asked["code"]))
    return YES if any(answers) else NO


def _by_date(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "dataPeriod" not in rule:
        return YES
    date = resource.get("effectiveDateTime", resource.get("date"))
    if date is None:
        return PERHAPS
    month = date[:7]
    return YES if rule["dataPeriod"]["start"] <= month <= rule["dataPeriod"]["end"] else NO


def _by_instance(rule: Resource, resource: Resource, caller: Facts) -> int:
    if "data" not in rule:
        return YES
    own = f"{resource['resourceType']}/{resource['id']}"
    return YES if any(each["reference"]["reference"] == own for each in rule["data"]) else NO


TESTS = (
    *(_in_time, _by_actor, _by_purpose, _by_class),
    *(_by_code, _by_label, _by_date, _by_instance),
)
