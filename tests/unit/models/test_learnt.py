"""Whom a version learnt from is kept beside its weights, and left out by name and by picture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.malaria.calibration import WEIGHTS, read_calibration
from models.training.cells import Cells
from models.training.evaluate import evaluate
from models.training.learnt import (
    LEARNT,
    LearntUnknown,
    prints,
    read_learnt,
    unlearnt,
    write_learnt,
)


def cells_of(*patients: str, seed: int = 1) -> Cells:
    """Two cells of each patient, one of each class."""
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 255, (2 * len(patients), 50, 50)).astype(np.uint8)
    truth = np.tile([0, 1], len(patients)).astype(np.uint8)
    return Cells(pixels, truth, np.repeat(patients, 2))


def weights_in(folder: Path) -> Path:
    """The shipped weights, without whom they learnt from."""
    shutil.copytree(WEIGHTS, folder)
    (folder / LEARNT).unlink()
    return folder


def kept_in(folder: Path, cells: Cells, *others: np.ndarray) -> Path:
    data = read_calibration(weights_in(folder)).version.data_sha256
    write_learnt(folder, data, cells, *others)
    return folder


def test_a_patient_is_left_out_by_name_and_by_one_picture_of_theirs(tmp_path: Path) -> None:
    known = cells_of("ada", "ben")
    one, other = kept_in(tmp_path / "one", known), kept_in(tmp_path / "other", cells_of("cleo"))
    judging = cells_of("ada", "new", "cleo", "ben-again", seed=2)
    turned = np.rot90(known.x[3][:, ::-1], 3)
    judging.x[7] = turned

    left, out = unlearnt(judging, [read_learnt(one), read_learnt(other)])

    assert sorted(set(left.patient)) == ["new"]
    assert (out.named, out.pictured, out.patients, out.cells) == (2, 1, 3, 6)
    assert np.array_equal(left.x, judging.x[2:4])


def test_pictures_of_no_patient_count_too(tmp_path: Path) -> None:
    judging = cells_of("x", "y")
    folder = kept_in(tmp_path / "w", cells_of("ada", seed=3), judging.x[:1])

    left, out = unlearnt(judging, [read_learnt(folder)])

    assert set(left.patient) == {"y"}
    assert (out.named, out.pictured) == (0, 1)


def test_a_picture_is_the_same_however_it_is_turned_and_another_with_one_pixel_changed() -> None:
    picture = cells_of("x").x[0]
    ways = [np.rot90(each, k) for each in (picture, picture[::-1]) for k in range(4)]
    assert len(set(prints(np.stack(ways)).tolist())) == 1
    changed = picture.copy()
    changed[0, 0] ^= 1
    assert prints(changed[None]) != prints(picture[None])
    assert prints(np.zeros((0, 50, 50), np.uint8)).shape == (0,)


def test_what_is_not_known_is_said_with_what_to_do(tmp_path: Path) -> None:
    folder = weights_in(tmp_path / "bare")
    with pytest.raises(LearntUnknown, match="medsage models record-learnt"):
        read_learnt(folder)
    write_learnt(folder, "f" * 64, cells_of("ada"))
    with pytest.raises(LearntUnknown, match="other data"):
        read_learnt(folder)


def test_the_shipped_weights_have_it() -> None:
    known = read_learnt(WEIGHTS)

    metrics = json.loads((WEIGHTS / "metrics.json").read_text("utf-8"))
    assert len(known.patients) == metrics["out_of_fold"]["patients"]
    assert len(known.pictures) >= 0.9 * metrics["out_of_fold"]["cells"]


def test_an_evaluation_says_from_how_many_patients_the_model_learnt(tmp_path: Path) -> None:
    cells = cells_of("ada", "ben")
    file = tmp_path / "cells.npz"
    split = np.repeat("test", 4)
    np.savez(file, x=cells.x, y=cells.y, name=split, patient=cells.patient, split=split)
    weights = weights_in(tmp_path / "weights")
    assert evaluate(file, "test", weights=weights)["learnt_from"] is None
    write_learnt(weights, read_calibration(weights).version.data_sha256, cells_of("ada", seed=5))
    assert evaluate(file, "test", weights=weights)["learnt_from"] == 1
