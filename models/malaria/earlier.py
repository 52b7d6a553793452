"""Calibrations that earlier versions wrote, with one threshold for cells and fields alike, read as
those of now. Installations go on using the weights that people there approved."""

from typing import Any


def as_now(found: dict[str, Any]) -> dict[str, Any]:
    """The content of calibration.json in the present form; KeyError or TypeError when a part is
    missing. What has that form already is returned as it is."""
    if isinstance(found["sensitivity"], dict):
        return found
    high, told = found["thresholds"]["high"], found["sensitivity"]
    return {
        **found,
        "limits": {kind: {**limits, "high": high} for kind, limits in found["limits"].items()},
        "sensitivity": {"cell": told, "field": told},
    }
