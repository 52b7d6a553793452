"""Cells of all images of a Task are counted together against the model's own false positives."""

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.malaria.pool import Rules, detection_limit, pool, wilson
from models.malaria.reading import (
    Box,
    CellAnswer,
    CellReading,
    ImageKind,
    ImageReading,
    Refusal,
    SmearAnswer,
)

RULES = Rules(floor_cell=0.016, floor_field=0.02, sensitivity=0.88, cells=500)


def cell(answer: CellAnswer) -> CellReading:
    return CellReading(Box(0, 0, 40, 40), answer, 0.5, 1.0)


def image(kind=ImageKind.FIELD, likely=0, doubtful=0, clean=0, refused=0) -> ImageReading:
    cells = (
        [cell(CellAnswer.PARASITE_LIKELY)] * likely
        + [cell(CellAnswer.INDETERMINATE)] * doubtful
        + [cell(CellAnswer.NOT_SEEN)] * clean
        + [cell(CellAnswer.REFUSED)] * refused
    )
    return ImageReading(kind, "0" * 64, "image/png", 640, 480, tuple(cells))


def refused_image() -> ImageReading:
    return ImageReading(
        ImageKind.REFUSED, "0" * 64, None, None, None, (), Refusal("type", "No.", "Send another.")
    )


def test_nothing_readable_is_refused():
    found = pool([refused_image(), image(refused=12)], RULES)
    assert found.answer is SmearAnswer.REFUSED
    assert (found.images, found.images_refused, found.cells_refused) == (2, 1, 12)
    assert found.share is found.share_low is found.detection_limit is None


def test_no_image_at_all_is_refused():
    assert pool([], RULES).answer is SmearAnswer.REFUSED


def test_a_share_above_the_floor_is_suspected_however_few_cells_there_are():
    found = pool([image(likely=20, clean=80)], RULES)
    assert found.answer is SmearAnswer.SUSPECTED
    assert found.share_low > found.floor
    assert found.cells_needed == 0


def test_one_positive_cell_of_a_field_with_few_is_no_suspicion():
    assert pool([image(likely=1, clean=2)], RULES).answer is SmearAnswer.INSUFFICIENT
    assert pool([image(likely=2, clean=4)], RULES).answer is SmearAnswer.SUSPECTED


def test_a_share_within_the_floor_is_indeterminate_when_there_are_enough_cells():
    found = pool([image(likely=4, clean=296), image(likely=4, clean=296)], RULES)
    assert found.answer is SmearAnswer.INDETERMINATE


def test_too_few_cells_are_insufficient_and_the_rest_is_asked_for():
    found = pool([image(likely=1, clean=99)], RULES)
    assert found.answer is SmearAnswer.INSUFFICIENT
    assert found.cells_needed == 400
    assert "400 more cells" in found.text


@pytest.mark.parametrize("likely", [0, 8, 300])
def test_the_text_does_not_say_again_what_the_answer_says(likely):
    found = pool([image(likely=likely, clean=600 - likely)], RULES)
    few = pool([image(clean=99)], RULES)
    one = pool([image(ImageKind.CELL, doubtful=1)], RULES)
    for each in (found, few, one):
        assert not each.text.startswith(("Parasites", "Indeterminate", "Insufficient"))


def test_several_images_add_up_to_an_answer():
    fields = [image(clean=100)] * 4
    assert pool(fields, RULES).answer is SmearAnswer.INSUFFICIENT
    found = pool([*fields, image(clean=100, refused=9), refused_image()], RULES)
    assert found.answer is SmearAnswer.NONE_FOUND
    assert "No parasites found in 500 red cells" in found.text
    assert found.detection_limit is not None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("likely", SmearAnswer.SUSPECTED),
        ("doubtful", SmearAnswer.INDETERMINATE),
        ("clean", SmearAnswer.INSUFFICIENT),
    ],
)
def test_one_cell_image_gets_an_answer_about_this_cell_image(answer, expected):
    found = pool([image(ImageKind.CELL, **{answer: 1})], RULES)
    assert found.answer is expected
    assert "this cell image" in found.text.lower()


def test_floors_are_weighed_by_the_cells_they_speak_for():
    mixed = pool([image(clean=100)] + [image(ImageKind.CELL, clean=1)] * 100, RULES)
    assert mixed.floor == pytest.approx(0.018)


def test_the_wilson_interval_is_the_published_one():
    low, high = wilson(10, 100)
    assert low == pytest.approx(0.0552, abs=1e-4)
    assert high == pytest.approx(0.1744, abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_more_cells_lower_the_detection_limit_down_to_no_less_than_nothing():
    limits = [detection_limit(n, 0.02, 0.88) for n in (100, 500, 2000, 10000)]
    assert all(limit is not None for limit in limits)
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] > 0


def test_one_cell_has_no_useful_detection_limit():
    limit = detection_limit(1, 0.02, 0.88)
    assert limit is None or limit > 0.9


def test_the_detection_limit_agrees_with_the_normal_approximation_for_many_cells():
    cells, floor, sensitivity = 5000, 0.02, 0.9
    z = NormalDist().inv_cdf(0.95)
    limit = detection_limit(cells, floor, sensitivity)
    observed = floor + limit * (sensitivity - floor)
    spread = (observed * (1 - observed) / cells) ** 0.5
    threshold = next(k for k in range(cells) if wilson(k, cells)[0] > floor) / cells
    assert (observed - threshold) / spread == pytest.approx(z, abs=0.1)


@given(
    likely=st.integers(0, 60),
    doubtful=st.integers(0, 60),
    clean=st.integers(0, 900),
    refused=st.integers(0, 60),
    kind=st.sampled_from([ImageKind.CELL, ImageKind.FIELD]),
)
def test_no_count_is_ever_called_negative(likely, doubtful, clean, refused, kind):
    found = pool([image(kind, likely, doubtful, clean, refused)], RULES)
    assert "negative" not in found.text.lower()
    assert found.cells == likely + doubtful + clean
    if found.answer is SmearAnswer.NONE_FOUND:
        assert found.positive == 0
        assert found.cells >= RULES.cells
    if found.answer is SmearAnswer.SUSPECTED:
        assert found.share_low > found.floor
    if found.cells:
        assert found.share_low <= found.share <= found.share_high


@given(likely=st.integers(0, 40), clean=st.integers(1, 600))
def test_one_more_positive_cell_never_takes_suspicion_away(likely, clean):
    before = pool([image(likely=likely, clean=clean)], RULES).answer
    after = pool([image(likely=likely + 1, clean=clean - 1)], RULES).answer
    if before is SmearAnswer.SUSPECTED:
        assert after is SmearAnswer.SUSPECTED


@pytest.mark.parametrize("sensitivity", [0.0, 0.01, 0.02])
def test_what_tells_no_more_infected_cells_than_clean_ones_has_no_limit(sensitivity):
    assert detection_limit(1000, floor=0.02, sensitivity=sensitivity) is None
