"""Recorded answers of a language model on the vignettes: what is kept, what is dropped and why."""

from typing import Any

import pytest

from models.symptoms.grounding import Fate
from models.symptoms.port import Analysis, Urgency
from models.symptoms.prompt import chart_facts
from models.symptoms.red_flags import SafeAnalyst
from models.symptoms.rules import analyse
from tests.language_model_double import Bench, Recorded, ScriptedModel, recorded
from tests.vignettes import vignettes

ALL = [pytest.param(each, id=each.id) for each in recorded()]


async def replayed(answer: Recorded) -> tuple[Analysis, Bench]:
    facts = vignettes()[answer.vignette].facts
    bench = Bench(ScriptedModel([answer.text(chart_facts(facts))]))
    return await SafeAnalyst(bench.analyst).analyse(facts), bench


def dropped(bench: Bench) -> dict[str, int]:
    counts = {fate: int(bench.metric("sentences_total", fate=fate.value)) for fate in Fate}
    return {fate.value: count for fate, count in counts.items() if count and fate is not Fate.KEPT}


def counted(fates: list[str]) -> dict[str, int]:
    return {fate: fates.count(fate) for fate in fates}


@pytest.mark.parametrize("answer", ALL)
async def test_a_recorded_answer_ends_as_expected(answer: Recorded) -> None:
    analysis, bench = await replayed(answer)

    assert analysis.urgency is Urgency[answer.expect["urgency"].upper()]
    assert bench.outcomes() == {answer.expect["outcome"]: 1}
    if answer.expect["outcome"] == "answered":
        assert len(analysis.statements) == answer.expect["kept"]
        assert dropped(bench) == counted(answer.expect["fates"])
        assert all(statement.facts for statement in analysis.statements)
    else:
        assert analysis.statements == ()
        assert "No result from the language model" in analysis.notes[-1]
    assert answer.expect.get("note", "") in " ".join(analysis.notes)


@pytest.mark.parametrize("answer", ALL)
async def test_no_recorded_answer_takes_a_finding_away_or_lowers_the_urgency(
    answer: Recorded,
) -> None:
    analysis, _ = await replayed(answer)
    by_rules = analyse(vignettes()[answer.vignette].facts)

    assert analysis.urgency >= by_rules.urgency
    assert analysis.findings == by_rules.findings
    assert set(by_rules.possibilities) <= set(analysis.possibilities)
    assert set(by_rules.notes) <= set(analysis.notes)


async def test_conditions_without_good_facts_are_not_named() -> None:
    for answer in recorded():
        if "possibilities" in answer.expect:
            analysis, _ = await replayed(answer)
            by_model = [each.name for each in analysis.possibilities if not each.rule]
            assert by_model == answer.expect["possibilities"]


async def test_a_calm_answer_lowers_the_urgency_of_no_vignette() -> None:
    calm: dict[str, Any] = {
        "urgency": "routine",
        "language": "en",
        "summary": [{"text": "The age is in the facts.", "facts": ["F1"]}],
        "next_steps": [],
        "differential": [],
    }
    for vignette in vignettes().values():
        said = Recorded("calm", vignette.id, "", calm, {})
        analysis, bench = await replayed(said)
        assert bench.outcomes() == {"answered": 1}
        assert analysis.urgency is Urgency[vignette.urgency.upper()]


async def test_nothing_sent_for_a_vignette_names_or_doses_or_commands() -> None:
    for vignette in vignettes().values():
        bench = Bench(ScriptedModel(["{}"]))
        await SafeAnalyst(bench.analyst).analyse(vignette.facts)
        (question,) = bench.model.asked
        for secret in ("Achieng", "Otieno", "712 345678", "500 mg", "gnore all previous"):
            assert secret not in question


def test_every_way_to_drop_a_sentence_has_a_recorded_answer() -> None:
    fates = {fate for answer in recorded() for fate in answer.expect.get("fates", ())}

    assert fates == {fate.value for fate in Fate} - {"kept"}
