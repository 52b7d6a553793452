"""Weights that were approved before an upgrade go on being read as they were."""

import hashlib
import json
from pathlib import Path

import pytest

from models.malaria.calibration import CALIBRATION, KERAS, LITERT, WEIGHTS, read_calibration
from models.malaria.reading import ImageKind


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder as version 1.0.0 wrote it: one threshold and one sensitivity."""
    known = json.loads((WEIGHTS / CALIBRATION).read_text(encoding="utf-8"))
    for name in (LITERT, KERAS):
        (tmp_path / name).write_bytes(name.encode())
        known["sha256"][name] = hashlib.sha256(name.encode()).hexdigest()
    known["thresholds"]["high"] = 0.91
    known["sensitivity"] = 0.89
    for limits in known["limits"].values():
        del limits["high"]
    (tmp_path / CALIBRATION).write_text(json.dumps(known), encoding="utf-8")
    return tmp_path


def test_an_earlier_calibration_has_one_threshold_for_all(earlier: Path) -> None:
    found, now = read_calibration(earlier), read_calibration()
    assert (found.means == now.means).all()
    assert found.limits[ImageKind.FIELD].distance == now.limits[ImageKind.FIELD].distance
    assert {limits.high for limits in found.limits.values()} == {0.91}
    assert found.told({ImageKind.FIELD}) == found.told({ImageKind.CELL}) == 0.89
