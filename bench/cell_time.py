"""What the malaria model's network costs: processor time for one view of one cell, on one thread.

Processor time of this process is counted, not time on the clock, so that other work on the machine
hardly counts. The views are those of serving: eight of a cell in one call.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from models.malaria.calibration import LITERT, WEIGHTS
from models.malaria.classify import VIEWS, Network
from models.malaria.preprocess import SIDE, Pixels

TARGET = 2.0
"""The most milliseconds that a view of a cell may take."""
BATCHES: Mapping[str, tuple[int, int]] = {"one_cell": (1, 50), "hundred_cells": (100, 3)}
"""How many cells are read together, and how many times."""

Read = Callable[[Pixels], object]


def cell_times() -> dict[str, Any]:
    """The milliseconds for a cell and view by the number of cells read together; some seconds."""
    read = Network(WEIGHTS / LITERT).run
    chance = np.random.default_rng(1)
    found = {}
    for name, (cells, times) in BATCHES.items():
        pixels = chance.integers(0, 256, (cells, SIDE, SIDE), dtype=np.uint8)
        found[name] = milliseconds(read, pixels, times)
    return {
        "threads": 1,
        "views": VIEWS,
        "milliseconds": {name: round(each, 3) for name, each in found.items()},
        "target_milliseconds": TARGET,
        "is_met": max(found.values()) <= TARGET,
    }


def milliseconds(read: Read, cells: Pixels, times: int) -> float:
    """Processor time for a cell and view: the median of `times` readings, after one to warm up."""
    read(cells)
    return median(_seconds(read, cells) for _ in range(times)) * 1000 / (len(cells) * VIEWS)


def _seconds(read: Read, cells: Pixels) -> float:
    began = time.process_time()
    read(cells)
    return time.process_time() - began
