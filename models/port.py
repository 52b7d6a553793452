"""What every condition model offers: a card that describes it and one awaitable prediction."""

from typing import Protocol, TypeVar

from models.card import ModelCard

Input = TypeVar("Input", contravariant=True)
Prediction = TypeVar("Prediction", covariant=True)


class Model(Protocol[Input, Prediction]):
    """A loaded model. `predict` never blocks the event loop and is deterministic in its input.

    A refusal is part of the prediction: what cannot be read is said in the answer, not raised.
    """

    @property
    def card(self) -> ModelCard:
        """Intended use, data, metrics, thresholds, limits and hashes of this very version."""
        ...

    async def predict(self, given: Input, /) -> Prediction:
        """Read one input and answer for it alone; no state is kept between calls."""
        ...
