"""What becomes of an analysis that the patient does not permit any more (GDPR articles 7(3) and
18; ADR 0033): a Task that waits is cancelled, and a draft that nobody has signed is marked.

Nothing is computed or stored afterwards; what was signed before stays as it was signed.
"""

from datetime import datetime
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, OUTPUT_REFUSAL, part_type
from fhir_server.fhir.codec import instant
from fhir_server.fhir.outcome import Issue, operation_outcome

Resource = dict[str, Any]

WITHDRAWAL_TAGS = f"{CANONICAL}/CodeSystem/withdrawal"
WITHDRAWN = {
    "system": WITHDRAWAL_TAGS,
    "code": "withdrawn",
    "display": "Analysis not permitted by the patient any more",
}
NOT_PERMITTED = (
    "The patient's consent, or a restriction of processing, does not permit an analysis of this "
    "record. No AI opinion. Not a negative result. Assess as you would without AI."
)
_OUTCOME_ID = "refusal"


def withdrawn_task(task: Resource, now: datetime) -> Resource:
    """The Task of an analysis, cancelled, with the reason in words and as an OperationOutcome."""
    issue = Issue("error", "suppressed", NOT_PERMITTED, ("Task.for",))
    outcome = {**operation_outcome([issue]), "id": _OUTCOME_ID}
    others = [each for each in task.get("contained", ()) if each.get("id") != _OUTCOME_ID]
    said = {
        "type": part_type(OUTPUT_REFUSAL),
        "valueReference": {"reference": f"#{_OUTCOME_ID}"},
    }
    made = {
        **task,
        "contained": [*others, outcome],
        "status": "cancelled",
        "statusReason": {"text": NOT_PERMITTED},
        "lastModified": instant(now),
        "output": [*task.get("output", ()), said],
    }
    if "executionPeriod" in task:
        made["executionPeriod"] = {**task["executionPeriod"], "end": instant(now)}
    return made


def is_withdrawn(resource: Resource) -> bool:
    """Whether a draft bears the mark."""
    return any(_is_ours(tag) for tag in resource.get("meta", {}).get("tag", ()))


def marked_withdrawn(resource: Resource, marked: bool) -> Resource:
    """The draft with the mark, or without it; its content stays as it is."""
    meta = resource.get("meta", {})
    tags = [each for each in meta.get("tag", ()) if not _is_ours(each)]
    tags += [WITHDRAWN] if marked else []
    rest = {name: value for name, value in meta.items() if name != "tag"}
    return {**resource, "meta": {**rest, "tag": tags} if tags else rest}


def _is_ours(tag: Resource) -> bool:
    return tag.get("system") == WITHDRAWAL_TAGS
