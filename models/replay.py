"""A result computed again from what is stored, and compared with what was written (ADR 0024).

The inputs are read as they were when the Task was claimed. The image model and the rules are
deterministic: with the same version every value must come out as written, digit by digit. What a
language model said can't be computed again; it is compared with the hash that was stored with it.
What was drawn of the images is drawn again and compared by its bytes.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.fhir.assessment import ASSESSMENT, FINDINGS, OUTPUT_REPORT, parts
from fhir_server.fhir.codec import instant
from fhir_server.fhir.reference import ID
from models import tasks
from models.ai_systems import SYSTEM_VERSIONS
from models.analysis import SmearModel, smear_system
from models.fhir_client import FhirClient
from models.monitoring.site import SITE
from models.replayed_drawings import drawings_again, drawings_stored
from models.replayed_symptoms import language_model_lines, symptoms_again, without_language_model
from models.smear_report import ONE_CELL, SMEAR, SOFTWARE, smear_observation
from models.submission import Inputs, UnusableTask, read_inputs
from models.symptom_report import SYMPTOMS
from models.symptoms.card import symptom_card

Resource = dict[str, Any]
Verdict = Literal["same", "different", "unavailable"]

NOT_COMPUTED = frozenset({SOFTWARE[0], "arm"})
"""Components that say how the result came about, not what it is; so does where (SITE)."""
ModelOf = Callable[[str], SmearModel | None]
"""The image model of that version, by its key; None when it is not here. May block."""
_COMPARED = ("valueCodeableConcept", "dataAbsentReason", "extension", "method", "note", "component")
_GRAVEST_FIRST: tuple[Verdict, ...] = ("different", "unavailable", "same")
_SMEAR_CODES = frozenset({SMEAR["code"], ONE_CELL["code"]})


class NotReplayable(Exception):
    """The Task has no result that could be computed again; the text says why."""


@dataclass(frozen=True)
class Difference:
    """One value that came out otherwise; None: it is not there."""

    place: str
    stored: str | None
    computed: str | None


@dataclass(frozen=True)
class Part:
    """One AI Observation: the version that made it, how many values came out the same, which did
    not, and what else is to be known."""

    observation: str
    version: str
    verdict: Verdict
    equal: int = 0
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replay:
    """All parts of one Task's result, at least one."""

    task: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """`different` when any value came out otherwise; `unavailable` when none did and a part
        could not be computed here; `same` when all was computed and came out the same."""
        found = {part.verdict for part in self.parts}
        return next(each for each in _GRAVEST_FIRST if each in found)

    @property
    def is_same(self) -> bool:
        """Whether everything was computed again and came out the same."""
        return self.verdict == "same"


async def replay(fhir: FhirClient, model_of: ModelOf, reference: str) -> Replay:
    """Computes the result of a Task again. Raises NotReplayable, or FhirFailure."""
    if not re.fullmatch(f"Task/{ID}", reference):
        raise NotReplayable(f"{reference!r} is not Task/ID")
    task = await fhir.read(reference)
    if not any(each.get("code") == ASSESSMENT["code"] for each in task["code"].get("coding", ())):
        raise NotReplayable(f"{reference} asks for no assessment")
    reports = parts(task.get("output", ()), OUTPUT_REPORT)
    if task["status"] != "completed" or not reports:
        raise NotReplayable(f"{reference} is {task['status']} and has no report")
    moment = tasks.begun(task)
    try:
        inputs = await read_inputs(fhir.as_of(instant(moment)), task, moment.date())
    except UnusableTask as unusable:
        raise NotReplayable(f"{reference}: its inputs can't be read: {unusable}") from unusable
    report = await fhir.read(reports[0])
    found = []
    again = _Again(fhir, model_of, inputs, report)
    for result in report.get("result", ()):
        observation = await fhir.read(result["reference"])
        if "device" in observation:
            found.append(await _part(again, observation))
    if not found:
        raise NotReplayable(f"{reference}: no result of its report is by an AI system")
    return Replay(reference, tuple(found))


@dataclass(frozen=True)
class _Again:
    """What computing again takes: the inputs as they were, and the report as it is now."""

    fhir: FhirClient
    model_of: ModelOf
    inputs: Inputs
    report: Resource


async def _part(again: _Again, observation: Resource) -> Part:
    name = f"Observation/{observation['id']}"
    version = await _version(again.fhir, observation)
    code = _code(observation)
    if code in _SMEAR_CODES:
        smear = await asyncio.to_thread(again.model_of, version)
        if smear is None:
            return _unavailable((name, version), "other versions")
        return await _smear_part(smear, again, observation, (name, version))
    if code == SYMPTOMS["code"]:
        return _symptom_part(again.inputs, observation, (name, version))
    text = f"nothing here computes {code}"
    return Part(name, version, "unavailable", notes=(text,))


