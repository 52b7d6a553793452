"""The reference of drift: what the released weights say of the validation, counted in bins.

Scores of single cells are those of the validation patients; of fields, those of the cells of
another hospital that is presumed free of malaria, and of the infected validation cells. Signs are
those of the fields of two hospitals.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.malaria.calibration import WEIGHTS
from models.malaria.classify import Classifier
from models.malaria.decode import ImageRefused
from models.malaria.fields import reduce_size
from models.malaria.gate import Smear, inspect
from models.malaria.preprocess import Pixels, cell_pixels
from models.malaria.reading import ImageKind, ImageSigns
from models.monitoring.limits import SIGNS
from models.monitoring.reference import Reference, SignBins
from models.monitoring.stability import Bins
from models.smear_report import SCORE_BINS
from models.training.cells import Cells, read_splits
from models.training.external import read_chula
from models.training.outliers import read_bccd

EVERY = 6
"""Every sixth of Chula's 706 fields is counted: more would weigh down the other hospital."""
SIGN_BINS = 10
Counts = npt.NDArray[np.float64]


def drift_reference(
    data: Path, *, weights: Path = WEIGHTS, progress: Callable[[str], None] = lambda step: None
) -> Reference:
    """Count the folder's `nih50_dev.npz`, `chula_rbc12_fields.tar` and `bccd.tar`; blocking, some
    minutes. OSError or ValueError when a set is missing or wrong."""
    classifier = Classifier.load(weights)
    progress("validation cells")
    cells = read_splits(data / "nih50_dev.npz")["val"]
    clean, infected = (_of_patients(classifier, _only(cells, y), ImageKind.CELL) for y in (0, 1))
    infected_in_fields = _of_patients(classifier, _only(cells, 1), ImageKind.FIELD)
    progress("fields of Chula")
    smears = list(_smears(f.rgb for f in read_chula(_tar(data), remainder=0, step=EVERY)))
    fields = _binned([_scores(classifier, _pixels(s), ImageKind.FIELD) for s in smears])
    progress("fields of BCCD")
    for split in ("train", "val", "test"):
        smears += _smears(field.rgb for field in read_bccd(data / "bccd.tar", split))
    signs = [smear.signs for smear in smears if smear.signs is not None]
    return Reference(
        model_sha256=classifier.calibration.version.sha256,
        scores={"cell": (clean, infected), "field": (fields, infected_in_fields)},
        signs={name: sign_bins(name, signs) for name in SIGNS},
    )


def sign_bins(name: str, signs: Iterable[ImageSigns]) -> SignBins:
    """A sign of many fields in bins that hold a tenth of them each, as far as it varies."""
    values = np.array([getattr(each, name) for each in signs])
    at = np.quantile(values, np.arange(1, SIGN_BINS) / SIGN_BINS)
    edges = np.unique(np.round(at, 2))
    counts = np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1)
    bins = Bins(tuple(float(count) for count in counts), len(values))
    return SignBins(tuple(float(edge) for edge in edges), bins)


def _tar(data: Path) -> Path:
    return data / "chula_rbc12_fields.tar"


def _only(cells: Cells, truth: int) -> Cells:
    of_class = cells.y == truth
    return Cells(cells.x[of_class], cells.y[of_class], cells.patient[of_class])


def _smears(pictures: Iterable[Pixels]) -> Iterator[Smear]:
    """The fields that pass the gate."""
    for rgb in pictures:
        try:
            smear = inspect(reduce_size(rgb))
        except ImageRefused:
            continue
        if smear.kind is ImageKind.FIELD:
            yield smear


def _pixels(smear: Smear) -> Pixels:
    whole = [cell_pixels(cell.crop) for cell in smear.cells if not cell.is_cut_off]
    return np.stack(whole)


def _of_patients(classifier: Classifier, cells: Cells, kind: ImageKind) -> Bins:
    of_patient = (cells.x[cells.patient == name] for name in np.unique(cells.patient))
    return _binned([_scores(classifier, pixels, kind) for pixels in of_patient])


def _scores(classifier: Classifier, pixels: Pixels, kind: ImageKind) -> Counts:
    """How many cells got which probability; refused ones got none."""
    _, judged = classifier.read(pixels, kind)
    scores = [each.probability for each in judged if each.probability is not None]
    return np.histogram(scores, bins=SCORE_BINS, range=(0.0, 1.0))[0].astype(np.float64)


def _binned(units: list[Counts]) -> Bins:
    """Each unit (patient, field) weighs the same, as each analysis does in what is compared."""
    counted = [counts for counts in units if counts.sum()]
    total = sum(counts.sum() for counts in counted)
    mean = np.mean([counts / counts.sum() for counts in counted], axis=0)
    return Bins(tuple(round(float(each), 3) for each in mean * total), len(counted))
