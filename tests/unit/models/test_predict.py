"""Images of a Task in, one prediction out, with the released weights."""

import asyncio
import hashlib
import json
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.malaria.calibration import CALIBRATION, KERAS, LITERT, WEIGHTS
from models.malaria.predict import (
    CellAnswer,
    ImageKind,
    MalariaModel,
    SmearAnswer,
    SmearImage,
    WeightsMismatch,
    check_image,
    inspect_image,
)
from models.malaria.preprocess import cell_pixels

PARASITIZED = ["cell-parasitized.png", *(f"parasitized-{n}.png" for n in range(1, 5))]
LIGHT_MOVES_LESS_THAN = 0.15
"""As models/training/malaria_method.md says of 99 in 100 cells."""
UNINFECTED = ["cell-uninfected.png", *(f"uninfected-{n}.png" for n in range(1, 6))]


@pytest.mark.parametrize("name", PARASITIZED)
def test_a_parasite_is_likely_in_each_parasitized_sample(model, picture, name):
    prediction = model.read([SmearImage(picture(name), "image/png")])
    assert prediction.images[0].kind is ImageKind.CELL
    assert prediction.cell_alone.answer is CellAnswer.PARASITE_LIKELY
    assert prediction.cell_alone.probability >= prediction.thresholds[0].high
    assert prediction.pool.answer is SmearAnswer.SUSPECTED


def test_a_cell_full_of_parasites_is_never_said_to_show_none(model, picture):
    prediction = model.read([SmearImage(picture("heavily-parasitized.png"))])
    assert prediction.pool.answer in (SmearAnswer.SUSPECTED, SmearAnswer.REFUSED)


@pytest.mark.parametrize("name", UNINFECTED)
def test_no_parasite_is_seen_in_each_uninfected_sample(model, picture, name):
    prediction = model.read([SmearImage(picture(name), "image/png")])
    assert prediction.cell_alone.answer is CellAnswer.NOT_SEEN
    assert prediction.cell_alone.probability < prediction.thresholds[0].low
    assert prediction.pool.answer is SmearAnswer.INSUFFICIENT


@pytest.mark.parametrize("name", ["field-1.jpg", "field-2.jpg"])
def test_a_field_without_parasites_is_never_suspected(model, picture, name):
    prediction = model.read([SmearImage(picture(name), "image/jpeg")])
    (image,) = prediction.images
    assert image.kind is ImageKind.FIELD
    assert prediction.pool.cells >= 40
    assert prediction.pool.cells + prediction.pool.cells_refused == len(image.cells)
    assert prediction.pool.answer is SmearAnswer.INSUFFICIENT
    assert prediction.cell_alone is None


def test_images_of_one_task_are_counted_together_and_refused_ones_named(model, picture):
    names = ["field-1.jpg", "field-2.jpg", "not-a-smear.png", "cell-parasitized.png"]
    prediction = model.read([SmearImage(picture(name), name=name) for name in names])
    alone = [model.read([SmearImage(picture(name))]).pool.cells for name in names]
    assert prediction.pool.cells == sum(alone)
    assert prediction.pool.images_refused == 1
    assert [one.kind for one in prediction.thresholds] == [ImageKind.CELL, ImageKind.FIELD]
    assert prediction.thresholds[0].high < prediction.thresholds[1].high
    refused = prediction.images[2]
    assert refused.kind is ImageKind.REFUSED
    assert refused.name == "not-a-smear.png"
    assert refused.refusal.check == "not-a-smear"


def test_a_picture_that_comes_twice_is_counted_once_however_it_was_saved(
    model, picture, rgb, as_image
):
    field, cell = SmearImage(picture("field-2.jpg")), SmearImage(picture("cell-parasitized.png"))
    again = as_image(rgb("field-2.jpg"), "JPEG", quality=70)
    smaller = as_image(np.asarray(cv2.resize(rgb("field-2.jpg"), (512, 384))))
    prediction = model.read([field, cell, field, again, smaller, cell])
    kinds = [ImageKind.FIELD, ImageKind.CELL, *[ImageKind.REFUSED] * 4]
    assert [image.kind for image in prediction.images] == kinds
    refusals = [image.refusal for image in prediction.images[2:]]
    assert {refusal.check for refusal in refusals} == {"repeated"}
    assert ["image 1" in refusal.text for refusal in refusals] == [True, True, True, False]
    assert "image 2" in refusals[3].text
    assert prediction.pool.cells == model.read([field, cell]).pool.cells
    assert prediction.pool.images_refused == 4


