"""The state changes of an analysis Task (R4 Task): pure, each takes a Task and gives the next.

requested → in-progress → completed | failed, or back to requested. A claim whose lease ran out may
be repeated; the number of claims is kept on the Task, so that one that kills its worker each time
comes to an end.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, OUTPUT_REFUSAL, part_type
from fhir_server.fhir.codec import instant
from fhir_server.fhir.outcome import Issue, operation_outcome

Resource = dict[str, Any]

ATTEMPT = f"{CANONICAL}/StructureDefinition/attempt"
OUTCOME_ID = "refusal"


def attempts(task: Resource) -> int:
    """How often this Task has been claimed."""
    return next(
        (int(e["valueInteger"]) for e in task.get("extension", ()) if e["url"] == ATTEMPT), 0
    )


def begun(task: Resource) -> datetime:
    """When the present claim began: the moment that its inputs are read as of, now or later."""
    return datetime.fromisoformat(task["executionPeriod"]["start"])


def is_open(task: Resource, now: datetime, lease: timedelta) -> bool:
    """Whether a worker may claim it: requested, or in progress with a lease that ran out."""
    match task["status"]:
        case "requested":
            return True
        case "in-progress":
            return _updated(task) + lease <= now
        case _:
            return False


def claimed(task: Resource, owner: str, now: datetime) -> Resource:
    """In progress, owned by the Device `owner`, one more attempt."""
    others = [e for e in task.get("extension", ()) if e["url"] != ATTEMPT]
    return {
        **task,
        "extension": [*others, {"url": ATTEMPT, "valueInteger": attempts(task) + 1}],
        "status": "in-progress",
        "owner": {"reference": owner},
        "executionPeriod": {"start": instant(now), **_without(task.get("executionPeriod"), "end")},
        "lastModified": instant(now),
    }


def given_back(task: Resource, now: datetime) -> Resource:
    """As before the claim, which counts for nothing: its worker ended in good order."""
    others = [e for e in task.get("extension", ()) if e["url"] != ATTEMPT]
    return {
        **_without(task, "owner"),
        "extension": [*others, {"url": ATTEMPT, "valueInteger": attempts(task) - 1}],
        "status": "requested",
        "lastModified": instant(now),
    }


def completed(
    task: Resource, outputs: Mapping[str, Sequence[str]], *, now: datetime, issues: Sequence[Issue]
) -> Resource:
    """Completed, with references by output part; `issues` (a refused image) travel along."""
    done = {
        **task,
        "status": "completed",
        "output": [
            {"type": part_type(part), "valueReference": {"reference": reference}}
            for part, references in outputs.items()
            for reference in references
        ],
        **_ended(task, now),
    }
    return _with_refusal(done, issues) if issues else done


def failed(task: Resource, issues: Sequence[Issue], now: datetime) -> Resource:
    """Failed, with the issues as a contained OperationOutcome and the first one as its reason."""
    over = {
        **task,
        "status": "failed",
        "statusReason": {"text": issues[0].diagnostics},
        **_ended(task, now),
    }
    return _with_refusal(over, issues)


def _with_refusal(task: Resource, issues: Sequence[Issue]) -> Resource:
    outcome = {**operation_outcome(issues), "id": OUTCOME_ID}
    reference = {
        "type": part_type(OUTPUT_REFUSAL),
        "valueReference": {"reference": f"#{OUTCOME_ID}"},
    }
    others = [part for part in task.get("contained", ()) if part.get("id") != OUTCOME_ID]
    return {
        **task,
        "contained": [*others, outcome],
        "output": [*task.get("output", ()), reference],
    }


def _ended(task: Resource, now: datetime) -> Resource:
    period = {**task.get("executionPeriod", {}), "end": instant(now)}
    return {"executionPeriod": period, "lastModified": instant(now)}


def _without(period: Resource | None, name: str) -> Resource:
    return {key: value for key, value in (period or {}).items() if key != name}


def _updated(task: Resource) -> datetime:
    return datetime.fromisoformat(task["meta"]["lastUpdated"].replace("Z", "+00:00"))
