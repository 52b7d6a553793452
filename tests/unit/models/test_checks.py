"""The table of checks: for each a drawn picture that fails it, and a near one that does not."""

import cv2
import numpy as np
import pytest

from models.malaria.decode import ImageRefused
from models.malaria.gate import REASONS, inspect
from tests.availability import ROOT
from tests.drawn_smear import SLIDE, blurred, faded, field, greyed, lit

FIELD = field()


def stripes(share: float) -> np.ndarray:
    """A field under a pattern of bright and dark stripes."""
    waves = 60 * np.sin(np.arange(FIELD.shape[1]) / 4)[None, :, None]
    return np.clip(FIELD + share * waves, 0, 255).astype(np.uint8)


def noise(spread: float) -> np.ndarray:
    """A slide with nothing on it but the grain of the camera."""
    grain = np.random.default_rng(0).normal(0, spread, (300, 300, 3))
    return np.clip(np.array(SLIDE, float) + grain, 0, 255).astype(np.uint8)


def at_the_edge(distance: int) -> np.ndarray:
    """One cell whose middle lies so far from the edge of the image."""
    cell = field(cells=1, side=160)
    return np.ascontiguousarray(cell[:, 80 - distance :])


CHECKS = [
    ("blank", noise(1.0), faded(FIELD, 0.25)),
    ("not-a-smear", stripes(1.0), stripes(0.1)),
    ("no-cells", at_the_edge(12), at_the_edge(40)),
    ("stain", greyed(FIELD, 0.0), greyed(FIELD, 0.4)),
    ("exposure", lit(FIELD, 0.18), lit(FIELD, 0.25)),
    ("overexposed", lit(FIELD, 1.35), lit(FIELD, 1.15)),
    ("contrast", faded(FIELD, 0.15), faded(FIELD, 0.3)),
    ("focus", blurred(FIELD, 3.0), blurred(FIELD, 1.0)),
]


@pytest.mark.parametrize(("check", "picture"), [(c, p) for c, p, _ in CHECKS])
def test_a_picture_that_fails_a_check_is_refused_by_its_name(check, picture):
    with pytest.raises(ImageRefused) as caught:
        inspect(np.ascontiguousarray(picture))
    refusal = caught.value.refusal
    assert (refusal.check, refusal.text, refusal.advice) == (check, *REASONS[check])


@pytest.mark.parametrize(("check", "picture"), [(c, p) for c, _, p in CHECKS])
def test_a_picture_that_nearly_fails_it_is_read(check, picture):
    assert inspect(np.ascontiguousarray(picture)).cells, check


def test_every_check_of_the_picture_has_its_row():
    assert [check for check, *_ in CHECKS] == list(REASONS)


def test_the_page_about_images_explains_every_check():
    page = (ROOT / "docs/models/images.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")}
    files = {"size", "type", "content-type", "animated", "pixels", "dimensions", "corrupt"}
    cells = {"cut-off", "cell-shape", "not-a-red-cell", "unlike-training"}
    tasks = {"repeated", "no-cell-read"}
    assert rows == {*REASONS, *files, *cells, *tasks}


def test_an_uneven_lamp_and_dirt_beside_the_cells_are_no_reason_to_refuse():
    vignette = np.linspace(0.75, 1.0, FIELD.shape[1])[None, :, None]
    dirty = (FIELD * vignette).astype(np.uint8)
    for x in (70, 230, 420):
        cv2.circle(dirty, (x, 300), 5, (60, 40, 90), cv2.FILLED)
    assert len(inspect(dirty).cells) >= 35