def test_one_field_sent_many_times_never_answers_for_a_film(model, picture):
    prediction = model.read([SmearImage(picture("field-2.jpg"))] * 12)
    assert prediction.pool.answer is SmearAnswer.INSUFFICIENT
    assert prediction.pool.cells < 100


def test_what_was_refused_for_itself_is_refused_for_the_same_when_it_comes_again(model, picture):
    prediction = model.read([SmearImage(picture("not-a-smear.png"))] * 2)
    assert [image.refusal.check for image in prediction.images] == ["not-a-smear"] * 2


def test_a_field_of_which_no_cell_can_be_read_is_refused_and_says_why(model, rgb, as_image):
    dark = (255 * (rgb("field-2.jpg") / 255) ** 2.5).astype(np.uint8)
    assert inspect_image(as_image(dark)).refusal is None
    prediction = model.read([as_image(dark)])
    assert prediction.is_refused
    (image,) = prediction.images
    assert (image.kind, image.cells) == (ImageKind.REFUSED, ())
    assert image.refusal.check == "no-cell-read"
    assert "None of the 80 cells" in image.refusal.text
    assert "the reason is: It " in image.refusal.text


def test_white_cells_are_never_counted_as_parasitized(model, picture):
    prediction = model.read([SmearImage(picture("field-with-white-cells.jpg"))])
    assert prediction.pool.positive == 0


def test_a_file_that_is_no_image_is_refused_without_an_exception(model):
    prediction = model.read([SmearImage(b"hello", "image/png")])
    assert prediction.is_refused
    assert prediction.images[0].refusal.check == "type"
    assert prediction.images[0].sha256 == hashlib.sha256(b"hello").hexdigest()


def test_a_cell_shaped_picture_of_something_else_is_refused(model, rgb, as_image):
    mask = rgb("cell-uninfected.png").max(axis=2) > 8
    page = np.full((50, 50), 230, np.uint8)
    for line, text in enumerate(("MALARIA", "REPORT", "WARD 3")):
        cv2.putText(page, text, (1, 16 + 14 * line), cv2.FONT_HERSHEY_PLAIN, 0.8, 20)
    prediction = model.read([as_image(np.repeat((page * mask)[..., None], 3, axis=2))])
    assert prediction.is_refused
    assert prediction.images[0].refusal.check in ("not-a-red-cell", "unlike-training", "cell-shape")


def test_the_same_bytes_give_the_same_bits(model, picture):
    images = [SmearImage(picture(name)) for name in ("field-1.jpg", "cell-parasitized.png")]
    assert model.read(images) == model.read(images)
    assert MalariaModel.load().read(images) == model.read(images)


def test_a_cell_is_read_alike_whatever_came_with_it(model, picture):
    cell, field = SmearImage(picture("cell-parasitized.png")), SmearImage(picture("field-1.jpg"))
    assert model.read([field, cell]).images[1] == model.read([cell]).images[0]


@pytest.mark.parametrize("name", [*PARASITIZED, *UNINFECTED])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turning_and_mirroring_a_cell_leave_its_probability(model, rgb, as_image, name, turns):
    straight = model.read([as_image(rgb(name))]).cell_alone.probability
    for picture in (rgb(name), rgb(name)[:, ::-1]):
        turned = model.read([as_image(np.ascontiguousarray(np.rot90(picture, turns)))])
        assert turned.cell_alone.probability == pytest.approx(straight, abs=1e-6)


@pytest.mark.parametrize("name", [*PARASITIZED, *UNINFECTED])
@pytest.mark.parametrize("light", [0.9, 1.1])
def test_a_tenth_more_or_less_light_moves_a_probability_by_less_than_the_method_says(
    model, rgb, name, light
):
    lit = np.clip(np.round(rgb(name) * light), 0, 255).astype(np.uint8)
    cells = np.stack([cell_pixels(rgb(name)), cell_pixels(lit)])
    (straight, changed), judged = model.classifier.read(cells, ImageKind.CELL)
    assert abs(changed - straight) < LIGHT_MOVES_LESS_THAN
    opposite = {CellAnswer.PARASITE_LIKELY, CellAnswer.NOT_SEEN}
    assert {one.answer for one in judged} != opposite


