"""What a language model is used for and what it costs, for Prometheus.

Labels are the model's name and words of fixed lists; nothing of a patient, a prompt or an answer.
"""

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from models.symptoms.circuit import CircuitBreaker, State
from models.symptoms.grounding import Fate

DIRECTIONS = ("input", "output")
_PER_MILLION = 1_000_000
_BUCKETS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10)
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Outcome(StrEnum):
    """How a question ended."""

    ANSWERED = "answered"
    CACHED = "cached"
    MALFORMED = "malformed"
    UNGROUNDED = "ungrounded"
    LATE = "late"
    FAILED = "failed"
    THROTTLED = "throttled"
    CIRCUIT_OPEN = "circuit-open"


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens, as the provider's price list says; None: not counted."""

    input: float | None = None
    output: float | None = None


class Usage:
    """The counters; a process makes them once for its registry."""

    def __init__(self, registry: CollectorRegistry, prices: Prices | None = None) -> None:
        self._prices = prices or Prices()
        self._questions = Counter(
            "medsage_language_model_questions",
            "Questions about symptoms, by how they ended",
            ("model", "outcome"),
            registry=registry,
        )
        self._tokens = Counter(
            "medsage_language_model_tokens",
            "Tokens that the provider counted",
            ("model", "direction"),
            registry=registry,
        )
        self._dollars = Counter(
            "medsage_language_model_cost_dollars",
            "Cost by the prices set; nothing is counted without them",
            ("model",),
            registry=registry,
        )
        self._sentences = Counter(
            "medsage_language_model_sentences",
            "Sentences of answers, by what became of them",
            ("model", "fate"),
            registry=registry,
        )
        self._seconds = Histogram(
            "medsage_language_model_seconds",
            "Time that the provider took",
            ("model",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._circuit = Gauge(
            "medsage_language_model_circuit",
            "State of the circuit breaker: 0 closed, 1 half open, 2 open",
            ("model",),
            registry=registry,
        )

    def watch(self, model: str, circuit: CircuitBreaker) -> None:
        """Shows the circuit's state whenever the metrics are read, and everything else from its
        zero on: a rate needs it."""
        self._circuit.labels(model).set_function(lambda: _STATES[circuit.state])
        self._dollars.labels(model)
        self._seconds.labels(model)
        for outcome in Outcome:
            self._questions.labels(model, outcome.value)
        for direction in DIRECTIONS:
            self._tokens.labels(model, direction)
        for fate in Fate:
            self._sentences.labels(model, fate.value)

    def ended(self, model: str, outcome: Outcome) -> None:
        """One question ended."""
        self._questions.labels(model, outcome.value).inc()

    def took(self, model: str, seconds: float) -> None:
        """One call to the provider was over."""
        self._seconds.labels(model).observe(seconds)

    def spent(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """The provider counted these tokens, whether or not the answer was of use."""
        for direction, tokens, price in (
            (DIRECTIONS[0], input_tokens, self._prices.input),
            (DIRECTIONS[1], output_tokens, self._prices.output),
        ):
            self._tokens.labels(model, direction).inc(tokens)
            if price is not None:
                self._dollars.labels(model).inc(tokens * price / _PER_MILLION)

    def judged(self, model: str, fates: Iterable[Fate]) -> None:
        """These became of the sentences of one answer."""
        for fate, count in Tally(fates).items():
            self._sentences.labels(model, fate.value).inc(count)
