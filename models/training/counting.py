"""How many red cells the segmentation counts in fields of other hospitals, against their labels.

The labels are not complete: BCCD leaves out cells, most of them at the edges, and Chula labels
those alone that somebody could name. A count above the labels is therefore no proof of an error,
and each figure here says something else: `missed` labels (cells that are not counted) and
`merged` ones (touching cells counted as one) are errors whatever the labels leave out; the
difference of the counts, by field, bounds what is counted twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from models.malaria.fields import FieldCell, cut_cells
from models.malaria.preprocess import Pixels
from models.malaria.reading import Box
from models.training.external import LabelledField
from models.training.outliers import Field


@dataclass(frozen=True, slots=True)
class CountedField:
    """One field: RGB pixels, the labelled centres (x, y) of its red cells, and the boxes of what
    else is labelled there (white cells, platelets), which is not counted."""

    rgb: Pixels
    centres: tuple[tuple[int, int], ...]
    others: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """One field counted: its labelled red cells, how many were counted, how many labels lie in no
    counted cell, and how many share one with another label."""

    labelled: int
    counted: int
    missed: int
    merged: int


def of_bccd(field: Field) -> CountedField:
    """A field of BCCD, by its boxes."""
    red = [box for kind, box in field.boxes if kind == "RBC"]
    others = tuple(box for kind, box in field.boxes if kind != "RBC")
    return CountedField(field.rgb, tuple(_middle(box) for box in red), others)


def of_chula(field: LabelledField) -> CountedField:
    """A field of Chula, by its points."""
    return CountedField(field.rgb, field.centres)


def count(field: CountedField) -> Count:
    """Count the cells of a field as serving does (cut-off ones too, which the labels have), less
    those whose middle lies in what is labelled as something else."""
    cells = [
        cell
        for cell in cut_cells(field.rgb)
        if not any(_contains(box, _middle(cell.box)) for box in field.others)
    ]
    places = [[n for n, cell in enumerate(cells) if _holds(cell, c)] for c in field.centres]
    taken = [place[0] for place in places if place]
    return Count(
        labelled=len(field.centres),
        counted=len(cells),
        missed=sum(not place for place in places),
        merged=sum(taken.count(cell) > 1 for cell in taken),
    )


def count_errors(fields: Iterable[CountedField]) -> Mapping[str, float]:
    """The figures of a set of fields; ValueError for an empty one.

    `error_mean`, `error_sd` (of a sample), `error_worst` are counted less labelled by field, in
    cells; `relative_mean` and `relative_sd` the same as a share of a field's labels (fields
    without a label are left out there); `missed` and `merged` shares of all labels.
    """
    counts = [count(field) for field in fields]
    if not counts:
        raise ValueError("no field to count")
    errors = np.array([each.counted - each.labelled for each in counts], np.float64)
    with_labels = [each for each in counts if each.labelled]
    shares = np.array([each.counted / each.labelled - 1 for each in with_labels] or [0.0])
    labels = max(sum(each.labelled for each in counts), 1)
    return {
        "fields": float(len(counts)),
        "labelled": float(sum(each.labelled for each in counts)),
        "counted": float(sum(each.counted for each in counts)),
        "error_mean": float(errors.mean()),
        "error_sd": _spread(errors),
        "error_worst": float(errors[np.argmax(np.abs(errors))]),
        "relative_mean": float(shares.mean()),
        "relative_sd": _spread(shares),
        "missed": sum(each.missed for each in counts) / labels,
        "merged": sum(each.merged for each in counts) / labels,
    }


def _spread(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _middle(box: Box) -> tuple[int, int]:
    return box.x + box.width // 2, box.y + box.height // 2


def _contains(box: Box, point: tuple[int, int]) -> bool:
    x, y = point[0] - box.x, point[1] - box.y
    return 0 <= x < box.width and 0 <= y < box.height


def _holds(cell: FieldCell, centre: tuple[int, int]) -> bool:
    x, y = centre[0] - cell.box.x, centre[1] - cell.box.y
    return _contains(cell.box, centre) and bool(cell.mask[y, x] > 0)
