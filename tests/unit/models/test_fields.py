"""Fields are cut into single cells; touching cells are parted."""

import cv2
import numpy as np
import pytest

from models.malaria.fields import cut_cells, reduce_size
from models.malaria.preprocess import cell_pixels

BACKGROUND = (225, 225, 215)
STAIN = (190, 130, 150)


def field_of(centres, radius=20, size=(480, 640)) -> np.ndarray:
    """A drawn field with round cells at known places."""
    field = np.zeros((*size, 3), np.uint8) + np.array(BACKGROUND, np.uint8)
    for centre in centres:
        cv2.circle(field, centre, radius, STAIN, cv2.FILLED, cv2.LINE_AA)
    noise = np.random.default_rng(0).normal(0, 2, field.shape)
    return np.clip(cv2.GaussianBlur(field, (0, 0), 1) + noise, 0, 255).astype(np.uint8)


def grid(step=70):
    return [(x, y) for x in range(60, 600, step) for y in range(60, 440, step)]


def test_every_separate_cell_is_found_once():
    centres = grid()
    cells = list(cut_cells(field_of(centres)))
    assert len(cells) == len(centres)
    for x, y in centres:
        holders = [
            c
            for c in cells
            if c.box.x <= x < c.box.x + c.box.width and c.box.y <= y < c.box.y + c.box.height
        ]
        assert len(holders) == 1


@pytest.mark.parametrize("gap", [28, 32, 36, 40])
def test_two_touching_cells_are_parted(gap):
    centres = [*grid()[8:], (60, 60), (60 + gap, 60)]
    assert len(list(cut_cells(field_of(centres)))) == len(centres)


def test_a_chain_of_three_is_parted_into_three():
    centres = [*grid()[18:], (80, 100), (112, 110), (146, 100)]
    assert len(list(cut_cells(field_of(centres)))) == len(centres)


def test_cells_at_the_edge_are_marked_cut_off():
    cells = list(cut_cells(field_of([*grid(), (0, 300), (639, 200)])))
    assert sum(cell.is_cut_off for cell in cells) == 2


def test_a_pale_centre_is_no_hole():
    field = field_of(grid())
    for x, y in grid():
        cv2.circle(field, (x, y), 7, BACKGROUND, cv2.FILLED, cv2.LINE_AA)
    cells = list(cut_cells(field))
    assert len(cells) == len(grid())
    assert all(cell.mask[cell.mask.shape[0] // 2, cell.mask.shape[1] // 2] for cell in cells)


def test_uneven_light_does_not_hide_cells():
    light = np.linspace(0.55, 1.0, 640)[None, :, None]
    cells = list(cut_cells((field_of(grid()) * light).astype(np.uint8)))
    assert len(cells) == len(grid())


def test_specks_are_not_cells():
    field = field_of(grid())
    for x, y in grid():
        cv2.circle(field, (x + 35, y), 4, (120, 60, 130), cv2.FILLED)
    assert len(list(cut_cells(field))) == len(grid())


def test_a_crop_is_black_outside_of_its_own_cell():
    for cell in cut_cells(field_of([(100, 100), (134, 100), *grid()[12:]])):
        assert cell.crop[cell.mask == 0].max(initial=0) == 0
        assert cell_pixels(cell.crop).shape == (50, 50)


def test_an_empty_slide_has_no_cells():
    assert list(cut_cells(field_of([]))) == []


def test_large_photographs_are_reduced_and_small_ones_kept():
    assert reduce_size(np.zeros((3000, 4000, 3), np.uint8)).shape == (1200, 1600, 3)
    assert reduce_size(np.zeros((480, 640, 3), np.uint8)).shape == (480, 640, 3)


@pytest.mark.parametrize(("name", "counted"), [("field-1.jpg", 79), ("field-2.jpg", 81)])
def test_real_fields_are_counted_within_a_tenth_of_a_count_by_eye(rgb, name, counted):
    found = len(list(cut_cells(rgb(name))))
    assert abs(found - counted) <= 0.1 * counted
