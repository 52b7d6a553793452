"""A patient's Consent (R4 Consent) read as rules: what it says, or by name what can't be honoured.

How R4 is read where it is open: docs/spec-readings.md, "Consent".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.dates import TimeRange, period_range
from fhir_server.fhir.outcome import FhirError, Issue
from fhir_server.fhir.reference import parse_reference
from fhir_server.security.actors import CLIENTS, USERS, client_name, user_name

Resource = dict[str, Any]
Code = tuple[str, str]
"""(code, system)."""

SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
ACT_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
LOINC = "http://loinc.org"

BASES = {"OPTIN": True, "OPTINR": True, "OPTOUT": False, "OPTOUTE": False}
"""Whether the policyRule permits what no provision speaks of."""
RECIPIENTS = frozenset({("PRCP", PARTICIPATION), ("IRCP", PARTICIPATION)})
NAMED = frozenset({"Practitioner", "PractitionerRole", "Organization", "Patient", "RelatedPerson"})
_CONDITIONS = frozenset(
    {"actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod", "data"}
)
_KNOWN = _CONDITIONS | {"type", "period", "provision", "id", "extension"}


@dataclass(frozen=True, slots=True)
class Provision:
    """One rule: permit or deny, on what conditions (an empty one is none), and its exceptions.
    `actors` are references and names as in `actors.py`; `classes` types (with no system) and
    LOINC codes of documents; `instances` references to single resources."""

    permits: bool | None
    period: TimeRange | None = None
    actors: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    labels: tuple[Code, ...] = ()
    classes: tuple[Code, ...] = ()
    codes: tuple[Code, ...] = ()
    dates: TimeRange | None = None
    instances: tuple[tuple[str, str], ...] = ()
    exceptions: tuple["Provision", ...] = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """What an active privacy Consent says of one patient (an id). `root` is unconditional but
    for its period; where it `permits` None it says nothing but what its exceptions say."""

    patient: str
    root: Provision


DENIES_ALL = Provision(permits=False)
"""What stands in for a Consent that can't be honoured."""


def is_in_force(resource: Resource) -> bool:
    """Whether the Consent is an active one about privacy; others change no access."""
    return resource.get("status") == "active" and ("patient-privacy", SCOPES) in _codes(
        resource.get("scope")
    )


def patient_of(resource: Resource) -> str | None:
    """The id of the patient whose Consent it is; None when no reference says so."""
    try:
        parsed = parse_reference(resource.get("patient", {}).get("reference", ""))
    except ValueError:
        return None
    is_local = parsed.kind == "relative" and parsed.type == "Patient"
    return parsed.id if is_local else None


def read_consent(resource: Resource) -> Directive:
    """The rules of a Consent that is in force; FhirError 422 with everything in it that can't be
    honoured."""
    problems: list[tuple[str, str]] = []
    patient = patient_of(resource)
    if patient is None:
        problems.append(("patient", "names no Patient of this server by reference (Patient/id)"))
    root = resource.get("provision", {})
    rules: Iterable[Resource] = root.get("provision", ())
    place = "provision.provision"
    period = root.get("period")
    if "type" in root:
        rules, place, period = [root], "provision", None
    elif _CONDITIONS & root.keys():
        problems.append(
            ("provision", "has conditions and no type: say whether they permit or deny")
        )
    exceptions = tuple(_provision(each, place, problems) for each in rules)
    if "modifierExtension" in {*resource, *root}:
        problems.append(("modifierExtension", "is not understood here"))
    base = _policy_rule(resource)
    if base is None and not exceptions:
        problems.append(("policyRule", "neither OPTIN nor OPTOUT, and there is no provision"))
    if problems or patient is None:
        raise FhirError(422, tuple(_issue(*each) for each in problems))
    return Directive(patient, Provision(base, _period(period), exceptions=exceptions))


def _issue(place: str, what: str) -> Issue:
    text = f"{place}: {what}; this server would not honour it"
    return Issue("error", "business-rule", text, (f"Consent.{place}",))


def _policy_rule(resource: Resource) -> bool | None:
    found = {
        BASES[code]
        for code, system in _codes(resource.get("policyRule"))
        if system == ACT_CODES and code in BASES
    }
    return found.pop() if len(found) == 1 else None


