"""Shifts of distributions: what chance explains is none, what is planted is one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.monitoring.stability import Bins, chi_squared_99, shift, shift_from_mix

CLEAN = Bins((900.0, 40, 15, 10, 8, 7, 6, 5, 5, 4), 40)
INFECTED = Bins((30.0, 10, 8, 8, 10, 12, 15, 27, 80, 800), 40)
EVEN = Bins((100.0,) * 10, 200)


def drawn(bins: Bins, units: int, seed: int) -> list[float]:
    """The shares of as many units as that, each in a bin of the reference by its share."""
    chance = random.Random(seed)
    places = chance.choices(range(len(bins.counts)), bins.shares, k=units)
    return [places.count(place) / units for place in range(len(bins.counts))]


@pytest.mark.parametrize(("degrees", "known"), [(1, 6.635), (8, 20.090), (9, 21.666)])
def test_the_percentile_is_that_of_the_tables(degrees: int, known: float) -> None:
    assert chi_squared_99(degrees) == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("units", [30, 100, 1000])
def test_what_is_drawn_from_the_reference_is_rarely_beyond_chance(units: int) -> None:
    beyond = [shift(drawn(EVEN, units, seed), units, EVEN).is_beyond_chance for seed in range(300)]

    assert sum(beyond) <= 12


def test_a_planted_shift_is_found_and_is_larger_than_the_limit() -> None:
    moved = shift([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.4], 60, EVEN)

    assert moved.is_beyond_chance
    assert moved.psi > 0.5


@given(st.floats(0.0, 1.0), st.integers(30, 500))
def test_more_or_fewer_infected_cells_are_no_shift(share: float, units: int) -> None:
    mixed = [
        (1 - share) * a + share * b for a, b in zip(CLEAN.shares, INFECTED.shares, strict=True)
    ]

    moved, found = shift_from_mix(mixed, units, (CLEAN, INFECTED))

    assert moved.psi < 1e-6
    assert found == pytest.approx(share, abs=1e-3)


def test_scores_that_no_mix_explains_are_a_shift() -> None:
    unsure = [0.02, 0.03, 0.1, 0.2, 0.3, 0.2, 0.1, 0.03, 0.01, 0.01]

    moved, _share = shift_from_mix(unsure, 60, (CLEAN, INFECTED))

    assert moved.is_beyond_chance
    assert moved.psi > 1


@given(st.integers(1, 2000))
def test_fewer_analyses_need_a_larger_shift(units: int) -> None:
    assert shift(EVEN.shares, units, EVEN).chance > shift(EVEN.shares, units + 1, EVEN).chance
