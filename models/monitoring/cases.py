"""What is read of each analysis for the figures of drift: results, refusals and feedback, by FHIR.

No image is read and nothing about the patient: counts, signs of pictures, and who judged how.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog

from fhir_server.fhir.assessment import ASSESSMENT, FINDINGS, INPUT_IMAGE, parts
from fhir_server.fhir.codec import instant
from fhir_server.fhir.feedback import AI_FEEDBACK, coded
from models.ai_systems import SYSTEM_VERSIONS
from models.fhir_client import FhirClient, FhirFailure
from models.monitoring.limits import SIGNS
from models.monitoring.site import site_in

Resource = dict[str, Any]

IMAGE_RESULTS: Mapping[str, str] = {"malaria-smear-ai": "field", "malaria-cell-ai": "cell"}
"""Codes of the image model's Observations, and the kind of image that they are about."""
_TAKEN_BACK = frozenset({"entered-in-error", "cancelled"})
"""Observation.status of feedback that is none any more."""
_PAGE = ("_count", "200")
_log = structlog.get_logger("medsage.monitoring")


@dataclass(frozen=True, slots=True)
class Case:
    """One analysis of images. `version` is the AiSystem.key, None for a Task that ended without a
    result; `scores` the cells by probability; `signs` the values of each field; `agreement` what
    the clinician said of the result, None when nobody has yet."""

    site: str | None
    version: str | None
    device: str | None
    kind: str
    at: datetime
    images: int
    refused: int
    scores: tuple[int, ...] = ()
    signs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    agreement: str | None = None


async def read_cases(fhir: FhirClient, since: datetime, until: datetime) -> list[Case]:
    """The analyses asked for from `since` up to before `until`."""
    said = await _agreements(fhir, since)
    versions: dict[str, str | None] = {}
    cases = []
    codes = ",".join(f"{FINDINGS}|{code}" for code in IMAGE_RESULTS)
    query = [("code", codes), *_between("date", since, until), _PAGE]
    async for observation in fhir.search("Observation", query):
        device = observation.get("device", {}).get("reference")
        if device is None:
            continue
        if device not in versions:
            versions[device] = await _version(fhir, device)
        version = versions[device]
        case = None if version is None else _readable(observation, version)
        if case is not None:
            cases.append(replace(case, agreement=said.get(f"Observation/{observation['id']}")))
    code = f"{ASSESSMENT['system']}|{ASSESSMENT['code']}"
    failed = [("code", code), ("status", "failed"), *_between("authored-on", since, until), _PAGE]
    cases += [
        refused_case(task)
        async for task in fhir.search("Task", failed)
        if parts(task.get("input", ()), INPUT_IMAGE) and _refused(task)
    ]
    return _attributed(cases)


async def _version(fhir: FhirClient, device: str) -> str | None:
    """The version of a Device that a result names; None for one that is not there, too: whoever
    may write results may name any."""
    try:
        return version_of(await fhir.read(device))
    except FhirFailure as failure:
        if failure.status not in (403, 404, 410):
            raise
        return None


def _readable(observation: Resource, version: str) -> Case | None:
    """What a result tells; None for one that no model of ours wrote so. One such must not keep
    all sites from being watched."""
    try:
        return case_of(observation, version)
    except (KeyError, ValueError, TypeError, StopIteration) as problem:
        _log.warning("result not counted", id=observation["id"], error=type(problem).__name__)
        return None


def version_of(device: Resource) -> str | None:
    """The AiSystem.key of an AI Device; None for any other (the worker's own)."""
    return next(
        (
            str(each["value"])
            for each in device.get("identifier", ())
            if each.get("system") == SYSTEM_VERSIONS
        ),
        None,
    )


def case_of(observation: Resource, version: str) -> Case:
    """What an image model's Observation tells."""
    told = {_code(each): each for each in observation.get("component", ())}
    return Case(
        site=site_in(observation),
        version=version,
        device=observation["device"]["reference"],
        kind=next(k for code, k in IMAGE_RESULTS.items() if code in _codes(observation["code"])),
        at=datetime.fromisoformat(observation["effectiveDateTime"]),
        images=told.get("images", {}).get("valueInteger", 0),
        refused=told.get("images-refused", {}).get("valueInteger", 0),
        scores=tuple(int(count) for count in _numbers(told, "score-histogram")),
        signs={name: tuple(_numbers(told, f"image-{name}")) for name in SIGNS},
    )


def refused_case(task: Resource) -> Case:
    """What a Task tells that ended because none of its images could be read."""
    images = len(parts(task.get("input", ()), INPUT_IMAGE))
    return Case(
        site=site_in(task),
        version=None,
        device=None,
        kind="field",
        at=datetime.fromisoformat(task["authoredOn"]),
        images=images,
        refused=images,
    )


def _attributed(cases: list[Case]) -> list[Case]:
    """A Task without a result names no version: it counts for the one that reads most there."""
    most: dict[str | None, dict[tuple[str, str], int]] = {}
    for case in cases:
        if case.version is not None and case.device is not None:
            of_site = most.setdefault(case.site, {})
            key = case.version, case.device
            of_site[key] = of_site.get(key, 0) + 1
    attributed = []
    for case in cases:
        if case.version is None and case.site in most:
            version, device = max(most[case.site].items(), key=lambda each: (each[1], each[0]))[0]
            case = replace(case, version=version, device=device)
        attributed.append(case)
    return attributed


async def _agreements(fhir: FhirClient, since: datetime) -> dict[str, str]:
    """What was said since then about which AI Observation; the latest, where several said."""
    code = f"{AI_FEEDBACK['system']}|{AI_FEEDBACK['code']}"
    query = [("code", code), ("date", f"ge{instant(since)}"), _PAGE]
    said: dict[str, tuple[str, str]] = {}
    async for feedback in fhir.search("Observation", query):
        if feedback.get("status") in _TAKEN_BACK:
            continue
        agreement, when = coded(feedback), str(feedback.get("issued", ""))
        for focus in feedback.get("focus", ()) if agreement else ():
            about = str(focus.get("reference"))
            said[about] = max(said.get(about, ("", "")), (when, str(agreement)))
    return {about: agreement for about, (_, agreement) in said.items()}


def _refused(task: Resource) -> bool:
    issues = (
        issue
        for outcome in task.get("contained", ())
        if outcome.get("resourceType") == "OperationOutcome"
        for issue in outcome.get("issue", ())
    )
    return any(str(issue.get("diagnostics", "")).startswith("Image ") for issue in issues)


def _between(name: str, since: datetime, until: datetime) -> list[tuple[str, str]]:
    return [(name, f"ge{instant(since)}"), (name, f"lt{instant(until)}")]


def _numbers(told: Mapping[str, Resource], code: str) -> list[float]:
    return [float(word) for word in str(told.get(code, {}).get("valueString", "")).split()]


def _code(component: Resource) -> str:
    return next(iter(_codes(component["code"])), "")


def _codes(concept: Resource) -> Iterable[str]:
    codings = concept.get("coding", ())
    return [str(c["code"]) for c in codings if c.get("system") == FINDINGS and "code" in c]