async def _smear_part(
    smear: SmearModel, again: _Again, observation: Resource, names: tuple[str, str]
) -> Part:
    submission = again.inputs.submission
    prediction = await smear.predict(again.inputs.images)
    here = smear_system(prediction.model, smear.card).key
    if here != names[1]:
        return _unavailable(names, here)
    computed = smear_observation(prediction, {}, images=submission.images, device="")
    stored = await drawings_stored(again.fhir, again.report, submission.images)
    drawn = drawings_again(prediction, submission.task, submission.images)
    part = _judged(
        names,
        _values(observation) | _values(stored, tuple(stored)),
        _values(computed) | _values(drawn, tuple(drawn)),
    )
    wrote, reads = _component(observation, SOFTWARE[0]), _component(computed, SOFTWARE[0])
    if wrote == reads:
        return part
    text = f"computed by other code than the stored result: {wrote or 'not recorded'}, now {reads}"
    return Part(*names, part.verdict, part.equal, part.differences, (text,))


def _symptom_part(inputs: Inputs, observation: Resource, names: tuple[str, str]) -> Part:
    rules = symptom_card().hashes["rules"]
    if not names[1].endswith(rules[:12]):
        return _unavailable(names, f"rules {rules[:12]}")
    if inputs.facts is None:
        return Part(*names, "unavailable", notes=("no vital sign or symptom is stored",))
    said = language_model_lines(observation)
    again = symptoms_again(inputs.facts, observation, has_language_model=bool(said.lines))
    part = _compared(names, without_language_model(observation, again), again)
    if not said.lines:
        return part
    is_intact = said.stored == said.computed
    text = "what the language model said can't be computed again; "
    text += f"its stored hash {'agrees' if is_intact else 'does not agree'}"
    verdict = part.verdict if is_intact else "different"
    place = "component[language-model-sha256]"
    differences = () if is_intact else (Difference(place, said.stored, said.computed),)
    return Part(*names, verdict, part.equal, (*part.differences, *differences), (text,))


def _unavailable(names: tuple[str, str], here: str) -> Part:
    text = f"this version is not available here, which has {here}"
    return Part(*names, "unavailable", notes=(text,))


def _compared(names: tuple[str, str], stored: Resource, computed: Resource) -> Part:
    return _judged(names, _values(stored), _values(computed))


def _judged(names: tuple[str, str], was: Mapping[str, str], now: Mapping[str, str]) -> Part:
    places = list(dict.fromkeys([*was, *now]))
    differences = tuple(
        Difference(place, was.get(place), now.get(place))
        for place in places
        if was.get(place) != now.get(place)
    )
    verdict: Verdict = "different" if differences else "same"
    return Part(*names, verdict, len(places) - len(differences), differences)


def _values(told: Mapping[str, Any], compared: Sequence[str] = _COMPARED) -> dict[str, str]:
    """Every value of the compared elements by its place; numbers with the digits as written."""
    found: dict[str, str] = {}
    for name in compared:
        if name in told:
            _walk(name, told[name], found)
    return found


def _walk(place: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _walk(f"{place}.{name}", part, found)
    elif isinstance(value, list):
        seen: dict[str, int] = {}
        for part in value:
            name = _name(part)
            if place == "component" and name in NOT_COMPUTED:
                continue
            if place == "extension" and part.get("url") == SITE:
                continue
            seen[name] = seen.get(name, -1) + 1
            _walk(f"{place}[{name}{f' {seen[name] + 1}' if seen[name] else ''}]", part, found)
    else:
        found[place] = str(value)


def _name(part: Any) -> str:
    """What tells an entry of a list from the others: its code, where it has one."""
    return (_code(part) if isinstance(part, dict) else None) or "each"


def _code(resource: Resource) -> str | None:
    codings = resource.get("code", {})
    codings = codings.get("coding", ()) if isinstance(codings, dict) else ()
    return next((str(c["code"]) for c in codings if c.get("system") == FINDINGS), None)


def _component(observation: Resource, code: str) -> str | None:
    found = (each for each in observation.get("component", ()) if _code(each) == code)
    return next((each["valueString"] for each in found), None)


async def _version(fhir: FhirClient, observation: Resource) -> str:
    """The key of the version that the Observation is ascribed to."""
    device = await fhir.read(observation["device"]["reference"])
    names = (each for each in device.get("identifier", ()) if each["system"] == SYSTEM_VERSIONS)
    return next((str(each["value"]) for each in names), "not recorded")
