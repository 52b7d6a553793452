"""The candidate training set: two npz in the layout of the training cells, and their manifest.

Training learns from all splits of its file. So the patients who are kept aside to judge what comes
of it are in a file of their own (KEPT_ASIDE), and in no set of the same rules do they teach.

Cells of smears in which two readers saw no parasites are clean. Of smears in which they did, a
field's cells are unlabelled (which of them hold one nobody said), so infected cells come from
images of a single cell alone. Patients are pseudonymous, and dealt to splits by their pseudonym:
nobody moves when others come or go. Whoever withdraws consent is in no set that is made afterwards.
"""

import hashlib
import hmac
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from models.malaria.decode import ImageRefused, decode
from models.malaria.fields import reduce_size
from models.malaria.gate import inspect
from models.malaria.preprocess import SIDE, Pixels, cell_pixels
from models.malaria.reading import ImageKind, SmearImage
from models.retraining.cases import Case, Lack
from models.retraining.records import Picture
from models.training.learnt import prints

JUDGING = "kept-aside"
SPLITS = (("train", 65), ("val", 75), ("test", 85), (JUDGING, 100))
"""Each split up to this of a hundred patients."""
CELLS, KEPT_ASIDE, MANIFEST = "candidate.npz", "kept-aside.npz", "candidate.json"
RULES = "candidate-2"
"""Of the rules by which cases are chosen and cells are cut; another number where they change."""
NEEDED: Mapping[str, int] = {
    "patients with parasites": 100,
    "patients without": 100,
    "infected cells": 2000,
    "clean cells": 2000,
}
"""What a set needs before a candidate is worth training: below it the interval of a comparison on
the patients kept aside is wider than the gains of versions have been."""


@dataclass
class Progress:
    """How far the set is: counts for NEEDED, and why the other cases teach nothing."""

    counts: Counter[str] = field(default_factory=Counter)
    lacks: Counter[Lack] = field(default_factory=Counter)

    @property
    def is_enough(self) -> bool:
        """Whether there is as much of everything as is needed."""
        return all(self.counts[name] >= least for name, least in NEEDED.items())


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One cell: its pixels, class, name, and the pseudonym of its patient."""

    pixels: Pixels
    label: int
    name: str
    patient: str


@dataclass
class TrainingSet:
    """A set in the making. `secret` makes the pseudonyms: the same for the same installation."""

    secret: bytes
    progress: Progress = field(default_factory=Progress)
    cells: list[LabelledCell] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    _patients: set[tuple[str, int]] = field(default_factory=set)
    # An image that was sent twice is one image, whoever it is said to be of the second time.
    _seen: set[str] = field(default_factory=set)

    def lack(self, reason: Lack) -> None:
        """Count a case that teaches nothing."""
        self.progress.lacks[reason] += 1

    def add(self, case: Case, pictures: Sequence[Picture]) -> None:
        """Take the cells of a case that may be labelled; a case without any is a lack."""
        patient = pseudonym(self.secret, case.patient)
        taken = []
        for picture in (each for each in pictures if each.sha256 not in self._seen):
            self._seen.add(picture.sha256)
            cells = cells_of(picture.content, case.label)
            short = picture.sha256[:16]
            taken += [
                LabelledCell(pixels, case.label, f"{patient}/{short}-{number}", patient)
                for number, pixels in enumerate(cells)
            ]
        if not taken:
            self.lack(Lack.UNREADABLE)
            return
        self.cells += taken
        self._patients.add((patient, case.label))
        self._count(case.label, len(taken))
        self.sources.append(
            {
                "report": case.report,
                "readings": list(case.readings),
                "images": [{"media": p.media, "sha256": p.sha256} for p in pictures],
                "patient": patient,
                "label": case.label,
                "cells": len(taken),
            }
        )

    def leave_out(self, patient: str) -> None:
        """Take everything of a patient (a reference) out again: consent was withdrawn meanwhile."""
        name = pseudonym(self.secret, patient)
        gone = [each for each in self.sources if each["patient"] == name]
        self.cells = [each for each in self.cells if each.patient != name]
        self.sources = [each for each in self.sources if each["patient"] != name]
        self._patients = {each for each in self._patients if each[0] != name}
        for source in gone:
            self._count(source["label"], -source["cells"])
            self.lack(Lack.CONSENT)

    def _count(self, label: int, cells: int) -> None:
        counts = self.progress.counts
        counts["infected cells" if label else "clean cells"] += cells
        of_class = sum(1 for _, each in self._patients if each == label)
        counts["patients with parasites" if label else "patients without"] = of_class


def pseudonym(secret: bytes, patient: str) -> str:
    """The name of a patient in the set: it can't be undone without the installation's secret."""
    key = hmac.digest(secret, b"candidate training set", "sha256")
    return "C" + hmac.new(key, patient.encode(), "sha256").hexdigest()[:12]


def split_of(patient: str) -> str:
    """The split of a pseudonym; a patient is in one alone."""
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") % 100
    return next(name for name, below in SPLITS if place < below)


def cells_of(content: bytes, label: int) -> list[Pixels]:
    """The cells of an image that its smear's class labels; none of an image that is refused."""
    try:
        smear = inspect(reduce_size(decode(SmearImage(content)).rgb))
    except ImageRefused:
        return []
    if label and smear.kind is not ImageKind.CELL:
        return []
    return [cell_pixels(cell.crop) for cell in smear.cells if not cell.is_cut_off]


