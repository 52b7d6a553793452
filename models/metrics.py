"""What the models answered and how the Tasks ended; labels are the models' own codes alone.

A model is measured by standing in front of it: `MeasuredSmearModel`, `MeasuredAnalyst`.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from fhir_server import spans
from fhir_server.fhir.dates import SECOND, microseconds, time_range
from models.analysis import SmearModel
from models.card import ModelCard
from models.malaria.reading import SmearImage, SmearPrediction
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, SymptomAnalyst

Ending = Literal["completed", "failed", "by-another", "left"]
SMEAR, SYMPTOMS = "malaria-smear", "symptoms"
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TURNAROUND = (1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
_PROBABILITY = tuple(step / 10 for step in range(1, 11))
_DISTANCE = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)


class ModelMetrics:
    """Of one worker; without a `registry` nobody reads them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._answers = Counter(
            "medsage_model_answers",
            "Answers of a model about one Task",
            ("model", "answer"),
            registry=registry,
        )
        self._refusals = Counter(
            "medsage_model_refusals",
            "Images and cells that a model did not read, by the check that failed",
            ("model", "check"),
            registry=registry,
        )
        self._seconds = Histogram(
            "medsage_model_seconds",
            "Time of one answer",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._probability = Histogram(
            "medsage_model_cell_probability",
            "Calibrated probability that a cell holds a parasite",
            buckets=_PROBABILITY,
            registry=registry,
        )
        self._distance = Histogram(
            "medsage_model_cell_distance",
            "Mahalanobis distance of a cell from the training cells",
            buckets=_DISTANCE,
            registry=registry,
        )
        self._tasks = Counter(
            "medsage_tasks_ended",
            "Analysis Tasks by how they ended",
            ("outcome",),
            registry=registry,
        )
        self._turnaround = Histogram(
            "medsage_task_turnaround_seconds",
            "Time from the order of an analysis to its end",
            buckets=_TURNAROUND,
            registry=registry,
        )

    def smear(self, prediction: SmearPrediction, seconds: float) -> None:
        """One answer about the images of a Task."""
        self._answers.labels(SMEAR, prediction.pool.answer.value).inc()
        self._seconds.labels(SMEAR).observe(seconds)
        for image in prediction.images:
            if image.refusal is not None:
                self._refusals.labels(SMEAR, image.refusal.check).inc()
            for cell in image.cells:
                if cell.probability is not None:
                    self._probability.observe(cell.probability)
                if cell.distance is not None:
                    self._distance.observe(cell.distance)
                if cell.refusal is not None:
                    self._refusals.labels(SMEAR, cell.refusal.check).inc()

    def symptoms(self, analysis: Analysis, seconds: float) -> None:
        """One answer about symptoms and vital signs; how urgent it is counts as the answer."""
        self._answers.labels(SYMPTOMS, analysis.urgency.code).inc()
        self._seconds.labels(SYMPTOMS).observe(seconds)

    def ended(self, task: dict[str, Any], outcome: Ending, now: datetime) -> None:
        """One Task that this worker has done with."""
        self._tasks.labels(outcome).inc()
        ordered = str(task.get("authoredOn", ""))
        # A date without a time does not say when in the day it was.
        if outcome in ("completed", "failed") and "T" in ordered:
            waited = microseconds(now) - time_range(ordered).low
            self._turnaround.observe(waited / SECOND)


def ending_of(transaction: dict[str, Any]) -> Ending:
    """How the transaction that ends a Task ends it."""
    written = (entry["resource"] for entry in transaction["entry"])
    statuses = {each["status"] for each in written if each["resourceType"] == "Task"}
    return "completed" if statuses == {"completed"} else "failed"


class MeasuredSmearModel:
    """The image model, whose answers are counted."""

    def __init__(self, model: SmearModel, metrics: ModelMetrics) -> None:
        self._model = model
        self._metrics = metrics

    @property
    def card(self) -> ModelCard:
        """The model's own."""
        return self._model.card

    async def predict(self, images: Sequence[SmearImage], /) -> SmearPrediction:
        """The model's own answer."""
        began = time.perf_counter()
        with spans.span("model malaria-smear"):
            prediction = await self._model.predict(images)
        self._metrics.smear(prediction, time.perf_counter() - began)
        return prediction


class MeasuredAnalyst:
    """The analyst of symptoms, whose answers are counted."""

    def __init__(self, analyst: SymptomAnalyst, metrics: ModelMetrics) -> None:
        self._analyst = analyst
        self._metrics = metrics

    @property
    def origin(self) -> str:
        """The analyst's own."""
        return self._analyst.origin

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """The analyst's own answer."""
        began = time.perf_counter()
        with spans.span("model symptoms"):
            analysis = await self._analyst.analyse(facts)
        self._metrics.symptoms(analysis, time.perf_counter() - began)
        return analysis
