"""Training data, measures and evaluation; nothing here needs TensorFlow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.malaria.calibration import WEIGHTS
from models.training.augment import augment
from models.training.cells import Cells, LeakError, check_no_patient_crosses, read_splits
from models.training.commands import DONE, WRONG_DATA, evaluate_malaria, train_malaria
from models.training.evaluate import UnknownSplit, evaluate
from models.training.malaria import model_page
from models.training.metrics import (
    auc,
    calibration_error,
    log_loss,
    patient_bootstrap,
    scaling,
)
from models.training.outliers import masked_junk
from models.training.recipe import Run
from models.training.seeds import OtherStudy, keep, other_seeds, seeds_table


def cells_file(folder: Path, rgb, patients=("P1", "P2", "H1"), splits=None) -> Path:
    """A small npz of the layout of the NIH file, made of the sample cells."""
    names = ["cell-parasitized.png", "parasitized-1.png", "parasitized-2.png"]
    clean = ["cell-uninfected.png", "uninfected-1.png", "uninfected-2.png"]
    x = np.stack([rgb(name)[..., 0] for name in names + clean])
    path = folder / "cells.npz"
    np.savez(
        path,
        x=x,
        y=np.array([1, 1, 1, 0, 0, 0], np.uint8),
        name=np.array(names + clean),
        patient=np.array([patients[0], patients[1], patients[0], patients[1], *[patients[2]] * 2]),
        split=np.array(splits or ["other"] * 6),
    )
    return path


def test_a_patient_in_two_splits_is_a_leak_and_named():
    with pytest.raises(LeakError, match="P2"):
        check_no_patient_crosses(
            np.array(["P1", "P2", "P2", "P3"]), np.array(["train", "train", "test", "test"])
        )


def test_patients_in_one_split_each_are_no_leak():
    check_no_patient_crosses(np.array(["P1", "P2", "P2"]), np.array(["train", "test", "test"]))


def test_a_file_with_a_leak_is_not_read(tmp_path, rgb):
    path = cells_file(tmp_path, rgb, splits=["train", "train", "test", "train", "test", "test"])
    with pytest.raises(LeakError, match="P1"):
        read_splits(path)
    assert evaluate_malaria(path, "test") == WRONG_DATA


def test_a_file_that_lacks_a_key_is_refused_naming_it(tmp_path):
    np.savez(tmp_path / "cells.npz", x=np.zeros((1, 50, 50), np.uint8), y=np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=r"patient, split"):
        read_splits(tmp_path / "cells.npz")


@pytest.mark.parametrize(
    "x", [np.zeros((2, 50, 50), np.float32), np.zeros((2, 49, 50), np.uint8), np.zeros((3, 50, 50))]
)
def test_cells_of_another_form_are_refused(x):
    with pytest.raises(ValueError):
        Cells(x, np.zeros(2, np.uint8), np.array(["a", "b"]))


def test_evaluation_of_any_file_of_the_layout(tmp_path, rgb):
    found = evaluate(cells_file(tmp_path, rgb), "other")
    assert found["cells"] == 6
    assert found["patients"] == 3
    assert found["auc"] == found["accuracy"] == found["sensitivity"] == 1.0
    assert found["specificity_healthy_patients"] == 1.0
    assert 0 <= found["ece"] < 0.1
    assert {one["patient"] for one in found["worst_patients"]} == {"P1", "P2", "H1"}
    assert found["answers"]["parasitized"]["parasite-likely"] == 1.0
    assert found["sensitivity_at"]["0.97"] == 1.0
    assert found["auc_interval"] == (1.0, 1.0)


def test_what_healthy_patients_alone_cannot_tell_is_left_open(tmp_path, rgb, capsys):
    path = cells_file(tmp_path, rgb, splits=["other"] * 4 + ["healthy"] * 2)
    found = evaluate(path, "healthy")
    assert found["specificity"] == 1.0
    assert found["auc"] is found["auc_interval"] is found["sensitivity_at"]["0.97"] is None
    assert evaluate_malaria(path, "healthy") == DONE
    assert "None" not in capsys.readouterr().out


def test_evaluation_prints_json_that_scripts_can_read(tmp_path, rgb, capsys):
    assert evaluate_malaria(cells_file(tmp_path, rgb), "other", as_json=True) == DONE
    printed = json.loads(capsys.readouterr().out)
    for name in ("auc", "sensitivity", "specificity", "ece", "accuracy", "cells", "patients"):
        assert name in printed
    assert printed["worst_patients"]


def test_an_unknown_split_is_refused_naming_those_there_are(tmp_path, rgb, capsys):
    path = cells_file(tmp_path, rgb)
    with pytest.raises(UnknownSplit, match="other"):
        evaluate(path, "test")
    assert evaluate_malaria(path, "test", as_json=True) == WRONG_DATA
    assert "no split 'test'" in capsys.readouterr().err


def test_training_without_its_data_says_which_file_is_missing(tmp_path, capsys):
    assert train_malaria(tmp_path, Run(weights=tmp_path)) == WRONG_DATA
    assert "nih50_dev.npz" in capsys.readouterr().err.replace("\n", "")


def test_the_area_under_the_curve_counts_ties_half():
    truth = np.array([0, 0, 1, 1], np.uint8)
    assert auc(truth, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auc(np.zeros(3, np.uint8), np.array([0.1, 0.2, 0.3])) is None


def test_a_perfectly_calibrated_answer_has_no_error_and_an_overbold_one_has():
    truth = np.array([1] * 9 + [0], np.uint8)
    assert calibration_error(truth, np.full(10, 0.9)) == pytest.approx(0.0)
    assert calibration_error(truth, np.full(10, 0.99)) == pytest.approx(0.09)


def test_temperature_and_offset_are_those_with_the_least_loss():
    chance = np.random.default_rng(1)
    logits = chance.normal(0, 3, 20000)
    truth = (chance.random(20000) < 1 / (1 + np.exp(-(logits + 0.5) / 1.7))).astype(np.uint8)
    temperature, offset = scaling(truth, logits)
    assert temperature == pytest.approx(1.7, abs=0.08)
    assert offset == pytest.approx(0.5, abs=0.08)
    least = log_loss(truth, (logits + offset) / temperature)
    for other, shift in ((0.9, 0.0), (1.1, 0.0), (1.0, 0.1), (1.0, -0.1)):
        assert least < log_loss(truth, (logits + offset + shift) / (temperature * other))


def test_intervals_widen_when_patients_differ():
    patient = np.repeat(np.arange(20), 50).astype(str)
    alike = np.tile(np.arange(50) < 45, 20)
    unlike = np.repeat(np.arange(20) < 18, 50)
    narrow, wide = (patient_bootstrap(patient, hits, seed=1) for hits in (alike, unlike))
    assert narrow[1] - narrow[0] < 0.01
    assert wide[1] - wide[0] > 0.1


def test_changed_cells_stay_black_outside_and_depend_on_the_seed_alone(rgb):
    cells = np.stack([rgb(f"parasitized-{n}.png")[..., 0] for n in (1, 2, 3)])
    first = augment(cells, np.random.default_rng(5))
    assert first.shape == (3, 50, 50, 1)
    assert first.dtype == np.float32
    assert (first == augment(cells, np.random.default_rng(5))).all()
    assert first.min() == 0.0
    assert first.max() <= 1.0
    assert (first[:, 0, 0] == 0).all()


def test_junk_has_the_outline_of_a_cell_and_something_else_inside(rgb):
    masks = np.stack([rgb(f"uninfected-{n}.png")[..., 0] for n in (1, 2, 3)])
    junk = masked_junk(masks, [rgb("field-with-white-cells.jpg")], 12, np.random.default_rng(2))
    outlines = {(mask > 0).tobytes() for mask in masks}
    assert all((one > 0).tobytes() in outlines for one in junk)
    assert len({one.tobytes() for one in junk}) >= 10


def test_the_page_of_the_model_is_written_from_the_shipped_figures():
    page = Path(__file__).parents[3] / "docs" / "models" / "malaria.md"
    assert page.read_text(encoding="utf-8") == model_page()


def test_shipped_files_are_small_and_their_figures_meet_the_release_gate():
    files = list(WEIGHTS.iterdir())
    assert all(path.stat().st_size < 4_000_000 for path in files)
    metrics = json.loads((WEIGHTS / "calibration.json").read_text())["metrics"]
    assert metrics["auc"] >= 0.985
    assert metrics["sensitivity"] >= 0.945
    assert metrics["specificity"] >= 0.965
    assert metrics["ece"] <= 0.02


@pytest.mark.parametrize(("stretch", "shift"), [(40.0, -300.0), (0.001, 0.0), (15.0, 200.0)])
def test_scaling_brings_back_logits_that_are_far_off(stretch, shift):
    chance = np.random.default_rng(2)
    logits = chance.normal(0, 3, 4000)
    truth = (chance.random(4000) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    temperature, offset = scaling(truth, logits * stretch + shift)
    found = (logits * stretch + shift + offset) / temperature
    assert np.abs(found - logits).max() < 1.5


def test_a_network_that_learnt_the_opposite_is_not_calibrated():
    truth = np.array([0, 0, 0, 1, 1, 1] * 50, np.uint8)
    logits = np.tile([2.0, 1.0, -1.0, 1.0, -1.0, -2.0], 50)
    with pytest.raises(ValueError, match="learnt nothing"):
        scaling(truth, logits)


def of_seed(seed: int, auc: float, **changes: object) -> dict[str, object]:
    """What a study of this seed found, by the recipe and the data of the shipped weights."""
    known = json.loads((WEIGHTS / "calibration.json").read_text(encoding="utf-8"))
    pooled = json.loads((WEIGHTS / "metrics.json").read_text(encoding="utf-8"))["out_of_fold"]
    return {
        "pooled": {**pooled, "auc": auc},
        "recipe": {**known["recipe"], "seed": seed, **changes},
        "data_sha256": known["sha256"]["data"],
    }


@pytest.fixture
def weights(tmp_path):
    shutil.copy(WEIGHTS / "calibration.json", tmp_path)
    return tmp_path


def test_a_study_of_a_seed_is_kept_once_with_the_weights(weights):
    for area in (0.97, 0.98):
        keep(of_seed(7, area), weights)
    keep(of_seed(3, 0.99), weights)
    assert [(one["seed"], one["auc"]) for one in other_seeds(weights)] == [(3, 0.99), (7, 0.98)]


@pytest.mark.parametrize(
    "study",
    [of_seed(7, 0.9, epochs=2), {**of_seed(7, 0.9), "data_sha256": "0"}, of_seed(20240611, 0.9)],
    ids=["other recipe", "other data", "the weights' own seed"],
)
def test_a_study_that_is_not_of_the_weights_is_not_kept(weights, study):
    with pytest.raises(OtherStudy):
        keep(study, weights)
    assert not (weights / "seeds.json").exists()


def test_studies_of_weights_that_were_made_otherwise_are_not_told(weights):
    keep(of_seed(7, 0.9), weights)
    known = json.loads((weights / "calibration.json").read_text(encoding="utf-8"))
    known["recipe"]["epochs"] += 1
    (weights / "calibration.json").write_text(json.dumps(known), encoding="utf-8")
    assert other_seeds(weights) == []


def test_seeds_are_told_with_their_mean_and_spread():
    one, other = (of_seed(seed, auc)["pooled"] for seed, auc in ((1, 0.98), (2, 0.99)))
    rows = seeds_table(one, 1, [{**other, "seed": 2}]).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "1",
        "2",
        "mean ± standard deviation",
    ]
    assert rows[-1].split("|")[2].strip() == "0.9850 ± 0.0071"
    assert seeds_table(one, 1, []) == ""
