"""The vignettes on the rules: urgency, danger signs, what fires, what never may, what is thought
of."""

from dataclasses import replace
from functools import cache

import pytest

from models.symptoms import differential
from models.symptoms.port import Analysis, Possibility, Urgency
from models.symptoms.redact import has_dose
from models.symptoms.rules import analyse
from tests.vignettes import Vignette, vignettes

analysis_of = cache(lambda id: analyse(vignettes()[id].facts))
ALL = [pytest.param(each, id=each.id) for each in vignettes().values()]
NAMES = {differential.MALARIA.name, *(each.name for each in differential.CONDITIONS)}


def codes(analysis: Analysis) -> set[str]:
    return {finding.code for finding in analysis.findings}


def named(analysis: Analysis) -> dict[str, Possibility]:
    return {each.name: each for each in analysis.possibilities}


@pytest.mark.parametrize("vignette", ALL)
def test_the_rules_say_what_the_vignette_expects(vignette: Vignette) -> None:
    analysis = analysis_of(vignette.id)

    found = codes(analysis)
    dangers = {code.removeprefix("danger-") for code in found if code.startswith("danger-")}
    assert analysis.urgency is Urgency[vignette.urgency.upper()]
    assert dangers == set(vignette.danger_signs)
    assert set(vignette.fires) <= found
    assert not set(vignette.never) & found


@pytest.mark.parametrize("vignette", ALL)
def test_the_differential_names_what_it_must_and_nothing_that_it_must_not(
    vignette: Vignette,
) -> None:
    possible = named(analysis_of(vignette.id))

    assert set(vignette.differential) <= possible.keys()
    assert not set(vignette.no_differential) & possible.keys()
    for name, rules in vignette.against.items():
        assert set(rules) <= {line.rule for line in possible[name].evidence_against}


@pytest.mark.parametrize("vignette", ALL)
def test_every_line_cites_a_rule_and_its_source_or_a_fact_of_the_chart(
    vignette: Vignette,
) -> None:
    analysis = analysis_of(vignette.id)
    known = {finding.rule.split()[0] for finding in analysis.findings}
    assert all(f.evidence and f.source.name for f in analysis.findings)
    for possibility in analysis.possibilities:
        assert possibility.rule
        assert possibility.source is not None
        assert possibility.evidence_for
        for line in (*possibility.evidence_for, *possibility.evidence_against):
            assert line.rule in known or (not line.rule and ":" in line.text)


@pytest.mark.parametrize("vignette", ALL)
def test_what_is_missing_or_contradictory_is_named(vignette: Vignette) -> None:
    analysis = analysis_of(vignette.id)

    notes = " ".join(analysis.notes)
    for expected in vignette.notes:
        assert expected in notes
    lines = [line for finding in analysis.findings for line in finding.evidence]
    assert any("please clarify" in line for line in lines) is vignette.clarify


def test_malaria_comes_first_with_fever_and_nothing_is_dosed() -> None:
    for analysis in map(analysis_of, vignettes()):
        if "fever" in codes(analysis):
            assert analysis.possibilities[0].name == "Malaria"
        told = [*analysis.recommendations, *(f.text for f in analysis.findings), *analysis.notes]
        assert not any(has_dose(line) for line in told)


def test_the_vignettes_are_enough_and_of_every_kind() -> None:
    every = list(vignettes().values())
    ages = [each.facts.age_years for each in every]
    known = [age for age in ages if age is not None]

    assert len(every) >= 72
    assert None in ages
    bands = ((0, 2 / 12), (2 / 12, 1), (1, 5), (5, 12), (12, 16), (16, 65), (65, 120))
    assert all(any(low <= age < high for age in known) for low, high in bands)
    assert {each.urgency for each in every} == {"routine", "urgent", "emergency"}


def test_every_rule_and_every_condition_is_met_by_a_vignette() -> None:
    analyses = [analysis_of(id) for id in vignettes()]
    expected = {code for each in vignettes().values() for code in each.fires}
    met = {code for each in analyses for code in codes(each) if not code.startswith("danger-")}

    assert met == expected
    assert {name for each in analyses for name in named(each)} == NAMES


def test_a_danger_sign_more_never_lowers_the_urgency() -> None:
    for vignette in vignettes().values():
        facts = vignette.facts
        more = replace(facts, symptoms={**facts.symptoms, "convulsions": "yes"})

        assert analyse(more).urgency >= analysis_of(vignette.id).urgency
