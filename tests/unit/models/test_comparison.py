"""A candidate against the active version: never better than itself, better where it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.retraining.comparison import (
    LEAST_PATIENTS,
    Incomparable,
    Readings,
    Verdict,
    compare,
)
from models.training.metrics import auc, calibration_error

ROUNDS = 100


def cells(seed: int, patients: int = 40, each: int = 30):
    """Truth, patients and a generator."""
    chance = np.random.default_rng(seed)
    truth = (chance.random(patients * each) < 0.4).astype(np.uint8)
    truth[:2] = (0, 1)
    names = np.repeat([f"P{number:03d}" for number in range(patients)], each)
    return truth, names, chance


def read(truth, chance, skill: float) -> Readings:
    logits = chance.normal(skill * (2.0 * truth - 1.0), 1.0)
    probability = 1 / (1 + np.exp(-2 * skill * logits))
    return Readings(probability, np.ones(len(truth), bool))


def vain(readings: Readings) -> Readings:
    """The same, in the same order, badly calibrated."""
    return Readings(np.clip(readings.probability * 0.4, 0, 1), readings.answered)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 2.5))
def test_a_version_is_never_better_or_worse_than_itself(seed: int, skill: float) -> None:
    truth, names, chance = cells(seed)
    same = read(truth, chance, skill)

    found = compare(truth, names, same, same, rounds=ROUNDS)

    assert found.verdict is Verdict.NO_BETTER
    assert {(d.value, d.low, d.high) for d in found.differences} == {(0.0, 0.0, 0.0)}


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000))
def test_a_planted_better_version_is_better_and_the_other_way_round_worse(seed: int) -> None:
    truth, names, chance = cells(seed)
    # Better in its calibration too: of two that are equally good there, chance alone can put one
    # behind by more than is tolerated.
    weak, strong = vain(read(truth, chance, 0.8)), read(truth, chance, 1.6)

    assert compare(truth, names, weak, strong, rounds=ROUNDS).verdict is Verdict.BETTER
    assert compare(truth, names, strong, weak, rounds=ROUNDS).verdict is Verdict.WORSE


def test_equally_good_versions_that_differ_by_chance_are_rarely_told_apart() -> None:
    better = 0
    for seed in range(20):
        truth, names, chance = cells(seed)
        one, other = read(truth, chance, 1.2), read(truth, chance, 1.2)
        better += compare(truth, names, one, other, rounds=ROUNDS).verdict is Verdict.BETTER

    assert better <= 3


def test_a_version_that_is_better_but_answers_fewer_cells_is_worse() -> None:
    truth, names, chance = cells(1)
    weak, strong = read(truth, chance, 0.8), read(truth, chance, 1.6)
    silent = Readings(strong.probability, chance.random(len(truth)) < 0.8)

    assert compare(truth, names, weak, silent, rounds=ROUNDS).verdict is Verdict.WORSE


def test_a_version_that_is_better_but_badly_calibrated_is_worse() -> None:
    truth, names, chance = cells(2)
    weak, strong = read(truth, chance, 0.8), read(truth, chance, 1.6)

    assert compare(truth, names, weak, vain(strong), rounds=ROUNDS).verdict is Verdict.WORSE


def test_few_patients_prove_nothing() -> None:
    truth, names, chance = cells(3, patients=LEAST_PATIENTS - 1, each=60)
    weak, strong = read(truth, chance, 0.8), read(truth, chance, 1.6)

    assert compare(truth, names, weak, strong, rounds=ROUNDS).verdict is Verdict.NO_BETTER


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_figures_are_those_of_the_evaluation(seed: int) -> None:
    truth, names, chance = cells(seed, patients=20, each=10)
    one = read(truth, chance, 1.0)
    rounded = Readings(np.round(one.probability, 1), one.answered)

    found = {d.metric: d for d in compare(truth, names, one, rounded, rounds=2).differences}

    for place, readings in (("active", one), ("candidate", rounded)):
        assert getattr(found["auc"], place) == pytest.approx(auc(truth, readings.probability))
        error = calibration_error(truth, readings.probability)
        assert getattr(found["calibration"], place) == pytest.approx(error)


@pytest.mark.parametrize("spoilt", ["one class", "other cells"])
def test_what_can_not_be_compared_is_refused(spoilt: str) -> None:
    truth, names, chance = cells(4)
    one = read(truth, chance, 1.0)
    given = {"one class": (np.zeros_like(truth), names), "other cells": (truth[1:], names[1:])}
    with pytest.raises(Incomparable):
        compare(*given[spoilt], one, one)
