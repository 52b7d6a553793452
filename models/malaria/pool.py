"""All images of one Task counted together, against the model's own false positives.

A share of positive cells counts as parasites only where the lower end of its 95 % Wilson interval
lies above the share that the model finds in people without malaria. Never "negative".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.malaria.reading import CellAnswer, ImageKind, ImageReading, Pool, SmearAnswer

Z95 = 1.959963984540054
POSITIVE_IN_FIELDS = 2
"""One positive cell of a field that holds few is no suspicion; one sent for itself may be."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the count is compared with; from the calibration of the weights."""

    floor_cell: float
    floor_field: float
    sensitivity: float
    """Share of infected cells that are answered parasite-likely."""
    cells: int
    """Fewest cells for *none found* or *indeterminate* about fields."""


@dataclass(frozen=True, slots=True)
class _Count:
    images: int
    images_refused: int
    cells: int
    refused: int
    positive: int
    indeterminate: int
    floor: float
    only_single_cells: bool
    needed: int
    limit: float | None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.positive, self.cells)


def pool(images: Sequence[ImageReading], rules: Rules) -> Pool:
    """Count all cells of all images and answer for them together."""
    count = _count(images, rules)
    answer = _answer(count)
    low, high = count.interval if count.cells else (None, None)
    return Pool(
        answer=answer,
        text=_text(answer, count),
        images=count.images,
        images_refused=count.images_refused,
        cells=count.cells,
        cells_refused=count.refused,
        positive=count.positive,
        indeterminate=count.indeterminate,
        share=count.positive / count.cells if count.cells else None,
        share_low=low,
        share_high=high,
        floor=count.floor,
        detection_limit=count.limit,
        cells_needed=0 if answer is SmearAnswer.SUSPECTED else count.needed,
    )


def wilson(hits: int, total: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share; total must not be 0."""
    share = hits / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if hits == 0 else (middle - half) / scale
    high = 1.0 if hits == total else (middle + half) / scale
    return low, high


def detection_limit(cells: int, floor: float, sensitivity: float) -> float | None:
    """The smallest true share of infected cells told from the floor in 95 of 100 smears; None where
    no share is, as when no more infected cells are told than clean ones."""
    if sensitivity <= floor:
        return None
    hits = next((k for k in range(1, cells + 1) if wilson(k, cells)[0] > floor), None)
    if hits is None:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _at_least(hits, cells, middle) >= 0.95 else (middle, high)
    true_share = (high - floor) / (sensitivity - floor)
    return true_share if true_share <= 1.0 else None


def _at_least(hits: int, total: int, share: float) -> float:
    """The chance of `hits` or more among `total` when each comes with chance `share`."""
    if share <= 0.0 or share >= 1.0:
        return float(share >= 1.0)
    below = 0.0
    for k in range(hits):
        ways = math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        below += math.exp(ways + k * math.log(share) + (total - k) * math.log1p(-share))
    return 1.0 - below


def _count(images: Sequence[ImageReading], rules: Rules) -> _Count:
    read = [image for image in images if image.kind is not ImageKind.REFUSED]
    by_kind = {
        kind: sum(
            cell.answer is not CellAnswer.REFUSED
            for image in read
            if image.kind is kind
            for cell in image.cells
        )
        for kind in (ImageKind.CELL, ImageKind.FIELD)
    }
    cells = sum(by_kind.values())
    fields_alone = rules.floor_field if by_kind[ImageKind.FIELD] else rules.floor_cell
    weighed = (
        by_kind[ImageKind.CELL] * rules.floor_cell + by_kind[ImageKind.FIELD] * rules.floor_field
    )
    floor = weighed / cells if cells else fields_alone
    return _Count(
        images=len(images),
        images_refused=len(images) - len(read),
        cells=cells,
        refused=sum(image.count(CellAnswer.REFUSED) for image in read),
        positive=sum(image.count(CellAnswer.PARASITE_LIKELY) for image in read),
        indeterminate=sum(image.count(CellAnswer.INDETERMINATE) for image in read),
        floor=floor,
        only_single_cells=bool(read) and all(image.kind is ImageKind.CELL for image in read),
        needed=max(0, rules.cells - cells),
        limit=detection_limit(cells, floor, rules.sensitivity) if cells else None,
    )


def _answer(count: _Count) -> SmearAnswer:
    if count.cells == 0:
        return SmearAnswer.REFUSED
    is_enough = count.only_single_cells or count.positive >= POSITIVE_IN_FIELDS
    if is_enough and count.interval[0] > count.floor:
        return SmearAnswer.SUSPECTED
    if count.needed:
        doubtful = count.positive + count.indeterminate
        is_doubtful = count.only_single_cells and doubtful > 0
        return SmearAnswer.INDETERMINATE if is_doubtful else SmearAnswer.INSUFFICIENT
    return SmearAnswer.INDETERMINATE if count.positive else SmearAnswer.NONE_FOUND


def _text(answer: SmearAnswer, count: _Count) -> str:
    if count.cells == 1 and count.only_single_cells:
        return _ONE_CELL[answer].format(needed=count.needed)
    match answer:
        case SmearAnswer.REFUSED:
            return "No red cell could be read in the images; see why each was refused."
        case SmearAnswer.SUSPECTED:
            return (
                f"{_tally(count)}, more than the model finds in films "
                f"without parasites (up to {count.floor:.1%}). A person must confirm it."
            )
        case SmearAnswer.INDETERMINATE:
            return (
                f"{_tally(count)}, no more than the model's own false positives "
                f"may explain (up to {count.floor:.1%}). A person must look at the film. "
                f"{_limit(count)}"
            )
        case SmearAnswer.INSUFFICIENT:
            return (
                f"{_tally(count)}; {count.needed} more cells are needed before "
                f"anything can be said. {_limit(count)}"
            )
        case SmearAnswer.NONE_FOUND:
            return f"No parasites found in {count.cells} red cells.{_doubt(count)} {_limit(count)}"
    raise AssertionError(answer)


def _tally(count: _Count) -> str:
    low, high = count.interval
    return (
        f"{count.positive} of {count.cells} red cells read look parasitized "
        f"({count.positive / count.cells:.1%}, 95 % interval {low:.1%} to {high:.1%})"
    )


def _doubt(count: _Count) -> str:
    return f" {count.indeterminate} cells were indeterminate." if count.indeterminate else ""


def _limit(count: _Count) -> str:
    """What a count of so many cells could have missed."""
    if count.limit is None:
        return f"With {count.cells} cells any share of infected cells could have been missed."
    return (
        f"With {count.cells} cells, fewer than {count.limit:.1%} infected cells could have been "
        "missed."
    )


_ONE_CELL = {
    SmearAnswer.SUSPECTED: (
        "A parasite is likely in this cell image. A person must confirm it on the film."
    ),
    SmearAnswer.INDETERMINATE: (
        "This cell image may hold a parasite or not. A person must look at it."
    ),
    SmearAnswer.INSUFFICIENT: (
        "No parasite was seen in this cell image. One cell cannot answer for a film: {needed} "
        "more are needed."
    ),
}
