"""The steps of an analysis, read from its Task."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fhir_server.fhir.assessment import INPUT_IMAGE, OUTPUT_REFUSAL, OUTPUT_REPORT, parts
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import show_concept
from smart_app.presenters.times import show_clock

StepState = Literal["done", "now", "waiting", "stopped"]
SLOW_SECONDS = 30
ENDED = frozenset({"completed", "failed", "rejected", "cancelled", "entered-in-error"})
STARTED = frozenset({"accepted", "in-progress", "on-hold", "received", "ready"})


@dataclass(frozen=True)
class Step:
    """One line of the ordered list; `text` is its state in words, `time` when it was reached."""

    name: str
    label: str
    state: StepState
    text: str
    time: str = ""


@dataclass(frozen=True)
class Progress:
    """Where an analysis stands. `report` is the reference of the result once there is one;
    `failure` says why there is none and will be none."""

    status: str
    version: str
    steps: tuple[Step, ...]
    is_over: bool
    report: str | None
    failure: str
    refusals: tuple[str, ...]
    is_slow: bool


def progress(task: Resource, *, now: datetime) -> Progress:
    """The state of a Task as ordered steps."""
    status = task["status"]
    outputs = task.get("output", [])
    reports = parts(outputs, OUTPUT_REPORT)
    authored = datetime.fromisoformat(task["authoredOn"])
    is_over = status in ENDED
    return Progress(
        status=status,
        version=task.get("meta", {}).get("versionId", ""),
        steps=_steps(task, bool(reports)),
        is_over=is_over,
        report=reports[0] if reports else None,
        failure=_failure(task) if is_over and not reports else "",
        refusals=tuple(parts(outputs, OUTPUT_REFUSAL)),
        is_slow=not is_over and (now - authored).total_seconds() > SLOW_SECONDS,
    )


def _steps(task: Resource, has_report: bool) -> tuple[Step, ...]:
    status = task["status"]
    started = status in STARTED
    changed = task.get("lastModified") or task.get("meta", {}).get("lastUpdated", "")
    images = len(parts(task.get("input", []), INPUT_IMAGE))
    work = _("Symptoms analysed")
    if images:
        work = _("Images checked and read, symptoms analysed")
    ended: StepState = "done" if has_report else "stopped" if status in ENDED else "waiting"
    working: StepState = "now" if started else ended
    taken: StepState = "done" if started or has_report or status == "failed" else "now"
    if status in {"cancelled", "rejected"}:
        taken = "stopped"
    when = show_clock(changed) if changed else ""
    return (
        _step("received", _("Request received"), "done", show_clock(task["authoredOn"])),
        _step("taken", _("Taken up by the analysis"), taken, when if started else ""),
        _step("analysis", work, working, ""),
        _step("report", _("Draft report written"), ended, when if has_report else ""),
    )


def _step(name: str, label: str, state: StepState, time: str) -> Step:
    words = {
        "done": _("done"),
        "now": _("in progress"),
        "waiting": _("waiting"),
        "stopped": _("stopped"),
    }
    return Step(name, label, state, words[state], time)


def _failure(task: Resource) -> str:
    if "statusReason" in task:
        return show_concept(task["statusReason"])
    if task["status"] == "cancelled":
        return _("The analysis was cancelled.")
    return _("The analysis ended without a result, and gave no reason.")
