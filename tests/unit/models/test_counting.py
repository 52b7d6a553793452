"""The count of red cells against labels: what is missed, merged and counted beyond them."""

import numpy as np
import pytest

from models.malaria.fields import cut_cells
from models.malaria.reading import Box
from models.training.counting import CountedField, count, count_errors
from tests.drawn_smear import field


@pytest.fixture(scope="module")
def drawn() -> CountedField:
    """Nine drawn cells, each labelled in its middle."""
    rgb = field(cells=9, side=300)
    boxes = [cell.box for cell in cut_cells(rgb)]
    return CountedField(rgb, tuple((b.x + b.width // 2, b.y + b.height // 2) for b in boxes))


def test_a_field_whose_every_cell_is_labelled_has_no_error(drawn: CountedField) -> None:
    found = count_errors([drawn, drawn])

    assert (found["labelled"], found["counted"]) == (18, 18)
    errors = ("error_mean", "error_sd", "error_worst", "relative_mean", "missed", "merged")
    assert [found[name] for name in errors] == [0] * 6


def test_labels_outside_of_cells_are_missed_and_two_in_one_are_merged(drawn: CountedField) -> None:
    x, y = drawn.centres[0]
    labels = (*drawn.centres, (x + 3, y), (1, 1))

    found = count(CountedField(drawn.rgb, labels))

    assert (found.labelled, found.counted, found.missed, found.merged) == (11, 9, 1, 2)


def test_what_is_labelled_as_something_else_is_not_counted(drawn: CountedField) -> None:
    x, y = drawn.centres[4]
    platelet = Box(x - 10, y - 10, 20, 20)

    found = count(CountedField(drawn.rgb, drawn.centres, (platelet,)))

    assert (found.counted, found.missed) == (8, 1)


def test_the_spread_is_over_fields_and_a_share_needs_labels(drawn: CountedField) -> None:
    fewer = CountedField(drawn.rgb, drawn.centres[:6])
    bare = CountedField(np.full_like(drawn.rgb, 215), ())

    found = count_errors([drawn, fewer, bare])

    assert (found["error_mean"], found["error_worst"]) == (1, 3)
    assert found["error_sd"] == pytest.approx(3**0.5)
    assert found["relative_mean"] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="no field"):
        count_errors([])
