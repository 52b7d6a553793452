"""The preprocessing contract, held to bytes computed once with the released code."""

import hashlib

import numpy as np

from models.malaria.preprocess import VERSION, cell_pixels, network_input, views


def crop(height: int, width: int) -> np.ndarray:
    rows, columns, channels = np.mgrid[0:height, 0:width, 0:3]
    return ((rows * 7 + columns * 13 + channels * 61 + rows * columns) % 256).astype(np.uint8)


def test_golden_crops_give_the_same_bytes_for_ever():
    digest = hashlib.sha256()
    for size in ((142, 148), (97, 121), (50, 50), (31, 44)):
        digest.update(cell_pixels(crop(*size)).tobytes())
    assert VERSION == "nih50-area-gray-1"
    assert digest.hexdigest() == "9bf6c7e7bec3ea73e1f10e352dd88d63b784dc8249a9d189e6c7de8db7943260"


def test_a_grey_cell_of_the_right_size_passes_unchanged():
    grey = crop(50, 50)[..., 0]
    assert (cell_pixels(np.repeat(grey[..., None], 3, axis=2)) == grey).all()


def test_the_eight_views_are_all_different_and_the_first_is_the_cell():
    cells = network_input(crop(50, 50)[None, ..., 0])
    eight = views(cells)
    assert eight.shape == (8, 1, 50, 50, 1)
    assert (eight[0] == cells).all()
    assert len({view.tobytes() for view in eight}) == 8