class _Reader:
    """Reads one provision, noting what can't be honoured."""

    def __init__(self, rule: Resource, place: str, problems: list[tuple[str, str]]) -> None:
        self._rule = rule
        self._place = place
        self._problems = problems

    def refuse(self, element: str, what: str) -> None:
        self._problems.append((f"{self._place}.{element}", what))

    def read(self, name: str, one: Callable[["_Reader", Resource], Any]) -> list[Any]:
        """What each repetition of the element says, but for those that were refused."""
        found = (one(self, each) for each in self._rule.get(name, ()))
        return [each for each in found if each is not None]


def _provision(rule: Resource, place: str, problems: list[tuple[str, str]]) -> Provision:
    reader = _Reader(rule, place, problems)
    for name in sorted(rule.keys() - _KNOWN):
        reader.refuse(name, "is not understood here")
    if rule.get("type") not in ("permit", "deny"):
        reader.refuse("type", "says neither permit nor deny")
    if "action" in rule and not reader.read("action", _is_access):
        reader.refuse("action", "is not access: reading and writing are not told apart")
    return Provision(
        permits=rule.get("type") == "permit",
        period=_period(rule.get("period")),
        actors=frozenset(reader.read("actor", _actor)),
        purposes=frozenset(reader.read("purpose", _purpose)),
        labels=tuple(reader.read("securityLabel", _label)),
        classes=tuple(reader.read("class", _class)),
        codes=tuple(code for each in reader.read("code", _code) for code in each),
        dates=_period(rule.get("dataPeriod")),
        instances=tuple(reader.read("data", _instance)),
        exceptions=tuple(
            _provision(each, f"{place}.provision", problems) for each in rule.get("provision", ())
        ),
    )


def _period(period: Mapping[str, Any] | None) -> TimeRange | None:
    return None if period is None else period_range(period)


def _is_access(_: _Reader, action: Resource) -> bool | None:
    return True if ("access", ACTIONS) in _codes(action) else None


def _actor(reader: _Reader, actor: Resource) -> str | None:
    if not RECIPIENTS & set(_codes(actor.get("role"))):
        reader.refuse("actor.role", "is not that of a recipient (PRCP, IRCP)")
        return None
    reference = actor.get("reference", {})
    identifier = reference.get("identifier", {})
    by_system = {CLIENTS: client_name, USERS: user_name}
    if identifier.get("system") in by_system and "value" in identifier:
        return by_system[identifier["system"]](identifier["value"])
    try:
        parsed = parse_reference(reference.get("reference", ""))
    except ValueError:
        parsed = None
    if parsed is None or parsed.kind != "relative" or parsed.type not in NAMED:
        listed = ", ".join(sorted(NAMED))
        reader.refuse("actor.reference", f"is no {listed}, client or user of this server")
        return None
    return f"{parsed.type}/{parsed.id}"


def _purpose(reader: _Reader, purpose: Resource) -> str | None:
    if purpose.get("system") != PURPOSES or "code" not in purpose:
        reader.refuse("purpose", f"is no code of {PURPOSES}")
        return None
    return str(purpose["code"])


def _label(reader: _Reader, label: Resource) -> Code | None:
    if "code" not in label or "system" not in label:
        reader.refuse("securityLabel", "needs a system and a code")
        return None
    return label["code"], label["system"]


def _class(reader: _Reader, content: Resource) -> Code | None:
    found = (content.get("code", ""), content.get("system", ""))
    if not found[0] or found[1] not in (RESOURCE_TYPES, LOINC):
        reader.refuse("class", f"is no code of {RESOURCE_TYPES} or {LOINC}")
        return None
    return found


def _code(reader: _Reader, concept: Resource) -> list[Code] | None:
    found = [code for code in _codes(concept) if all(code)]
    if not found:
        reader.refuse("code", "needs a coding with system and code")
        return None
    return found


def _instance(reader: _Reader, datum: Resource) -> tuple[str, str] | None:
    try:
        parsed = parse_reference(datum.get("reference", {}).get("reference", ""))
    except ValueError:
        parsed = None
    if datum.get("meaning") != "instance" or parsed is None or parsed.kind != "relative":
        reader.refuse("data", "is not one resource of this server (meaning instance)")
        return None
    return parsed.type or "", parsed.id or ""


def _codes(concept: Resource | None) -> list[Code]:
    codings = (concept or {}).get("coding", ())
    return [(each.get("code", ""), each.get("system", "")) for each in codings]
