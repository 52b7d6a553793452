"""What is decoded and what is refused before and while decoding."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.malaria.decode import LARGEST_BYTES, ImageRefused, decode
from models.malaria.reading import SmearImage

RED = np.zeros((60, 80, 3), np.uint8) + np.array([200, 40, 30], np.uint8)


def image(pixels=RED, kind="PNG", declared=None, **options) -> SmearImage:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return SmearImage(stream.getvalue(), declared)


def refusal(content: bytes, declared: str | None = None):
    with pytest.raises(ImageRefused) as caught:
        decode(SmearImage(content, declared))
    assert caught.value.refusal.text
    assert caught.value.refusal.advice
    return caught.value.refusal


def png_of_size(width: int, height: int) -> bytes:
    """A well-formed PNG head that claims a size, with next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
    ],
)
def test_the_four_real_types_are_decoded_and_named_by_content(kind, content_type):
    picture = decode(image(kind=kind))
    assert picture.content_type == content_type
    assert picture.rgb.shape == (60, 80, 3)
    assert abs(int(picture.rgb[30, 40, 0]) - 200) <= 3


@pytest.mark.parametrize(
    "content",
    [b"%PDF-1.7 not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"PK\x03\x04", b"a"],
)
def test_other_files_are_refused_by_type(content):
    assert refusal(content, "image/png").check == "type"


def test_gif_and_webp_are_refused_by_type():
    assert refusal(image(kind="GIF").content).check == "type"
    assert refusal(image(kind="WEBP").content).check == "type"


def test_an_empty_file_is_refused():
    assert refusal(b"").check == "size"


def test_a_file_over_sixteen_megabytes_is_refused_unread():
    assert refusal(b"\xff" * (LARGEST_BYTES + 1)).check == "size"


def test_a_declared_type_that_is_not_the_real_one_is_refused_naming_both():
    found = refusal(image(kind="JPEG").content, "image/png")
    assert found.check == "content-type"
    assert "image/png" in found.text
    assert "image/jpeg" in found.text


@pytest.mark.parametrize("declared", [None, "", "application/octet-stream", "image/jpg"])
def test_no_declared_type_or_a_synonym_is_no_mismatch(declared):
    assert decode(image(kind="JPEG", declared=declared)).content_type == "image/jpeg"


@pytest.mark.parametrize("size", [(8000, 6000), (30000, 30000), (2**31 - 1, 2**31 - 1)])
def test_a_small_file_that_claims_a_huge_size_is_refused_before_decoding(size):
    assert refusal(png_of_size(*size)).check in ("pixels", "corrupt")
    assert refusal(png_of_size(8000, 6000)).check == "pixels"


def test_thumbnails_and_strips_are_refused():
    assert refusal(image(RED[:20, :20]).content).check == "dimensions"
    assert refusal(image(np.tile(RED[:30], (1, 3, 1))).content).check == "dimensions"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_several_pictures_in_one_file_are_refused(kind):
    stream = BytesIO()
    frames = [Image.fromarray(np.roll(RED, n, axis=1) // (n + 1)) for n in range(3)]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    assert refusal(stream.getvalue()).check == "animated"


def test_the_photograph_of_a_telephone_is_read_without_the_maps_that_follow_it():
    stream = BytesIO()
    photograph, depth = Image.fromarray(RED), Image.fromarray(RED[::2, ::2])
    photograph.save(stream, "MPO", save_all=True, append_images=[depth])
    picture = decode(SmearImage(stream.getvalue(), "image/jpeg"))
    assert picture.content_type == "image/jpeg"
    assert picture.rgb.shape == (60, 80, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_file_that_breaks_off_is_refused_as_corrupt(kind):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    content = image(noise, kind).content
    assert refusal(content[: len(content) // 2]).check == "corrupt"


def test_sixteen_bit_greys_are_refused_and_not_cut_down():
    deep = np.linspace(0, 65535, 3600).reshape(60, 60).astype(np.uint16)
    assert refusal(image(deep).content).check == "type"


def test_the_turn_in_the_camera_data_is_applied_and_left_behind():
    tall = np.zeros((40, 80, 3), np.uint8)
    tall[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(image(tall, "PNG", exif=exif)).rgb
    assert turned.shape == (80, 40, 3)
    assert turned[:10].min() == 255
    assert turned[10:].max() == 0


def test_a_transparent_surround_becomes_black():
    cut_out = np.dstack([RED, np.zeros(RED.shape[:2], np.uint8)])
    cut_out[20:40, 30:50, 3] = 255
    picture = decode(image(cut_out)).rgb
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[30, 40].tolist() == [200, 40, 30]


def saved(picture: Image.Image, kind: str, **options) -> SmearImage:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return SmearImage(stream.getvalue())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_way_of_storing_eight_bit_colour_comes_out_as_rgb(mode):
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    half = np.zeros((60, 80, 3), np.uint8)
    half[:, 40:] = 255
    read = decode(saved(Image.fromarray(half).convert(mode), kind)).rgb
    assert read.shape == (60, 80, 3)
    assert read[:, :35].max() < 12
    assert read[:, 45:].min() > 243


def test_a_palette_keeps_its_colours_and_its_hole_becomes_black():
    palette = Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert abs(int(decode(saved(palette, "PNG")).rgb[5, 5, 0]) - 200) <= 3
    hole = decode(saved(palette, "PNG", transparency=palette.getpixel((5, 5)))).rgb
    assert hole[5, 5].tolist() == [0, 0, 0]


def sixteen_bit_png() -> bytes:
    """A colour PNG of 16 bits a channel: red 0xC8FF, green 0x28FF, blue 0x1EFF."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        sum_ = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", sum_)

    head = struct.pack(">IIBBBBB", 60, 60, 16, 2, 0, 0, 0)
    rows = (b"\0" + b"\xc8\xff\x28\xff\x1e\xff" * 60) * 60
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colour_is_read_by_its_upper_eight_bits():
    assert decode(SmearImage(sixteen_bit_png())).rgb[30, 30].tolist() == [200, 40, 30]


@pytest.mark.parametrize("turn", range(1, 9))
def test_each_of_the_eight_turns_of_a_camera_ends_upright(turn):
    upright = np.zeros((60, 80, 3), np.uint8)
    upright[:20, :30] = 255
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]
    picture = Image.fromarray(upright)
    exif = Image.Exif()
    exif[0x0112] = turn
    read = decode(saved(picture.transpose(undo) if undo is not None else picture, "PNG", exif=exif))
    assert np.array_equal(read.rgb, upright)
