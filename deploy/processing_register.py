"""The register of processing activities (GDPR article 30), as far as the software can fill it in:
from the same facts as it runs by. What only the controller knows is asked for by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.registrations import APP, MONITOR, WORKER
from fhir_server.security.roles import ROLES
from fhir_server.security.scopes import parse_scopes
from fhir_server.settings import Settings
from models.monitoring.watch import SCOPES as MONITOR_SCOPES
from models.registry import MODELS
from models.worker_device import SCOPES as WORKER_SCOPES
from smart_app.launch.own_scopes import registered_scope

YOURS = "(the controller fills this in)"
_PATIENTS = ("patients",)
_HEALTH = "health records (special category, article 9)"


@dataclass(frozen=True)
class Activity:
    """One activity: what for, of whom, what of them, who gets it, and for how long."""

    name: str
    purpose: str
    persons: Sequence[str]
    categories: Sequence[str]
    recipients: Sequence[str]
    kept: str


def register(settings: Settings) -> dict[str, Any]:
    """The register of an installation with these settings, ready for JSON."""
    return {
        "controller": YOURS,
        "contact": YOURS,
        "data protection officer": YOURS,
        "legal basis": f"{YOURS}; for patients commonly article 9(2)(h), for training article "
        "9(2)(a): the software trains on nobody's images without their Consent",
        "activities": [_as_json(each) for each in _activities(settings)],
        "transfers to third countries": _transfers(settings),
        "technical and organisational measures": _measures(settings),
    }


def _as_json(activity: Activity) -> dict[str, Any]:
    return {
        "name": activity.name,
        "purpose": activity.purpose,
        "persons": list(activity.persons),
        "categories of data": list(activity.categories),
        "recipients": list(activity.recipients),
        "kept": activity.kept,
    }


def _activities(settings: Settings) -> list[Activity]:
    return [_record(settings), *_analyses(settings), *_watching(), *_around(settings)]


def _record(settings: Settings) -> Activity:
    people = ", ".join(sorted(ROLES.keys() - {"service"}))
    return Activity(
        "patient record",
        "care: keeping, finding and exchanging records as HL7 FHIR R4",
        _PATIENTS,
        (_HEALTH, "names, addresses, identifiers"),
        (
            f"people by role ({people}), each within their role, Consents and labels",
            "programs that are registered, each within its scopes",
            "addresses that Subscriptions name: that something matched, and no content",
            "record systems that launch the app (medsage issuer list): signed reports, where it is "
            "set; what they give of a chart is copied here",
        ),
        "until it is erased (medsage patient erase, retain); what is deleted leaves the record and "
        f"stays in its history; a transaction can be undone for {settings.undo_days} days",
    )


def _analyses(settings: Settings) -> list[Activity]:
    models = ", ".join(sorted(MODELS))
    language = _language_model(settings)
    return [
        Activity(
            "image analysis",
            f"decision support by models ({models}); a person signs each result",
            _PATIENTS,
            (f"{_HEALTH}: images of smears", "the Task and what it names"),
            (f"{WORKER}, on {_types(WORKER_SCOPES)}",),
            "as the patient record; drawings and numbers of cells are part of it",
        ),
        Activity(
            "symptom analysis",
            "decision support by rules, and by a language model where one is configured",
            _PATIENTS,
            (f"{_HEALTH}: symptoms, vital signs, age, sex, notes",),
            (f"{WORKER}, on the same", *([language] if language else ())),
            "as the patient record; answers of the language model are kept in memory alone",
        ),
        Activity(
            "clinician's app",
            "asking for an analysis, reading and signing it",
            (*_PATIENTS, "clinicians"),
            (_HEALTH, "who signed, read, and judged the AI result"),
            (f"{APP}, on {_types(registered_scope())}",),
            f"drafts for {settings.session_seconds} s, sealed, in the session",
        ),
    ]


def _watching() -> list[Activity]:
    return [
        Activity(
            "watch over the models",
            "finding drift, and holding a model that reads badly",
            _PATIENTS,
            ("counts and signs of images by site; nothing that names a patient",),
            (f"{MONITOR}, on {_types(MONITOR_SCOPES)}",),
            "MeasureReports without patients, as long as the versions are registered",
        ),
        Activity(
            "candidate training set",
            "teaching a next version, by command of the operator alone",
            _PATIENTS,
            ("cells of images under a pseudonym; patients with a Consent to research alone",),
            ("the operator, as files of the owner alone",),
            "until the files are deleted; who withdraws is in no set that is made afterwards",
        ),
    ]


def _around(settings: Settings) -> list[Activity]:
    return [
        Activity(
            "audit trail",
            "showing who did what with which record (article 5(2), 32)",
            (*_PATIENTS, "everybody who calls"),
            ("names of users and programs, network addresses, moments, ids of records, searches",),
            ("people with the role auditor",),
            "for good: its chain is signed; names in searches are taken out at an erasure",
        ),
        Activity(
            "accounts",
            "signing in",
            ("users",),
            ("names, roles, hashes of passwords, second factors, sign-ins",),
            ("people with the role admin",),
            "until the account is removed",
        ),
        Activity(
            "backup",
            "bringing everything back",
            (*_PATIENTS, "users"),
            ("everything above, encrypted",),
            (_host("backup", settings.backup_target) or "none: no target is set",),
            f"{settings.backup_keep_days} days, and the last {settings.backup_keep_least} at least",
        ),
        Activity(
            "answers that wait",
            "requests that are answered later, and repeated ones",
            _PATIENTS,
            ("what was asked for, as the caller may see it",),
            ("the caller",),
            f"results {settings.async_hours} h, or until what they tell of is erased; that "
            f"something was done {settings.idempotency_hours} h",
        ),
    ]


def _types(scopes: str) -> str:
    """The resource types that scopes reach."""
    found = {each.type for each in parse_scopes(scopes).resources}
    return ", ".join(sorted(found))


def _language_model(settings: Settings) -> str | None:
    if settings.gemini_api_key is None:
        return None
    where = _host("Gemini API", settings.gemini_base_url) or "Google (Gemini API)"
    return f"{where}, model {settings.gemini_model}: redacted facts, no image"


def _host(what: str, address: str | None) -> str | None:
    """Where something goes, without credentials or paths."""
    if address is None:
        return None
    parsed = urlsplit(address)
    return f"{what} at {parsed.hostname}" if parsed.hostname else f"{what} in a folder"


def _transfers(settings: Settings) -> list[str]:
    language, ground = _language_model(settings), f"{YOURS}: on what ground (chapter V)"
    found = [f"{language}; {ground}" if language else _NO_TRANSFER]
    backup = urlsplit(settings.backup_target or "")
    if backup.scheme == "s3":
        found.append(f"{_host('backup', settings.backup_target)}, encrypted; where: {YOURS}")
    return [*found, f"where Subscriptions lead and record systems are: {YOURS}"]


_NO_TRANSFER = "none by the software itself: no language model is configured"


def _measures(settings: Settings) -> list[str]:
    at_rest = "AES-GCM in the store" if settings.encryption_key_file else "none in the store"
    factors = settings.second_factor_roles or "no role"
    consents = "shares" if settings.consent_policy == "opt-out" else "does not share"
    signed_in = "nobody has to sign in (development)" if settings.open_access else "SMART on FHIR"
    return [
        f"access: {signed_in}; roles {', '.join(sorted(ROLES))}; second factor for {factors}",
        f"consent: a patient who has said nothing {consents}; emergency access for "
        f"{settings.emergency_minutes} minutes, with a reason, audited",
        "restriction of processing, legal hold, erasure with a proof, retention by type",
        f"encryption at rest: {at_rest}; in transit: TLS {settings.tls_minimum} or newer",
        "audit trail: every access, refusals too, in a signed chain",
        "redaction: identifiers are taken out before anything goes to a language model",
        "logs and metrics hold nothing of patients",
    ]


def as_markdown(found: Mapping[str, Any]) -> str:
    """The register as a page."""
    lines = ["# Register of processing activities", "", _HEAD, ""]
    owed = ("controller", "contact", "data protection officer", "legal basis")
    lines += [f"- **{name.capitalize()}**: {found[name]}" for name in owed]
    for activity in found["activities"]:
        lines += ["", f"## {activity['name'].capitalize()}", "", f"{activity['purpose']}.", ""]
        for name in ("persons", "categories of data", "recipients"):
            lines.append(f"- {name}: {'; '.join(activity[name])}")
        lines.append(f"- kept: {activity['kept']}")
    for name in ("transfers to third countries", "technical and organisational measures"):
        lines += ["", f"## {name.capitalize()}", "", *(f"- {each}" for each in found[name])]
    return "\n".join(lines) + "\n"


_HEAD = (
    "GDPR article 30, as far as the software can say it. Made by `medsage patient register` from "
    "the settings and the code; this page shows the defaults. The same as JSON: `--json`."
)
