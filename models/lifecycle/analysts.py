"""Inputs → Results by the versions that the registry approves; what runs beside them is offered to
the shadows once the result is stored."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.outcome import Issue
from models.lifecycle.installed import offered
from models.lifecycle.shadows import Given, Shadows
from models.lifecycle.versions import Choice, Versions
from models.metrics import MeasuredSmearModel, ModelMetrics
from models.registry import MALARIA
from models.report import Results, about_task
from models.smear_report import smear_observation
from models.spoken import Spoken, SpokenBy
from models.submission import Inputs, UnusableTask
from models.symptoms.card import symptom_card, symptom_system
from models.symptoms.port import Analysis, SymptomAnalyst
from models.wording import NO_OPINION

Resource = dict[str, Any]

MOST_REMEMBERED = 64


@dataclass
class RegisteredAnalysts:
    """The analyses of one worker: each model in the version that is approved for the Task."""

    versions: Versions
    symptoms: SymptomAnalyst
    shadows: Shadows
    metrics: ModelMetrics = field(default_factory=ModelMetrics)
    demonstrations: bool = False
    _others: "OrderedDict[str, Choice]" = field(default_factory=OrderedDict, init=False)

    async def analyse(self, inputs: Inputs) -> Results:
        """What each model says about its part. UnusableTask for an image whose model is not
        offered here, or that comes with inputs of care."""
        if inputs.further:
            return Results(further=await self._further(inputs))
        smear, analysis = await asyncio.gather(self._smear(inputs), self._judge(inputs))
        return Results(
            **smear,
            analysis=analysis,
            analysis_system=symptom_system(analysis, symptom_card()) if analysis else None,
        )

    async def instead(self, inputs: Inputs) -> Results | None:
        """What the version says that the registry names now, whatever was known of it before;
        None where it names none."""
        self.versions.ask_anew()
        if inputs.further:
            try:
                return Results(further=await self._further(inputs))
            except UnusableTask:
                return None
        smear = await self._smear(inputs)
        return Results(**smear) if "smear" in smear else None

    def ended(self, inputs: Inputs) -> None:
        """What was read is offered to the versions that did not answer."""
        task = inputs.submission.task
        choice = self._others.pop(task["id"], None)
        if choice is not None and choice.others:
            given = Given(task, inputs.images, inputs.submission.images)
            self.shadows.offer(given, choice.others)

    async def _smear(self, inputs: Inputs) -> dict[str, Any]:
        if not inputs.images:
            return {}
        task = inputs.submission.task["id"]
        choice = await self.versions.choice(MALARIA, task)
        if choice.answering is None:
            return {"withheld": (f"{NO_OPINION} ({choice.reason})",)}
        self._remember(task, choice)
        measured = MeasuredSmearModel(choice.answering.model, self.metrics)
        return {
            "smear": await measured.predict(inputs.images),
            "smear_system": choice.answering.installed.system,
            "arm": choice.arm,
        }

    def _remember(self, task: str, choice: Choice) -> None:
        self._others[task] = choice
        while len(self._others) > MOST_REMEMBERED:
            self._others.popitem(last=False)

    async def _judge(self, inputs: Inputs) -> Analysis | None:
        return await self.symptoms.analyse(inputs.facts) if inputs.facts else None

    async def _further(self, inputs: Inputs) -> Sequence[Spoken]:
        models = offered(demonstrations=self.demonstrations)
        for name in inputs.further:
            if name not in models or models[name].says is None:
                raise _unusable("not-supported", f"no model {name} is offered here for images")
        if len(inputs.further) > 1 or inputs.images or inputs.facts:
            raise _unusable("business-rule", "an image for a further model stands alone in a Task")
        ((name, images),) = inputs.further.items()
        choice = await self.versions.choice(name, inputs.submission.task["id"])
        says = models[name].says
        if choice.answering is None or says is None:
            raise _unusable("suppressed", f"{NO_OPINION} ({choice.reason})")
        prediction = await choice.answering.model.predict(images)
        system = choice.answering.installed.system
        return [says(prediction, SpokenBy(system, inputs.submission.further[name]))]


def shadow_observation(prediction: Any, given: Given, device: str) -> Resource:
    """What a version of the malaria model would have written."""
    authored = str(given.task.get("authoredOn", given.task["meta"]["lastUpdated"]))
    return smear_observation(
        prediction, about_task(given.task, authored), images=given.references, device=device
    )


def _unusable(code: str, text: str) -> UnusableTask:
    return UnusableTask(Issue("error", code, text, ("Task.input",)))
