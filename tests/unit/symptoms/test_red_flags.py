"""The safety net: rules always speak, a language model can only raise the urgency."""

from dataclasses import replace
from datetime import date

import pytest

from models.symptoms import rules
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, Evidence, NoAnswer, Possibility, Statement, Urgency
from models.symptoms.red_flags import SafeAnalyst

TODAY = date(2026, 11, 24)
WELL = SymptomFacts(TODAY, age_years=30, symptoms={"headache": "yes"})
GRAVE = SymptomFacts(TODAY, age_years=30, symptoms={"convulsions": "yes"})
ANSWER = Analysis(
    origin="scripted 1",
    urgency=Urgency.ROUTINE,
    statements=(Statement("Headache is the only complaint.", ("Headache: yes",)),),
    possibilities=(Possibility("Migraine", (Evidence("Headache: yes"),), (), "scripted 1"),),
)


class Scripted:
    """A language model with a fixed answer, or none."""

    origin = "scripted 1"

    def __init__(self, answer: Analysis | None) -> None:
        self._answer = answer

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        if self._answer is None:
            raise NoAnswer("the provider did not answer in time")
        return self._answer


async def test_without_a_language_model_the_rules_stand_alone() -> None:
    assert await SafeAnalyst().analyse(GRAVE) == rules.analyse(GRAVE)


@pytest.mark.parametrize("facts", [WELL, GRAVE])
@pytest.mark.parametrize("said", list(Urgency))
async def test_the_urgency_is_the_higher_of_the_two(facts: SymptomFacts, said: Urgency) -> None:
    joined = await SafeAnalyst(Scripted(replace(ANSWER, urgency=said))).analyse(facts)

    assert joined.urgency == max(said, rules.analyse(facts).urgency)
    assert joined.findings == rules.analyse(facts).findings


async def test_a_language_model_without_an_answer_leaves_the_rules_and_says_so() -> None:
    analysis = await SafeAnalyst(Scripted(None)).analyse(GRAVE)

    assert analysis.urgency is Urgency.EMERGENCY
    assert analysis.statements == ()
    assert "No result from the language model" in analysis.notes[-1]


async def test_statements_of_the_language_model_stay_apart_from_the_rules() -> None:
    joined = await SafeAnalyst(Scripted(ANSWER)).analyse(WELL)

    assert joined.statements == ANSWER.statements
    assert joined.origin == f"{rules.ORIGIN} with scripted 1"
    assert [p.origin for p in joined.possibilities] == ["scripted 1"]
