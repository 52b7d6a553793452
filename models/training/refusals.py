"""What the finished model refuses: red cells that it should read, and pictures that it should not.

Everything here comes from sides that learning never saw: BCCD's test fields, Chula fields that set
no limit, radiographs, and NIH cells out of fold; NIH cells lend their outlines to the rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.malaria.classify import Classifier
from models.malaria.predict import MalariaModel
from models.malaria.preprocess import SIDE, Pixels
from models.malaria.reading import CellAnswer, ImageKind, SmearAnswer, SmearImage
from models.training.cells import Cells
from models.training.external import LabelledField, whole_cells
from models.training.outliers import Field, masked_junk, masked_strangers, red_cells, strangers

SHOULD_PASS, HARD, EASY = "should be read", "hard: in a cell's mask", "easy"
SAMPLE = 600
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Pictures:
    """Fields of two other hospitals from test sides, radiographs when there are any, and NIH cells
    that lend their outlines."""

    bccd: list[Field]
    chula: list[LabelledField]
    radiographs: Pixels | None
    masks: Cells


Row = dict[str, Any]
Progress = Callable[[str, int, int], None]


def refusal_table(
    model: MalariaModel, answers: list[CellAnswer], pictures: Pictures, progress: Progress
) -> list[Row]:
    """One row for each kind of picture: how many, the share refused, the share called positive.
    `answers` are those for all NIH cells, out of fold."""
    chance = np.random.default_rng(7)
    rows = [_row("NIH cells, out of fold", SHOULD_PASS, answers)]
    sets = list(_sets(pictures, chance))
    for number, (name, expectation, kind, cells) in enumerate(sets, start=1):
        rows.append(_row(name, expectation, answers_for(model.classifier, cells, kind)))
        progress("refusals", number, len(sets))
    rows += _whole_pictures(model, pictures)
    return rows


def _sets(
    pictures: Pictures, chance: np.random.Generator
) -> Iterator[tuple[str, str, ImageKind, Pixels]]:
    masks, radiographs = pictures.masks, pictures.radiographs
    cell, field = ImageKind.CELL, ImageKind.FIELD
    chula_cells = np.concatenate([whole_cells(one.rgb)[1] for one in pictures.chula])
    yield "Chula red cells, cut out of fields", SHOULD_PASS, field, chula_cells
    yield "BCCD red cells, cut out of fields", SHOULD_PASS, field, _each(red_cells, pictures.bccd)
    yield "BCCD white cells and platelets, ellipse", HARD, cell, _each(strangers, pictures.bccd)
    own_mask = _each(masked_strangers, pictures.bccd)
    yield "BCCD white cells and platelets, own mask, in fields", HARD, field, own_mask
    junk = masked_junk(masks.x, [one.rgb for one in pictures.bccd], SAMPLE, chance)
    yield "field pieces, noise, letters, stripes, inverted cells", HARD, cell, junk
    if radiographs is not None:
        yield "radiographs", HARD, cell, _in_masks(radiographs[:SAMPLE], masks.x, chance)
    blurred = [np.asarray(cv2.GaussianBlur(one, (0, 0), 5)) for one in masks.x[::8]]
    yield "NIH cells, heavily blurred", EASY, cell, np.stack(blurred)


def _each(cut: Callable[[Field], list[Pixels]], fields: list[Field]) -> Pixels:
    return np.stack([cell for field in fields for cell in cut(field)])


def _in_masks(pictures: Pixels, cells: Pixels, chance: np.random.Generator) -> Pixels:
    masks = cells[chance.integers(len(cells), size=len(pictures))] > 0
    large = [cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for one in pictures]
    return np.where(masks, np.maximum(np.stack(large), 1), 0).astype(np.uint8)


def answers_for(classifier: Classifier, cells: Pixels, kind: ImageKind) -> list[CellAnswer]:
    """The answer for each cell, in order."""
    answers = []
    for start in range(0, len(cells), CHUNK):
        answers += [one.answer for one in classifier.read(cells[start : start + CHUNK], kind)[1]]
    return answers


def _row(name: str, expectation: str, answers: list[CellAnswer]) -> Row:
    count = len(answers)
    return {
        "picture": name,
        "kind": expectation,
        "count": count,
        "refused": answers.count(CellAnswer.REFUSED) / count,
        "parasite_likely": answers.count(CellAnswer.PARASITE_LIKELY) / count,
        "indeterminate": answers.count(CellAnswer.INDETERMINATE) / count,
    }


def _whole_pictures(model: MalariaModel, pictures: Pictures) -> Iterator[Row]:
    """Pictures as they are sent, read as they are served."""
    radiographs = pictures.radiographs
    chula, bccd = ([one.rgb for one in some] for some in (pictures.chula[::4], pictures.bccd))
    yield _served(model, "whole Chula fields", SHOULD_PASS, chula)
    yield _served(model, "whole BCCD fields", SHOULD_PASS, bccd)
    if radiographs is not None:
        enlarged = [
            cv2.resize(one, (512, 512), interpolation=cv2.INTER_CUBIC) for one in radiographs[:200]
        ]
        coloured = [np.asarray(np.repeat(one[..., None], 3, 2), np.uint8) for one in enlarged]
        yield _served(model, "whole radiographs", EASY, coloured)


def _served(model: MalariaModel, name: str, expectation: str, pictures: list[Pixels]) -> Row:
    """Here an image counts as parasite likely when the answer to it alone is *suspected*."""
    found = [model.read([SmearImage(_png(one))]).pool.answer for one in pictures]
    return {
        "picture": name,
        "kind": expectation,
        "count": len(found),
        "refused": found.count(SmearAnswer.REFUSED) / len(found),
        "parasite_likely": found.count(SmearAnswer.SUSPECTED) / len(found),
        "indeterminate": found.count(SmearAnswer.INDETERMINATE) / len(found),
    }


def _png(rgb: Pixels) -> bytes:
    _, coded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return np.asarray(coded, dtype=np.uint8).tobytes()


def read_radiographs(path: Path) -> Pixels | None:
    """Test radiographs of a PneumoniaMNIST npz beside the other data; None when it is absent."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["test_images"], dtype=np.uint8)
