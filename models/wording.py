"""The words of a result: every answer of the models has a state, a sentence and a next step.

No answer is ever called negative. What abstains says so first, and says what to do instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.fhir.disclaimers import DEFAULT, DISCLAIMERS
from fhir_server.fhir.smear_answers import ANSWERS
from models.malaria.reading import CellAnswer, SmearAnswer

CAUTION = DISCLAIMERS[DEFAULT].caution
NO_OPINION = "No AI opinion. Not a negative result. Assess as you would without AI."
DISCORDANT = (
    "Images and symptoms disagree: repeat the smear or do a rapid diagnostic test, and look for "
    "other causes."
)
NOT_EXCLUDED = "This does not exclude malaria."


@dataclass(frozen=True)
class State:
    """A result state: its code (CodeSystem finding) with display, and the next step."""

    code: str
    display: str
    next_step: str

    def words(self, cells: int) -> str:
        """The answer as the governing list says it, with the number of red cells read."""
        return ANSWERS[self.code].words.format(cells=cells)


SMEAR_STATES: Mapping[SmearAnswer, State] = {
    SmearAnswer.SUSPECTED: State(
        "parasites-suspected",
        "Parasites suspected",
        "Have a microscopist read the slide, or do a rapid diagnostic test, before treatment is "
        "decided.",
    ),
    SmearAnswer.NONE_FOUND: State(
        "none-found",
        "None found by model",
        "If there is fever or a danger sign, repeat the smear or do a rapid diagnostic test.",
    ),
    SmearAnswer.INDETERMINATE: State(
        "indeterminate",
        "Uncertain",
        "The model cannot tell. Have a microscopist read the slide, or do a rapid diagnostic test.",
    ),
    SmearAnswer.INSUFFICIENT: State(
        "insufficient",
        "Uncertain: too few cells",
        "Add images of more fields of the same smear, or have a microscopist read the slide.",
    ),
    SmearAnswer.REFUSED: State(
        "refused",
        "No AI opinion",
        "Take new images of the smear, or have a microscopist read the slide.",
    ),
}
_ONE_CELL = (
    "One cell is no smear: have a microscopist read the slide, or do a rapid diagnostic test."
)
CELL_STATES: Mapping[CellAnswer, State] = {
    CellAnswer.PARASITE_LIKELY: State(
        "parasite-likely", "Parasites suspected in this cell image", _ONE_CELL
    ),
    CellAnswer.INDETERMINATE: State("indeterminate", "Uncertain", _ONE_CELL),
    CellAnswer.NOT_SEEN: State("not-seen", "None found by model in this cell image", _ONE_CELL),
    CellAnswer.REFUSED: SMEAR_STATES[SmearAnswer.REFUSED],
}
