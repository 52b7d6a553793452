"""Bands of validation cells scored alike."""

import json
import shutil

import pytest

from models.malaria.bands import Band, band_of, read_bands, told
from models.malaria.calibration import CALIBRATION, WEIGHTS, WeightsMismatch, read_calibration

LOW = {"from": 0.0, "to": 0.5, "cells": 200, "positive": 4}
HIGH = {"from": 0.9, "to": 1.0, "cells": 50, "positive": 48}
BANDS = read_bands([LOW, HIGH])


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.0, 0), (0.49, 0), (0.5, None), (0.7, None), (0.9, 1), (1.0, 1), (None, None)],
)
def test_a_probability_has_the_band_that_it_lies_in(probability, expected):
    assert band_of(BANDS, probability) == (None if expected is None else BANDS[expected])


def test_a_band_without_cells_tells_nothing():
    assert band_of((Band(0.0, 1.0, 0, 0),), 0.5) is None


def test_counts_are_told_with_a_caution_about_prevalence():
    assert told(BANDS[1]).startswith(
        "Of 50 validation cells scored like this, 48 held a parasite. Where malaria is rarer"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        [{**LOW, "positive": 201}],
        [{**LOW, "to": 1.5}],
        [HIGH, LOW],
        [{**LOW, "to": 0.95}, HIGH],
        [{"from": 0.0, "to": 1.0}],
        {"0": LOW},
    ],
)
def test_bands_that_make_no_sense_do_not_start(tmp_path, wrong):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    calibration = json.loads((folder / CALIBRATION).read_text())
    (folder / CALIBRATION).write_text(json.dumps({**calibration, "bands": wrong}))
    with pytest.raises(WeightsMismatch):
        read_calibration(folder)


def test_bands_are_read_beside_the_weights_and_may_be_absent(tmp_path):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    calibration = json.loads((folder / CALIBRATION).read_text())
    (folder / CALIBRATION).write_text(json.dumps({**calibration, "bands": [LOW, HIGH]}))
    assert read_calibration(folder).bands == BANDS
    (folder / CALIBRATION).write_text(
        json.dumps({name: part for name, part in calibration.items() if name != "bands"})
    )
    assert read_calibration(folder).bands == ()
