"""The released model on the reference data that lies beside the checkout."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.malaria.calibration import WEIGHTS
from models.malaria.classify import Classifier
from models.malaria.reading import CellAnswer, ImageKind
from models.training.cells import file_sha256, read_splits
from models.training.external import read_chula, whole_cells

DATA = Path(__file__).parents[4] / "shared" / "data" / "malaria"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/malaria is not there"),
]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def test_the_splits_hold_the_stated_patients_and_none_crosses():
    splits = read_splits(DATA / "nih50_dev.npz")
    counts = {name: len(np.unique(cells.patient)) for name, cells in splits.items()}
    assert counts == {"train": 120, "val": 26, "test": 30}


def test_the_weights_were_trained_on_this_very_file(classifier):
    assert classifier.calibration.version.data_sha256 == file_sha256(DATA / "nih50_dev.npz")


@pytest.mark.slow
def test_a_sample_of_test_patients_reads_as_the_card_says(classifier):
    test = read_splits(DATA / "nih50_dev.npz")["test"]
    stated = json.loads((WEIGHTS / "calibration.json").read_text())["metrics"]
    probability, judged = classifier.read(test.x[::6], ImageKind.CELL)
    correct = (probability >= 0.5) == (test.y[::6] == 1)
    assert correct.mean() == pytest.approx(stated["accuracy"], abs=0.02)
    refused = np.mean([one.answer is CellAnswer.REFUSED for one in judged])
    assert refused == pytest.approx(stated["refused"], abs=0.02)


@pytest.mark.slow
def test_fields_of_another_hospital_stay_below_three_in_a_hundred_false_positives(classifier):
    answers = []
    for field in read_chula(DATA / "chula_rbc12_fields.tar", remainder=5, step=60):
        _, pixels = whole_cells(field.rgb)
        answers += [one.answer for one in classifier.read(pixels, ImageKind.FIELD)[1]]
    read = [answer for answer in answers if answer is not CellAnswer.REFUSED]
    assert len(read) > 0.75 * len(answers)
    assert read.count(CellAnswer.PARASITE_LIKELY) < 0.03 * len(read)
