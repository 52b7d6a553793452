"""What the AI drew, as it is shown."""

from smart_app.presenters.drawings import answer_words, image_drawings, reason_words
from tests.app_records import CELLS, drawings

DRAWN = drawings()


def test_the_drawings_of_an_image_stand_together():
    (one,) = image_drawings(DRAWN, ["m0", "m1"])
    assert (one.number, one.framed, one.gallery) == (2, "cells-framed", "cell-gallery")
    assert (one.reaction, one.sheet) == ("model-reaction", (256, 64))
    assert [tile.answer for tile in one.tiles] == [cell["answer"] for cell in CELLS]
    assert [(tile.x, tile.y) for tile in one.tiles] == [(0, 0), (64, 0), (128, 0), (192, 0)]
    assert [tile.answer for tile in one.notable] == ["parasite-likely", "indeterminate"]


def test_what_was_not_drawn_or_belongs_to_another_report_is_left_out():
    assert image_drawings(DRAWN, ["m7"]) == ()
    (one,) = image_drawings(DRAWN[:1], ["m1"])
    assert (one.gallery, one.reaction, one.tiles) == (None, None, ())


def test_tiles_fill_rows_of_ten():
    gallery = next(m for m in DRAWN if m["id"] == "cell-gallery")
    many = {**gallery, "extension": [gallery["extension"][0], *gallery["extension"][1:] * 3]}
    (one,) = image_drawings([many], ["m1"])
    assert (one.tiles[11].number, one.tiles[11].x, one.tiles[11].y) == (12, 64, 64)


def test_only_an_answer_has_a_score_and_a_refusal_has_its_reason():
    likely, doubtful, unseen, refused = image_drawings(DRAWN, ["m1"])[0].tiles
    assert likely.like == "of 412 validation cells scored like this, 400 held a parasite"
    assert [tile.score for tile in (likely, doubtful, unseen, refused)] == ["0.97", "", "0.01", ""]
    assert unseen.like == ""
    assert refused.text == "Cell 4: Refused, not counted. Cut off by the edge of the image"


def test_codes_of_tomorrow_are_shown_as_they_came():
    assert answer_words("ring-form") == "ring-form"
    assert reason_words("too-old") == "too-old"
