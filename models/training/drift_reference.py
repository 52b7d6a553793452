"""The reference of drift: what the released weights say of the validation, counted in bins.

Scores of single cells are those of the validation patients; of fields, those of the cells of
another hospital that is presumed free of malaria, and of the infected validation cells. Signs are
those of the fields of two hospitals.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from models.malaria.calibration import WEIGHTS
from models.malaria.classify import Classifier
from models.malaria.decode import ImageRefused
from models.malaria.fields import reduce_size
from models.malaria.gate import Smear, inspect
from models.malaria.preprocess import Pixels, cell_pixels
from models.malaria.reading import ImageKind, ImageSigns
from models.monitoring.limits import SIGNS
from models.monitoring.reference import Reference, SignBins, read_bins
from models.monitoring.stability import Bins
from models.training.external import read_chula
from models.training.outliers import read_bccd
from models.training.report import METRICS
from models.training.scores import binned, counted

EVERY = 6
"""Every sixth of Chula's 706 fields is counted: more would weigh down the other hospital."""
SIGN_BINS = 10


def drift_reference(
    data: Path, *, weights: Path = WEIGHTS, progress: Callable[[str], None] = lambda step: None
) -> Reference:
    """Count the folder's `chula_rbc12_fields.tar` and `bccd.tar`; what single cells scored out of
    fold stands beside the weights. Blocking, some minutes. OSError, KeyError or ValueError when a
    set or a figure is missing or wrong."""
    classifier = Classifier.load(weights)
    kept = json.loads((weights / METRICS).read_text(encoding="utf-8"))["scores"]
    clean, infected, infected_in_fields = (
        read_bins(kept[name]) for name in ("uninfected", "parasitized", "parasitized_in_fields")
    )
    progress("fields of Chula")
    smears = list(_smears(f.rgb for f in read_chula(_tar(data), remainder=0, step=EVERY)))
    judged = (classifier.read(_pixels(smear), ImageKind.FIELD)[1] for smear in smears)
    fields = binned(counted(one) for one in judged)
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
