"""The cost of a view of a cell is counted in processor time, whatever else the machine does."""

import time

import numpy as np
import pytest

from bench import cell_time
from bench.cell_time import cell_times, milliseconds

CELLS = np.zeros((4, 50, 50), np.uint8)


def test_waiting_costs_nothing_and_work_is_shared_among_cells_and_views() -> None:
    def work(cells: object) -> None:
        until = time.process_time() + 0.064
        while time.process_time() < until:
            pass

    assert milliseconds(lambda cells: time.sleep(0.064), CELLS, 2) < 1
    assert milliseconds(work, CELLS, 2) == pytest.approx(0.064 * 1000 / (4 * 8), rel=0.2)


def test_the_network_is_told_by_how_many_cells_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell_time, "BATCHES", {"one_cell": (1, 1), "two_cells": (2, 1)})

    found = cell_times()

    assert (found["threads"], found["views"], found["target_milliseconds"]) == (1, 8, 2)
    assert found["milliseconds"].keys() == {"one_cell", "two_cells"}
    assert all(each > 0 for each in found["milliseconds"].values())
    assert found["is_met"] is (max(found["milliseconds"].values()) <= 2)
