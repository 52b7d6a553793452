"""What is drawn of the images of a Task: cells framed, galleries, reactions."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from fhir_server.fhir.drawings import COLUMNS, TILE
from models.malaria.album import Album
from models.malaria.gate import inspect
from models.malaria.overlay import draw_cells
from models.malaria.predict import CellAnswer, SmearAnswer, SmearImage
from models.malaria.reading import Box, CellReading, ViewKind


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)


def drawings(prediction, kind):
    return [one for one in prediction.drawings if one.kind is kind]


@pytest.fixture(scope="module")
def field(model, picture):
    return model.read([SmearImage(picture("field-1.jpg"))])


@pytest.fixture(scope="module")
def suspected(model, picture):
    return model.read([SmearImage(picture("cell-parasitized.png"))])


def test_a_field_is_drawn_framed_and_as_a_gallery_and_a_cell_as_a_gallery_alone(field, suspected):
    assert [one.kind for one in field.drawings] == [ViewKind.GALLERY, ViewKind.FRAMED]
    assert [one.kind for one in suspected.drawings] == [ViewKind.GALLERY, ViewKind.REACTION]
    (framed,) = drawings(field, ViewKind.FRAMED)
    assert pixels(framed.content).shape == (480, 640, 3)


def test_a_gallery_has_every_cell_once_by_falling_probability_and_the_refused_last(field):
    (gallery,) = drawings(field, ViewKind.GALLERY)
    chances = [cell.probability for cell in gallery.cells]
    known = [chance for chance in chances if chance is not None]
    assert sorted(map(repr, gallery.cells)) == sorted(map(repr, field.images[0].cells))
    assert chances == sorted(known, reverse=True) + [None] * (len(chances) - len(known))
    rows = -(-len(gallery.cells) // COLUMNS)
    assert (gallery.width, gallery.height) == (COLUMNS * TILE, rows * TILE)


def test_a_tile_shows_the_cell_that_its_place_in_the_list_names(model, rgb, as_image):
    field = rgb("field-2.jpg")
    prediction = model.read([as_image(field)])
    (gallery,) = drawings(prediction, ViewKind.GALLERY)
    sheet = pixels(gallery.content)
    for number in (0, COLUMNS + 3, len(gallery.cells) - 1):
        box = gallery.cells[number].box
        own = field[box.y : box.y + box.height, box.x : box.x + box.width]
        y, x = number // COLUMNS * TILE, number % COLUMNS * TILE
        tile = sheet[y : y + TILE, x : x + TILE]
        middle = slice(TILE // 2 - 6, TILE // 2 + 6)
        seen = tile[middle, middle].mean(axis=(0, 1))
        small = cv2.resize(own, (TILE, TILE), interpolation=cv2.INTER_AREA)[middle, middle]
        ratio = seen / small.mean(axis=(0, 1))
        assert ratio.max() - ratio.min() < 0.25


def test_reactions_are_shown_of_likely_cells_and_only_where_parasites_are_suspected(
    model, field, suspected, picture
):
    assert field.pool.answer is SmearAnswer.INSUFFICIENT
    assert field.pool.positive > 0
    assert drawings(field, ViewKind.REACTION) == []
    clean = model.read([SmearImage(picture("cell-uninfected.png"))])
    assert drawings(clean, ViewKind.REACTION) == []
    (reaction,) = drawings(suspected, ViewKind.REACTION)
    (gallery,) = drawings(suspected, ViewKind.GALLERY)
    assert (reaction.width, reaction.height) == (gallery.width, gallery.height)
    assert np.abs(pixels(reaction.content) - pixels(gallery.content)).mean() > 10


@pytest.mark.parametrize("view", ["colour", "grey"])
def test_every_answer_is_marked_in_its_own_way_without_colour_too(view):
    blank = np.full((100, 100, 3), 230, np.uint8)
    marked = {}
    for answer in CellAnswer:
        drawn = draw_cells(blank, [CellReading(Box(20, 30, 50, 50), answer, None, None)])
        seen = drawn if view == "colour" else drawn.std(axis=2) + drawn.mean(axis=2) < 225
        marked[answer] = np.asarray(seen)
        assert (np.asarray(drawn) != blank).any()
    shapes = {mask.tobytes() for mask in marked.values()}
    assert len(shapes) == len(CellAnswer)


def test_the_number_in_the_field_is_the_place_in_the_gallery():
    blank = np.full((100, 100, 3), 230, np.uint8)
    likely = CellReading(Box(20, 30, 50, 50), CellAnswer.PARASITE_LIKELY, 0.9, None)
    elsewhere = CellReading(Box(0, 0, 4, 4), CellAnswer.NOT_SEEN, 0.1, None)
    first, second = draw_cells(blank, [likely]), draw_cells(blank, [elsewhere, likely])
    assert not np.array_equal(first[15:31], second[15:31])


def test_large_fields_are_reduced_before_they_are_drawn():
    drawn = draw_cells(np.zeros((1800, 2400, 3), np.uint8), [])
    assert drawn.shape == (900, 1200, 3)


def test_images_without_room_for_their_drawings_are_counted(model, rgb, suspected):
    cell = rgb("cell-parasitized.png")
    smear = inspect(cell)
    pairs = list(zip(suspected.images[0].cells, smear.cells, strict=True))
    album = Album(model.classifier, most_bytes=1)
    album.add(0, smear.kind, cell, pairs)
    assert suspected.undrawn == 0
    assert album.undrawn == 1
    assert album.finished(SmearAnswer.SUSPECTED) == ()
