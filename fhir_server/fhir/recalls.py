"""Recalls of an AI system's version, as they stand on its Device (ADR 0024).

`$recall` writes one as an extension of the Device and marks the Device as having open work; the
analysis worker marks what the version made, batch by batch, and keeps its place in the same
extension. What was made is marked by a tag, and a DetectedIssue says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from fhir_server.fhir.assessment import CANONICAL, TASK_CODES

Resource = dict[str, Any]
Status = Literal["open", "done"]

RECALL = f"{CANONICAL}/StructureDefinition/recall"
RECALL_TAGS = f"{CANONICAL}/CodeSystem/recall"
RECALLED = {"system": RECALL_TAGS, "code": "recalled", "display": "Recalled AI result"}
OPEN = {"system": RECALL_TAGS, "code": "open", "display": "Recall under way"}
DONE = {"system": RECALL_TAGS, "code": "done", "display": "Recall carried out"}
RECALL_REVIEW = {
    "system": TASK_CODES,
    "code": "recalled-result-review",
    "display": "Review of a recalled AI result",
}
OPERATORS = f"{CANONICAL}/identifier/operator"
"""Identifies people by their account of the operating system, as a service says it that they run
commands with: nobody has signed in."""
MARK_OF_RECALL = f"{CANONICAL}/identifier/mark-of-recall"
"""Identifies the DetectedIssue and the Task of one report in one recall."""


@dataclass(frozen=True)
class Recall:
    """One recall. `start` and `end` (instants, None: open) bound when a result was made; without
    an end the version is out of use. `position` is the `recorded` of the last Provenance that was
    worked off; `reports`, `signed` and `tasks` count what was marked and opened so far. `by` is who
    called, `operator` whose order a service passed on, where it says that."""

    id: str
    reason: str
    requested: str
    by: str
    start: str | None = None
    end: str | None = None
    status: Status = "open"
    position: str | None = None
    reports: int = 0
    signed: int = 0
    tasks: int = 0
    operator: str | None = None

    @property
    def is_for_good(self) -> bool:
        """Whether the version may not be used any more."""
        return self.end is None

    def is_same(self, other: "Recall") -> bool:
        """Whether the same was asked for."""
        return (self.reason, self.start, self.end) == (other.reason, other.start, other.end)


_PARTS = {
    "id": "valueString",
    "reason": "valueString",
    "requested": "valueInstant",
    "by": "valueString",
    "operator": "valueString",
    "start": "valueInstant",
    "end": "valueInstant",
    "status": "valueCode",
    "position": "valueInstant",
    "reports": "valueInteger",
    "signed": "valueInteger",
    "tasks": "valueInteger",
}
"""The parts of the extension, in order, and the type of each."""


def recalls_of(device: Resource) -> list[Recall]:
    """The recalls of a Device, oldest first."""
    return [
        Recall(**{part["url"]: part[_PARTS[part["url"]]] for part in each["extension"]})
        for each in device.get("extension", ())
        if each["url"] == RECALL
    ]


def with_recall(device: Resource, recall: Recall) -> Resource:
    """The Device with this recall in the place of one with the same id. Its tag says whether
    there is work to do; one that is recalled for good is inactive."""
    known = recalls_of(device)
    is_new = recall.id not in {each.id for each in known}
    all_ = [recall if each.id == recall.id else each for each in known] + [recall] * is_new
    others = [each for each in device.get("extension", ()) if each["url"] != RECALL]
    made = {**device, "extension": [*others, *(_extension(each) for each in all_)]}
    if any(each.is_for_good for each in all_):
        made["status"] = "inactive"
    is_open = any(each.status == "open" for each in all_)
    return tagged_with(made, OPEN if is_open else DONE)


def marked_recalled(resource: Resource) -> Resource:
    """A result with the tag of a recalled one; its content stays as it is."""
    return resource if is_recalled(resource) else tagged_with(resource, RECALLED)


def is_recalled(resource: Resource) -> bool:
    """Whether a result bears that tag."""
    return any(_is(tag, RECALLED) for tag in resource.get("meta", {}).get("tag", ()))


def tagged_with(resource: Resource, tag: Resource) -> Resource:
    """The resource with one tag of this system alone."""
    meta = resource.get("meta", {})
    others = [each for each in meta.get("tag", ()) if each.get("system") != RECALL_TAGS]
    return {**resource, "meta": {**meta, "tag": [*others, tag]}}


def worked_off(recall: Recall, position: str, counts: Sequence[int]) -> Recall:
    """The recall after a batch: its place, which never goes back, and `counts` (reports, signed,
    tasks) more."""
    reports, signed, tasks = counts
    places = [each for each in (recall.position, position) if each is not None]
    return replace(
        recall,
        position=max(places, key=datetime.fromisoformat),
        reports=recall.reports + reports,
        signed=recall.signed + signed,
        tasks=recall.tasks + tasks,
    )


def _extension(recall: Recall) -> Resource:
    values = {name: getattr(recall, name) for name in _PARTS}
    parts = [{"url": n, _PARTS[n]: value} for n, value in values.items() if value is not None]
    return {"url": RECALL, "extension": parts}


def _is(tag: Resource, wanted: Resource) -> bool:
    return (tag.get("system"), tag.get("code")) == (wanted["system"], wanted["code"])
