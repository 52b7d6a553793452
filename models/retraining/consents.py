"""Whether a patient's Consents (R4 Consent) permit that their images train a model.

Stricter than the guard of the server, which asks whether a record may be used for care: silence is
no permission, what is not understood permits nothing, and a refusal outweighs any permission.
docs/adr/0022-drift-holds-and-feedback.md says what counts as either.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_server.fhir.dates import microseconds, period_range

Resource = dict[str, Any]

SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
RESEARCH = "HRESCH"
"""Healthcare research: the purpose under which models are trained."""
_PLAIN = frozenset({"type", "period", "purpose", "provision", "id"})
"""What a permission may say and still be understood here; other conditions narrow it."""


def permits_training(consents: Sequence[Resource], now: datetime) -> bool:
    """Whether at least one Consent in force permits it and none refuses it."""
    in_force = [each for each in consents if each.get("status") == "active"]
    if any(_refuses(each, now) for each in in_force):
        return False
    return any(_permits(each, now) for each in in_force)


def _permits(consent: Resource, now: datetime) -> bool:
    if "modifierExtension" in consent:
        return False
    root = consent.get("provision", {})
    if not any(True for _ in _provisions(consent)):
        opted_in = "OPTIN" in _codes([consent.get("policyRule", {})], ACT_CODES)
        return opted_in and _is_about_research(consent) and _is_plain(root, now)
    # A provision within one that has a type is an exception to it, and permits nothing here.
    stated = [root] if "type" in root else root.get("provision", ())
    return _is_plain(root, now) and any(
        each.get("type") == "permit" and _is_plain(each, now) and RESEARCH in _purposes(each)
        for each in stated
    )


def _refuses(consent: Resource, now: datetime) -> bool:
    opted_out = {"OPTOUT", "OPTOUTE"} & _codes([consent.get("policyRule", {})], ACT_CODES)
    if opted_out and _is_about_research(consent):
        return True
    return any(
        each.get("type") == "deny"
        and _is_in_time(each, now)
        and (not _purposes(each) or RESEARCH in _purposes(each))
        for each in _provisions(consent)
    )


def _is_plain(provision: Resource, now: datetime) -> bool:
    return not provision.keys() - _PLAIN and _is_in_time(provision, now)


def _provisions(consent: Resource) -> Iterator[Resource]:
    """The provisions that say permit or deny, those within others too."""
    waiting = [consent["provision"]] if "provision" in consent else []
    while waiting:
        provision = waiting.pop()
        waiting += provision.get("provision", ())
        if "type" in provision:
            yield provision


def _is_about_research(consent: Resource) -> bool:
    return "research" in _codes([consent.get("scope", {})], SCOPES)


def _is_in_time(provision: Resource, now: datetime) -> bool:
    if "period" not in provision:
        return True
    period = period_range(provision["period"])
    return period.low <= microseconds(now) < period.high


def _purposes(provision: Resource) -> set[str]:
    return {
        str(each["code"])
        for each in provision.get("purpose", ())
        if each.get("system") == PURPOSES and "code" in each
    }


def _codes(concepts: Iterable[Resource], system: str) -> set[str]:
    return {
        str(coding["code"])
        for concept in concepts
        for coding in concept.get("coding", ())
        if coding.get("system") == system and "code" in coding
    }