def write_set(made: TrainingSet, folder: Path, now: datetime) -> dict[str, Any]:
    """Write both npz and then their manifest into the folder, readable by the owner alone; the
    manifest comes back. A set that was cut short leaves no manifest."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ordered = sorted(made.cells, key=lambda each: each.name)
    judging = [each for each in ordered if split_of(each.patient) == JUDGING]
    teaching = [each for each in ordered if split_of(each.patient) != JUDGING]
    (folder / MANIFEST).unlink(missing_ok=True)
    manifest = {
        "rules": RULES,
        "made": now.isoformat(timespec="seconds"),
        **_write_cells(folder / CELLS, teaching),
        "kept_aside": _write_cells(folder / KEPT_ASIDE, judging),
        "progress": dict(sorted(made.progress.counts.items())),
        "excluded": {lack.value: n for lack, n in sorted(made.progress.lacks.items())},
        "sources": sorted(made.sources, key=lambda each: str(each["report"])),
    }
    with _kept(folder / MANIFEST) as path:
        path.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _write_cells(path: Path, cells: Sequence[LabelledCell]) -> dict[str, Any]:
    """Write an npz; its part of the manifest comes back, with the patients and a print of each
    picture's content."""
    none: Pixels = np.zeros((0, SIDE, SIDE), np.uint8)
    pixels = np.stack([each.pixels for each in cells]) if cells else none
    arrays = {
        "x": pixels,
        "y": np.array([each.label for each in cells], np.uint8),
        "name": np.array([each.name for each in cells], np.str_),
        "patient": np.array([each.patient for each in cells], np.str_),
        "split": np.array([split_of(each.patient) for each in cells], np.str_),
    }
    with _kept(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's own stub
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cells": len(cells),
        "splits": dict(Counter(str(each) for each in arrays["split"])),
        "patients": sorted({each.patient for each in cells}),
        "pictures": [f"{each:016x}" for each in prints(pixels)],
    }


class _kept:
    """A path to write to, which becomes the file itself when all is written."""

    def __init__(self, path: Path) -> None:
        self._path, self._draft = path, path.with_name(f".{path.name}.part")

    def __enter__(self) -> Path:
        self._draft.unlink(missing_ok=True)
        os.close(os.open(self._draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return self._draft

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)


def lines_of(progress: Progress) -> Iterable[str]:
    """The progress in lines for a terminal."""
    for name, least in NEEDED.items():
        yield f"{name}: {progress.counts[name]} of {least}"
    for lack, count in sorted(progress.lacks.items()):
        yield f"not taken, {lack.value}: {count}"
