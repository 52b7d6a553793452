"""How validation cells with a like score turned out: counts, in place of a bare percentage.

The bands come from `calibration.json` (key `bands`, optional), beside the weights they belong to.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Band:
    """Validation cells whose calibrated probability lay in [`low`, `high`), the last one with its
    upper end, and how many of them held a parasite."""

    low: float
    high: float
    cells: int
    positive: int


def read_bands(found: object) -> tuple[Band, ...]:
    """The bands of a calibration (a list of {from, to, cells, positive}), none when it has none;
    KeyError, TypeError or ValueError for what is no such list, for bands that overlap or lie
    outside of 0..1, and for more positive cells than cells."""
    if found is None:
        return ()
    if not isinstance(found, list):
        raise TypeError("bands must be a list")
    bands = tuple(
        Band(float(one["from"]), float(one["to"]), int(one["cells"]), int(one["positive"]))
        for one in found
    )
    ends = [end for band in bands for end in (band.low, band.high)]
    if ends != sorted(ends) or any(not 0.0 <= end <= 1.0 for end in ends):
        raise ValueError("bands must follow one another within 0..1")
    if any(not 0 <= band.positive <= band.cells for band in bands):
        raise ValueError("a band has more positive cells than cells")
    return bands


def band_of(bands: Sequence[Band], probability: float | None) -> Band | None:
    """The band of a probability; None where no validation cell was scored like this."""
    if probability is None:
        return None
    return next(
        (
            band
            for band in bands
            if band.cells
            and (
                band.low <= probability < band.high
                or (band is bands[-1] and probability == band.high)
            )
        ),
        None,
    )


def told(band: Band) -> str:
    """The sentence for a reader."""
    return (
        f"Of {band.cells} validation cells scored like this, {band.positive} held a parasite. "
        "Where malaria is rarer than in that set, fewer would."
    )
