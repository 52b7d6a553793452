"""Five folds of patients: who lies where, and what is said of patients that were not seen."""

# ruff: noqa: E402 - the imports follow the check that they can be made

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.cells import Cells
from models.training.folds import FOLDS, chosen, deal, joined
from models.training.recipe import Recipe
from models.training.study import Study
from models.training.unseen import figures, logits_out_of_fold, out_of_fold, scaled

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def cells(counts: list[tuple[int, int]]) -> Cells:
    """For each patient so many parasitized and clean cells, blank but for noise."""
    truth = [y for infected, clean in counts for y in [1] * infected + [0] * clean]
    patients = [f"P{n}" for n, (one, other) in enumerate(counts) for _ in range(one + other)]
    pixels = np.random.default_rng(3).integers(0, 255, (len(truth), 50, 50), dtype=np.uint8)
    return Cells(pixels, np.array(truth, np.uint8), np.array(patients))


@given(
    counts=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=FOLDS, max_size=30),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_each_patient_lies_in_one_fold_and_every_fold_has_patients(
    counts: list[tuple[int, int]], seed: int
) -> None:
    known = cells(counts)
    fold = deal(known, seed)
    for name in np.unique(known.patient):
        assert len(set(fold[known.patient == name])) == 1
    patients = [len(np.unique(known.patient[fold == number])) for number in range(FOLDS)]
    assert max(patients) - min(patients) <= 1
    assert (deal(known, seed) == fold).all()


def test_burdens_of_the_folds_match() -> None:
    known = cells([(n, 1) for n in range(50)])
    fold = deal(known, 1)
    burdens = [int(known.y[fold == number].sum()) for number in range(FOLDS)]
    assert max(burdens) - min(burdens) <= 10


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="4 patients cannot be dealt to 5 folds"):
        deal(cells([(1, 1)] * 4), 1)


def test_splits_are_joined_whole() -> None:
    one, other = cells([(1, 2)]), cells([(2, 1)])
    both = joined({"test": one, "train": other})
    assert len(both) == len(one) + len(other)
    assert (chosen(both, both.y == 1).y == 1).all()


@pytest.fixture(scope="module")
def study() -> Study:
    known = cells([(3, 2)] * 10)
    nothing = np.zeros((1, 50, 50), np.uint8)
    return Study(known, deal(known, 1), nothing, nothing, Recipe(epochs=1), "hash")


class Says:
    """A network that answers one logit and the brightness, whatever else it sees."""

    def __init__(self, logit: float) -> None:
        self._logit = logit

    def __call__(self, view: np.ndarray, training: bool) -> dict[str, np.ndarray]:
        brightness = view.mean(axis=(1, 2, 3))
        gap = np.random.default_rng(len(view)).normal(self._logit, 1, (len(view), 96))
        return {"logits": np.stack([self._logit + brightness, brightness], axis=1), "gap": gap}


def in_silence(*told: object) -> None:
    pass


def test_a_fold_is_read_by_its_own_network(study: Study) -> None:
    nets = [Says(100.0 * number) for number in range(FOLDS)]
    found = out_of_fold(study, nets, in_silence)
    assert (np.floor(found.parasite / 100) == study.fold).all()
    assert (found.parasite == logits_out_of_fold(study, nets, in_silence)).all()
    assert found.distance.max() < 100, "distances are from the cells of the same network"


def test_a_fold_is_scaled_by_the_others(study: Study) -> None:
    chance = np.random.default_rng(1)
    logits = np.where(study.cells.y == 1, 1.0, -1.0) + chance.normal(0, 2, len(study.cells))
    probability = scaled(study.cells, study.fold, logits)
    turned = Cells(study.cells.x, study.cells.y.copy(), study.cells.patient)
    turned.y[study.fold == 0] = 1 - turned.y[study.fold == 0]
    again = scaled(turned, study.fold, logits)
    own = study.fold == 0
    assert (again[own] == probability[own]).all()
    assert (again[~own] != probability[~own]).any()


def test_the_figures_are_of_all_patients_and_of_each_fold(study: Study) -> None:
    chance = np.random.default_rng(2)
    found = figures(
        study, np.where(study.cells.y == 1, 3.0, -3.0) + chance.normal(0, 1, len(study.cells))
    )
    assert found["pooled"]["cells"] == len(study.cells)
    assert found["pooled"]["patients"] == 10
    assert [each["patients"] for each in found["folds"]] == [2] * FOLDS
    assert all(each["auc"] == 1.0 for each in found["folds"])
    assert found["pooled"]["auc_interval"][0] <= found["pooled"]["auc"]
    assert found["recipe"]["epochs"] == 1


keras = pytest.importorskip("keras", reason="the train extra (tensorflow) is not installed")
pytest.importorskip("tensorflow", reason="the train extra (tensorflow) is not installed")

from models.malaria.network import build
from models.training.cross import OtherRecipe, networks


def test_networks_that_are_done_are_not_learnt_again_nor_mixed_with_others(
    study: Study, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(1)
    made = build()
    for number in range(FOLDS):
        made.save(tmp_path / f"fold{number}.keras")

    def nothing(*_: object) -> None:
        pytest.fail("nothing is to be learnt")

    learnt = networks(study, tmp_path, range(FOLDS), nothing)
    assert len(learnt) == FOLDS
    for weights in zip(*(one.get_weights() for one in learnt), strict=True):
        assert all((each == weights[0]).all() for each in weights)
    other = replace(study, recipe=Recipe(epochs=2))
    for strange in (other, replace(study, outliers=study.outliers + 1)):
        with pytest.raises(OtherRecipe, match="another recipe or other data"):
            networks(strange, tmp_path, range(FOLDS), in_silence)


def test_a_network_that_is_missing_is_learnt_and_the_same_each_time(
    study: Study, tmp_path: Path
) -> None:
    """Ten patients, one step: what matters is that processes learn, tell and keep."""
    small = replace(study, recipe=Recipe(epochs=1, cells_per_batch=32))
    weights = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        told: list[tuple[str, int, int]] = []
        learnt = networks(small, folder, [FOLDS], lambda *step, told=told: told.append(step))
        assert told[-1] == ("learning from all", 1, 1)
        weights.append(learnt[0].get_weights())
    for one, other in zip(*weights, strict=True):
        assert (one == other).all()
