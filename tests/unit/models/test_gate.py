"""What is taken for a cell, for a field, and what is no smear at all."""

import cv2
import numpy as np
import pytest

from models.malaria.decode import ImageRefused
from models.malaria.gate import inspect
from models.malaria.reading import ImageKind


def check_of(pixels: np.ndarray) -> str:
    with pytest.raises(ImageRefused) as caught:
        inspect(np.ascontiguousarray(pixels, dtype=np.uint8))
    assert caught.value.refusal.advice
    return caught.value.refusal.check


@pytest.mark.parametrize("name", ["cell-parasitized.png", "cell-uninfected.png"])
def test_a_cut_out_cell_on_black_is_one_cell(rgb, name):
    smear = inspect(rgb(name))
    assert smear.kind is ImageKind.CELL
    assert len(smear.cells) == 1


def test_a_cell_with_a_wide_black_surround_is_cut_to_its_own_box(rgb):
    wide = cv2.copyMakeBorder(rgb("cell-uninfected.png"), 30, 20, 40, 10, cv2.BORDER_CONSTANT)
    (cell,) = inspect(np.asarray(wide)).cells
    assert abs(cell.box.x - 40) <= 2
    assert abs(cell.box.y - 30) <= 2
    assert 46 <= cell.box.width <= 50


@pytest.mark.parametrize(
    ("name", "fewest"),
    [("field-1.jpg", 45), ("field-2.jpg", 60), ("field-with-white-cells.jpg", 8)],
)
def test_a_thin_film_is_a_field_of_cells(rgb, name, fewest):
    smear = inspect(rgb(name))
    assert smear.kind is ImageKind.FIELD
    assert len(smear.cells) >= fewest


def test_one_cell_on_its_bright_background_is_one_cell(rgb):
    field = rgb("field-2.jpg")
    alone = np.zeros((120, 120, 3), np.uint8) + np.median(field[:6], axis=(0, 1)).astype(np.uint8)
    cell = max(inspect(field).cells, key=lambda one: -abs(one.box.width - one.box.height))
    patch = field[cell.box.y : cell.box.y + 44, cell.box.x : cell.box.x + 44]
    mask = np.zeros(patch.shape[:2], bool)
    mask[: cell.mask.shape[0], : cell.mask.shape[1]] = cell.mask[: patch.shape[0]] > 0
    middle = alone[38 : 38 + patch.shape[0], 38 : 38 + patch.shape[1]]
    middle[mask] = patch[mask]
    alone = np.asarray(cv2.GaussianBlur(alone, (3, 3), 0))[18:102, 18:102]
    smear = inspect(np.ascontiguousarray(alone))
    assert smear.kind is ImageKind.CELL
    assert len(smear.cells) == 1


def test_a_field_seen_through_a_round_eyepiece_is_a_field(rgb):
    field = cv2.resize(rgb("field-2.jpg"), (800, 600))
    hole = np.zeros(field.shape[:2], np.uint8)
    cv2.circle(hole, (400, 300), 290, 255, cv2.FILLED)
    seen = cv2.bitwise_and(field, field, mask=hole)
    assert inspect(np.asarray(seen)[:, 100:700].copy()).kind is ImageKind.FIELD


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_picture_is_refused_as_blank(grey):
    assert check_of(np.full((300, 300, 3), grey)) == "blank"


def test_a_printed_form_is_not_a_smear(rgb):
    assert check_of(rgb("not-a-smear.png")) == "not-a-smear"


def test_noise_is_not_a_smear():
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3))
    assert check_of(noise) == "not-a-smear"


def test_an_outdoor_scene_is_not_a_smear():
    rows, columns = np.mgrid[0:400, 0:600]
    scene = np.zeros((400, 600, 3))
    scene[..., 2] = 255 - rows / 3
    scene[rows > 250 + 30 * np.sin(columns / 40)] = (60, 120, 40)
    scene[(abs(columns - 300) < 60) & (abs(rows - 240) < 90)] = (150, 70, 50)
    assert check_of(scene) in ("not-a-smear", "stain")


def test_a_radiograph_of_a_chest_is_refused():
    rows, columns = np.mgrid[0:512, 0:512] / 512
    lungs = sum(
        np.exp(-(((columns - x) / 0.13) ** 2 + ((rows - 0.45) / 0.25) ** 2)) for x in (0.3, 0.7)
    )
    picture = 200 - 150 * lungs + 20 * np.sin(rows * 60)
    assert check_of(np.repeat(picture[..., None], 3, axis=2)) in ("not-a-smear", "stain", "focus")


def test_a_field_without_colour_is_refused_for_its_stain(rgb):
    grey = cv2.cvtColor(rgb("field-2.jpg"), cv2.COLOR_RGB2GRAY)
    assert check_of(np.repeat(np.asarray(grey)[..., None], 3, axis=2)) == "stain"


def test_a_field_of_another_colour_is_refused_for_its_stain(rgb):
    assert check_of(rgb("field-2.jpg")[..., [1, 0, 2]]) == "stain"


def test_a_green_cell_is_refused_for_its_stain(rgb):
    green = rgb("cell-parasitized.png") * np.array([0.5, 1.0, 0.5])
    assert check_of(green) == "stain"


def test_a_field_out_of_focus_is_refused_for_its_focus(rgb):
    assert check_of(cv2.GaussianBlur(rgb("field-2.jpg"), (0, 0), 5)) == "focus"


def test_a_field_in_the_dark_is_refused_for_its_exposure(rgb):
    assert check_of(rgb("field-2.jpg") * 0.25) == "exposure"


def test_a_washed_out_field_is_refused_for_its_contrast(rgb):
    assert check_of(240 - (240 - rgb("field-2.jpg").astype(float)) * 0.12) in ("contrast", "blank")