async def test_prediction_runs_off_the_event_loop(model, picture):
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.001)

    heart = asyncio.create_task(beat())
    prediction = await model.predict([SmearImage(picture("field-1.jpg"))])
    heart.cancel()
    assert prediction.pool.cells > 0
    assert beats > 10


def test_threads_may_share_one_model(model, picture):
    image = [SmearImage(picture("cell-parasitized.png"))]
    found = []
    threads = [threading.Thread(target=lambda: found.append(model.read(image))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({one.images[0].cells[0].probability for one in found}) == 1


def test_boxes_lie_in_the_image_as_it_was_sent(model, rgb, as_image):
    large = cv2.resize(rgb("field-2.jpg"), (2400, 1800), interpolation=cv2.INTER_CUBIC)
    (image,) = model.read([as_image(np.asarray(large), "JPEG", quality=90)]).images
    assert (image.width, image.height) == (2400, 1800)
    assert max(cell.box.x + cell.box.width for cell in image.cells) > 2300
    assert all(cell.box.x + cell.box.width <= 2402 for cell in image.cells)


def test_check_image_refuses_what_prediction_would_refuse(picture):
    assert check_image(SmearImage(picture("field-1.jpg"))) is None
    assert check_image(SmearImage(picture("cell-parasitized.png"), "image/png")) is None
    assert check_image(SmearImage(picture("not-a-smear.png"))).check == "not-a-smear"
    assert check_image(SmearImage(picture("field-1.jpg"), "image/png")).check == "content-type"


def test_the_cells_of_an_image_are_counted_without_the_model(picture, model):
    field = SmearImage(picture("field-1.jpg"))
    checked = inspect_image(field)
    read = model.read([field]).images[0].cells
    whole = [c for c in read if c.refusal is None or c.refusal.check != "cut-off"]
    assert (checked.kind, checked.refusal) == (ImageKind.FIELD, None)
    assert checked.cells == len(whole) > 50
    assert inspect_image(SmearImage(picture("cell-uninfected.png"))).cells == 1
    refused = inspect_image(SmearImage(picture("not-a-smear.png")))
    assert (refused.cells, refused.kind) == (0, ImageKind.REFUSED)


def copy_of_weights(folder: Path) -> Path:
    shutil.copytree(WEIGHTS, folder / "weights")
    return folder / "weights"


@pytest.mark.parametrize("name", [LITERT, KERAS])
def test_weights_that_differ_in_one_bit_do_not_start(tmp_path, name):
    weights = copy_of_weights(tmp_path)
    content = bytearray((weights / name).read_bytes())
    content[len(content) // 2] ^= 1
    (weights / name).write_bytes(content)
    with pytest.raises(WeightsMismatch, match=name):
        MalariaModel.load(weights)


@pytest.mark.parametrize("name", [LITERT, KERAS, CALIBRATION])
def test_a_missing_file_does_not_start(tmp_path, name):
    weights = copy_of_weights(tmp_path)
    (weights / name).unlink()
    with pytest.raises(WeightsMismatch, match=name):
        MalariaModel.load(weights)


@pytest.mark.parametrize("part", ["temperature", "limits", "floor", "preprocessing"])
def test_a_calibration_that_lacks_a_part_does_not_start(tmp_path, part):
    weights = copy_of_weights(tmp_path)
    calibration = json.loads((weights / CALIBRATION).read_text())
    del calibration[part]
    (weights / CALIBRATION).write_text(json.dumps(calibration))
    with pytest.raises(WeightsMismatch):
        MalariaModel.load(weights)


def test_weights_for_another_preprocessing_do_not_start(tmp_path):
    weights = copy_of_weights(tmp_path)
    calibration = json.loads((weights / CALIBRATION).read_text())
    calibration["preprocessing"] = "another-1"
    (weights / CALIBRATION).write_text(json.dumps(calibration))
    with pytest.raises(WeightsMismatch, match="another-1"):
        MalariaModel.load(weights)


def test_the_activation_map_shows_where_the_model_looked(model, rgb):
    cell = np.ascontiguousarray(rgb("cell-parasitized.png")[..., 0])
    seen = model.classifier.activation(cell)
    assert seen.shape == (6, 6)
    turned = model.classifier.activation(np.ascontiguousarray(np.rot90(cell)))
    assert seen.max() > seen.min()
    assert not np.allclose(seen, turned)
