"""Inputs → Results: the image model and the symptom analyst, side by side."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.ai_systems import AiSystem
from models.card import ModelCard
from models.malaria.reading import ModelVersion, SmearImage, SmearPrediction
from models.report import Results
from models.submission import Inputs
from models.symptoms.card import symptom_card, symptom_system
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, SymptomAnalyst


class SmearModel(Protocol):
    """The malaria image model as used here; a refusal is in the answer, not raised."""

    @property
    def card(self) -> ModelCard: ...

    async def predict(self, images: Sequence[SmearImage], /) -> SmearPrediction:
        """What all images of one submission show together."""
        ...


class Analyses(Protocol):
    """What analyses the inputs of a Task."""

    async def analyse(self, inputs: Inputs) -> Results:
        """What each model says about its part; UnusableTask for what none may be asked."""
        ...

    async def instead(self, inputs: Inputs) -> Results | None:
        """What is said of the images by the version in use now, where one that was recalled
        meanwhile has answered; None when no version is."""
        ...

    def ended(self, inputs: Inputs) -> None:
        """The Task is over and its result stored: what nobody waits for may begin."""
        ...


@dataclass(frozen=True)
class Analysts:
    """The models of one worker, one version of each."""

    smear: SmearModel
    symptoms: SymptomAnalyst

    async def analyse(self, inputs: Inputs) -> Results:
        """What each model says about its part of the inputs."""
        smear, analysis = await asyncio.gather(self._read(inputs.images), self._judge(inputs.facts))
        return Results(
            smear=smear,
            smear_system=smear_system(smear.model, self.smear.card) if smear else None,
            analysis=analysis,
            analysis_system=symptom_system(analysis, symptom_card()) if analysis else None,
        )

    async def instead(self, inputs: Inputs) -> Results | None:
        """One version of each model: there is no other."""

    def ended(self, inputs: Inputs) -> None:
        """One version of each model: nothing runs afterwards."""

    async def _read(self, images: Sequence[SmearImage]) -> SmearPrediction | None:
        return await self.smear.predict(images) if images else None

    async def _judge(self, facts: SymptomFacts | None) -> Analysis | None:
        return await self.symptoms.analyse(facts) if facts else None


def smear_system(model: ModelVersion, card: ModelCard) -> AiSystem:
    """The image model as an AI system; new weights or calibration make a new one."""
    return AiSystem(
        key=f"{model.id}-{model.version}-{model.sha256[:12]}-{model.calibration_sha256[:12]}",
        name=card.name,
        version=model.version,
        kinds=(
            "Deep-Learning-Models",
            "Deterministic-AI",
            "Medical-Image-Analysis",
            "AI-for-Medical-Imaging-Data",
        ),
        card=card.as_markdown(),
        contact=card.contact,
    )
