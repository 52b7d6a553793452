"""A sentence that names facts which say otherwise does not stand."""

import pytest

from models.symptoms.grounding import Fate, evidence, judge, supports
from models.symptoms.schema import Differential, GroundedSentence

CHART = {
    "F1": "Age: 5 years",
    "F2": "Sex: female",
    "F3": "Pregnancy: unknown",
    "F4": "Body temperature: 39.9 °C",
    "F5": "Heart rate: 150 per minute",
    "F6": "Respiratory rate: 41 per minute",
    "F7": "Ill for 3 days",
    "F8": "Fever: no",
    "F9": "Convulsions: no",
    "F10": "Stiff neck: not asked",
    "F11": "Note: “Convulsions last night, pulse 148 at home.”",
}


def fate(text: str, *facts: str) -> Fate:
    sentence = GroundedSentence(text=text, facts=list(facts or CHART))
    return judge([sentence], [], CHART)[0].fate


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("The patient has no fever.", ("F8",), Fate.CHART),
        ("There were no convulsions.", ("F9",), Fate.CHART),
        ("This is a boy of 5 years.", ("F1", "F2"), Fate.CHART),
        ("The heart rate is 41 per minute.", ("F5", "F6"), Fate.NUMBER),
        ("The pulse of the child is 39.9.", ("F4", "F5"), Fate.NUMBER),
        ("The patient has been ill for two days.", ("F7",), Fate.NUMBER),
        ("The temperature of the child is normal.", ("F4",), Fate.REASSURANCE),
        ("The signs of this patient are stable.", ("F4", "F5"), Fate.REASSURANCE),
    ],
)
def test_a_sentence_against_the_chart_is_dropped(
    text: str, facts: tuple[str, ...], expected: Fate
) -> None:
    assert fate(text, *facts) is expected


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("The heart rate is 150 per minute and the respiratory rate 41.", ("F5", "F6")),
        ("Body temperature is high at 39.9 °C after three days.", ("F4", "F7")),
        ("The temperature has been high for 3 days.", ("F4", "F7")),
        ("The pulse was 148 at home by the note.", ("F11",)),
        ("The heart rate is above normal for this patient.", ("F5",)),
        ("She is a child of 5 years.", ("F1", "F2")),
    ],
)
def test_a_sentence_that_the_chart_bears_out_stands(text: str, facts: tuple[str, ...]) -> None:
    assert fate(text, *facts) is Fate.KEPT


def test_what_was_not_asked_is_no_evidence() -> None:
    item = Differential(name="Meningitis", facts_for=["F10"], facts_against=["F3"])

    assert not supports(item, CHART)
    assert supports(item.model_copy(update={"facts_for": ["F10", "F11"]}), CHART)
    assert evidence(["F3", "F10", "F11"], CHART) == (CHART["F11"],)
